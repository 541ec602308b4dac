"""The database that has the sessions is away: nobody is linked, and nobody starts until it is back. Pure.

An account that stays linked while its session cannot be read or written loses the messages of that time. So
each process ends at once, whatever it was doing, and no account is given up for it: the time counts nowhere.
When the database is back, the accounts start at the usual pace, unless something else holds them. A shard
starts those faster that were linked when it went, as after a failover: they have been online until then.
"""

from __future__ import annotations

from collections.abc import Mapping

from orchestrator.accounts.events import Event, Held, Released
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State

REASON = "the database that has the sessions is away: the account starts when it is back"
"""The reason of an account that waits for the database."""


class StoreAbsence:
    """Whether the database is away, and who waits for it.

    Attributes:
        since: Unix time since when it is away, None while it is there.
        outages: How often it went away.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self.outages = 0
        self._kept: set[str] = set()
        self._returning: set[str] = set()

    @property
    def is_away(self) -> bool:
        """Whether nobody starts."""
        return self.since is not None

    def went(self, at: float) -> None:
        """Note that the database is away, at a Unix time; it may have been before."""
        if self.since is None:
            self.since = at
            self.outages += 1

    def forget(self, name: str) -> None:
        """Note that an account is gone."""
        self._kept.discard(name)
        self._returning.discard(name)

    def is_returning(self, accounts: Mapping[str, Standing]) -> bool:
        """Tell whether an account that had a process when the database went is on its way to be linked again.

        Args:
            accounts: All accounts.
        """
        self._returning = {
            name
            for name in self._returning
            if (account := accounts.get(name)) is not None
            and (account.queued or account.state in (State.STARTING, State.CONNECTING))
        }
        return bool(self._returning)

    def next(self, accounts: Mapping[str, Standing]) -> tuple[str, Event] | None:
        """Return the next event for an account, None if each knows what it is to do.

        Args:
            accounts: All accounts.
        """
        if not self.is_away:
            while self._kept:
                name = min(self._kept)
                self._kept.discard(name)
                account = accounts.get(name)
                if account is not None and account.held and account.child is None:
                    if account.last_exit is not None and account.last_exit.kind is Kind.STORE:
                        self._returning.add(name)
                    return name, Released()
            return None
        for name, account in accounts.items():
            if self._is_to_wait(name, account):
                self._kept.add(name)
                kind = Kind.OUTDATED if account.state is State.OUTDATED else Kind.STORE
                return name, Held(kind, REASON)
        return None

    def _is_to_wait(self, name: str, account: Standing) -> bool:
        if account.child is not None:
            return False  # its process ends, and then it waits
        if account.held:
            return name not in self._kept
        return account.queued or account.state in (State.BACKOFF, State.OUTDATED)
