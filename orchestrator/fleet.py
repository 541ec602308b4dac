"""Who of all accounts may start, and when: in turn, or not at all while one thing holds for all. Pure.

Two things do. WhatsApp refuses this version of the client, which every account runs: more of them dialling
would only be noted as an attack. Or most accounts lose the network together, which is then the host's. In
both cases nobody starts but one account at a time, as a probe; once it gets through, all others follow, at
the usual pace. Should some stay connected all the while, the network of the others is their own trouble, and
each tries for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from orchestrator import pacing
from orchestrator.account import Account
from orchestrator.events import Event, Held, Released, TurnCame
from orchestrator.failure import Kind
from orchestrator.pacing import Breaker, Outage, Ramp
from orchestrator.states import State

OUTDATED = "WhatsApp refuses this version of the client"
NETWORK = "most accounts have lost the network together: one of them tries for all, and they follow it"
RETURNED = "the network is back: the accounts that waited for it follow"
WORKS = "the network works for those that are still connected: each of the others tries for itself"
UPDATED = "the client was updated: all accounts that waited for that try with it"
ACCEPTED = "WhatsApp accepts this version of the client again"

_WHATSAPP_ANSWERED = frozenset(
    {
        Kind.LOGGED_OUT,
        Kind.LOCKED,
        Kind.PAIRING_EXPIRED,
        Kind.PASSKEY,
        Kind.WRONG_PHONE,
        Kind.REPLACED,
        Kind.TEMPORARY_BAN,
        Kind.OUTDATED,
        Kind.REFUSED,
    }
)
"""Ends that only WhatsApp's word can bring about, so that the network must work."""


class Fleet:
    """The accounts as a whole.

    Args:
        accounts: Their machines by name; they come and go.
        parallel: How many may be starting or connecting at once.
        spread: Seconds, the most by which a start follows the one before, at random.
        random: Returns numbers from 0 up to 1.
        tell: Is given what is news for the log.
    """

    def __init__(
        self,
        accounts: Mapping[str, Account],
        parallel: int,
        spread: float,
        random: Callable[[], float],
        tell: Callable[[str], None],
    ) -> None:
        self._accounts = accounts
        self._tell = tell
        self._ramp = Ramp(parallel, spread, random)
        self._version = Breaker(pacing.PROBE_FIRST, pacing.PROBE_LAST)
        self._network = Breaker(pacing.NETWORK_PROBE_FIRST, pacing.NETWORK_PROBE_LAST)
        self._outage = Outage()
        self._judged_at: float | None = None
        self._wanted: dict[str, None] = {}
        self._may_hold = False

    # What happens

    def set_pace(self, parallel: int, spread: float) -> None:
        """Change how many may start at once, and how far apart."""
        self._ramp.parallel, self._ramp.spread = parallel, spread

    def queue(self, name: str) -> None:
        """Let an account wait for its turn."""
        self._ramp.queue(name)

    def unqueue(self, name: str) -> None:
        """Let it wait no longer."""
        self._ramp.unqueue(name)

    def forget(self, name: str, now: float) -> None:
        """Note that an account is gone."""
        self.unqueue(name)
        self._wanted.pop(name, None)
        self._outage.reached(name)
        self._version.canary_ended(name, now)
        self._network.canary_ended(name, now)

    def wanted(self, name: str) -> None:
        """Note that an operator wants this account to start: while the network is lost, it probes at once."""
        if self._network.tripped:
            self._wanted.setdefault(name)

    def ended(self, name: str, kind: Kind, now: float, *, updated: bool = False) -> None:
        """Note how an account's process has ended, after its machine has.

        Args:
            name: The account.
            kind: How.
            now: Monotonic seconds.
            updated: It had a version of the client that the next process will not have any more.
        """
        if kind is Kind.OUTDATED:
            self._outage.reached(name)
            self._reached()
            if updated:
                self._may_hold = True  # this one, which is to try with the new version
            elif self._version.refused(name, now):
                self._tell(f"{OUTDATED}: nobody connects until it is updated")
            return
        if self._accounts[name].child is None:  # or it goes on with its next process
            self._version.canary_ended(name, now)
        if kind in _WHATSAPP_ANSWERED:
            self.reached(name)
        elif kind is Kind.NETWORK and self._accounts[name].state is State.BACKOFF:
            self._lost(name, now)
        elif self._accounts[name].child is None:
            self._network.canary_ended(name, now)

    def _lost(self, name: str, now: float) -> None:
        self._outage.lost(name, now)
        up = sum(account.state in (State.CONNECTED, State.PAIRING) for account in self._accounts.values())
        held = self._network.tripped or self._outage.is_common(now, up)
        if held and self._network.refused(name, now):
            self._judged_at = now + pacing.WORKS_SECONDS
            self._tell(NETWORK)

    def reached(self, name: str) -> None:
        """Note that WhatsApp has answered an account."""
        self._outage.reached(name)
        if self._reached():
            self._tell(RETURNED)

    def connected(self, name: str) -> None:
        """Note that an account has logged in."""
        self.reached(name)
        if self._version.connected():
            self._tell(ACCEPTED)

    def updated(self) -> None:
        """Note that another version of the client is there for all that start from now on."""
        if self._version.connected():
            self._tell(UPDATED)

    def _reached(self) -> bool:
        """Let the network be lost no more; return whether it was."""
        self._wanted.clear()
        self._judged_at = None
        if not self._network.connected():
            return False
        self._outage.clear()
        return True

    # What follows

    def next(self, now: float) -> tuple[str, Event] | None:
        """Return what is to happen to an account next, None if nothing is yet.

        Ask again after each, until there is nothing: what happened may have changed what follows.

        Args:
            now: Monotonic seconds.
        """
        if self._version.tripped:
            return self._hold(self._version, Kind.OUTDATED, now)
        if self._network.tripped and not self._is_disproved(now):
            return self._hold(self._network, Kind.NETWORK, now)
        if self._may_hold:
            held = self._held(Kind.NETWORK)
            if held:
                return held[0], Released()
            self._may_hold = False
        if not len(self._ramp):
            return None
        name = self._ramp.next(now, self._dialling())
        return None if name is None else (name, TurnCame())

    def wakes_at(self) -> float | None:
        """Return the monotonic time at which `next` may have something, None if not by time alone."""
        if self._version.tripped:
            return self._version.probe_at
        if self._network.tripped:
            times = (self._network.probe_at, self._judged_at)
            return min((time for time in times if time is not None), default=None)
        return self._ramp.wakes_at(self._dialling()) if len(self._ramp) else None

    def _is_disproved(self, now: float) -> bool:
        """Tell whether it cannot be the host's network, and if so, let it be lost no more.

        Whoever is connected has been so all the while: one that connects later shows that it is back.
        """
        if self._judged_at is None or now < self._judged_at:
            return False
        self._judged_at = None
        if not any(account.state is State.CONNECTED for account in self._accounts.values()):
            return False
        self._outage.settle()
        self._network.connected()
        self._wanted.clear()
        self._tell(WORKS)
        return True

    def _hold(self, breaker: Breaker, kind: Kind, now: float) -> tuple[str, Event] | None:
        self._may_hold = True
        canary = breaker.canary
        if canary is not None:
            if self._accounts[canary].queued:
                return self._take_turn(canary)
            if self._accounts[canary].child is None:
                breaker.canary_ended(canary, now)  # something else keeps it from starting
        if kind is Kind.NETWORK and breaker.canary is None:
            wanted = [name for name in self._wanted if self._accounts[name].queued]
            if wanted and breaker.probe(now, wanted, early=True) is not None:
                return self._take_turn(wanted[0])
        for name, account in self._accounts.items():
            if name != breaker.canary and _is_to_be_held(account, kind, breaker.probe_at):
                self._wanted.pop(name, None)
                reason = OUTDATED if kind is Kind.OUTDATED else NETWORK
                return name, Held(kind, reason, breaker.probe_at)
        held = self._held(kind)
        if kind is Kind.NETWORK and not held and breaker.canary is None:
            self._reached()  # nobody is left who waits for it
            return self.next(now)
        probes = breaker.probe(now, held)
        return None if probes is None else (probes, Released())

    def _take_turn(self, name: str) -> tuple[str, Event]:
        self._ramp.unqueue(name)
        self._wanted.pop(name, None)
        return name, TurnCame()

    def _held(self, kind: Kind) -> list[str]:
        """Return who waits, those first who have failed least often in that way: they are the best probes."""
        held = [name for name, account in self._accounts.items() if account.held and account.child is None]
        return sorted(held, key=lambda name: self._accounts[name].attempts[kind])

    def _dialling(self) -> int:
        return sum(account.dials for account in self._accounts.values())


def _is_to_be_held(account: Account, kind: Kind, until: float | None) -> bool:
    """Tell whether an account does not know yet that it has to wait, or for how long."""
    if account.child is not None:
        return account.child.in_turn
    if account.held and account.state is (State.OUTDATED if kind is Kind.OUTDATED else State.BACKOFF):
        return until is not None and account.next_retry_at != until
    if kind is Kind.OUTDATED:
        return account.queued or account.state is State.BACKOFF
    return account.queued or (account.state is State.BACKOFF and account.kind is Kind.NETWORK)
