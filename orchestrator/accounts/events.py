"""What can happen to an account: the input of its machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.pipe import FromChild, Pairing
from orchestrator.accounts.settings import AccountSettings


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time: monotonic seconds to reckon with, Unix seconds to show."""

    monotonic: float
    wall: float

    def wall_at(self, monotonic: float) -> float:
        """Return the Unix time of a monotonic one."""
        return self.wall + monotonic - self.monotonic


class Order(StrEnum):
    """What an operator can wish of an account."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Begin:
    """The service has started, or the account was added."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """An operator wants something.

    Attributes:
        order: What.
        pairing: How to pair on a repair.
        any_phone: Whether a repair lets any phone be linked, and not only the one that the account had.
        by_name: Whether the operator has named the account. Then it is tried, whatever holds the others.
        by: Who that is, for people; None if nobody knows.
        why: Why a stop, for people; None if an operator wants the account to be stopped.
    """

    order: Order
    pairing: Pairing = "qr"
    any_phone: bool = False
    by_name: bool = False
    by: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """The configuration says something new about the account.

    Attributes:
        settings: What it says.
        keep: Why the process it has must not be replaced now, None if it may be.
        by: Who had the configuration read, for people; None if nobody knows.
    """

    settings: AccountSettings
    keep: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The account's session was looked at.

    Attributes:
        number: Digits of the number that it is linked to.
        restored: Whether an operator has put it there on purpose.
    """

    number: str = field(repr=False)
    restored: bool = False


@dataclass(frozen=True, slots=True)
class Looked:
    """Somebody looks at the account's code, or would if there were one: that is good for `LOOK_SECONDS`."""


@dataclass(frozen=True, slots=True)
class LookedUp:
    """The account's session was looked at, because `LookUp` has asked for that.

    Attributes:
        linked: Whether it may be of a linked device.
    """

    linked: bool


@dataclass(frozen=True, slots=True)
class CalledOff:
    """The account is to keep the process it has, instead of waiting for a new one; the text says why."""

    why: str


@dataclass(frozen=True, slots=True)
class Removed:
    """The configuration does not name the account any more.

    Attributes:
        keep_session: Leave the session in place.
        why: Why, for people.
        unlink: Have WhatsApp unlink the device first, if the account is connected. If WhatsApp does, the
            session goes into quarantine, whether it was to stay or not.
        by: Who wants that, for people; None if nobody knows.
    """

    keep_session: bool = False
    why: str = "removed"
    unlink: bool = False
    by: str | None = None


@dataclass(frozen=True, slots=True)
class TurnCame:
    """The account may start now."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """The process is there."""

    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    """There is no process; the text says why, and the kind what follows."""

    why: str
    kind: Kind = Kind.MACHINE


@dataclass(frozen=True, slots=True)
class Said:
    """The child said something."""

    message: FromChild


@dataclass(frozen=True, slots=True)
class Broke:
    """The child broke the rules of the pipe, and was killed; the text says how, and quotes nothing."""

    why: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The link has changed so often that so many changes were not heard; the last of them was."""

    count: int


@dataclass(frozen=True, slots=True)
class Exited:
    """The process has ended and is reaped.

    Attributes:
        status: Exit code, minus a signal's number, or None if unknown.
        out_of_memory: Whether the kernel has of late ended processes because memory ran out.
    """

    status: int | None
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; see `Account.wakes_at`."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """The service itself has stood still for so many seconds, so nobody was heard meanwhile."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Held:
    """What another account has met holds for all, or an operator wants it so: nobody starts until it is over.

    Attributes:
        kind: ``outdated`` or ``network``; None if an operator wants it, and no account has failed.
        reason: Why, for people.
        until: Monotonic time of the next probe, None if there is none to name.
    """

    kind: Kind | None
    reason: str
    until: float | None = None


@dataclass(frozen=True, slots=True)
class StoreGone:
    """The database that has the sessions is away: nobody stays linked."""


@dataclass(frozen=True, slots=True)
class Released:
    """An account held back may try again: all of them, or one as a probe."""


@dataclass(frozen=True, slots=True)
class ShuttingDown:
    """The service stops; processes that are still there at that monotonic time are killed."""

    deadline: float


Event: TypeAlias = (
    Begin
    | Ordered
    | Configured
    | Found
    | Looked
    | LookedUp
    | CalledOff
    | Removed
    | TurnCame
    | Spawned
    | SpawnFailed
    | Said
    | Broke
    | LeftOut
    | Exited
    | Ticked
    | Stalled
    | Held
    | Released
    | StoreGone
    | ShuttingDown
)
