"""Consumers as the page's stream has them: what is known of each, how it went lately, and what it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.control.attention import of_consumer
from orchestrator.gateway.metrics import Times
from orchestrator.gateway.page.rows import seconds

Json: TypeAlias = dict[str, Any]

FRESH_SECONDS: Final = 2.0
"""For how long what was found counts as present: whoever looks meanwhile is told the same."""
MOST: Final = 200
"""Consumers that are told."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One consumer.

    Attributes:
        accounts: The accounts that it gets events of, None for all.
        about: What is told of it.
    """

    accounts: frozenset[str] | None
    about: Json


class Flows:
    """All consumers.

    Args:
        status: Returns what is known of them: see `Dispatcher.status`.
        times: How their deliveries went.
        clock: Returns seconds that never go back.
    """

    def __init__(
        self,
        status: Callable[[], Iterable[Json]],
        times: Times,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._times = times
        self._clock = clock
        self._found: list[Flow] = []
        self._until = -1.0

    def seen_by(self, principal: Principal) -> list[Json]:
        """Return the consumers all of whose accounts somebody sees."""
        now = self._clock()
        if now >= self._until:
            # Clients name pulls as they like: these must not push out what the configuration names.
            found = sorted(self._status(), key=lambda one: one.get("kind") == "pull")
            self._found = [self._flow(one) for one in found[:MOST]]
            self._until = now + FRESH_SECONDS
        return [one.about for one in self._found if _sees(principal, one.accounts)]

    def _flow(self, status: Json) -> Flow:
        accounts = status.get("accounts")
        return Flow(None if accounts is None else frozenset(accounts), self._about(status))

    def _about(self, status: Mapping[str, Any]) -> Json:
        name = str(status["name"])
        recent, now = self._times.recent.get(name), self._times.clock()
        p95 = None if recent is None else recent.p95(now)
        wanted = of_consumer(status)
        return {
            "name": name,
            "kind": status.get("kind"),
            "state": status.get("state"),
            "why": status.get("why"),
            "waiting": status.get("waiting", 0),
            "oldest": seconds(status.get("oldest_at")),
            "retrying": status.get("retrying", 0),
            "dead": status.get("dead", 0),
            "rate": None if recent is None else recent.rate(now),
            "p95": None if p95 is None else max(1, round(p95 * 1000)),
            "last_error": None if recent is None else recent.error,
            "last_error_at": None if recent is None or recent.error_at is None else int(recent.error_at),
            "next_try_at": seconds(status.get("next_try_at")),
            "need": None if wanted is None else list(wanted),
        }


def _sees(principal: Principal, accounts: frozenset[str] | None) -> bool:
    if principal.accounts is None:
        return True
    return accounts is not None and principal.accounts.issuperset(accounts)
