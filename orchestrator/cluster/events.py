"""What can happen to a shard: the input of its machine. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.cluster.board import Board, Condition, Holding


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; see `Shard.wakes_at`."""


@dataclass(frozen=True, slots=True)
class Hinted:
    """Somebody says that something has changed in the database. Anybody may say so, so it proves nothing."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The database has made or renewed the lease.

    Attributes:
        incarnation: Of whom.
        begun: The time before the question was sent.
        board: The cluster.
    """

    incarnation: str
    begun: float
    board: Board


@dataclass(frozen=True, slots=True)
class Refused:
    """The database has no lease of this incarnation any more."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Another process has this shard's name, or one that is no part of a cluster has all accounts.

    Attributes:
        host: Where it runs, for people.
        alone: What it does, if it is no part of a cluster; None if it has the lease.
    """

    host: str
    alone: str | None = None


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The database gave no answer to what was asked. Whether it did it, nobody knows."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The database has given the shard these accounts."""

    holdings: tuple[Holding, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """The accounts that were to be released are not the shard's any more.

    Attributes:
        kept: Accounts that are, because the shard they were for has no room for them after all.
    """

    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """The shard's row is gone, as was asked."""


@dataclass(frozen=True, slots=True)
class Fenced:
    """Nobody else can write an account's session any more.

    Attributes:
        account: Which.
        epoch: In which epoch.
        done: Whether that is so. If not, it is tried again.
    """

    account: str
    epoch: int
    done: bool = True


@dataclass(frozen=True, slots=True)
class Gone:
    """An account has no process any more, and gets none here: it was dropped, or is not configured here."""

    account: str


@dataclass(frozen=True, slots=True)
class Seen:
    """An account that runs here is in this condition now."""

    account: str
    condition: Condition


@dataclass(frozen=True, slots=True)
class Doubted:
    """WhatsApp says that another client has taken an account over. That may be another shard."""

    account: str


@dataclass(frozen=True, slots=True)
class HungUp:
    """The database has ended the connection by which a takeover makes itself felt."""


@dataclass(frozen=True, slots=True)
class Reached:
    """Whether WhatsApp can be reached from here, as was asked."""

    reached: bool


@dataclass(frozen=True, slots=True)
class Leaving:
    """The service stops."""


Event: TypeAlias = (
    Ticked
    | Hinted
    | Granted
    | Refused
    | Taken
    | Unanswered
    | Claimed
    | Released
    | Left
    | Fenced
    | Gone
    | Seen
    | Doubted
    | HungUp
    | Reached
    | Leaving
)
