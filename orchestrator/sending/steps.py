"""What the desk says is to be done with a row, and what it is told of how that ended. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from orchestrator.sending.row import Pace


@dataclass(frozen=True, slots=True)
class Expire:
    """The time of a row is over: nothing is sent."""

    number: int


@dataclass(frozen=True, slots=True)
class CheckNumber:
    """It is to be found out whether the receiver's number is on WhatsApp; then `Desk.checked`.

    Attributes:
        number: The row.
        phone: The digits of the number.
    """

    number: int
    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShowTyping:
    """The receiver is to see that the account types, or records. The desk asks for the rest in time.

    Attributes:
        number: The row.
        recording: Whether a voice note is recorded.
    """

    number: int
    recording: bool = False


@dataclass(frozen=True, slots=True)
class Hand:
    """The row is to be handed to the library now; then `Desk.ended`."""

    number: int
    pace: Pace


@dataclass(frozen=True, slots=True)
class Schedule:
    """The row waits; somebody may want to see for how long.

    Attributes:
        number: The row.
        pace: How well its chat is known.
        queued_until: When it is sent at the earliest, as it looks now, in Unix seconds; None if nobody knows.
        why: What it waits for, in plain words.
    """

    number: int
    pace: Pace
    queued_until: float | None
    why: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The row has failed: nothing is sent.

    Attributes:
        number: The row.
        why: Why, in plain words.
        code: WhatsApp's number for it, None without one.
    """

    number: int
    why: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class PutBack:
    """The row was certainly not sent, and waits again. The desk keeps it: nobody adds it anew.

    Attributes:
        number: The row.
        why: Why, in plain words.
        queued_until: When it is tried again at the earliest, in Unix seconds; None if nobody knows.
    """

    number: int
    why: str
    queued_until: float | None


Step: TypeAlias = Expire | CheckNumber | ShowTyping | Hand | Schedule | Fail | PutBack


class EndKind(StrEnum):
    """How the try to send a row ended."""

    SENT = "sent"
    """WhatsApp has taken it."""
    REFUSED = "refused"
    """WhatsApp refuses it, or it can never be sent: it certainly does not arrive."""
    BEFORE = "before"
    """Something failed before anything was sent: it can be tried again."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was sent."""


@dataclass(frozen=True, slots=True)
class End:
    """How the try to send a row ended.

    Attributes:
        kind: How.
        code: WhatsApp's number for why it refused, None without one.
        until: Until when WhatsApp refuses, in Unix seconds, None if it does not say.
        why: Why, in plain words, for whoever asks about the row.
    """

    kind: EndKind
    code: int | None = None
    until: float | None = None
    why: str = ""


class Closed(StrEnum):
    """What WhatsApp currently takes nothing of."""

    NOTHING = "nothing"
    """It takes everything."""
    NEW = "new"
    """Messages to people who have not written to the account."""
    ALL = "all"
    """Everything."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """What WhatsApp takes no messages of at the moment.

    Attributes:
        what: Of what.
        until: When sending goes on, in Unix seconds, None if nothing is restricted.
        code: WhatsApp's number for it, None if nothing is restricted.
    """

    what: Closed = Closed.NOTHING
    until: float | None = None
    code: int | None = None
