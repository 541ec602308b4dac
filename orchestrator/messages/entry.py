"""What an inbox holds: entries as the library gave them, and what may be in them. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, get_args

Source: TypeAlias = Literal[
    "message", "receipt", "undecryptable", "call", "call_notice", "group", "joined", "lost"
]
"""Which of the library's protobufs an entry is. ``lost`` has none: it stands for a missing message."""
SOURCES: Final[frozenset[str]] = frozenset(get_args(Source))

MAX_RAW: Final = 4 << 20
"""Bytes of a protobuf. WhatsApp's largest messages carry a thumbnail of some 100 kB, twice."""
MAX_NOTES: Final = 64 << 10
"""Bytes of the notes of an entry in JSON."""

MAX_EXTRA: Final = 300
"""Characters of what distinguishes entries."""

_LAST = float(2**36)
"""The latest time, in Unix seconds: milliseconds of the year 1972 and later are more."""
_ADDRESS = re.compile(r"[0-9A-Za-z._-]{0,64}@[a-z.]{1,24}")
_ID = re.compile(r"[!-~]{1,128}")


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that WhatsApp has brought.

    Attributes:
        source: Which protobuf `raw` is.
        chat: The chat's address without a device, such as ``269139479534551@lid``.
        sender: The address of who sent the message, likewise.
        id: WhatsApp's identifier, which the sender has chosen.
        at: WhatsApp's time in Unix seconds.
        raw: The protobuf as the library gave it; empty if there is none.
        notes: What only the account's process knew: ``phones`` and ``names`` by address, ``media``: the
            identifier of the attachment, ``vote``: hashes of the options of a vote, ``status`` of a receipt.
        extra: Distinguishes entries with the same source, chat, sender and identifier, such as the statuses
            of one message.
    """

    source: Source
    chat: str = field(repr=False)
    sender: str = field(repr=False)
    id: str = field(repr=False)
    at: float
    raw: bytes = field(default=b"", repr=False)
    notes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra: str = ""

    @property
    def key(self) -> bytes:
        """Sixteen bytes that stand for the entry: the same entry never comes in twice."""
        words = (self.source, self.chat, self.sender, self.id, self.extra)
        return hashlib.sha256("\0".join(words).encode()).digest()[:16]


@dataclass(frozen=True, slots=True)
class Stored(Entry):
    """An entry in an inbox.

    Attributes:
        seq: Its number, which rises within an account.
        stored_at: When it was stored, in Unix seconds.
    """

    seq: int = 0
    stored_at: float = 0.0


class UnfitError(ValueError):
    """Something is no entry; the text says why and quotes nothing."""


def inner(raw: bytes, number: int) -> bytes | None:
    """Return the bytes of a field of a protobuf, read no deeper than that; None if there is none.

    Python's protobuf refuses a message of 100 levels as a whole, where Go's takes 10,000.

    Args:
        raw: The protobuf.
        number: The number of the field, which holds a protobuf, too.
    """
    at, found = 0, None
    try:
        while at < len(raw):
            tag, at = _varint(raw, at)
            match tag & 7:
                case 0:
                    _, at = _varint(raw, at)
                case 1:
                    at += 8
                case 2:
                    length, at = _varint(raw, at)
                    if tag >> 3 == number:
                        found = raw[at : at + length]
                    at += length
                case 5:
                    at += 4
                case _:
                    return None
    except IndexError:
        return None
    return found if at == len(raw) else None


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = raw[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise IndexError(at)


def address(user: str, server: str) -> str:
    """Return the address of a person or a group without a device.

    Raises:
        UnfitError: There is no such address.
    """
    found = f"{user}@{server}"
    if not _ADDRESS.fullmatch(found):
        raise UnfitError("an address of another form")
    return found


def identifier(text: str | bytes) -> str:
    """Return an identifier as it is stored: senders choose it, so what is no plain word is replaced.

    The replacement is the same each time, so that a message is still recognized.

    Args:
        text: The identifier; bytes if it is no text, as protobuf has it.
    """
    if isinstance(text, bytes):
        text = text.decode(errors="backslashreplace")
    if _ID.fullmatch(text):
        return text
    return "x" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def seconds(time: float) -> float:
    """Return a time of the library's as Unix seconds: it gives some in milliseconds.

    What cannot be a time becomes the nearest that can: the sender's side has chosen it.
    """
    return min(max(0.0, time / 1000 if time > _LAST else float(time)), _LAST)


def dump_notes(notes: Mapping[str, Any]) -> str:
    """Return notes as JSON.

    Raises:
        UnfitError: The notes are too large.
    """
    text = json.dumps(notes, separators=(",", ":")) if notes else ""
    if len(text) > MAX_NOTES:
        raise UnfitError(f"notes of {len(text):,} bytes")
    return text


def load_notes(text: str) -> dict[str, Any]:
    """Return what `dump_notes` wrote.

    Raises:
        UnfitError: The text is something else.
    """
    if not text:
        return {}
    try:
        notes = json.loads(text) if len(text) <= MAX_NOTES else None
    except (ValueError, RecursionError):
        notes = None
    if not isinstance(notes, dict):
        raise UnfitError("notes that are no JSON object")
    return notes


def check(entry: Entry) -> None:
    """See that an entry is one, before it is written and after it was read.

    Raises:
        UnfitError: An account's process cannot have made the entry in good faith.
    """
    text = (entry.source, entry.chat, entry.sender, entry.id, entry.extra)
    if not all(isinstance(one, str) for one in text) or entry.source not in SOURCES:
        raise UnfitError("an entry of no known source")
    if not (_ADDRESS.fullmatch(entry.chat) and _ADDRESS.fullmatch(entry.sender) and _ID.fullmatch(entry.id)):
        raise UnfitError("an entry whose addresses or identifier have another form")
    times = (entry.at, entry.stored_at) if isinstance(entry, Stored) else (entry.at,)
    if not all(isinstance(time, int | float) and 0 <= time <= _LAST for time in times):
        raise UnfitError("an entry with a time that is none")
    if not isinstance(entry.raw, bytes) or len(entry.raw) > MAX_RAW or len(entry.extra) > MAX_EXTRA:
        raise UnfitError("an entry without a message")
