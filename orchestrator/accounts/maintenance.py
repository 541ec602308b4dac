"""Maintenance: an operator's switch, with which nothing starts by itself. Pure.

What runs goes on. An account that would start, retry or probe waits until maintenance is turned off, and so
does one that is to be given a new process. An account that an operator starts by name is tried at once; when
its process ends, the account waits like all others. When maintenance is turned off, the accounts that waited
start at the usual pace, unless something else holds them.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from orchestrator.accounts.events import Event, Held, Released
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import MAINTENANCE, State

REASON = f"{MAINTENANCE}: nothing starts by itself until `orchestrator maintenance off`"
"""The reason of an account that waits for its end."""


class Maintenance:
    """Whether maintenance is on, and who waits for its end.

    Attributes:
        since: Unix time since when it is on, None while it is off.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self._kept: set[str] = set()

    @property
    def is_on(self) -> bool:
        """Whether nothing starts by itself."""
        return self.since is not None

    def forget(self, name: str) -> None:
        """Note that an account is gone, or waits for something else by now."""
        self._kept.discard(name)

    def waiting(self, accounts: Mapping[str, Standing]) -> int:
        """Return how many accounts wait for its end: for a process, or for a new one."""
        if not self.is_on:
            return 0
        renewed = sum(account.waits_for_renewal for account in accounts.values())
        return renewed + sum(_waits(accounts.get(name)) for name in self._kept)

    def next(self, accounts: Mapping[str, Standing], free: Container[str]) -> tuple[str, Event] | None:
        """Return the next event for an account, None if each knows what it is to do.

        Args:
            accounts: All accounts.
            free: Those that an operator has named, and that start all the same.
        """
        if not self.is_on:
            while self._kept:
                name = min(self._kept)
                self._kept.discard(name)
                if _waits(accounts.get(name)):
                    return name, Released()
            return None
        for name, account in accounts.items():
            if name not in free and self._is_to_wait(name, account):
                self._kept.add(name)
                kind = Kind.OUTDATED if account.state is State.OUTDATED else None
                return name, Held(kind, REASON)
        return None

    def _is_to_wait(self, name: str, account: Standing) -> bool:
        """Tell whether an account does not wait for the end of maintenance yet, and is about to start."""
        if account.child is not None:
            return False  # one that gives way to a new process gets it: the account was connected
        if account.held:
            return name not in self._kept
        return account.queued or account.state in (State.BACKOFF, State.OUTDATED)


def _waits(account: Standing | None) -> bool:
    return account is not None and account.held and account.child is None
