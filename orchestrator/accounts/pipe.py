"""What a child and its parent say to each other: small JSON objects with a known form, never a pickle."""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, TypeAlias, Union, get_args, get_type_hints

from orchestrator.accounts.failure import Kind, Outcome

MAX_MESSAGE = 64 * 1024
"""Bytes of a message. The largest, a QR code with its picture, has about 4,000."""


_WORDS = re.compile(r"(?:[a-z]{1,16}(?: [a-z]{1,16}){0,7})?")


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

    missing: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no such list."""
        if not _WORDS.fullmatch(self.missing):
            raise ValueError("not a list of words")


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

    text: str = field(repr=False)
    png: bytes = field(repr=False)
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class LinkCode:
    """An eight-character code waits to be typed in on the phone; the code is a log-in secret."""

    code: str = field(repr=False)
    expires_at: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A phone has accepted this computer as its device; the number is digits only."""

    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Connected:
    """WhatsApp said that the account is logged in; the number is digits only."""

    phone: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkLost:
    """The link is gone, or the other end does not answer; the library tries to get it back."""

    why: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The loop that does the work is alive.

    Attributes:
        last_seen_at: When WhatsApp was last heard of, in Unix seconds, or None.
        memory_bytes: The process's own memory (PSS).
        open_files: Its open files, which only the process itself can count; None if it did not.
    """

    last_seen_at: float | None
    memory_bytes: int
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word: how the run ended. The process exits right after it."""

    kind: Kind
    text: str
    code: int | None = None
    expire: float | None = None

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

    id: int
    error: str | None


# From the parent


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the link in good order and end."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send a text; `Sent` says what became of it.

    Attributes:
        id: A number that no other message to this process has.
        to: Digits of the number it is for.
        text: The text.
    """

    id: int
    to: str = field(repr=False)
    text: str = field(repr=False)


Pairing = Literal["qr", "code"]
FromChild: TypeAlias = Union[  # noqa: UP007 - get_args below takes it apart
    Loading, NotLoaded, Connecting, Code, LinkCode, Paired, Connected, LinkLost, Heartbeat, Sent, Ended
]
FromParent: TypeAlias = Stop | Send
Message: TypeAlias = Union[FromChild, FromParent]  # noqa: UP007

_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Message)}
_HINTS = {name: get_type_hints(cls) for name, cls in _TYPES.items()}


def encode(message: Message) -> bytes:
    """Write a message.

    Raises:
        MessageError: It is larger than `MAX_MESSAGE`.
    """
    values = {
        key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for key, value in asdict(message).items()
    }
    data = json.dumps({"type": type(message).__name__, **values}).encode()
    if len(data) > MAX_MESSAGE:
        raise MessageError(f"a {type(message).__name__} of {len(data)} bytes is too large")
    return data


def decode(data: bytes) -> Message:
    """Read a message.

    Raises:
        MessageError: It is too large, no JSON, of no known type, or has wrong fields.
    """
    if len(data) > MAX_MESSAGE:
        raise MessageError(f"{len(data)} bytes are too many for a message")
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    if not isinstance(values, dict):
        raise MessageError("not a JSON object")
    name = values.pop("type", None)
    cls = _TYPES.get(name) if isinstance(name, str) else None
    if cls is None:
        raise MessageError("of no known type")
    known = {field.name for field in fields(cls)}
    if values.keys() - known:
        raise MessageError(f"a {name} with unknown fields")
    try:
        message: Message = cls(**{key: _read(_HINTS[name][key], value) for key, value in values.items()})
    except (TypeError, ValueError) as error:
        raise MessageError(f"a {name} with wrong fields: {type(error).__name__}") from None
    return message


def _read(hint: Any, value: Any) -> Any:  # noqa: ANN401 - any field's type and value
    if hint is bytes:
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise ValueError("not base64") from None
    if hint is Kind:
        return Kind(value)
    if hint is float and type(value) is int:
        return float(value)
    wanted = get_args(hint) or (hint,)
    if type(value) in wanted or (type(value) is int and float in wanted):
        return value
    raise TypeError("of another type")
