"""What a child and its parent say to each other: small JSON objects with a known form, never a pickle.

The pipe is a border. A child parses what strangers send, so nothing it says may harm whoever hears it: beside
each field stands what it may hold, and `decode` refuses everything else. `conduct` has the rules about the
order and the number of messages.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args

from orchestrator.accounts import bounds, phones, picture
from orchestrator.accounts.bounds import BoundsError, Data, Form, Range, Sentence, Words
from orchestrator.accounts.failure import Kind, Outcome

MAX_MESSAGE = 64 * 1024
"""Bytes of a message. The largest, a QR code with its picture, has about 4,000."""
MAX_SENTENCE: Final = 500
"""Characters of a sentence for people. What libraries and WhatsApp say can be longer, and is cut."""
MAX_BODY: Final = 4096
"""Characters of a text that is sent. Each takes up to 12 bytes of a message, which has at most 64 KiB."""

UnixTime: TypeAlias = Annotated[float, Range(0, bounds.LATEST, fits=True)]
"""Unix seconds."""
Seconds: TypeAlias = Annotated[float, Range(0, bounds.LATEST, fits=True)]
"""A length of time."""
Bytes: TypeAlias = Annotated[int, Range(0, 2**50)]
"""A size."""
Files: TypeAlias = Annotated[int, Range(0, 2**31)]
"""A number of open files."""
Lacks: TypeAlias = Annotated[str, Form(re.compile("(?:[a-z]{1,16}(?: [a-z]{1,16}){0,7})?"))]
"""At most eight short words with blanks between, or empty."""
Reason: TypeAlias = Annotated[int, Range(0, 9_999_999_999)]
"""A number that WhatsApp gives as a reason; it has at most ten digits."""
Number: TypeAlias = Annotated[int, Range(0, 2**53)]
"""The number of a text that is to be sent."""
Phone: TypeAlias = Annotated[str, Form(re.compile(phones.DIGITS))]
"""The digits of a phone number."""
PhoneIfKnown: TypeAlias = Annotated[str, Form(re.compile(f"(?:{phones.DIGITS})?"))]
"""The same, or empty."""
QrText: TypeAlias = Annotated[str, Form(re.compile("[!-~]{20,700}"))]
"""What a QR code says; a present one has about 240 characters."""
Letters: TypeAlias = Annotated[str, Form(re.compile("[1-9A-HJ-NP-TV-Z]{4}-?[1-9A-HJ-NP-TV-Z]{4}"))]
"""An eight-character code. WhatsApp's alphabet has no 0, I, O and U; whatsmeow puts a dash in the middle."""
Png: TypeAlias = Annotated[bytes, Data(picture.LONGEST, picture.is_picture)]
"""The picture of a code."""
Said: TypeAlias = Annotated[str, Sentence(MAX_SENTENCE)]
"""A sentence for people."""
Body: TypeAlias = Annotated[str, Words(MAX_BODY)]
"""A text to be sent."""


class MessageError(ValueError):
    """Bytes from the other side are no message; the text says why, without quoting them."""


# From the child


@dataclass(frozen=True, slots=True)
class Loading:
    """The process has begun; until it dials, it makes the session its own and loads the library.

    Attributes:
        missing: Words for what the process could not give up of files and system calls, with blanks between;
            empty if it gave up all that it does not need.
    """

    missing: Lacks = ""


@dataclass(frozen=True, slots=True)
class NotLoaded:
    """The library cannot be loaded, and not for want of anything: the fork server may keep half of it."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The session is locked and the library loaded; WhatsApp is being dialled."""

    paired: bool


@dataclass(frozen=True, slots=True)
class Code:
    """A QR code waits to be scanned.

    Attributes:
        text: What the code says: a log-in secret.
        png: Its picture.
        issued_at: When it was issued, in Unix seconds.
        expires_at: When WhatsApp rotates it, in Unix seconds.
    """

    text: QrText = field(repr=False)
    png: Png = field(repr=False)
    issued_at: UnixTime
    expires_at: UnixTime


@dataclass(frozen=True, slots=True)
class LinkCode:
    """An eight-character code waits to be typed in on the phone; the code is a log-in secret."""

    code: Letters = field(repr=False)
    expires_at: UnixTime


@dataclass(frozen=True, slots=True)
class Paired:
    """A phone has accepted this computer as its device; the number is digits only."""

    phone: Phone = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connected:
    """WhatsApp said that the account is logged in; the number is digits only, or empty if nobody knows it."""

    phone: PhoneIfKnown = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The link is gone, or the other end does not answer; the library tries to get it back."""

    why: Said


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The loop that does the work is alive.

    Attributes:
        last_seen_at: When WhatsApp was last heard of, in Unix seconds, or None.
        memory_bytes: The process's own memory (PSS).
        open_files: Its open files, which only the process itself can count; None if it did not.
    """

    last_seen_at: UnixTime | None
    memory_bytes: Bytes
    open_files: Files | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word: how the run ended. The process exits right after it."""

    kind: Kind
    text: Said
    code: Reason | None = None
    expire: Seconds | None = None

    @property
    def outcome(self) -> Outcome:
        """The same as an outcome."""
        return Outcome(self.kind, self.text, self.code, self.expire)


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a message that was to be sent.

    Attributes:
        id: The number of its `Send`.
        error: None if WhatsApp has taken it, or why not, in plain words.
    """

    id: Number
    error: Said | None


# From the parent


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the link in good order and end."""


@dataclass(frozen=True, slots=True)
class Unlink:
    """Have WhatsApp unlink the device, then end: `logged_out` if it did, `stopped` with the reason if not."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text; `Sent` says what became of it.

    Attributes:
        id: A number that no other message to this process has.
        to: Digits of the number it is for.
        text: The text.
    """

    id: Number
    to: Phone = field(repr=False)
    text: Body = field(repr=False)


Pairing = Literal["qr", "code"]
FromChild: TypeAlias = Union[  # noqa: UP007 - get_args below takes it apart
    Loading, NotLoaded, Connecting, Code, LinkCode, Paired, Connected, LinkLost, Heartbeat, Sent, Ended
]
FromParent: TypeAlias = Stop | Unlink | Send
Message: TypeAlias = Union[FromChild, FromParent]  # noqa: UP007

_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Message)}


def encode(message: Message) -> bytes:
    """Write a message. Sentences and times that others have chosen are made to fit.

    Raises:
        MessageError: A field holds what `decode` would refuse, or the message is larger than `MAX_MESSAGE`.
    """
    name = type(message).__name__
    known, _ = _fields(name)
    values = {"type": name}
    for key, one in known.items():
        try:
            values[key] = one.write(getattr(message, key))
        except BoundsError as error:
            raise MessageError(f"a {name} whose {key} is wrong: {error}") from None
    data = json.dumps(values).encode()
    if len(data) > MAX_MESSAGE:
        raise MessageError(f"a {name} of {len(data)} bytes is too large")
    return data


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        MessageError: It is too large, no JSON, or of no known type; or it lacks a field, or has one that is
            not known or holds what it may not. The text says which, and quotes nothing.
    """
    if len(data) > MAX_MESSAGE:
        raise MessageError(f"{len(data)} bytes are too many for a message")
    values = _parse(data)
    name = values.pop("type", None)
    if not isinstance(name, str) or name not in _TYPES:
        raise MessageError("of no known type")
    known, required = _fields(name)
    if values.keys() - known.keys():
        raise MessageError(f"a {name} with unknown fields")
    if required - values.keys():
        raise MessageError(f"a {name} without {min(required - values.keys())}")
    read: dict[str, Any] = {}
    for key, value in values.items():
        try:
            read[key] = known[key].read(value)
        except BoundsError as error:
            raise MessageError(f"a {name} whose {key} is wrong: {error}") from None
    message: Message = _TYPES[name](**read)
    return message


@cache
def _fields(name: str) -> tuple[dict[str, bounds.Field], frozenset[str]]:
    """Return the fields of a message, worked out when it is first needed: commands never need them."""
    return bounds.fields_of(_TYPES[name])


def _parse(data: bytes) -> dict[str, Any]:
    """Return the names and plain values of a JSON object.

    Raises:
        MessageError: The bytes are something else.
    """
    try:
        values = json.loads(
            data.decode("ascii"),  # everything else is written out
            parse_int=bounds.whole_number,
            parse_float=bounds.fraction,
            parse_constant=bounds.no_constant,
            object_pairs_hook=bounds.flat_object,
        )
    except BoundsError as error:
        raise MessageError(str(error)) from None
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    if not isinstance(values, dict):
        raise MessageError("not a JSON object")
    return values
