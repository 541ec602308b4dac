"""Some shards, one database and WhatsApp under one clock: bad days of a cluster, each in a moment.

The shards are the real machines. What is around them can do what the real things do: a database that commits
and loses the answer, or loses the question; machines that are switched off, frozen, or stopped with their
clocks; a network that leaves one of them without the database or without WhatsApp.
"""

from __future__ import annotations

import heapq
import itertools
import random as randomness
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.cluster import deadlines
from orchestrator.cluster.actions import (
    Action,
    Adopt,
    Claim,
    Drop,
    Extend,
    Fence,
    How,
    Leave,
    Own,
    Parcel,
    Probe,
    Question,
    Register,
    Release,
    Renew,
)
from orchestrator.cluster.board import Board, Condition, Holding, Peer, Report
from orchestrator.cluster.events import (
    Claimed,
    Doubted,
    Event,
    Fenced,
    Gone,
    Granted,
    Hinted,
    HungUp,
    Leaving,
    Left,
    Reached,
    Refused,
    Released,
    Seen,
    Taken,
    Ticked,
    Unanswered,
)
from orchestrator.cluster.machine import Limits, Shard

DIAL = 0.5
"""Seconds from the start of a process to its link."""
STOP = 0.7
"""Seconds from being asked to stop to the end of a process."""
KILL = 0.05
"""Seconds from SIGKILL to the end of a process."""
WATCH = 0.005
"""Seconds from the end of a connection to the service's thread that waits for nothing else."""
LINK_LOST = 30.0
"""Seconds until a process notices that WhatsApp is silent."""
AGAIN = 2.0
"""Seconds from being replaced to the next try of an account that is still the shard's."""


@dataclass
class ShardRow:
    incarnation: str
    until: float
    capacity: int
    report: Report


@dataclass
class LeaseRow:
    incarnation: str | None = None
    epoch: int = 0
    since: float = 0.0
    """When it lost its owner."""
    was_owned: bool = False
    reserved: str | None = None
    target: str | None = None


class Database:
    """What the functions of the database do, each of them whole: they run one after another.

    Attributes:
        skew: Seconds that the database's clock differs from the world's; its host may be set, or replaced.
        passwords: The epoch for which each account's password was made.
    """

    def __init__(self, world: World, accounts: list[str]) -> None:
        self.world = world
        self.skew = 0.0
        self.shards: dict[str, ShardRow] = {}
        self.leases = {account: LeaseRow() for account in accounts}
        self.drained: set[str] = set()
        self.passwords = dict.fromkeys(accounts, 0)

    @property
    def clock(self) -> float:
        return self.world.now + self.skew

    def owner(self, account: str) -> str | None:
        """Return the name of the shard that owns an account."""
        row = self.leases[account]
        return next((n for n, shard in self.shards.items() if shard.incarnation == row.incarnation), None)

    def answer(self, node: Node, question: Question, begun: float) -> Event:
        self._sweep()
        row = self.shards.get(node.name)
        match question:
            case Register(incarnation, report):
                if row is not None and row.incarnation != incarnation:
                    return Taken("elsewhere")
                until = self.clock + deadlines.LEASE_SECONDS
                self.shards[node.name] = ShardRow(incarnation, until, node.capacity, report)
                return Granted(incarnation, begun, self._board(node, incarnation))
        if row is None or row.incarnation != question.incarnation:
            return Refused()
        match question:
            case Renew(incarnation, report):
                row.until, row.report = self.clock + deadlines.LEASE_SECONDS, report
                return Granted(incarnation, begun, self._board(node, incarnation))
            case Claim(incarnation, count):
                return Claimed(self._claim(node, incarnation, count))
            case Release(incarnation, parcels):
                kept = tuple(p.account for p in parcels if not self._release(incarnation, p))
                self.world.hint()
                return Released(kept)
            case Leave():
                self._free(question.incarnation)
                del self.shards[node.name]
                return Left()

    def _release(self, incarnation: str, parcel: Parcel) -> bool:
        lease = self.leases[parcel.account]
        if lease.incarnation != incarnation or lease.epoch != parcel.epoch:
            return True
        if parcel.target is not None:
            target = self.shards.get(parcel.target)
            if target is None or not target.report.willing:
                return False
            if self._held(target.incarnation) + self._coming(parcel.target) >= target.capacity:
                return False
        lease.incarnation, lease.since, lease.was_owned = None, self.clock, True
        lease.reserved = parcel.target
        if lease.target != parcel.target:
            lease.target = None
        return True

    def _held(self, incarnation: str) -> int:
        return sum(lease.incarnation == incarnation for lease in self.leases.values())

    def _coming(self, name: str) -> int:
        return sum(self._wanted(lease) == name for lease in self.leases.values())

    def _wanted(self, lease: LeaseRow) -> str | None:
        """Return the shard that an account without an owner is for, None if it is for anybody."""
        if lease.incarnation is not None or self.clock - lease.since >= deadlines.RESERVED_SECONDS:
            return None
        wanted = lease.reserved or lease.target
        return wanted if wanted in self.shards else None

    def fence(self, node: Node, account: str, epoch: int) -> bool:
        """Shut the others out, unless the account has another owner by now."""
        row = self.shards.get(node.name)
        lease = self.leases[account]
        if row is None or lease.incarnation != row.incarnation or lease.epoch != epoch:
            return False
        self.passwords[account] = epoch
        return True

    def _sweep(self) -> None:
        """Delete leases that have ended, and with them what they own."""
        for name, row in list(self.shards.items()):
            if row.until <= self.clock:
                self._free(row.incarnation)
                del self.shards[name]
                self.world.hang_up(name)
        self.world.sweeps += 1

    def _free(self, incarnation: str) -> None:
        for lease in self.leases.values():
            if lease.incarnation == incarnation:
                lease.incarnation, lease.since, lease.was_owned = None, self.clock, True

    def _claimable(self, name: str) -> tuple[list[str], list[str]]:
        mine, anybodys = [], []
        for account, lease in self.leases.items():
            if lease.incarnation is not None:
                continue
            wanted = self._wanted(lease)
            if wanted == name:
                mine.append(account)
            elif wanted is None:
                anybodys.append(account)
        return mine, anybodys

    def _claim(self, node: Node, incarnation: str, count: int) -> tuple[Holding, ...]:
        held = self._held(incarnation)
        mine, anybodys = self._claimable(node.name)
        for account in [*mine, *anybodys][: min(count, node.capacity - held)]:
            lease = self.leases[account]
            lease.incarnation, lease.reserved = incarnation, None
            lease.epoch += 1
            if lease.target != node.name:
                lease.target = None
        return tuple(self._holding(a) for a, lease in self.leases.items() if lease.incarnation == incarnation)

    def _holding(self, account: str) -> Holding:
        lease = self.leases[account]
        urgent = lease.was_owned and self.clock - lease.since < deadlines.FAILOVER_SECONDS
        return Holding(account, lease.epoch, f"name-of-{account}", urgent, lease.target)

    def _board(self, node: Node, incarnation: str) -> Board:
        peers = tuple(
            Peer(
                name,
                self._held(row.incarnation),
                row.capacity,
                row.report,
                self.clock - row.until + deadlines.LEASE_SECONDS,
                self._coming(name),
            )
            for name, row in self.shards.items()
        )
        mine = tuple(self._holding(a) for a, lease in self.leases.items() if lease.incarnation == incarnation)
        reserved, free = self._claimable(node.name)
        longest = max((self.clock - self.leases[account].since for account in free), default=0.0)
        return Board(peers, mine, len(free), longest, len(reserved), node.name in self.drained)


@dataclass(eq=False)
class Process:
    """The process of an account."""

    account: str
    node: Node
    epoch: int
    until: float
    linked: bool = False
    alive: bool = True
    dials: int = 0


@dataclass(eq=False)
class Node:
    """A machine with a shard.

    Attributes:
        stopped_clock: Seconds that its clock has stood still so far: a virtual machine that was paused.
    """

    name: str
    capacity: int
    shard: Shard
    on: bool = True
    frozen: bool = False
    stopped_clock: float = 0.0
    database: bool = True
    whatsapp: bool = True
    until: float = 0.0
    processes: dict[str, Process] = field(default_factory=dict)
    later: list[Callable[[], None]] = field(default_factory=list)
    start: int = 0


class World:
    """A cluster.

    Args:
        seed: Of all chance.
        shards: How many there are.
        accounts: How many.
        capacity: How many accounts a shard takes.

    Attributes:
        now: The true time.
        database: The database.
        up: Whether the database runs.
        nodes: The machines by name.
        links: Who is linked for each account, as WhatsApp sees it.
        taken: How often a process of an earlier owner has taken the link, by account and epoch.
        wrong: What was seen that must not be.
    """

    def __init__(self, seed: int, *, shards: int = 3, accounts: int = 12, capacity: int = 100) -> None:
        self.random = randomness.Random(seed)
        self.now = 1000.0
        self.sweeps = 0
        self.up = True
        self.loses_answers = 0.0
        self.wrong: list[str] = []
        self.links: dict[str, Process] = {}
        self.taken: dict[tuple[str, int], int] = {}
        self.log: list[str] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self.accounts = [f"a_{number:016x}" for number in range(accounts)]
        self.nodes: dict[str, Node] = {}
        self.database = Database(self, self.accounts)
        for number in range(shards):
            self.add(f"s{number}", capacity)

    # Time

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something later."""
        heapq.heappush(self._heap, (self.now + seconds, next(self._count), call))

    def on(self, node: Node, seconds: float, call: Callable[[], None]) -> None:
        """Call something of a machine later: when it is frozen then, once it goes on; never if it was off."""
        start = node.start

        def do() -> None:
            if not node.on or node.start != start:
                return
            if node.frozen:
                node.later.append(do)
            else:
                call()

        self.at(seconds, do)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, call = heapq.heappop(self._heap)
            call()
            self.check()
        self.now = end

    def local(self, node: Node) -> float:
        """Return the time by a machine's own clock."""
        return self.now - node.stopped_clock

    # Machines

    def add(self, name: str, capacity: int = 100) -> Node:
        """Switch a machine on."""
        old = self.nodes.get(name)
        draw = itertools.count()
        start = 0 if old is None else old.start + 1
        shard = Shard(Limits(name), lambda: f"{name}-{start}-{next(draw)}")
        node = Node(name, capacity, shard, start=start)
        self.nodes[name] = node
        self.feed(node, Ticked())
        return node

    def power_off(self, name: str) -> None:
        """End a machine with everything on it, at once."""
        node = self.nodes[name]
        node.on = False
        for process in node.processes.values():
            process.alive = process.linked = False
            if self.links.get(process.account) is process:
                del self.links[process.account]

    def kill_service(self, name: str) -> None:
        """End a service, while its processes live on until their time is over."""
        node = self.nodes[name]
        node.shard.lease.ended()
        node.on = False
        for process in list(node.processes.values()):
            self.at(process.until - self.local(node), lambda p=process: self.end(p))  # type: ignore[misc]

    def freeze(self, name: str, seconds: float, *, clock: bool = True) -> None:
        """Stop everything on a machine for a while; with its clock, or while its clock goes on."""
        node = self.nodes[name]
        if not node.on or node.frozen:
            return
        node.frozen = True
        start = node.start

        def thaw() -> None:
            node.frozen = False
            if not node.on or node.start != start:
                return
            if not clock:
                node.stopped_clock += seconds
            waiting, node.later = node.later, []
            # What comes over the network and what timers bring has no order that anybody could count on.
            self.random.shuffle(waiting)
            for call in waiting:
                self.on(node, self.random.uniform(0, 0.02), call)

        self.at(seconds, thaw)

    def terminate(self, name: str) -> None:
        """Send SIGTERM to a service."""
        node = self.nodes[name]
        self.on(node, 0.0, lambda: self.feed(node, Leaving()))

    def feed(self, node: Node, event: Event) -> None:
        """Let something happen to a shard."""
        for action in node.shard.handle(event, self.local(node)):
            self.carry_out(node, action)
        wake = node.shard.wakes_at(self.local(node))
        if wake is not None:
            self.on(node, max(0.0, wake - self.local(node)) + 1e-6, lambda: self.tick(node, wake))
        if node.shard.has_left:
            node.on = False

    def tick(self, node: Node, planned: float) -> None:
        wake = node.shard.wakes_at(self.local(node))
        if wake is not None and (wake <= planned or wake <= self.local(node)):
            self.feed(node, Ticked())

    def hint(self) -> None:
        """Tell every shard that something has changed."""
        for node in self.nodes.values():
            if node.database:
                self.on(node, 0.01, lambda node=node: self.feed(node, Hinted()))  # type: ignore[misc]

    def hang_up(self, name: str) -> None:
        """End the connection by which a takeover makes itself felt."""
        node = self.nodes[name]
        if node.database:
            self.on(node, WATCH, lambda: self.feed(node, HungUp()))

    # What a shard wants

    def carry_out(self, node: Node, action: Action) -> None:
        match action:
            case Register() | Renew() | Claim() | Release() | Leave():
                self.ask(node, action)
            case Fence(account, epoch):
                self.fence(node, account, epoch)
            case Adopt(account, _, _):
                held = node.shard.holdings.by_account[account]
                if account in node.processes:
                    self.wrong.append(f"{self.now:.2f} {account} has a second process on {node.name}")
                self.spawn(node, account, held.holding.epoch)
            case Drop(account, how):
                process = node.processes.get(account)
                if process is None:
                    self.on(node, 0.0, lambda: self.feed(node, Gone(account)))
                else:
                    self.end_soon(process, STOP if how is How.STOP else KILL)
                    if how is not How.STOP:  # the kernel lets it do nothing more
                        process.dials = -1
                        self.unlink(process)
            case Extend(until):
                node.until = until
                for process in node.processes.values():
                    process.until = until
            case Own(account):
                process = node.processes.get(account)
                if process is not None:
                    self.on(node, AGAIN, lambda: self.dial(process))
            case Probe():
                self.on(node, 1.0, lambda: self.feed(node, Reached(node.whatsapp)))

    def ask(self, node: Node, question: Question) -> None:
        begun, start = self.local(node), node.start
        there, back = self.random.uniform(0.001, 0.05), self.random.uniform(0.001, 0.05)
        if self.random.random() < 0.02:
            back += self.random.uniform(0, 4)  # a server that is busy
        lost = self.random.random() < self.loses_answers

        def arrive() -> None:
            if not (self.up and node.database) or not node.on or node.start != start:
                if self.up and self.random.random() < 0.3 and node.start == start and node.on:
                    self.database.answer(node, question, begun)  # and the cable was cut only then
                self.on(node, deadlines.QUESTION_SECONDS, lambda: self.feed(node, Unanswered()))
                return
            answer = self.database.answer(node, question, begun)
            if lost:
                self.on(node, self.random.uniform(0.1, 3.0), lambda: self.feed(node, Unanswered()))
            else:
                self.on(node, back, lambda: self.feed(node, answer))

        self.at(there, arrive)

    def fence(self, node: Node, account: str, epoch: int) -> None:
        start = node.start

        def arrive() -> None:
            if node.start != start:
                return
            done = self.up and node.database and self.database.fence(node, account, epoch)
            done = done and self.random.random() >= self.loses_answers
            self.on(node, 0.1, lambda: self.feed(node, Fenced(account, epoch, done)))

        self.at(self.random.uniform(0.05, 0.3), arrive)

    # Processes and WhatsApp

    def spawn(self, node: Node, account: str, epoch: int) -> None:
        process = Process(account, node, epoch, node.until)
        node.processes[account] = process
        self.on(node, DIAL, lambda: self.dial(process))
        self.watch(process)

    def watch(self, process: Process) -> None:
        """Let a process look at its time, and write now and then."""
        node = process.node
        if not process.alive:
            return
        if self.local(node) >= process.until:
            self.reap(process)
            return
        self.write(process)
        wait = min(1.0, process.until - self.local(node)) + 1e-6
        self.on(node, wait, lambda: self.watch(process))

    def dial(self, process: Process) -> None:
        if not process.alive or process.dials < 0 or self.local(process.node) >= process.until:
            return
        node = process.node
        if not node.whatsapp:
            self.feed(node, Seen(process.account, Condition.LOST))
            self.on(node, 5.0, lambda: self.dial(process))
            return
        process.dials += 1
        other = self.links.get(process.account)
        self.links[process.account] = process
        process.linked = True
        stale = process.epoch < self.database.passwords[process.account]
        if stale and not node.stopped_clock:
            self.wrong.append(
                f"{self.now:.2f} {node.name} dials for {process.account}: {process.epoch}, stale"
            )
        if other is not None and other is not process and other.linked:
            other.linked = False
            if stale:  # a machine whose clock stood still cannot know it, and is thrown out a moment later
                key = process.account, process.epoch
                self.taken[key] = self.taken.get(key, 0) + 1
            self.on(other.node, 0.05, lambda: self.replaced(other))
        self.feed(node, Seen(process.account, Condition.CONNECTED))

    def replaced(self, process: Process) -> None:
        if process.alive:
            self.feed(process.node, Doubted(process.account))

    def cut_whatsapp(self, name: str) -> None:
        """Leave a machine without WhatsApp."""
        node = self.nodes[name]
        node.whatsapp = False
        for process in list(node.processes.values()):
            self.on(node, LINK_LOST, lambda process=process: self.lose_link(process))  # type: ignore[misc]

    def lose_link(self, process: Process) -> None:
        if process.alive and process.linked and not process.node.whatsapp:
            self.unlink(process)
            self.feed(process.node, Seen(process.account, Condition.LOST))
            self.on(process.node, 5.0, lambda: self.dial(process))

    def unlink(self, process: Process) -> None:
        process.linked = False
        if self.links.get(process.account) is process:
            del self.links[process.account]

    def end(self, process: Process) -> None:
        process.alive = False
        self.unlink(process)

    def reap(self, process: Process) -> None:
        """End a process, and let its service know."""
        if process.alive:
            self.end(process)
            node = process.node
            if node.processes.get(process.account) is process:
                del node.processes[process.account]
            self.feed(node, Gone(process.account))

    def end_soon(self, process: Process, seconds: float) -> None:
        """End a process later, and let its service know."""
        self.on(process.node, seconds, lambda: self.reap(process))

    def write(self, process: Process) -> None:
        """Change the session, as a linked process does; the database wants the right password."""
        if not (self.up and process.node.database):
            return
        if process.epoch == self.database.passwords[process.account]:
            current = self.links.get(process.account)
            if current is not None and current.epoch > process.epoch:
                self.wrong.append(f"{self.now:.2f} {process.node.name} writes for {process.account}: stale")

    # What must hold

    def check(self) -> None:
        """See that an earlier owner never takes the link twice."""
        for (account, epoch), count in self.taken.items():
            if count > 1:
                self.wrong.append(f"{self.now:.2f} {account} was fought for in epoch {epoch}")
        self.taken = {key: count for key, count in self.taken.items() if count <= 1}

    def heal(self) -> None:
        """Make everything work again."""
        self.up, self.loses_answers = True, 0.0
        for node in self.nodes.values():
            node.database = node.whatsapp = True

    def missing(self) -> list[str]:
        """Return the accounts that are not linked by a live process of their owner."""
        return [
            account
            for account in self.accounts
            if (process := self.links.get(account)) is None
            or not process.alive
            or process.node.name != self.database.owner(account)
        ]

    def alive(self) -> list[Node]:
        """Return the machines that are on."""
        return [node for node in self.nodes.values() if node.on]
