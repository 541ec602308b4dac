"""What is to be done next in a run: the output of its course."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from orchestrator.accounts.failure import Outcome
from orchestrator.accounts.pipe import FromChild


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
class SendText:
    """Have the library send a text: its number, digits of whom it is for, and the text."""

    id: int
    to: str = field(repr=False)
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unlink:
    """Have WhatsApp unlink the device."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """Have the library close the link in good order."""


@dataclass(frozen=True, slots=True)
class SaveTraceback:
    """Write down where all threads are: something has not returned that should have."""


@dataclass(frozen=True, slots=True)
class End:
    """Say how it ended, and exit."""

    outcome: Outcome


Step: TypeAlias = (
    Say | Dial | ShowQr | AskLinkCode | ShowLinkCode | SendText | Unlink | HangUp | SaveTraceback | End
)
