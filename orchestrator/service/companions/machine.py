"""When a companion's process is started, stopped, killed and started anew. Pure.

    off ──► starting ──► running ──► stopping ──► off
              │  ▲          │
              ▼  │          ▼
             waiting ◄── it ended by itself, or was killed because it hung

The moments are monotonic seconds, and come from the caller, as does chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from orchestrator.accounts import deadlines
from orchestrator.accounts.settings import Backoff

START_SECONDS: Final = 60.0
"""From the start of a process to its first beat. Its imports take one second, and more on a busy machine."""
SILENCE_SECONDS: Final = deadlines.HEARTBEAT.outer
"""Without a beat, after which a process hangs. One beats every 10 s."""
BACKOFF: Final = Backoff(base=1.0, factor=2.0, max=300.0, jitter=0.2, reset_after=60.0)
"""How long to wait before a process is started again; after a minute of work the count starts anew."""


class State(StrEnum):
    """What a companion is doing."""

    OFF = "off"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    WAITING = "waiting"


# What happens


@dataclass(frozen=True, slots=True)
class Want:
    """The process is to be there, or not.

    Attributes:
        on: Whether it is.
        seconds: How long it may take to stop.
    """

    on: bool
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Renew:
    """What the process was started with has changed: another is to take its place.

    Attributes:
        seconds: How long it may take to stop.
    """

    seconds: float


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process is there."""


@dataclass(frozen=True, slots=True)
class NotSpawned:
    """There is no process to be had."""

    why: str


@dataclass(frozen=True, slots=True)
class Beat:
    """The process is alive and well."""


@dataclass(frozen=True, slots=True)
class Broke:
    """The process broke a rule of its port, or closed it."""

    why: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The process is gone."""

    why: str


@dataclass(frozen=True, slots=True)
class Stalled:
    """The service itself has stood still for so many seconds: no silence of that time counts."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tick:
    """It is `wake_at`."""


Event: TypeAlias = Want | Renew | Spawned | NotSpawned | Beat | Broke | Exited | Stalled | Tick


# What is to be done


@dataclass(frozen=True, slots=True)
class Start:
    """Start a process; `Spawned` or `NotSpawned` follows."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the process to end within so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill the process; `Exited` follows."""

    why: str


Action: TypeAlias = Start | Stop | Kill


class Machine:
    """Decides about one companion.

    Args:
        backoff: How long to wait between tries.

    Attributes:
        state: What it is doing.
        wanted: Whether the process is to be there.
        ready: Whether the process has given a sign of life.
        reason: Why the last process is gone, for people; empty if there was none, or it was asked to go.
        wake_at: When `Tick` is wanted, None for never.
        starts: How many processes were started.
        failures: How many have ended by themselves in a row.
    """

    def __init__(self, backoff: Backoff = BACKOFF) -> None:
        self.state = State.OFF
        self.wanted = False
        self.ready = False
        self.reason = ""
        self.wake_at: float | None = None
        self.starts = 0
        self.failures = 0
        self._backoff = backoff
        self._seconds = 0.0
        self._ready_at = 0.0
        self._killed = ""
        self._there = False

    @property
    def is_over(self) -> bool:
        """Whether there is no process, and none comes by itself."""
        return self.state is State.OFF

    def handle(self, event: Event, now: float, random: float = 0.0) -> list[Action]:
        """Take in what has happened.

        Args:
            event: It.
            now: Monotonic seconds.
            random: A number from 0 up to 1, for the jitter.

        Returns:
            What is to be done.
        """
        match event:
            case Want(on, seconds):
                return self._want(on, seconds, now)
            case Renew(seconds):
                return self._renew(seconds, now)
            case Spawned():
                return self._spawned(now)
            case NotSpawned(why) | Exited(why):
                return self._gone(why, now, random)
            case Beat():
                self._beat(now)
            case Broke(why):
                return self._kill(why) if self._there else []
            case Stalled(seconds):
                if self.wake_at is not None and self._there:
                    self.wake_at += seconds
            case Tick():
                return self._tick(now)
        return []

    def _want(self, on: bool, seconds: float, now: float) -> list[Action]:
        self.wanted = on
        if on:
            if self.state is State.OFF:
                self.failures, self.reason = 0, ""
                return self._start()
            return []
        if self.state is State.WAITING:
            self._off()
        return self._stop(seconds, now)

    def _renew(self, seconds: float, now: float) -> list[Action]:
        if self.state is State.WAITING:
            self.failures = 0  # whatever kept it from running may be what has changed
            return self._start()
        return self._stop(seconds, now)

    def _start(self) -> list[Action]:
        self.state, self.wake_at = State.STARTING, None
        self._killed = ""
        self.starts += 1
        return [Start()]

    def _spawned(self, now: float) -> list[Action]:
        self._there = True
        if self.state is State.STOPPING:
            return self._stop_now(now)
        self.wake_at = now + START_SECONDS
        return []

    def _stop(self, seconds: float, now: float) -> list[Action]:
        """Have the process end, as soon as it is there."""
        if self.state is State.STOPPING:
            # Never later than was said before, but sooner if somebody is in a hurry.
            self._seconds = min(self._seconds, seconds)
            if self._there and self.wake_at is not None:
                self.wake_at = min(self.wake_at, now + seconds)
            return []
        if self.state not in (State.STARTING, State.RUNNING):
            return []
        self.state, self._seconds = State.STOPPING, seconds
        return self._stop_now(now) if self._there else []

    def _stop_now(self, now: float) -> list[Action]:
        if self._killed:
            return []
        self.wake_at = now + self._seconds
        return [Stop(self._seconds)]

    def _beat(self, now: float) -> None:
        if not self._there or self.state is State.STOPPING or self._killed:
            return
        if not self.ready:
            self.ready, self._ready_at = True, now
            self.state = State.RUNNING
        self.wake_at = now + SILENCE_SECONDS

    def _kill(self, why: str) -> list[Action]:
        if self._killed:
            return []
        self._killed, self.wake_at = why, None
        return [Kill(why)]

    def _tick(self, now: float) -> list[Action]:
        if self.wake_at is None or now < self.wake_at:
            return []
        self.wake_at = None
        match self.state:
            case State.WAITING:
                return self._start()
            case State.STARTING:
                return self._kill(f"gave no sign of life for {START_SECONDS:g} s")
            case State.RUNNING:
                return self._kill(f"gave no sign of life for {SILENCE_SECONDS:g} s")
            case State.STOPPING:
                return self._kill(f"did not stop within {self._seconds:g} s")
        return []

    def _gone(self, why: str, now: float, random: float) -> list[Action]:
        """Go on after the end of a process, or after one that could not be made."""
        stopped = self.state is State.STOPPING
        worked = self.ready and now - self._ready_at >= self._backoff.reset_after
        why = self._killed or why
        self.ready = self._there = False
        self._killed = ""
        if not self.wanted:
            self._off()
            return []
        if stopped:
            self.failures = 0
            return self._start()
        self.failures = 1 if worked else self.failures + 1
        self.state, self.reason = State.WAITING, why
        self.wake_at = now + self._backoff.delay(self.failures, random)
        return []

    def _off(self) -> None:
        self.state, self.wake_at, self.reason = State.OFF, None, ""
        self.failures = 0
