"""Who of all accounts may start, and when: in turn, or not at all while one thing holds for many. Pure.

Two things do. WhatsApp refuses this version of the client, which every account runs: more of them dialling
would only be noted as an attack. Or most accounts of one way out lose the network together, which is then the
trouble of that way. In both cases one account tries for all of them at a time, as a probe. Once it gets
through, all others follow, at the usual pace. If some accounts of a way stay connected all the while, the
network of the others is their own trouble, and each tries for itself.

A way out is what the environment says (directly, or by its proxy), or the accounts' own proxy: its scheme,
host and port. The user does not count: a proxy that is down is down for all its users, the others outvote the
trouble of one user, and the account that has failed least makes the next probe. Accounts of another way are
neither counted nor held. A way that does not answer keeps none of the places for starting accounts for long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.accounts import breaker
from orchestrator.accounts.breaker import Breaker, Outage
from orchestrator.accounts.events import Event, Held, Released, TurnCame
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.proxy import Proxy, ProxyError, parse
from orchestrator.accounts.ramp import Ramp
from orchestrator.accounts.standing import SLOT_SECONDS, Standing
from orchestrator.accounts.states import State

OUTDATED = "WhatsApp refuses this version of the client"
NETWORK = (
    "most accounts lost the network together: one account probes the network, and the others wait for it"
)
RETURNED = "the network is back: the waiting accounts reconnect"
WORKS = "the network works for accounts that are still connected: each of the others retries by itself"
UPDATED = "the client was updated: all waiting accounts retry with the new version"
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


@dataclass(slots=True, eq=False)
class _Way:
    """A way out, and what is known of it.

    Attributes:
        words: What people call it, None for the direct one, which goes without saying.
        breaker: Holds its accounts while it is lost.
        outage: Who has lost it.
        judged_at: Monotonic time from which those that are still connected show that it is not lost.
        may_hold: Whether accounts may still wait for it.
    """

    words: str | None
    breaker: Breaker = field(
        default_factory=lambda: Breaker(breaker.NETWORK_PROBE_FIRST, breaker.NETWORK_PROBE_LAST)
    )
    outage: Outage = field(default_factory=Outage)
    judged_at: float | None = None
    may_hold: bool = False

    def say(self, text: str) -> str:
        """Return a sentence about the way with its name in it."""
        head, colon, tail = text.partition(":")
        return text if self.words is None else f"{head} ({self.words}){colon}{tail}"


class Fleet:
    """The accounts as a whole.

    Args:
        accounts: Their machines by name; they come and go.
        parallel: How many may be starting or connecting at once.
        spread: Seconds, the most by which a start follows the one before, at random.
        random: Returns numbers from 0 up to 1.
        tell: Is given what is news for the log.
        outside: The proxy that the environment names, None for a direct connection.
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
        self._version = Breaker(breaker.PROBE_FIRST, breaker.PROBE_LAST)
        self._outside = outside
        self._ways: dict[Proxy | None, _Way] = {}
        self._by_url: dict[str | None, _Way] = {}
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
        self._version.canary_ended(name, now)
        for way in self._ways.values():
            way.outage.reached(name)
            way.breaker.canary_ended(name, now)

    def wanted(self, name: str) -> None:
        """Note that an operator wants this account to start: while the network is lost, it probes at once."""
        if any(way.breaker.tripped for way in self._ways.values()):
            self._wanted.setdefault(name)

    def ended(self, name: str, kind: Kind, now: float, *, updated: bool = False) -> None:
        """Note how an account's process has ended, after its machine has.

        Args:
            name: The account.
            kind: How.
            now: Monotonic seconds.
            updated: It had a version of the client that the next process will not have any more.
        """
        account = self._accounts[name]
        way = self._way(account.last_exit.proxy if account.last_exit else account.settings.proxy)
        if kind is Kind.OUTDATED:
            way.outage.reached(name)
            self._reached(way)
            if updated:
                self._may_hold = True  # this one, which is to try with the new version
            elif self._version.refused(name, now):
                self._tell(f"{OUTDATED}: no account connects until neonize is updated")
            return
        if account.child is None:  # or it goes on with its next process
            # Whoever does not get as far as WhatsApp has told nothing, and somebody else may get there.
            soon = kind is Kind.NETWORK and any(not one.attempts[kind] for one in _waiting(self._accounts))
            self._version.canary_ended(name, now, soon=breaker.NETWORK_PROBE_FIRST if soon else None)
        if kind in _WHATSAPP_ANSWERED:
            self._has_reached(name, way)
        elif (
            kind is Kind.NETWORK
            and account.state is State.BACKOFF
            and way is self._way(account.settings.proxy)
        ):
            self._lost(name, way, now)
        elif account.child is None:
            # Who gives up does not wait any more, so that there is an end to those who probe at once.
            soon = account.state is State.FAILED
            for other in self._ways.values():
                other.breaker.canary_ended(name, now, soon=0.0 if soon else None)

    def _lost(self, name: str, way: _Way, now: float) -> None:
        way.outage.lost(name, now)
        way.outage.keep(self._of(way))
        up = sum(account.state in (State.CONNECTED, State.PAIRING) for account in self._running(way))
        held = way.breaker.tripped or way.outage.is_common(now, up)
        if held and way.breaker.refused(name, now):
            way.judged_at = now + breaker.WORKS_SECONDS
            self._tell(way.say(NETWORK))

    def reached(self, name: str) -> None:
        """Note that WhatsApp has answered an account."""
        child = self._accounts[name].child
        self._has_reached(name, self._way(child.proxy if child else self._accounts[name].settings.proxy))

    def _has_reached(self, name: str, way: _Way) -> None:
        way.outage.reached(name)
        if self._reached(way):
            self._tell(way.say(RETURNED))

    def connected(self, name: str) -> None:
        """Note that an account has logged in."""
        self.reached(name)
        if self._version.connected():
            self._tell(ACCEPTED)

    def updated(self) -> None:
        """Note that another version of the client is there for all that start from now on."""
        if self._version.connected():
            self._tell(UPDATED)

    def _reached(self, way: _Way) -> bool:
        """Let a way be lost no more; return whether it was."""
        self._forget_wishes(way)
        way.judged_at = None
        if not way.breaker.connected():
            return False
        way.outage.clear()
        return True

    def _forget_wishes(self, way: _Way) -> None:
        if self._wanted:
            for name in self._of(way):
                self._wanted.pop(name, None)

    # What follows

    def next(self, now: float) -> tuple[str, Event] | None:
        """Return what is to happen to an account next, None if nothing is yet.

        Ask again after each, until there is nothing: what happened may have changed what follows.

        Args:
            now: Monotonic seconds.
        """
        return self._next_about_version(now) or self._next_about_ways(now) or self._next_turn(now)

    def wakes_at(self, now: float) -> float | None:
        """Return the monotonic time at which `next` may have something, None if not by time alone.

        Args:
            now: Monotonic seconds.
        """
        times = [self._version.probe_at]
        if not self._version.tripped:
            for way in self._ways.values():
                if way.breaker.tripped:
                    times += way.breaker.probe_at, way.judged_at
        if len(self._ramp):
            dialling = self._dialling(now)
            full = dialling >= self._ramp.parallel
            times.append(self._slot_at(now) if full else self._ramp.wakes_at(dialling, self._choose))
        return min((time for time in times if time is not None), default=None)

    def _next_about_version(self, now: float) -> tuple[str, Event] | None:
        if not self._version.tripped:
            if self._may_hold:
                waiting = _waiting(self._accounts)
                held = _best([one for one in waiting if one.state is State.OUTDATED], Kind.OUTDATED)
                if held:
                    return held[0], Released()
                self._may_hold = False
            return None
        self._may_hold = True
        accounts = self._accounts
        if step := self._hold(self._version, Kind.OUTDATED, OUTDATED, accounts, now):
            return step
        # An account that did not even get as far as WhatsApp would make a poor probe.
        held = _best(_waiting(accounts), Kind.NETWORK, Kind.OUTDATED)
        probes = self._version.probe(now, held)
        return None if probes is None else (probes, Released())

    def _next_about_ways(self, now: float) -> tuple[str, Event] | None:
        if self._version.tripped:
            return None
        for way in list(self._ways.values()):  # more may come: an account has been given another proxy
            if way.breaker.tripped and not self._is_disproved(way, now):
                step = self._next_about(way, now)
            elif way.may_hold:
                held = _best(_waiting(self._of(way)), Kind.NETWORK)
                way.may_hold = bool(held)
                step = (held[0], Released()) if held else None
            else:
                step = None
            if step is not None:
                return step
        return None

    def _next_about(self, way: _Way, now: float) -> tuple[str, Event] | None:
        """Return what is to happen to an account of a way that is lost."""
        way.may_hold = True
        accounts, breaker = self._of(way), way.breaker
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
        """Return the next of these accounts that does not know yet that it has to wait; none may be left."""
        canary = None if breaker.canary is None else self._accounts[breaker.canary]
        if canary is not None and canary.child is None and not canary.queued and not canary.held:
            breaker.canary_ended(canary.settings.name, now)  # something else keeps it from starting
        for name, account in accounts.items():
            if name != breaker.canary and _is_to_be_held(account, kind, breaker.probe_at):
                self._wanted.pop(name, None)
                return name, Held(kind, reason, breaker.probe_at)
        return None

    def _is_disproved(self, way: _Way, now: float) -> bool:
        """Tell whether it cannot be the way's network, and if so, let it be lost no more.

        Whoever is connected has been so all the while: one that connects later shows that it is back.
        """
        if way.judged_at is None or now < way.judged_at:
            return False
        way.judged_at = None
        if not any(account.state is State.CONNECTED for account in self._running(way)):
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
        name = self._ramp.next(now, self._dialling(now), self._choose)
        return None if name is None else (name, TurnCame())

    def _choose(self, waiting: Iterable[str]) -> str | None:
        """Return who is to start next: those first whose last try did not fail, of ways with a place left."""
        dialling = Counter(
            self._way(one.child.proxy) for one in self._accounts.values() if one.child and one.dials
        )
        renewals_wait = any(account.tries_renewal for account in self._accounts.values())
        failed = None
        for name in waiting:
            account = self._accounts[name]
            if renewals_wait and account.waits_for_renewal:
                continue  # the last to get a new process must show first that a new one works
            way = self._way(account.settings.proxy)
            if self._version.tripped:
                may = name == self._version.canary
            elif way.breaker.tripped:
                may = name == way.breaker.canary
            else:
                may = dialling[way] < self._ramp.parallel
            if may and not account.attempts[Kind.NETWORK]:
                return name
            if may and failed is None:
                failed = name
        return failed

    def _dialling(self, now: float) -> int:
        return sum(account.dials_freshly(now) for account in self._accounts.values())

    def _slot_at(self, now: float) -> float | None:
        """Return the monotonic time at which an account that dials makes room for another way's."""
        times = [
            account.child.dialled_at + SLOT_SECONDS
            for account in self._accounts.values()
            if account.child and account.child.dialled_at is not None and account.dials_freshly(now)
        ]
        return min(times, default=None)

    # Ways

    def _way(self, url: str | None) -> _Way:
        """Return the way of accounts with that proxy."""
        way = self._by_url.get(url)
        if way is None:
            key: Proxy | None = None
            try:
                if url is not None:
                    proxy = parse(url)
                    key = Proxy(proxy.scheme, proxy.host, proxy.port)
            except ProxyError:
                pass  # such an account never dials
            words = f"the proxy {key}" if key else None
            if key is None and self._outside is not None:
                words = f"the environment's proxy {self._outside}"
            way = self._by_url[url] = self._ways.setdefault(key, _Way(words))
        return way

    def _of(self, way: _Way) -> dict[str, Standing]:
        """Return the accounts whose next process goes that way."""
        return {name: one for name, one in self._accounts.items() if self._way(one.settings.proxy) is way}

    def _running(self, way: _Way) -> list[Standing]:
        """Return the accounts whose process goes that way."""
        return [one for one in self._accounts.values() if one.child and self._way(one.child.proxy) is way]


def _waiting(accounts: Mapping[str, Standing]) -> list[Standing]:
    """Return those of the accounts that are held."""
    return [account for account in accounts.values() if account.held and account.child is None]


def _best(accounts: Collection[Standing], *kinds: Kind) -> list[str]:
    """Return the names of accounts, those first that have failed least often by these kinds."""
    ordered = sorted(accounts, key=lambda account: tuple(account.attempts[kind] for kind in kinds))
    return [account.settings.name for account in ordered]


def _is_to_be_held(account: Standing, kind: Kind, until: float | None) -> bool:
    """Tell whether an account does not know yet that it has to wait, or for how long."""
    if account.child is not None:
        return account.child.in_turn
    if account.held and account.state is (State.OUTDATED if kind is Kind.OUTDATED else State.BACKOFF):
        return until is not None and account.next_retry_at != until
    if kind is Kind.OUTDATED:
        return account.queued or account.state is State.BACKOFF
    return account.queued or (account.state is State.BACKOFF and account.kind is Kind.NETWORK)
