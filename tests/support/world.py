"""The accounts as a whole under one clock: hundreds of machines, an hour in a moment."""

from __future__ import annotations

import functools
import heapq
import itertools
import random as randomness
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import (
    CallOff,
    Forget,
    Kill,
    LookUp,
    Quarantine,
    Queue,
    Record,
    RenewMaker,
    Spawn,
    TellStop,
    TellStoreLost,
    Unqueue,
)
from orchestrator.accounts.events import (
    Begin,
    CalledOff,
    Configured,
    Event,
    Exited,
    Looked,
    LookedUp,
    Moment,
    Order,
    Ordered,
    Said,
    Spawned,
    Ticked,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.fleet import Fleet
from orchestrator.accounts.machine import Account
from orchestrator.accounts.proxy import Proxy
from orchestrator.accounts.settings import AccountSettings, ShowCodes
from orchestrator.accounts.states import State

DIAL = 1.0
"""Seconds from the start of a process to WhatsApp's word."""
STOP = 0.5
"""Seconds from being asked to stop to the end of the process."""
LOSES_STORE = 0.1
"""Seconds from the word that the database is away to the end of the process."""
LOST = 90.0
"""Seconds from the loss of a link to the end of its process."""
CODE = 20.0
"""Seconds for which a code is good."""
ROUND = 160.0
"""Seconds of a round of codes."""
NUMBER = "4915100001"


Lie: TypeAlias = Callable[["World", str, object], None]
"""What an account's process does: it gets the world, the account, and the process."""


class World:
    """Accounts, their processes, a network, and WhatsApp; time passes as fast as it is asked to.

    Args:
        names: The accounts.
        parallel: How many may start at once.
        spread: Seconds between two starts at the most.
        seed: Of all chance.
        ways: The proxies of accounts that have one.
        hangs: Seconds for which an account behind a dead proxy waits for an answer.
        outside: The environment's proxy.
        liars: What the processes of some accounts do, who do not do what they should.
        unlinked: Accounts that have no session.
        on_demand: Whether accounts show codes only while somebody looks.

    Attributes:
        dead: Proxies (None for no proxy) that nobody gets through.
        refusing: Proxies that refuse the password.
        crashes: How each new process ends before it dials, if it does.
        liars: What the processes of some accounts do from when each has started.
        renewed: When the fork server was replaced.
        codes: By account how many codes were shown.
    """

    def __init__(
        self,
        *names: str,
        parallel: int = 2,
        spread: float = 1.0,
        seed: int = 1,
        ways: Mapping[str, str | None] | None = None,
        hangs: float = 0.0,
        outside: Proxy | None = None,
        liars: Mapping[str, Lie] | None = None,
        unlinked: Iterable[str] = (),
        on_demand: bool = False,
    ) -> None:
        ways = ways or {}
        self.dead: set[str | None] = set()
        self.refusing: set[str | None] = set()
        self.liars = dict(liars or {})
        self.renewed: list[float] = []
        self.unlinked = set(unlinked)
        self.codes: Counter[str] = Counter()
        self.hangs = hangs
        self.now = 1000.0
        self.random = randomness.Random(seed)
        self.up = True
        self.broken: set[str] = set()
        self.outdated = False
        self.crashes: Kind | None = None
        self.starts: list[tuple[float, str]] = []
        self.news: list[str] = []
        self.records: dict[str, list[Record]] = {name: [] for name in names}
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._counter = itertools.count()
        self.accounts: dict[str, Account] = {}
        self.fleet = Fleet(self.accounts, parallel, spread, self.random.random, self.news.append, outside)
        for name in names:
            pairing: ShowCodes = "on_demand" if on_demand else "always"
            settings = AccountSettings(name, proxy=ways.get(name), pairing=pairing)
            self.accounts[name] = Account(settings, self.moment, random=self.random.random)
        for name in names:
            self.handle(name, Begin())

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.now)

    def states(self) -> set[State]:
        return {account.state for account in self.accounts.values()}

    def started_since(self, then: float) -> list[str]:
        return [name for at, name in self.starts if at >= then]

    def cut(self) -> None:
        """Take the network away from everybody."""
        self.up = False
        for name in self.accounts:
            self.lose(name)

    def lose(self, name: str) -> None:
        """Take the link away from one account."""
        if self.accounts[name].state is State.CONNECTED:
            child = self.accounts[name].child
            # Its silence shows with the next ping.
            self.later(self.random.uniform(0, 30), lambda: self.say(name, pipe.LinkLost("silent"), child))
            self.later(30 + LOST, lambda: self.end(name, Kind.NETWORK, child))

    def order(self, name: str, order: Order, *, by_name: bool = False) -> None:
        if order is not Order.STOP:
            self.fleet.wanted(name, by_name=by_name)
        self.handle(name, Ordered(order, by_name=by_name))

    def move(self, name: str, proxy: str | None) -> None:
        """Have the configuration give an account another proxy."""
        self.fleet.wanted(name)
        self.handle(name, Configured(replace(self.accounts[name].settings, proxy=proxy)))

    def words(self, way: str, text: str) -> str:
        """Return what is said of a way."""
        head, _, tail = text.partition(":")
        return f"{head} ({way if ' ' in way else f'the proxy {way}'}):{tail}"

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._counter), call))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            wakes = [account.wakes_at() for account in self.accounts.values()]
            times = [time for time in (*wakes, self.fleet.wakes_at(self.now)) if time is not None]
            at = min([*times, *(due for due, _, _ in self._due[:1]), end])
            if at >= end:
                self.now = end
                return
            self.now = max(self.now, at)
            if self._due and self._due[0][0] <= self.now:
                heapq.heappop(self._due)[2]()
            for name, account in list(self.accounts.items()):
                wakes_at = account.wakes_at()
                if wakes_at is not None and wakes_at <= self.now:
                    self.handle(name, Ticked())
            self.dispatch()

    def dispatch(self) -> None:
        for _ in range(10_000):
            step = self.fleet.next(self.now)
            if step is None:
                return
            self.handle(*step, dispatch=False)
        raise AssertionError("the fleet never comes to rest")

    def handle(self, name: str, event: Event, *, dispatch: bool = True) -> None:
        if name not in self.accounts:
            return
        account = self.accounts[name]
        for action in account.handle(event, self.moment):
            match action:
                case Queue():
                    self.fleet.queue(name)
                case Unqueue():
                    self.fleet.unqueue(name)
                case Spawn():
                    self.spawn(name, account.child)
                case LookUp():
                    self.later(0, functools.partial(self.look_up, name))
                case Quarantine():
                    self.unlinked.add(name)
                case Kill():
                    self.later(0, functools.partial(self.exit, name, account.child, -9))
                case RenewMaker():
                    if self.fleet.renewals.not_loaded(name, self.now):
                        self.renewed.append(self.now)
                case CallOff(why, seen, changed):
                    if self.fleet.renewals.failed(name, seen=seen):
                        self.call_off(why, changed=changed)
                case TellStop() if name in self.liars:
                    pass  # it goes on until it is killed
                case TellStop():
                    self.later(STOP, functools.partial(self.end, name, Kind.STOPPED, account.child))
                case TellStoreLost() if name in self.liars:
                    pass
                case TellStoreLost():
                    self.later(LOSES_STORE, functools.partial(self.end, name, Kind.STORE, account.child))
                case Forget():
                    del self.accounts[name]
                    self.fleet.forget(name, self.now)
                case Record(after=after):
                    self.records[name].append(action)
                    if after is State.CONNECTED:
                        self.fleet.connected(name)
                case _:
                    pass
        if isinstance(event, Exited) and account.last_exit is not None and name in self.accounts:
            self.fleet.ended(name, account.last_exit.kind, self.now)
        if dispatch:
            self.dispatch()

    def look_up(self, name: str) -> None:
        self.handle(name, LookedUp(name not in self.unlinked))

    def look(self, *names: str) -> None:
        """Look at the codes of accounts."""
        for name in names:
            self.handle(name, Looked())

    def scan(self, name: str) -> None:
        """Use the code that an account shows."""
        child = self.accounts[name].child
        self.unlinked.discard(name)
        self.say(name, pipe.Paired(NUMBER), child)
        self.later(DIAL, lambda: self.say(name, pipe.Connected(NUMBER), child))

    def spawn(self, name: str, child: object) -> None:
        self.starts.append((self.now, name))
        self.later(0, lambda: self.handle(name, Spawned(4711)))
        if name in self.liars:
            self.liars[name](self, name, child)
            return
        linked = name not in self.unlinked
        self.later(DIAL / 2, lambda: self.say(name, pipe.Connecting(linked), child))
        proxy = self.accounts[name].settings.proxy
        self.later(DIAL, lambda: self.beat(name, child))
        waits = self.hangs if proxy in self.dead else 0.0
        self.later(DIAL + waits, lambda: self.answer(name, child, proxy))

    def answer(self, name: str, child: object, proxy: str | None) -> None:
        if self.crashes is not None:
            self.end(name, self.crashes, child)
        elif not self.up or name in self.broken or proxy in self.dead:
            self.end(name, Kind.NETWORK, child)
        elif proxy in self.refusing:
            self.end(name, Kind.CONFIG, child)
        elif self.outdated:
            self.end(name, Kind.OUTDATED, child)
        elif name in self.unlinked:
            self.show_code(name, child, self.now + ROUND)
        else:
            self.say(name, pipe.Connected(NUMBER), child)

    def show_code(self, name: str, child: object, until: float) -> None:
        """Show codes until the round is over, or the account is linked."""
        if name not in self.unlinked or not self.is_there(name, child):
            return
        if self.now >= until:
            self.end(name, Kind.PAIRING_EXPIRED, child)
            return
        if not self.accounts[name].stopping:
            self.codes[name] += 1
        self.say(name, pipe.Code("2@secret", b"png", self.now, self.now + CODE), child)
        self.later(CODE, lambda: self.show_code(name, child, until))

    def beat(self, name: str, child: object) -> None:
        if self.is_there(name, child):
            self.handle(name, Said(pipe.Heartbeat(None, 1)), dispatch=False)
            self.later(29, lambda: self.beat(name, child))  # the last moment but one

    def say(self, name: str, message: pipe.FromChild, child: object) -> None:
        if self.is_there(name, child):
            self.handle(name, Said(message))

    def end(self, name: str, kind: Kind, child: object) -> None:
        if self.is_there(name, child):
            self.handle(name, Said(pipe.Ended(kind, f"ended by {kind}")))
            self.handle(name, Exited(EXIT_CODES[kind]))

    def exit(self, name: str, child: object, status: int) -> None:
        if self.is_there(name, child):
            self.handle(name, Exited(status))

    def call_off(self, why: str, *, changed: bool) -> None:
        self.news.append(why)
        for name, account in list(self.accounts.items()):
            if account.waits_for_renewal and (account.behind or not changed):
                self.handle(name, CalledOff(why), dispatch=False)

    def is_there(self, name: str, child: object) -> bool:
        return name in self.accounts and self.accounts[name].child is child and child is not None
