"""What a shard is to do: the output of its machine. Pure.

The first group are questions to the database. One is asked at a time, and its answer, or `Unanswered`, comes
before the next is asked. All the others are for the service.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from orchestrator.cluster.board import Report


@dataclass(frozen=True, slots=True)
class Register:
    """Make a lease for this start of the shard."""

    incarnation: str
    report: Report


@dataclass(frozen=True, slots=True)
class Renew:
    """Renew the lease, unless it has ended."""

    incarnation: str
    report: Report


@dataclass(frozen=True, slots=True)
class Claim:
    """Take accounts that nobody owns, so many at the most."""

    incarnation: str
    count: int


@dataclass(frozen=True, slots=True)
class Parcel:
    """An account that is released.

    Attributes:
        account: Which.
        epoch: In which epoch; if another has it by now, nothing happens.
        target: For whom, None for anybody. If that shard has no room, the account is not released.
    """

    account: str
    epoch: int
    target: str | None


@dataclass(frozen=True, slots=True)
class Release:
    """Give accounts up that have no process any more."""

    incarnation: str
    parcels: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Delete the lease: nothing of this shard runs any more."""

    incarnation: str


@dataclass(frozen=True, slots=True)
class Fence:
    """Shut everybody out of an account's session: nobody can log in, and no connection is left."""

    account: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """Run an account from now on.

    Attributes:
        account: Which.
        name: Its name.
        urgent: Whether it was running elsewhere a moment ago.
    """

    account: str
    name: str
    urgent: bool


class How(Enum):
    """How an account is dropped."""

    STOP = "stop"
    """Its process closes its link in good order, and takes what WhatsApp has delivered."""
    KILL = "kill"
    """At once: another may have it, or may get it."""
    CUT = "cut"
    """The same, because nobody knows any more whether it is this shard's."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Run an account no more; `Gone` is told when its process has ended."""

    account: str
    how: How


@dataclass(frozen=True, slots=True)
class Extend:
    """Let all processes go on until that time."""

    until: float


@dataclass(frozen=True, slots=True)
class Own:
    """A doubted account is still this shard's: whoever replaced it does not belong to the cluster."""

    account: str


@dataclass(frozen=True, slots=True)
class Probe:
    """Find out whether WhatsApp can be reached from here, without an account."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Let people know; a warning for the log."""

    text: str


Question: TypeAlias = Register | Renew | Claim | Release | Leave
Action: TypeAlias = Question | Fence | Adopt | Drop | Extend | Own | Probe | Tell
