"""Reads what happened to all accounts from their timelines: backwards, and no further than is asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from orchestrator.accounts import uptime
from orchestrator.system import clock

T = TypeVar("T")


class Histories(Protocol):
    """The histories of all accounts: `Record` and `Timeline` have these."""

    def backwards(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield an account's entries from the newest to the oldest, reading no more than is asked for."""


class Read(NamedTuple, Generic[T]):
    """What was read.

    Attributes:
        entries: The entries, the newest last.
        is_all: Whether these are all; else earlier ones were left out.
    """

    entries: list[T]
    is_all: bool


def read(
    histories: Histories,
    accounts: Iterable[str],
    since: float,
    limit: int,
    make: Callable[[str, Mapping[str, Any], float], T | None],
) -> Read[T]:
    """Return what happened to accounts, all in one order.

    Only what is returned is kept in memory, and of each timeline no more is read than can be among it.

    Args:
        histories: Where they are.
        accounts: The accounts.
        since: Unix seconds.
        limit: How many entries at the most, 1 or more: the newest ones.
        make: Returns what is wanted of an entry, by the account's name, the entry and its time in Unix
            seconds; None for an entry that is not wanted.
    """
    kept: list[tuple[float, int, T]] = []
    older = count(0, -1)  # of one time, what was read first is the newer one
    is_all = True
    for name in accounts:
        for at, entry in _newest_first(histories, name, since):
            full = len(kept) >= limit
            if full and at <= kept[0][0]:
                is_all = False
                break
            made = make(name, entry, at)
            if made is None:
                continue
            if full:
                heapq.heapreplace(kept, (at, next(older), made))
                is_all = False
            else:
                heapq.heappush(kept, (at, next(older), made))
    kept.sort(key=lambda one: one[:2])
    return Read([made for _, _, made in kept], is_all)


def changes(histories: Histories, name: str, since: float) -> list[uptime.Change]:
    """Return the changes of an account since a time, and the last one before if there is one, oldest first.

    Args:
        histories: Where they are.
        name: The account.
        since: Unix seconds.
    """
    found = []
    for entry in histories.backwards(name):
        at = clock.unix(entry["at"])
        if at is None:
            continue
        found.append(uptime.change(entry, at))
        if at < since and entry.get("n", 0) < since:
            break
    found.reverse()
    return found


def _newest_first(histories: Histories, name: str, since: float) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the entries of a timeline since a time. A number is never lower than the time of its entry."""
    for entry in histories.backwards(name):
        at = clock.unix(entry["at"])
        if at is None:
            continue
        if at >= since:
            yield at, entry
        elif entry.get("n", 0) < since:  # else somebody has set the clock back
            return
