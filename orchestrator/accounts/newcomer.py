"""A version of neonize that was installed while accounts run: one account tries the version first. Pure.

Accounts that run keep their process, and with it the version that they have. Of the accounts that are to get
a process, one starts. When WhatsApp has answered this account, the others follow. When its process crashes or
cannot load the library, the others wait, and one of them tries again after a while. An end that says nothing
of the library, such as a lost network, leaves the trial to the next account.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.accounts.breaker import NETWORK_PROBE_FIRST, NETWORK_PROBE_LAST, Breaker
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.standing import Standing

TRIES = "one account starts with the newly installed version of neonize, and the others follow when it works"
WORKS = "the newly installed version of neonize works: the waiting accounts start with it"
FAILS = (
    "the newly installed version of neonize does not work for {name} ({kind}): accounts that run keep the"
    " version that they have, the others wait, and one of them tries again in {seconds:.0f} s; to go back,"
    " install the earlier version of neonize"
)
_FAILURES = (Kind.CRASH, Kind.MACHINE)


class Newcomer:
    """Whether a newly installed version has shown that it works, and who tries it.

    Args:
        tell: Takes news for the log.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._breaker = Breaker(NETWORK_PROBE_FIRST, NETWORK_PROBE_LAST)

    def installed(self, now: float) -> None:
        """Note that processes which start from now on load another version."""
        self._breaker.connected()
        self._breaker.probe_at = now
        self._tell(TRIES)

    def may_start(self, name: str) -> bool:
        """Tell whether an account may be given a process, as far as the version is concerned."""
        return not self._breaker.tripped or self._breaker.canary in (None, name)

    def starts_at(self, now: float) -> float | None:
        """Return the monotonic time before which nobody may start, None if there is none."""
        at = self._breaker.probe_at
        return at if at is not None and at > now else None

    def starts(self, name: str, now: float) -> None:
        """Note that an account is given a process."""
        self._breaker.probe(now, [name])

    def answered(self, name: str) -> None:
        """Note that WhatsApp has answered an account."""
        if self._breaker.canary == name:
            self._breaker.connected()
            self._tell(WORKS)

    def ended(self, name: str, kind: Kind, now: float, *, answered: bool, goes_on: bool) -> None:
        """Note how an account's process has ended.

        Args:
            name: The account.
            kind: The kind of the end.
            now: Monotonic seconds.
            answered: Whether only WhatsApp can have caused this end.
            goes_on: Whether the account has its next process already.
        """
        if self._breaker.canary != name or goes_on:
            return
        if answered:
            self.answered(name)
        elif kind in _FAILURES:
            self._breaker.refused(name, now)
            seconds = (self._breaker.probe_at or now) - now
            self._tell(FAILS.format(name=name, kind=kind, seconds=seconds))
        else:
            self._breaker.canary_ended(name, now, soon=0.0)

    def mind(self, accounts: Callable[[str], Standing | None], now: float) -> None:
        """Leave the trial to another account if the one that tries is not going to start any more."""
        canary = self._breaker.canary
        if canary is not None:
            account = accounts(canary)
            if account is None or (account.child is None and not account.queued):
                self._breaker.canary_ended(canary, now, soon=0.0)
