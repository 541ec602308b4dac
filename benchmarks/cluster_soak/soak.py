"""The course of a soak of a cluster: let things go wrong as planned, come to rest, look back."""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from benchmarks.cluster.network import Side, address
from benchmarks.cluster.rig import Rig
from benchmarks.cluster_soak import checks, ledger
from benchmarks.cluster_soak.faults import BURST, Broken, Faults, Skipped
from benchmarks.cluster_soak.observed import Kept, Link, Struck
from benchmarks.cluster_soak.plan import Strike
from benchmarks.cluster_soak.traffic import Traffic
from benchmarks.soak.leaks import Secrets
from benchmarks.soak.observation import Finding
from orchestrator.sandbox.client import SandboxError
from orchestrator.sending.row import State

PAUSE_SECONDS = 0.1
"""Seconds between two messages to accounts, and between two of accounts, in the mean."""
LOOK_SECONDS = 0.5
"""Seconds between two looks at who owns which account, and at what WhatsApp has seen."""
REST_SECONDS = 180.0
"""Seconds after the last fault within which all accounts must be connected."""
QUEUE_SECONDS = 90.0
"""Seconds in the end for all that waits to arrive."""
STRIKES_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Result:
    """What a soak has found.

    Attributes:
        planned: All faults of the plan.
        struck: Those that have happened.
        skipped: Those that could not, and why.
        backs: When each account was back.
        fate: What became of the messages to accounts.
        sent: How many rows of outboxes there are, by state.
        unanswered: How many texts nobody was told of.
        errors: How often a program that had an account send was told which error.
        overlaps: How many links were opened beside another one.
        changes: How often an account was claimed.
        writes: How many writes to sessions were looked at.
        late_writes: How many of them came from another than the owner, before the fence.
        connected: Whether all accounts were connected in the end.
        findings: What must not be.
        seconds: How long it took, without the pairing.
    """

    planned: Sequence[Strike]
    struck: Sequence[Struck]
    skipped: Sequence[tuple[Strike, str]]
    backs: Sequence[checks.Back]
    fate: checks.Fate
    sent: Counter[str]
    unanswered: int
    errors: Counter[str]
    overlaps: int
    changes: int
    writes: int
    late_writes: int
    connected: bool
    findings: Sequence[Finding]
    seconds: float


class Soak:
    """A soak of a cluster that runs, with all accounts connected.

    Args:
        rig: The cluster.
        strikes: The plan.
        minutes: For how long.
        slack: Seconds that a busy machine may take on top of what is promised.
        say: Is told what goes on, a line each.
    """

    def __init__(
        self,
        rig: Rig,
        strikes: Sequence[Strike],
        minutes: float,
        slack: float,
        say: Callable[[str], None],
    ) -> None:
        self._rig = rig
        self._strikes = strikes
        self._seconds = minutes * 60
        self._slack = slack
        self._say = say
        self._traffic = Traffic(rig.sandbox.client, rig.numbers, self._ask, PAUSE_SECONDS)
        self._faults = Faults(rig, lambda names: self._traffic.write(names, BURST))
        self._struck: list[Struck] = []
        self._skipped: list[tuple[Strike, str]] = []
        self._found: list[Finding] = []
        self._owners: dict[str, str | None] = {}
        self._events: list[dict[str, Any]] = []
        self._since = 0
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)

    def run(self) -> Result:
        """Run it to its end."""
        began = time.monotonic()
        with self._rig.database.superuser() as connection:
            tables = ledger.install(connection)
        self._say(f"the database writes down who changes {tables} tables; things go wrong")
        self._watcher.start()
        self._traffic.start()
        try:
            self._strike()
            self._say("the last fault is over; all come to rest")
            connected = self._rest()
            self._traffic.stop()
            self._until(self._is_settled, QUEUE_SECONDS)
        finally:
            self._traffic.stop()
            self._over.set()
            self._watcher.join()
        with contextlib.suppress(SandboxError):
            self._look()
        return self._judge(connected, time.monotonic() - began)

    # Its parts

    def _strike(self) -> None:
        began = time.monotonic()
        running: list[Future[None]] = []
        with ThreadPoolExecutor(STRIKES_AT_ONCE, thread_name_prefix="strike") as pool:
            for strike in self._strikes:
                time.sleep(max(0.0, began + strike.at - time.monotonic()))
                running.append(pool.submit(self._do, strike))
            time.sleep(max(0.0, began + self._seconds - time.monotonic()))

    def _do(self, strike: Strike) -> None:
        self._say(str(strike))
        try:
            hit = self._faults.hit(strike)
            began_at = time.time()
            self._faults.make(strike)
        except (Skipped, RuntimeError) as why:
            self._skipped.append((strike, str(why)))
            self._say(f"  left out: {strike.kind}: {why}")
        except Broken as error:
            self._found.append(Finding("broken", None, str(error)))
        except Exception:  # noqa: BLE001 - told in the end
            self._found.append(Finding("error of the soak", None, traceback.format_exc()))
        else:
            self._struck.append(Struck(strike, began_at, time.time(), hit))

    def _rest(self) -> bool:
        try:
            self._rig.until_connected(seconds=REST_SECONDS)
        except AssertionError as error:
            self._found.append(Finding("not at rest", None, str(error)))
            return False
        return True

    def _is_settled(self) -> bool:
        try:
            with self._rig.database.superuser() as connection:
                kept = ledger.kept(connection)
            waiting = self._traffic.queued()
        except (SandboxError, RuntimeError):
            return False
        rows = set(kept.rows.values())
        return not waiting and not rows & {State.QUEUED, State.SENDING} and not self._missing(kept)

    def _missing(self, kept: Kept) -> bool:
        return bool(checks.fate(self._traffic.letters, kept).missing)

    def _until(self, true: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not true() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)

    # What is seen

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with contextlib.suppress(RuntimeError):  # the database is away
                self._owners = self._rig.owners()
            with contextlib.suppress(SandboxError):
                self._look()

    def _look(self) -> None:
        for event in self._rig.sandbox.client.events(self._since):
            self._since = event["seq"]
            if event["event"] in ("opened", "login", "closed"):
                self._events.append(event)

    def _links(self) -> list[Link]:
        names = {number: name for name, number in self._rig.numbers.items()}
        shards = {shard.address: shard.name for shard in self._rig.shards}
        opened = {one["connection"]: one["peer"] for one in self._events if one["event"] == "opened"}
        closed = {one["connection"]: one["at"] for one in self._events if one["event"] == "closed"}
        return [
            Link(
                names[one["phone"]],
                one["connection"],
                one["at"],
                closed.get(one["connection"]),
                shards.get(opened[one["connection"]]),
            )
            for one in self._events
            if one["event"] == "login" and one["phone"] in names
        ]

    def _ask(self, name: str, words: dict[str, Any]) -> dict[str, Any] | None:
        owner = self._owners.get(name)
        for shard in self._rig.shards:
            if shard.name == owner:
                return shard.client.call("send", name=name, **words)
        return None

    # Looking back

    def _judge(self, connected: bool, seconds: float) -> Result:
        rig = self._rig
        with rig.database.superuser() as connection:
            kept = ledger.kept(connection)
            claims = ledger.claims(connection)
            addresses = {address(shard.network.number, Side.DATABASE): shard.name for shard in rig.shards}
            writes = ledger.writes(connection, addresses)
        links = self._links()
        fate = checks.fate(self._traffic.letters, kept)
        backs = checks.backs(links, self._struck, time.time())
        found = [
            *self._found,
            *checks.two_links(links, claims, self._struck),
            *checks.foreign_links(links, claims),
            *checks.foreign_writes(writes),
            *checks.lost_letters(fate),
            *checks.lost_errands(self._traffic.errands, kept, self._traffic.arrived()),
            *checks.late(backs, self._slack),
            *self._said(),
        ]
        return Result(
            self._strikes,
            self._struck,
            self._skipped,
            backs,
            fate,
            Counter(kept.rows.values()),
            sum(one.row is None for one in self._traffic.errands),
            self._traffic.errors,
            checks.overlaps(links),
            sum(claim.shard is not None for claim in claims),
            len(writes),
            checks.late_writes(writes),
            connected,
            found,
            seconds,
        )

    def _said(self) -> Iterator[Finding]:
        """Yield what no log of a shard may have in it."""
        secrets = Secrets()
        secrets.add(self._rig.database.password, "the password of the database")
        secrets.add(self._traffic.word, "the text of a message")
        for name, number in self._rig.numbers.items():
            secrets.add(number.removeprefix("+"), f"the number of {name}")
        for shard in self._rig.shards:
            log = shard.log.read_text(errors="replace")
            yield from secrets.found(log, f"the log of {shard.name}")
            if count := log.count("Traceback (most recent call last)"):
                yield Finding("traceback", None, f"{count} in the log of {shard.name}")
