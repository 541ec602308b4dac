"""A soak's course: pair, let things go wrong as planned, watch, come to rest, look back."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.checks import Check, all_checks
from benchmarks.soak.deliveries import DELIVER_SECONDS, Delivered, Deliveries
from benchmarks.soak.faults import DO, end_service
from benchmarks.soak.growth import Growth, Life
from benchmarks.soak.kinds import KINDS
from benchmarks.soak.letters import QUEUE_SECONDS, Fate, Letters
from benchmarks.soak.observation import Finding, Observation
from benchmarks.soak.operator import Operator
from benchmarks.soak.plan import Strike
from benchmarks.soak.records import Record, Row, not_kept, rows
from benchmarks.soak.watcher import Watcher
from benchmarks.soak.world import Skipped, World
from orchestrator.sandbox.process import SandboxProcess

TICK_SECONDS = 0.25
LEAK_SECONDS = 3.0
"""Seconds between two looks for secrets."""
PAIR_SECONDS = 60.0
PAIR_SECONDS_EACH = 8.0
"""Seconds for pairing at the beginning, and for every account."""
READY_SECONDS = 45.0
"""Seconds for which a fault waits for its account to be connected."""
REST_SECONDS = 180.0
"""Seconds after the last fault within which all accounts must be connected; with `REST_SECONDS_EACH`."""
REST_SECONDS_EACH = 2.0
CALM_SECONDS = 10.0
"""Seconds in the end in which nothing goes wrong, and nothing may."""
HURRY_SECONDS = 5.0
"""Seconds between two orders to deliver at once, in the end."""
STRIKES_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Result:
    """What a soak has found.

    Attributes:
        rows: What became of the faults, by kind.
        findings: What is wrong: seconds since the beginning, what, and the last faults before.
        skipped: Faults that could not happen, and why.
        lives: The lives of the service that were long enough to be compared.
        orphan_seconds: How long it took until nothing was left of a service that ended.
        looks: How often everything was looked at.
        connected: How many accounts were connected in the end.
        accounts: How many there are.
        seconds: How long it took, pairing included.
        secrets: How many texts were looked for in all that was said.
        fate: What became of the messages.
        delivered: What became of them at webhooks.
    """

    rows: Sequence[Row]
    findings: Sequence[tuple[float, Finding, list[str]]]
    skipped: Sequence[tuple[Strike, str]]
    lives: Sequence[Life]
    orphan_seconds: Sequence[float]
    looks: int
    connected: int
    accounts: int
    seconds: float
    secrets: int
    fate: Fate
    delivered: Sequence[Delivered]


class Soak:
    """A soak.

    Args:
        folder: Where everything goes; it must exist.
        sandbox: WhatsApp; it runs.
        accounts: How many.
        strikes: The plan.
        minutes: For how long.
        say: Is told what goes on, a line each.
    """

    def __init__(
        self,
        folder: Path,
        sandbox: SandboxProcess,
        accounts: int,
        strikes: Sequence[Strike],
        minutes: float,
        say: Callable[[str], None],
    ) -> None:
        self.world = World(folder, sandbox, accounts)
        self._strikes = strikes
        self._seconds = minutes * 60
        self._say = say
        self._watcher = Watcher(self.world)
        self._operator = Operator(self.world)
        self._checks: list[Check] = []
        self._growth = Growth()
        self._letters = Letters(self.world)
        self._deliveries = Deliveries(self.world)
        self._delivered: list[Delivered] = []
        self._hurried_at = 0.0
        self._fate = Fate()
        self._looks = 0
        self._leaks_at = 0.0
        self._told: set[Finding] = set()
        self._pool = ThreadPoolExecutor(STRIKES_AT_ONCE, thread_name_prefix="strike")
        self._running: list[Future[None]] = []

    def run(self) -> Result:
        """Run it to its end; whatever happens, nothing is left running but the sandbox."""
        began = time.monotonic()
        world = self.world
        try:
            world.start_service()
            self._say(f"{len(world.names)} accounts pair")
            if self._until(
                self._all_connected, PAIR_SECONDS + PAIR_SECONDS_EACH * len(world.names), "paired"
            ):
                self._checks = all_checks()
                self._say(f"all are connected; for {self._seconds:.0f} s things go wrong")
                self._letters.start()
                self._strike()
                world.ending.set()
                self._say("the last fault is over; all come to rest")
                rest = REST_SECONDS + REST_SECONDS_EACH * len(world.names)
                self._until(self._at_rest, rest, "at rest")
                self._watch_for(CALM_SECONDS)
                self._letters.stop()
                self._until(lambda _: self._letters.is_settled(), QUEUE_SECONDS, "with all its messages")
                self._until(self._is_delivered, DELIVER_SECONDS, "delivered")
            connected = self._count_connected(world.latest)
            self._look_back()
        finally:
            world.ending.set()
            self._letters.stop()
            with contextlib.suppress(AssertionError):
                if world.service.running_pid is not None:
                    world.stop_service()
            self._operator.close()
            self._pool.shutdown(wait=True, cancel_futures=True)
            world.end_processes()
            world.close()
        return Result(
            rows(world.records),
            world.findings,
            [(one.strike, one.skipped) for one in world.records if one.skipped is not None],
            self._growth.lives(),
            world.orphan_seconds,
            self._looks,
            connected,
            len(world.names),
            time.monotonic() - began,
            len(world.secrets.texts),
            self._fate,
            self._delivered,
        )

    # Its parts

    def _strike(self) -> None:
        began = time.monotonic()
        waiting = list(self._strikes)
        while (elapsed := time.monotonic() - began) < self._seconds:
            while waiting and waiting[0].at <= elapsed:
                self._running.append(self._pool.submit(self._do, waiting.pop(0)))
            self._tick()

    def _do(self, strike: Strike) -> None:
        """Let one fault happen."""
        world = self.world
        record = Record(strike)
        with world.lock:
            world.records.append(record)
        names = [world.names[number] for number in strike.victims]
        everybody = KINDS[strike.kind].reach == "all"
        try:
            if not everybody and not world.until(lambda seen: _ready(seen, names), READY_SECONDS):
                raise Skipped("not connected in time")
            if world.ending.is_set():
                raise Skipped("the soak is over")
            with world.lock:
                for name in names:
                    if "delay" in strike.values:
                        world.delays[name] = float(strike.values["delay"])
                record.begin(world.latest, world.clock.now, names, world.records)
            world.tell("strike", number=strike.number, kind=strike.kind, what=str(strike), names=names)
            DO[strike.kind](world, names, strike.values)
            with world.lock:
                record.waited = sum(
                    float(value) for key, value in strike.values.items() if key in ("seconds", "expire")
                )
                record.cleared_at = world.clock.now
        except Skipped as error:
            record.skipped = str(error)
            world.tell("skipped", number=strike.number, why=str(error))
        except Exception as error:  # noqa: BLE001 - a fault that cannot be made must not end the watch
            record.cleared_at = world.clock.now
            trace = traceback.format_exc()
            world.tell("error", number=strike.number, trace=trace)
            world.found(Finding("soak", None, f"{strike}: {type(error).__name__}: {error}"))

    def _tick(self) -> None:
        """Look once at everything."""
        began = time.monotonic()
        world = self.world
        seen = self._watcher.look()
        self._looks += 1
        for check in self._checks:
            for finding in check.look(seen):
                self._found(finding)
        if seen.parent is not None:
            self._growth.note(seen.at, seen.parent)
        with world.lock:
            for record in world.records:
                for name in record.note(seen):
                    world.tell("back", number=record.strike.number, kind=record.strike.kind, account=name)
                    if name in record.late():
                        within = record.kind.within
                        what = f"not within {within:.0f} s after {record.strike.kind}"
                        self._found(Finding("late", name, what))
                if record.is_overdue(seen.at, len(world.names)):
                    missing = ", ".join(record.missing())
                    self._found(Finding("not back", None, f"{missing} after {record.strike}"))
        if seen.at - self._leaks_at >= LEAK_SECONDS:
            self._leaks_at = seen.at
            for finding in self._watcher.leaks():
                self._found(finding)
        self._operator.look(seen)
        world.publish(seen)
        time.sleep(max(0.0, began + TICK_SECONDS - time.monotonic()))

    def _found(self, finding: Finding) -> None:
        if finding.check in ("secret", "growth"):  # it stays where it is
            if finding in self._told:
                return
            self._told.add(finding)
        self.world.found(finding)
        self._say(f"VIOLATION {finding.check}: {finding.account or 'the service'}: {finding.what}")

    def _until(self, condition: Callable[[Observation], bool], seconds: float, what: str) -> bool:
        """Watch until something is so; return whether it was in time, and say if it was not."""
        began = self.world.clock.now
        while not condition(self.world.latest):
            if self.world.clock.now - began > seconds:
                states = {
                    name: account.state
                    for name, account in (self.world.latest.accounts or {}).items()
                    if account.state != "connected"
                }
                self._found(Finding("not " + what, None, f"not all within {seconds:.0f} s: {states}"))
                return False
            self._tick()
        return True

    def _watch_for(self, seconds: float) -> None:
        began = self.world.clock.now
        while self.world.clock.now - began < seconds:
            self._tick()

    def _all_connected(self, seen: Observation) -> bool:
        return self._count_connected(seen) == len(self.world.names)

    def _count_connected(self, seen: Observation) -> int:
        return sum(_connected(seen, name) for name in self.world.names)

    def _at_rest(self, seen: Observation) -> bool:
        with self.world.lock:
            going_on = any(record.is_open for record in self.world.records)
        return all(one.done() for one in self._running) and not going_on and self._all_connected(seen)

    def _is_delivered(self, seen: Observation) -> bool:
        if seen.at > self._hurried_at + HURRY_SECONDS:
            self._hurried_at = seen.at
            self._deliveries.hurry()
        return self._deliveries.is_settled(self._letters.kept())

    def _look_back(self) -> None:
        """Look at everything that only the end can tell, and stop the service."""
        world = self.world
        for finding in self._watcher.leaks(whole=True):
            self._found(finding)
        for finding in self._growth.findings(len(world.names)):
            self._found(finding)
        for finding in not_kept(world.records, world.latest.quarantined):
            self._found(finding)
        end_service(world)
        for finding in self._watcher.leaks(whole=True):
            self._found(finding)
        self._fate, findings = self._letters.judge()
        for finding in findings:
            self._found(finding)
        self._delivered, findings = self._deliveries.judge(self._letters.kept())
        for finding in findings:
            self._found(finding)


def _connected(seen: Observation, name: str) -> bool:
    account = (seen.accounts or {}).get(name)
    return account is not None and account.state == "connected" and bool((seen.links or {}).get(name))


def _ready(seen: Observation, names: Sequence[str]) -> bool:
    return all(_connected(seen, name) for name in names)
