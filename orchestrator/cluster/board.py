"""What one look at the database shows of the cluster. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.cluster.deadlines import SILENT_SECONDS


class Condition(StrEnum):
    """What an account does, as far as that matters for where it runs."""

    RESTING = "resting"
    """It has no process, and none is planned."""
    TRYING = "trying"
    """It starts, connects, or waits for its next try."""
    LOST = "lost"
    """It cannot reach WhatsApp."""
    CODE = "code"
    """It shows a code that somebody may be about to scan."""
    BUSY = "busy"
    """It is connected, and a message is on its way."""
    CONNECTED = "connected"


REACHES = frozenset({Condition.CODE, Condition.BUSY, Condition.CONNECTED})
"""The conditions in which WhatsApp answers."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a shard tells the others with each renewal.

    Attributes:
        connected: How many of its accounts are connected.
        willing: Whether it takes more accounts.
        failing_over: Whether it is about to start accounts that it has just claimed.
    """

    connected: int = 0
    willing: bool = True
    failing_over: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """A shard whose lease is good.

    Attributes:
        name: The shard.
        held: How many accounts it owns.
        capacity: How many it takes at the most.
        report: What it has said last.
        age: Seconds since it has renewed its lease, by the database's clock.
        coming: How many accounts without an owner were handed to it.
    """

    name: str
    held: int
    capacity: int
    report: Report = Report()
    age: float = 0.0
    coming: int = 0

    @property
    def is_silent(self) -> bool:
        """Whether it has missed renewals, so that its lease may be about to end."""
        return self.age > SILENT_SECONDS

    @property
    def room(self) -> int:
        """How many more accounts it would take."""
        if not self.report.willing or self.is_silent:
            return 0
        return max(0, self.capacity - self.held - self.coming)


@dataclass(frozen=True, slots=True)
class Holding:
    """An account that a shard owns.

    Attributes:
        account: Its identifier in the database.
        epoch: How often its owner has changed. One who owns it in another epoch is another owner.
        name: Its name.
        urgent: Whether it was running a moment ago: its owner is lost, or has handed it on.
        target: The shard that an operator has moved it to.
    """

    account: str
    epoch: int
    name: str = ""
    urgent: bool = False
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """The cluster at one moment, as the answer to a renewal.

    Attributes:
        peers: All shards with a good lease, the asking one among them.
        mine: What the asking one owns.
        free: How many accounts have no owner and are for anybody.
        free_seconds: For how long the first of them has had no owner.
        reserved: How many have no owner and are for the asking one.
        drained: Whether an operator wants the asking one to own nothing.
    """

    peers: tuple[Peer, ...]
    mine: tuple[Holding, ...] = ()
    free: int = 0
    free_seconds: float = 0.0
    reserved: int = 0
    drained: bool = False
