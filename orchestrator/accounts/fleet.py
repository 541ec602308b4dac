"""Which accounts may start, and when: each in turn, or none while one cause stops many of them. Pure.

There are two such causes. WhatsApp refuses this version of the client, which every account runs: further
attempts would only look like an attack. Or most accounts of one way out lose the network together: the fault
is then in that way. In both cases one account at a time probes for all of them. When a probe gets through,
the other accounts follow at the usual pace. If some accounts of a way stay connected all the while, the fault
is not in the way, and each of the other accounts retries by itself. The client counts as refused when two
accounts were refused. Until then, the first one waits alone, by a back-off of its own.

What one account says never holds another: its process reads what strangers send, and may tell lies. An
account that an operator starts by name is tried at once, whatever holds the others.

A way out is the way of the environment (direct, or through the environment's proxy), or the proxy of the
accounts themselves: its scheme, host and port. The proxy's user does not count. A proxy that is down is down
for all its users, the other accounts outvote the fault of one user, and the account that has failed least
makes the next probe. Accounts of another way are neither counted nor held. A way that does not answer keeps
its start slots only for a short time.

While an operator has maintenance on (`maintenance`), only accounts that are named by an operator start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from orchestrator.accounts import breaker, fleet_facts
from orchestrator.accounts.breaker import Breaker, Renewals
from orchestrator.accounts.client_version import ClientVersion
from orchestrator.accounts.events import Event, Held, Released, TurnCame
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.fleet_facts import FleetFacts
from orchestrator.accounts.maintenance import Maintenance
from orchestrator.accounts.newcomer import Newcomer
from orchestrator.accounts.proxy import Proxy
from orchestrator.accounts.ramp import Ramp
from orchestrator.accounts.standing import SLOT_SECONDS, Standing
from orchestrator.accounts.states import State
from orchestrator.accounts.store_absence import StoreAbsence
from orchestrator.accounts.ways_out import Way, WaysOut

OUTDATED = "WhatsApp refuses this version of the client"
NETWORK = (
    "most accounts lost the network together: one account probes the network, and the others wait for it"
)
RETURNED = "the network is back: the waiting accounts reconnect"
WORKS = "the network works for accounts that are still connected: each of the others retries by itself"
UPDATED = "the client was updated: the waiting accounts retry with the new version"
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
"""Failures that only an answer of WhatsApp can cause: the network works."""


class Fleet:
    """The accounts as a whole.

    Args:
        accounts: The accounts by name. The caller adds and removes accounts.
        parallel: How many accounts may start or connect at the same time.
        spread: The longest random wait between two starts, in seconds.
        random: Returns numbers from 0 up to 1.
        tell: Takes news for the log.
        outside: The proxy that the environment names, or None for a direct connection.

    Attributes:
        renewals: Says whether what one account says of its start concerns the others.
        maintenance: Whether nothing starts by itself.
        store: Whether the database is away that has the sessions.
        version: Whether WhatsApp refuses the version of the client.
    """

    def __init__(
        self,
        accounts: Mapping[str, Standing],
        parallel: int,
        spread: float,
        random: Callable[[], float],
        tell: Callable[[str], None],
        outside: Proxy | None = None,
    ) -> None:
        self._accounts = accounts
        self._tell = tell
        self._ramp = Ramp(parallel, spread, random)
        self.version = ClientVersion()
        self._newcomer = Newcomer(tell)
        self._ways = WaysOut(accounts, outside)
        self.renewals = Renewals()
        self.maintenance = Maintenance()
        self.store = StoreAbsence()
        self._wanted: dict[str, None] = {}
        self._passes: set[str] = set()
        self._may_hold = False

    # What happens

    def set_pace(self, parallel: int, spread: float) -> None:
        """Change how many accounts may start at the same time, and the longest wait between two starts."""
        self._ramp.parallel, self._ramp.spread = parallel, spread

    def queue(self, name: str) -> None:
        """Put an account into the queue, where it waits for its turn."""
        self._ramp.queue(name)

    def unqueue(self, name: str) -> None:
        """Take an account out of the queue."""
        self._ramp.unqueue(name)

    def forget(self, name: str, now: float) -> None:
        """Note that an account was removed."""
        self.unqueue(name)
        self._wanted.pop(name, None)
        self._passes.discard(name)
        self.renewals.forget(name)
        self.maintenance.forget(name)
        self.store.forget(name)
        self.version.forget(name, now)
        for way in self._ways:
            way.outage.reached(name)
            way.breaker.canary_ended(name, now)

    def wanted(self, name: str, *, by_name: bool = False) -> None:
        """Note that an operator wants this account to start. While the network is lost, it probes now.

        Args:
            name: The account.
            by_name: The operator has named it. It is tried at once, also while others probe.
        """
        lost = any(way.breaker.tripped for way in self._ways)
        if lost:
            self._wanted.setdefault(name)
        if by_name and (lost or self.version.tripped or self.maintenance.is_on):
            self._passes.add(name)

    def ended(self, name: str, kind: Kind, now: float, *, updated: bool = False) -> None:
        """Note how an account's process has ended. The account's own machine has noted the end before.

        Args:
            name: The account.
            kind: The kind of the failure.
            now: Monotonic seconds.
            updated: Whether the next process will have another version of the client.
        """
        account = self._accounts[name]
        self._newcomer.ended(
            name, kind, now, answered=kind in _WHATSAPP_ANSWERED, goes_on=account.child is not None
        )
        way = self._ways.by(account.last_exit.proxy if account.last_exit else account.settings.proxy)
        if kind is Kind.OUTDATED:
            way.outage.reached(name)
            self._reached(way)
            if updated:
                self.version.retry.add(name)
            elif self.version.refused(name, now):
                self._tell(f"{OUTDATED}: no account connects until neonize is updated")
            return
        if account.child is None:  # or it goes on with its next process
            # Whoever does not get as far as WhatsApp has told nothing, and somebody else may get there.
            soon = kind is Kind.NETWORK and any(not one.attempts[kind] for one in _waiting(self._accounts))
            self.version.canary_ended(name, now, soon=breaker.NETWORK_PROBE_FIRST if soon else None)
        if kind in _WHATSAPP_ANSWERED:
            self._has_reached(name, way)
        elif (
            kind is Kind.NETWORK
            and account.state is State.BACKOFF
            and way is self._ways.by(account.settings.proxy)
        ):
            self._lost(name, way, now)
        elif account.child is None:
            # Who gives up does not wait any more, so that there is an end to those who probe at once.
            soon = account.state is State.FAILED
            for other in self._ways:
                other.breaker.canary_ended(name, now, soon=0.0 if soon else None)

    def _lost(self, name: str, way: Way, now: float) -> None:
        way.outage.lost(name, now)
        way.outage.keep(self._ways.of(way))
        up = sum(account.state in (State.CONNECTED, State.PAIRING) for account in self._ways.running(way))
        held = way.breaker.tripped or way.outage.is_common(now, up)
        if held and way.breaker.refused(name, now):
            way.judged_at = now + breaker.WORKS_SECONDS
            self._tell(way.say(NETWORK))

    def reached(self, name: str) -> None:
        """Note that WhatsApp has answered an account."""
        child = self._accounts[name].child
        self._has_reached(name, self._ways.by(child.proxy if child else self._accounts[name].settings.proxy))

    def _has_reached(self, name: str, way: Way) -> None:
        self._newcomer.answered(name)
        way.outage.reached(name)
        if self._reached(way):
            self._tell(way.say(RETURNED))

    def connected(self, name: str) -> None:
        """Note that an account has logged in."""
        self.reached(name)
        account = self._accounts[name]
        if not account.queued:
            self._passes.discard(name)
        if account.child is not None and account.child.rolling:
            self.renewals.worked()
        if account.child is not None and account.child.trial:
            account.child.trial = False  # its first connection is the proof, and no later one
            self.renewals.proven += 1
        if self.version.connected():
            self._tell(ACCEPTED)

    def updated(self, now: float) -> None:
        """Note that all processes that start from now on have another version of the client."""
        self._newcomer.installed(now)
        self.version.retry |= {n for n, one in self._accounts.items() if one.state is State.OUTDATED}
        if self.version.renewed() or self.version.retry:
            self._tell(UPDATED)

    def _reached(self, way: Way) -> bool:
        """Note that a way works. Return whether the way was lost before."""
        self._forget_wishes(way)
        way.judged_at = None
        if not way.breaker.connected():
            return False
        way.outage.clear()
        return True

    def _forget_wishes(self, way: Way) -> None:
        if self._wanted:
            for name in self._ways.of(way):
                self._wanted.pop(name, None)

    def facts(self, now: float) -> FleetFacts:
        """Return what is known of the fleet as a whole, at a monotonic time."""
        return FleetFacts(
            version=fleet_facts.probing(self.version),
            outdated=fleet_facts.outdated(self._accounts),
            ways=fleet_facts.ways(self._ways, self._accounts),
            queued=len(self._ramp),
            dialing=_dialling(self._accounts, now),
            parallel=self._ramp.parallel,
            maintenance_since=self.maintenance.since,
            waiting=self.maintenance.waiting(self._accounts),
        )

    # What follows

    def next(self, now: float) -> tuple[str, Event] | None:
        """Return the next event for an account, or None if there is none yet.

        The caller applies the event and asks again until the answer is None: an event may change the next.
        """
        # Of the others, what an operator wanted is done, or something else keeps them from starting.
        self._passes = {name for name in self._passes if _starts(self._accounts.get(name))}
        step = self.store.next(self._accounts)
        if step or self.store.is_away:
            return step
        if not self.maintenance.is_on:
            step = self._next_about_version(now) or self._next_about_ways(now)
        return step or self.maintenance.next(self._accounts, self._passes) or self._next_turn(now)

    def wakes_at(self, now: float) -> float | None:
        """Return when `next` may have an event, in monotonic seconds; None if time alone brings none."""
        if self.store.is_away:
            return None
        times = [None if self.maintenance.is_on else self.version.wakes_at]
        if not (self.version.tripped or self.maintenance.is_on):
            for way in self._ways:
                if way.breaker.tripped:
                    times += way.breaker.probe_at, way.judged_at
        if len(self._ramp):
            dialling = _dialling(self._accounts, now)
            full = dialling >= self._ramp.parallel
            turn = _slot_at(self._accounts, now) if full else self._ramp.wakes_at(dialling, self._choose)
            times.append(self._newcomer.starts_at(now) or turn)
        return min((time for time in times if time is not None), default=None)

    def _next_about_version(self, now: float) -> tuple[str, Event] | None:
        if not self.version.tripped:
            if self._may_hold or self.version.retry:
                held = _best(list(filter(self.version.may_try, self._accounts.values())), Kind.OUTDATED)
                self._may_hold = bool(held)
                self.version.retry &= set(held[1:])
                return (held[0], Released()) if held else None
            return None
        self._may_hold = True
        accounts = self._accounts
        if step := self._hold(self.version, Kind.OUTDATED, OUTDATED, accounts, now):
            return step
        # An account that did not even get as far as WhatsApp would make a poor probe.
        held = _best(_waiting(accounts), Kind.NETWORK, Kind.OUTDATED)
        probes = self.version.probe(now, held)
        return None if probes is None else (probes, Released())

    def _next_about_ways(self, now: float) -> tuple[str, Event] | None:
        if self.version.tripped:
            return None
        for way in self._ways:  # more may come: an account has been given another proxy
            if way.breaker.tripped and not self._is_disproved(way, now):
                step = self._next_about(way, now)
            elif way.may_hold:
                held = _best(_waiting(self._ways.of(way)), Kind.NETWORK)
                way.may_hold = bool(held)
                step = (held[0], Released()) if held else None
            else:
                step = None
            if step is not None:
                return step
        return None

    def _next_about(self, way: Way, now: float) -> tuple[str, Event] | None:
        """Return the next event for an account of a way that is lost."""
        way.may_hold = True
        accounts, breaker = self._ways.of(way), way.breaker
        if breaker.canary is not None and breaker.canary not in accounts:
            breaker.canary_ended(breaker.canary, now)  # it goes another way now
        if breaker.canary is None:
            wanted = [name for name in self._wanted if name in accounts and accounts[name].queued]
            if wanted:
                breaker.probe(now, wanted, early=True)
        self._wanted.pop(breaker.canary or "", None)
        if step := self._hold(breaker, Kind.NETWORK, way.say(NETWORK), accounts, now):
            return step
        held = _best(_waiting(accounts), Kind.NETWORK)
        if not held and breaker.canary is None:
            self._reached(way)  # nobody is left who waits for it
            return None
        probes = breaker.probe(now, held)
        return None if probes is None else (probes, Released())

    def _hold(
        self, breaker: Breaker, kind: Kind, reason: str, accounts: Mapping[str, Standing], now: float
    ) -> tuple[str, Event] | None:
        """Return the event that holds the next account that must wait, or None if all of them know."""
        canary = None if breaker.canary is None else self._accounts[breaker.canary]
        if canary is not None and canary.child is None and not canary.queued and not canary.held:
            breaker.canary_ended(canary.settings.name, now)  # something else keeps it from starting
        for name, account in accounts.items():
            free = name == breaker.canary or name in self._passes
            if not free and _is_to_be_held(account, kind, breaker.probe_at):
                self._wanted.pop(name, None)
                self.maintenance.forget(name)
                return name, Held(kind, reason, breaker.probe_at)
        return None

    def _is_disproved(self, way: Way, now: float) -> bool:
        """Tell whether connected accounts prove that the way works, and if so, note that the way works.

        These accounts were connected all the while: an account that connects later has ended the outage.
        """
        if way.judged_at is None or now < way.judged_at:
            return False
        way.judged_at = None
        if not any(account.state is State.CONNECTED for account in self._ways.running(way)):
            return False
        way.outage.settle()
        way.breaker.connected()
        self._forget_wishes(way)
        self._tell(way.say(WORKS))
        return True

    # Turns

    def _next_turn(self, now: float) -> tuple[str, Event] | None:
        if not len(self._ramp):
            return None
        self._newcomer.mind(self._accounts.get, now)
        if self._newcomer.starts_at(now) is not None:
            return None
        name = self._ramp.next(now, _dialling(self._accounts, now), self._choose)
        if name is None:
            return None
        self._newcomer.starts(name, now)
        return name, TurnCame()

    def _choose(self, waiting: Iterable[str]) -> str | None:
        """Return the account to start next, from ways with a free slot. Failed accounts come last.

        Those that an operator has named come first.
        """
        dialling = Counter(
            self._ways.by(one.child.proxy) for one in self._accounts.values() if one.child and one.dials
        )
        may_renew = _may_renew(self._accounts.values(), min(self.renewals.proven + 1, self._ramp.parallel))
        failed = None
        for name in sorted(waiting, key=lambda name: name not in self._passes):
            account = self._accounts[name]
            if account.waits_for_renewal and not may_renew(account):
                continue  # the last to get a new process must show first that a new one works
            if not self._newcomer.may_start(name):
                continue  # another one shows first that a new version works
            way = self._ways.by(account.settings.proxy)
            if name in self._passes:
                may = True
            elif self.maintenance.is_on:
                may = False
            elif self.version.tripped:
                may = name == self.version.canary
            elif way.breaker.tripped:
                may = name == way.breaker.canary
            else:
                may = dialling[way] < self._ramp.parallel
            if may and not account.attempts[Kind.NETWORK]:
                return name
            if may and failed is None:
                failed = name
        return failed


def _may_renew(accounts: Iterable[Standing], trials: int) -> Callable[[Standing], bool]:
    """Return what tells whether an account that works may be given a new process now.

    Args:
        accounts: The accounts.
        trials: How many may try new settings at once: one more for each that has connected with its own.
    """
    found = list(accounts)
    nobody_tries = not any(account.tries_renewal for account in found)
    enough = sum(account.on_trial for account in found) < trials
    return lambda account: nobody_tries and (enough or not account.behind)


def _dialling(accounts: Mapping[str, Standing], now: float) -> int:
    return sum(account.dials_freshly(now) for account in accounts.values())


def _slot_at(accounts: Mapping[str, Standing], now: float) -> float | None:
    """Return the monotonic time at which a dialing account frees its slot for another way."""
    times = [
        account.child.dialled_at + SLOT_SECONDS
        for account in accounts.values()
        if account.child and account.child.dialled_at is not None and account.dials_freshly(now)
    ]
    return min(times, default=None)


def _starts(account: Standing | None) -> bool:
    """Tell whether there is such an account, and it has a process or waits for its turn."""
    return account is not None and (account.queued or account.child is not None)


def _waiting(accounts: Mapping[str, Standing]) -> list[Standing]:
    """Return the accounts that are held."""
    return [account for account in accounts.values() if account.held and account.child is None]


def _best(accounts: Collection[Standing], *kinds: Kind) -> list[str]:
    """Return the names of accounts. The account that has failed least often by these kinds comes first."""
    ordered = sorted(accounts, key=lambda account: tuple(account.attempts[kind] for kind in kinds))
    return [account.settings.name for account in ordered]


def _is_to_be_held(account: Standing, kind: Kind, until: float | None) -> bool:
    """Tell whether an account must still be told to wait, or how long to wait."""
    if account.child is not None:
        return account.child.in_turn
    if account.held and account.state is (State.OUTDATED if kind is Kind.OUTDATED else State.BACKOFF):
        return until is not None and account.next_retry_at != until
    if kind is Kind.OUTDATED:
        return account.queued or account.state in (State.BACKOFF, State.OUTDATED)
    return account.queued or (account.state is State.BACKOFF and account.kind is Kind.NETWORK)
