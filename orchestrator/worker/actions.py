"""What is to be done next in a run: the output of its course."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TypeAlias

from orchestrator.accounts.failure import Outcome
from orchestrator.accounts.pipe import FromChild
from orchestrator.sending.asks import Ask


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the parent."""

    message: FromChild


@dataclass(frozen=True, slots=True)
class Dial:
    """Have the library connect."""


@dataclass(frozen=True, slots=True)
class ShowQr:
    """Show the parent a QR code that is valid for so many seconds."""

    text: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class AskLinkCode:
    """Have WhatsApp wait for an eight-character code from the phone of that number."""

    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ShowLinkCode:
    """Show the parent an eight-character code that is valid for so many seconds."""

    code: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class DoAct:
    """Have the library do something at once: the number of the order, and what is to be done."""

    id: int
    ask: Ask


@dataclass(frozen=True, slots=True)
class FetchMedia:
    """Fetch an attachment: the number of the question, and the attachment's identifier."""

    id: int
    media: str


@dataclass(frozen=True, slots=True)
class Unlink:
    """Have WhatsApp unlink the device."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Have the library close the link in good order, and hand over what it still holds."""


@dataclass(frozen=True, slots=True)
class SaveTraceback:
    """Write down where all threads are: something has not returned that should have."""


class Rest(Enum):
    """What is to be taken from the library before the process ends."""

    NOTHING = auto()
    """It holds nothing of worth, or cannot hand it over."""
    EVENTS = auto()
    """What it may still hold; there is no link."""
    LINK = auto()
    """The same, after the link has been closed in good order."""


@dataclass(frozen=True, slots=True)
class End:
    """Say how it ended, and exit."""

    outcome: Outcome


Step: TypeAlias = (
    Say
    | Dial
    | ShowQr
    | AskLinkCode
    | ShowLinkCode
    | DoAct
    | FetchMedia
    | Unlink
    | HangUp
    | SaveTraceback
    | End
)
