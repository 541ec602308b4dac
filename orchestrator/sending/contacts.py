"""What an outbox knows of a chat, by which it is decided how soon something is sent there. Pure.

Each part is the last time of something. Two pieces of knowledge of one chat are put together by taking the
later time of each part, in any order and any number of times: so nothing is lost when one is written late.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from orchestrator.sending.row import Pace

DAY: Final = 86_400.0
REPLY_WITHIN: Final = DAY
"""Seconds for which a chat that wrote is answered without a pause."""
FOUND_FOR: Final = 30 * DAY
"""Seconds for which a number that was on WhatsApp is not looked up again."""
MISSING_FOR: Final = 7 * DAY
"""Seconds for which a number that was not on WhatsApp is not looked up again."""
REFUSED_FOR: Final = 3600.0
"""Seconds for which nothing is sent to a chat for which alone WhatsApp has refused a message."""


@dataclass(frozen=True, slots=True)
class Contact:
    """What is known of a chat. Times are in Unix seconds; 0 means never.

    Attributes:
        heard_at: When the chat wrote to the account last.
        sent_at: When WhatsApp last took a message to the chat.
        found_at: When the chat's number was on WhatsApp last.
        missing_at: When the chat's number was not on WhatsApp last.
        refused_at: When WhatsApp last refused a message for this chat alone.
    """

    heard_at: float = 0.0
    sent_at: float = 0.0
    found_at: float = 0.0
    missing_at: float = 0.0
    refused_at: float = 0.0

    def merged(self, other: Contact) -> Contact:
        """Return what both know together."""
        return Contact(*(max(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)))

    def pace(self, chat: str, now: float) -> Pace:
        """Return how well the chat is known.

        A group is never new: the account is in it, so somebody has let it in. A chat that the account has
        written to before is not new, either, even if nobody has answered.

        Args:
            chat: The chat's address.
            now: Unix seconds. A clock that was put back makes no chat a better known one for longer.
        """
        if self.heard_at and abs(now - self.heard_at) < REPLY_WITHIN:
            return Pace.REPLY
        if self.heard_at or self.sent_at or is_group(chat):
            return Pace.KNOWN
        return Pace.NEW

    def is_warm(self, chat: str) -> bool:
        """Tell whether the chat has ever written, or is a group: a refusal then concerns this chat alone."""
        return bool(self.heard_at) or is_group(chat)

    def is_found(self, now: float) -> bool:
        """Tell whether the number was on WhatsApp not long ago, so that nobody needs to look it up."""
        return self.found_at > self.missing_at and abs(now - self.found_at) < FOUND_FOR

    def is_missing(self, now: float) -> bool:
        """Tell whether the number was not on WhatsApp not long ago, and has not written since."""
        known = max(self.found_at, self.heard_at, self.sent_at)
        return self.missing_at > known and abs(now - self.missing_at) < MISSING_FOR

    def is_refused(self, now: float) -> bool:
        """Tell whether WhatsApp has just refused a message for this chat, which has not written since."""
        last = max(self.heard_at, self.sent_at)
        return self.refused_at > last and abs(now - self.refused_at) < REFUSED_FOR


def is_group(chat: str) -> bool:
    """Tell whether an address is that of a group."""
    return chat.endswith("@g.us")


def phone_of(chat: str) -> str | None:
    """Return the digits of the number in the address of a person, None if the address has none."""
    digits, _, server = chat.partition("@")
    return digits if server == "s.whatsapp.net" else None
