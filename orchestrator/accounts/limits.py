"""What an account may not send for now, as its process says, and the words for it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.accounts.outgoing import Restriction

_WORDS: Final = {
    Restriction.NEW: "WhatsApp does not let the account write to people whom it does not know",
    Restriction.ALL: "WhatsApp asks the account for a pause, so nothing is sent",
}
LIFTED: Final = "the account may send everything again"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may not send.

    Attributes:
        what: What it may not.
        until: Until when, in Unix seconds, None if nobody knows or there is no limit.
        code: WhatsApp's number for it, None without one.
    """

    what: Restriction = Restriction.NOTHING
    until: float | None = None
    code: int | None = None

    @property
    def text(self) -> str | None:
        """What there is to say of it, None without a limit."""
        return _WORDS.get(self.what)

    def at(self, now: float) -> Limits:
        """Return what is left of it at a time in Unix seconds."""
        return Limits() if self.until is not None and self.until <= now else self
