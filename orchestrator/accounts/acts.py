"""Parts of what an account can be asked to do: the forms of chats, people, messages, texts and emoji. Pure.

What clients say comes from outside, and an answer may be shown to others than who asked: the errors name the
field that is wrong, and never quote it. `sending.wire` and `sending.asks` have the whole.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from orchestrator.accounts import phones
from orchestrator.errors import ExitCode, OrchestratorError

MAX_TEXT: Final = 4096
"""Characters of a text."""
MAX_EMOJI: Final = 40
"""Characters of an emoji. The longest of Unicode, families with skin tones, have about fifteen."""
MAX_MARKED: Final = 100
"""Messages that are marked as read at once."""
MAX_MENTIONS: Final = 100
"""People who are mentioned in a text."""

CHAT: Final = re.compile(
    r"(?:[0-9]{5,20}@(?:s\.whatsapp\.net|lid)|[0-9]{5,20}(?:-[0-9]{5,20})?@g\.us)", re.ASCII
)
"""The form of a chat's address. Groups of long ago have the number of who made them, and a time."""
PERSON: Final = re.compile(r"[0-9]{5,20}@(?:s\.whatsapp\.net|lid)", re.ASCII)
"""The form of a person's address."""
MESSAGE: Final = re.compile(r"[!-~]{1,128}")
"""The form of a message's identifier."""
_PICTURES: Final = frozenset(
    "\u00a9\u00ae\u203c\u2049\u20e3\u2139\u2194\u25fb\u25fc\u25fd\u25fe\u2934\u2935\u3030\u303d"
)
"""Emoji that Unicode counts among punctuation, letters and signs, and not among pictures ("So")."""
_PARTS: Final = frozenset("0123456789#*\u200d\ufe0f")
"""Parts of emoji: of keys, what joins pictures, and what says that a character is shown as a picture."""
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_TAGS: Final = range(0xE0020, 0xE0080)
"""Characters that make flags of regions."""


class Activity(StrEnum):
    """What the other side is shown of an account."""

    TYPING = "typing"
    RECORDING = "recording"
    PAUSED = "paused"


class Fate(StrEnum):
    """What became of an act."""

    DONE = "done"
    """WhatsApp has taken it."""
    FAILED = "failed"
    """It was not done, and will not be."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was done."""
    BUSY = "busy"
    """The account does too much at once already."""


class BadAct(OrchestratorError):  # noqa: N818 - what it is
    """Something that an account is asked to do has no valid form. The message names the field only."""

    exit_code = ExitCode.USAGE
    key = "bad_request"


def person(digits: str) -> str:
    """Return the address of a phone number."""
    return f"{digits}@s.whatsapp.net"


def is_emoji(text: str) -> bool:
    """Tell whether a text can be an emoji: it has pictures, and nothing but what belongs to pictures."""
    if not text or len(text) > MAX_EMOJI or text.isascii():
        return False
    pictures = [_is_picture(one) for one in text]
    return any(pictures) and all(
        is_picture or one in _PARTS or ord(one) in _TAGS
        for one, is_picture in zip(text, pictures, strict=True)
    )


def _is_picture(one: str) -> bool:
    import unicodedata  # only when somebody reacts

    return one in _PICTURES or ord(one) in _SKIN_TONES or unicodedata.category(one) == "So"


def check_text(text: str) -> str:
    """Return a text that can be sent.

    Raises:
        BadAct: It is empty or too long, or no text; with the key `bad_text`.
    """
    if not text.strip():
        raise BadAct("the text is empty", key="bad_text")
    if len(text) > MAX_TEXT:
        raise BadAct(f"the text is too long: a message has at most {MAX_TEXT:,} characters", key="bad_text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadAct("the text is not valid UTF-8", key="bad_text") from None
    return text


def check_chat(value: object, name: str = "chat") -> str:
    """Return the address of a chat: as it is, or that of a number with +.

    Args:
        value: What a client calls the chat.
        name: The name of the field.

    Raises:
        BadAct: It is neither; with the key `bad_number` if it looks like a number.
    """
    if isinstance(value, str) and "@" not in value and any(one == "+" or one.isdigit() for one in value):
        try:
            return person(phones.parse(value))
        except phones.NotANumber as error:
            raise BadAct(f"{name}: {error}", key="bad_number") from None
    if not isinstance(value, str) or not CHAT.fullmatch(value):
        raise BadAct(
            f"{name} must be the address of a chat, as `chat.id` of a message has it, or {phones.EXPECTED}"
        )
    return value
