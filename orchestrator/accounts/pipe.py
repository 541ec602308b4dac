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

from orchestrator.accounts import acts, bounds, outgoing, phones, picture
from orchestrator.accounts.attachments import ID, Fault
from orchestrator.accounts.bounds import BoundsError, Bulk, Data, Form, Range, Sentence, Words
from orchestrator.accounts.failure import Kind, Outcome

MAX_MESSAGE = outgoing.MAX_WRITTEN + 8 * 1024
"""Bytes of a message. The largest is a message to be sent; all others of a parent have less than 16,000."""
MAX_FROM_CHILD = outgoing.MAX_RESULT + 8 * 1024
"""Bytes of a message of a child. The largest is a list of groups; a QR code with its picture has 4,000.

A socket that is writable has room for one, so that a child waits for nobody.
"""
MAX_SENTENCE: Final = 500
"""Characters of a sentence for people. What libraries and WhatsApp say can be longer, and is cut."""

UnixTime: TypeAlias = Annotated[float, Range(0, bounds.LATEST, fits=True)]
"""Unix seconds."""
Seconds: TypeAlias = Annotated[float, Range(0, bounds.LATEST, fits=True)]
"""A length of time."""
Bytes: TypeAlias = Annotated[int, Range(0, 2**50)]
"""A size."""
Count: TypeAlias = Annotated[int, Range(0, 2**53)]
"""A number of messages."""
Files: TypeAlias = Annotated[int, Range(0, 2**31)]
"""A number of open files."""
Lacks: TypeAlias = Annotated[str, Form(re.compile("(?:[a-z]{1,16}(?: [a-z]{1,16}){0,7})?"))]
"""At most eight short words with blanks between, or empty."""
Reason: TypeAlias = Annotated[int, Range(0, 9_999_999_999)]
"""A number that WhatsApp gives as a reason; it has at most ten digits."""
Number: TypeAlias = Annotated[int, Range(0, 2**53)]
"""The number of an order or a question."""
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
Body: TypeAlias = Annotated[str, Bulk(outgoing.MAX_WRITTEN)]
"""What is to be sent or done, in JSON."""
Result: TypeAlias = Annotated[str, Bulk(outgoing.MAX_RESULT)]
"""What came of something that was done, in JSON."""
Tag: TypeAlias = Annotated[str, Words(outgoing.MAX_TAG)]
"""A text of a client's own."""
Chat: TypeAlias = Annotated[str, Form(acts.CHAT)]
"""The address of a chat."""
RowNumber: TypeAlias = Annotated[int, Range(1, 2**53)]
"""The number of a row of an outbox."""
RowKind: TypeAlias = Annotated[str, Form(outgoing.KIND)]
"""What is sent."""
RowState: TypeAlias = Annotated[str, Form(outgoing.STATE)]
"""Where a row is."""
RowPace: TypeAlias = Annotated[str, Form(outgoing.PACE)]
"""How well a row's chat is known."""
KeyDigest: TypeAlias = Annotated[str, Form(outgoing.KEY)]
"""What stands for a client's key."""
Digests: TypeAlias = Annotated[
    str,
    Form(
        re.compile(
            rf"{outgoing.SECRET.pattern}(?: {outgoing.SECRET.pattern}){{0,{outgoing.MAX_UNSETTLED - 1}}}"
        )
    ),
]
"""What stands for secrets of messages, with blanks between."""
_FOUND: Final = rf"{outgoing.SECRET.pattern}:{acts.MESSAGE.pattern}"
Found: TypeAlias = Annotated[
    str, Form(re.compile(rf"(?:{_FOUND}(?: {_FOUND}){{0,{outgoing.MAX_UNSETTLED - 1}}})?"))
]
"""What stands for a secret, a colon, and the identifier of its message, with blanks between; or empty."""
MessageId: TypeAlias = Annotated[str, Form(acts.MESSAGE)]
"""The identifier of a message."""
MediaId: TypeAlias = Annotated[str, Form(ID)]
"""The identifier of an attachment."""


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
        stored: Entries in the account's inbox; None if the account has none.
        lost: Entries about lost messages among them.
        refused: Messages that this process did not store, because they are not allowed.
        queued: Messages that wait in the outbox to be sent.
        last_in_at: When the inbox got its last message, in Unix seconds; None if none is known.
        last_out_at: When WhatsApp took a message of the outbox last, in Unix seconds; None if none is known.
    """

    last_seen_at: UnixTime | None
    memory_bytes: Bytes
    open_files: Files | None = None
    stored: Count | None = None
    lost: Count = 0
    refused: Count = 0
    queued: Count = 0
    last_in_at: UnixTime | None = None
    last_out_at: UnixTime | None = None


@dataclass(frozen=True, slots=True)
class PhoneSeen:
    """The account's own phone gave a sign of life.

    Attributes:
        at: When, in Unix seconds: WhatsApp's time, and never later than now.
    """

    at: UnixTime


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
class Acted:
    """What became of something that the account was to do.

    Attributes:
        id: The number of its `Act`.
        fate: What became of it.
        code: WhatsApp's number for why it was not done, None without one.
        about: What happened, in plain words, where the fate alone does not tell.
        result: What came of it, in JSON; None if it was not done, or if there is nothing to tell.
    """

    id: Number
    fate: acts.Fate
    code: Reason | None
    about: Said
    result: Result | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Queued:
    """What became of a `Send` or a `TakeBack`: the row, or why there is none.

    `sending.telling` writes it of a row, and reads a row from it.

    Attributes:
        id: The number of the `Send` or the `TakeBack`.
        row: The row's number; None if there is a fault.
        state: Where the row is.
        pace: How well its chat is known, None as long as nobody has looked.
        message: WhatsApp's identifier of what was sent, None as long as nobody knows it.
        queued_until: When it is sent at the earliest, in Unix seconds, None if nothing keeps it.
        code: WhatsApp's number for why it failed, None without one.
        why: Why it failed, waits or is unknown, in plain words.
        fault: Why the outbox did not do it, None if it did.
        again: Whether the key belonged to this row before.
        kind: What is sent.
        to: The chat's address.
        tag: The client's own text.
        created_at: When the row was written, in Unix seconds.
        changed_at: When its state changed last, in Unix seconds.
        expires_at: Until when it may be sent, in Unix seconds.
    """

    id: Number
    row: RowNumber | None = None
    state: RowState | None = None
    pace: RowPace | None = None
    message: MessageId | None = field(default=None, repr=False)
    queued_until: UnixTime | None = None
    code: Reason | None = None
    why: Said | None = None
    fault: outgoing.Fault | None = None
    again: bool = False
    kind: RowKind | None = None
    to: Chat | None = field(default=None, repr=False)
    tag: Tag | None = field(default=None, repr=False)
    created_at: UnixTime | None = None
    changed_at: UnixTime | None = None
    expires_at: UnixTime | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A row of the outbox has changed.

    Attributes:
        row: Its number.
        state: Where it is now.
        pace: How well its chat is known, None as long as nobody has looked.
        message: WhatsApp's identifier of what was sent, None as long as nobody knows it.
        queued_until: When it is sent at the earliest, in Unix seconds, None if nothing keeps it.
        code: WhatsApp's number for why it failed, None without one.
        why: Why it failed, waits or is unknown, in plain words.
        changed_at: When it changed, in Unix seconds.
    """

    row: RowNumber
    state: RowState
    pace: RowPace | None
    message: MessageId | None = field(repr=False)
    queued_until: UnixTime | None
    code: Reason | None
    why: Said | None
    changed_at: UnixTime


@dataclass(frozen=True, slots=True)
class Unsettled:
    """The process cannot tell of messages whether they have left; `Secrets` answers it.

    Attributes:
        digests: What stands for their secrets (`messages.loss.digest`), with blanks between.
    """

    digests: Digests = field(repr=False)


@dataclass(frozen=True, slots=True)
class Restricted:
    """What the account may not send for now.

    Attributes:
        what: What it may not.
        until: Until when, in Unix seconds; None if it may send everything, or if nobody knows.
        code: WhatsApp's number for it, None without one.
    """

    what: outgoing.Restriction
    until: UnixTime | None = None
    code: Reason | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of an attachment that was to be fetched.

    Attributes:
        id: The number of its `Fetch`.
        fault: None if it is there, or why it is not.
        about: What happened, in plain words, where the fault alone does not tell.
    """

    id: Number
    fault: Fault | None
    about: Said


# From the parent


@dataclass(frozen=True, slots=True)
class Stop:
    """Close the link in good order and end."""


@dataclass(frozen=True, slots=True)
class Unlink:
    """Have WhatsApp unlink the device, then end: `logged_out` if it did, `stopped` with the reason if not."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The database that has the session is away: hang up and end at once, as `store`."""


@dataclass(frozen=True, slots=True)
class Send:
    """Write a message into the outbox, from where it is sent; `Queued` says what became of that.

    Attributes:
        id: A number that no other message to this process has.
        body: The message, by `sending.wire.as_text`.
        key: What stands for the client's key (`sending.row.key_digest`), in hexadecimal digits.
        key_until: Until when the key belongs to this message, in Unix seconds.
        expires_at: Until when the message may be sent, in Unix seconds.
    """

    id: Number
    body: Body = field(repr=False)
    key: KeyDigest = field(repr=False)
    key_until: UnixTime
    expires_at: UnixTime


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Take a row of the outbox back, if it waits; `Queued` says what became of that.

    Attributes:
        id: A number that no other message to this process has.
        row: The row's number.
    """

    id: Number
    row: RowNumber


@dataclass(frozen=True, slots=True)
class Act:
    """Do something at once; `Acted` says what became of it.

    Attributes:
        id: A number that no other message to this process has.
        body: What is to be done, in JSON.
    """

    id: Number
    body: Body = field(repr=False)


@dataclass(frozen=True, slots=True)
class Secrets:
    """Which messages that were `Unsettled` the session knows: those have left, or may have.

    Attributes:
        asked: What stands for the secrets that were looked for, with blanks between.
        found: What stands for a message's secret, a colon, and its identifier, with blanks between. The
            session knows nothing of the others that were looked for.
    """

    asked: Digests = field(repr=False)
    found: Found = field(repr=False)


@dataclass(frozen=True, slots=True)
class Fetch:
    """Fetch an attachment, if it is not there; `Fetched` says what became of it.

    Attributes:
        id: A number that no other message to this process has.
        media: The attachment's identifier.
    """

    id: Number
    media: MediaId


@dataclass(frozen=True, slots=True)
class Taken:
    """What the consumers of the account's messages have had.

    Attributes:
        seq: The number up to which every consumer has had the entries of the inbox; None: there is none.
    """

    seq: Count | None


@dataclass(frozen=True, slots=True)
class Extend:
    """The service still owns the account; see `cluster.lease`.

    Attributes:
        until: When the process ends by itself unless it hears more, in seconds since the machine has booted.
    """

    until: Seconds


Pairing = Literal["qr", "code"]
FromChild: TypeAlias = Union[  # noqa: UP007 - get_args below takes it apart
    Loading,
    NotLoaded,
    Connecting,
    Code,
    LinkCode,
    Paired,
    Connected,
    LinkLost,
    Heartbeat,
    PhoneSeen,
    Acted,
    Queued,
    Moved,
    Unsettled,
    Restricted,
    Fetched,
    Ended,
]
FromParent: TypeAlias = Stop | Unlink | StoreLost | Send | TakeBack | Act | Secrets | Fetch | Taken | Extend
Message: TypeAlias = Union[FromChild, FromParent]  # noqa: UP007

_TYPES: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Message)}


def encode(message: Message) -> bytes:
    """Write a message. Sentences and times that others have chosen are made to fit.

    Raises:
        MessageError: A field holds what `decode` would refuse, or the message is larger than its side may
            send.
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
    if len(data) > (MAX_MESSAGE if isinstance(message, FromParent) else MAX_FROM_CHILD):
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


def know_all() -> None:
    """Work the fields of all messages out, for a process that others are forked from."""
    for name in _TYPES:
        _fields(name)


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
