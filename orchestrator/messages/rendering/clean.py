"""Takes what a peer has chosen, and returns what can be handed on: bounded, valid, of one meaning. Pure.

A text may have been made to break what shows, stores or parses it. Text comes from protobuf as `str`, or as
`bytes` where it is not UTF-8.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice

from orchestrator.accounts import phones
from orchestrator.messages import entry

MAX_TEXT = 65_536
"""Characters of a text; WhatsApp's own limit."""
MAX_NAME = 256
"""Characters of a name or title; WhatsApp's own limits are 25 for people and 100 for groups."""
MAX_ID = 255
"""Characters of an id of a button or row, and of an address."""
MAX_FILE_NAME = 255
"""Bytes of a file's name: what file systems take."""

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_CONTROLS_AND_ENDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the order of what follows them, of the event's other parts as well."""
_MIME = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_MAX_MIME = 127
_ADDRESS = re.compile(r"([A-Za-z0-9_-]{1,64})(?:\.[0-9]{1,5})?(?::[0-9]{1,5})?@([a-z.]{1,32})")
_PHONE = re.compile(rf"\+{phones.DIGITS}")
_DIGITS = re.compile(phones.DIGITS)
_TEL = re.compile(r"^[ \t]*(?:[\w-]{1,64}\.)?TEL([^:\r\n]{0,255}):([^\r\n]*)", re.MULTILINE | re.IGNORECASE)
"""A line of a vCard with a phone number: its parameters and the number."""
_WAID = re.compile(rf";waid=({phones.DIGITS})(?![0-9])", re.IGNORECASE)
"""The parameter in which phones write WhatsApp's own number for a contact."""
_SERVER = "@s.whatsapp.net"
_MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999, which is the last one that has a date."""

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp"})
_SEPARATORS = re.compile(r"[<>:\"|?*/\\\u2044\u2215\u29f5\u29f8\ufe68\uff0f\uff3c]")
"""Slashes and what looks like one, and characters that mean something in a name on Windows."""
_DEVICES = re.compile(
    "(con|prn|aux|nul|clock\\$|conin\\$|conout\\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\\..*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Names that mean a device on Windows, with any ending."""


def text(value: str | bytes, longest: int = MAX_TEXT) -> str:
    """Return a text that may have several lines.

    Args:
        value: What the peer has sent.
        longest: Characters at most; the rest is cut off.
    """
    return _CONTROLS.sub("\ufffd", _string(value, longest))


def line(value: str | bytes, longest: int = MAX_NAME) -> str | None:
    """Return a text of one line, such as a name, None if nothing is left.

    Args:
        value: What the peer has sent.
        longest: Characters at most; the rest is cut off.
    """
    clean = _DIRECTIONS.sub("", _CONTROLS_AND_ENDS.sub(" ", _string(value, longest)))
    return clean.strip() or None


def token(value: str | bytes) -> str | None:
    """Return an id that a peer has chosen, None if it has none."""
    return line(value, MAX_ID)


def file_name(value: str | bytes) -> str | None:
    """Return a file's name that is no path, hides nothing, and names no device; None if nothing is left.

    Args:
        value: What the peer has sent.
    """
    name = _string(value, MAX_TEXT)
    if len(name) > 4 * MAX_FILE_NAME:
        # To normalize takes time that grows with the square of the length: two seconds for 65,536 marks.
        name = name[: 3 * MAX_FILE_NAME] + name[-MAX_FILE_NAME:]
    name = "".join(one for one in name if unicodedata.category(one) not in _UNSEEN)
    name = _shorten(_trim(_SEPARATORS.sub("_", unicodedata.normalize("NFC", name))))
    if _DEVICES.fullmatch(name):
        name = _shorten(f"_{name}")
    return name or None


def mime(value: str | bytes) -> str | None:
    """Return a media type without its parameters, None if it is none."""
    found = _string(value, MAX_NAME).partition(";")[0].strip(" ").lower()
    return found if len(found) <= _MAX_MIME and _MIME.fullmatch(found) else None


def address(value: str | bytes) -> str | None:
    """Return the address of a person or a group without a device, None if it is none."""
    match = _ADDRESS.fullmatch(_string(value, MAX_ID))
    return f"{match[1]}@{match[2]}" if match else None


def known_address(user: str | bytes, server: str | bytes) -> str | None:
    """Return the address of a person or a group, of two parts that the library or the inbox gives.

    Args:
        user: What stands before the @.
        server: What stands behind it.
    """
    try:
        return entry.address(_string(user, MAX_ID), _string(server, MAX_ID)) if user else None
    except entry.UnfitError:
        return None


def message_id(value: str | bytes) -> str | None:
    """Return a message's id as the inbox has it, None if there is none."""
    return entry.identifier(_string(value, MAX_TEXT)) if value else None


def addresses(values: Iterable[str | bytes], most: int) -> list[str]:
    """Return the addresses among some texts, each of them once.

    Args:
        values: What the peer has sent.
        most: How many of the texts are looked at.
    """
    return list(dict.fromkeys(found for value in islice(values, most) if (found := address(value))))


def phone(value: object) -> str | None:
    """Return a phone number with its +, None if it is none."""
    return value if isinstance(value, str) and _PHONE.fullmatch(value) else None


def phone_of(of: str) -> str | None:
    """Return the phone number that an address of a person is made of, None if it is made of none."""
    digits = of.removesuffix(_SERVER)
    return f"+{digits}" if of.endswith(_SERVER) and _DIGITS.fullmatch(digits) else None


def coordinate(value: float, limit: float) -> float | None:
    """Return a latitude or longitude in degrees, None if there is no such place.

    Args:
        value: What the peer has sent.
        limit: The largest one.
    """
    return round(value, 9) if math.isfinite(value) and abs(value) <= limit else None


def digest(value: bytes) -> str | None:
    """Return a SHA-256 in hexadecimal digits, None if the bytes are none."""
    return value.hex() if len(value) == 32 else None


def moment(seconds: object) -> str:
    """Return a time of WhatsApp's, which are whole seconds, such as ``2026-11-28T09:59:59Z``."""
    return _date(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_ms(seconds: object) -> str:
    """Return a time with milliseconds, such as ``2026-11-28T10:00:00.123Z``."""
    date = _date(seconds)
    return f"{date:%Y-%m-%dT%H:%M:%S}.{date.microsecond // 1000:03d}Z"


def listed_phones(card: str) -> Iterator[str]:
    """Yield the phone numbers that a vCard names, as far as they have a country code."""
    for found in islice(_TEL.finditer(card), 16):
        account = _WAID.search(found[1])
        if account:
            yield f"+{account[1]}"
            continue
        try:
            yield f"+{phones.parse(found[2].strip()[:64].removeprefix('tel:'))}"
        except phones.NotANumber:
            continue


def _string(value: str | bytes, longest: int) -> str:
    if isinstance(value, bytes):
        return value[: 4 * longest].decode(errors="replace")[:longest]
    return value[:longest]


def _trim(name: str) -> str:
    return name.lstrip(". ").rstrip(". ")


def _shorten(name: str) -> str:
    """Cut the middle out of a name that is too long, so that its ending stays."""
    if len(name.encode(errors="replace")) <= MAX_FILE_NAME:
        return name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode()) > 16:
        stem, dot, ending = name, "", ""
    room = MAX_FILE_NAME - len(f"{dot}{ending}".encode())
    return _trim(stem.encode()[:room].decode(errors="ignore") + dot + ending)


def _date(seconds: object) -> datetime:
    found = float(seconds) if isinstance(seconds, int | float) and abs(seconds) <= _MAX_SECONDS else 0.0
    return datetime.fromtimestamp(max(0.0, found) if math.isfinite(found) else 0.0, UTC)
