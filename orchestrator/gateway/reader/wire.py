"""What the gateway and its reader say to each other: a request, an answer, each with its length before it.

The gateway believes nothing of an answer without a check: a reader parses what strangers have sent. A reader
says what an event is about (`data`), and the gateway writes around that which account's event it is. Pure.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, TypeGuard

from orchestrator.accounts import bounds
from orchestrator.accounts.names import is_name
from orchestrator.messages import outbox_form
from orchestrator.messages.entry import UnfitError
from orchestrator.messages.outbox_reader import Tally
from orchestrator.messages.rendering import clean, form
from orchestrator.sending.memory import Memory
from orchestrator.sending.row import Pace, Row, State

Json: TypeAlias = dict[str, Any]
Task: TypeAlias = Literal["after", "newest", "media", "chat", "rows", "row", "tally"]

LENGTH: Final = struct.Struct("=I")
MAX_REQUEST: Final = 4096
"""Bytes of a request."""
MAX_LIMIT: Final = 500
"""Events of an answer."""
MAX_ROW: Final = 12 << 10
"""Bytes of a row in the head of an answer: a tag has up to 512 characters, and a reason 300."""
MAX_BATCH: Final = 1 << 20
"""Bytes of events after which an answer is full: it holds one event at least."""
MAX_HEAD: Final = 256 << 10
"""Bytes of what an answer says about its events; each takes some 100."""
MAX_ANSWER: Final = 2 * LENGTH.size + MAX_HEAD + MAX_BATCH + form.MAX_EVENT
"""Bytes of an answer."""
MAX_DESK: Final = 64 << 10
"""Characters of what the pacing remembers: it has at most a few hundred times."""
_LANE: Final = re.compile(r"[0-9A-Za-z._-]{0,64}@[a-z.]{1,24}")
_WORD: Final = re.compile("[a-z_]{1,40}")
CUT_OFF: Final = "cut_off"
"""What a reader says in place of any answer, before it ends, when nobody answers its own questions."""
MOST: Final = 2**53
"""The highest number of an entry: all who read JSON can read it. An honest account has none that is near."""
_LATEST: Final = 2**36
"""The latest time of an entry, in Unix seconds: see `messages.entry`."""


class WireError(Exception):
    """What came is no answer; the text says why and quotes nothing."""


class Refused(Exception):  # noqa: N818 - named for what it says
    """The reader could not read.

    Args:
        key: Why: a word, see `errors.KEYS`.
    """

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        task: What is wanted: events after a number, the highest number, what is said of an attachment, the
            chat of a message, rows of the outbox after a number, the row of that number, or how much is in
            the outbox.
        account: Whose.
        seq: The number.
        limit: How many events or rows at most.
        chat: Only those of one chat.
        media: The identifier of an attachment.
        states: The states of the rows that are wanted, with blanks between; empty: all.
        message: The identifier of a message.
    """

    task: Task
    account: str
    seq: int = 0
    limit: int = 1
    chat: str | None = field(default=None, repr=False)
    media: str = ""
    states: str = ""
    message: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Item:
    """An event as the reader hands it over.

    Attributes:
        seq: Its number.
        type: Its type.
        lane: Its chat.
        at: When it was stored, in Unix seconds.
        data: What it is about, in JSON.
    """

    seq: int
    type: str
    lane: str = field(repr=False)
    at: float
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer.

    Attributes:
        items: Events.
        last: The number up to which was looked, or the highest one.
        more: Whether there may be more events.
        about: What an event says of an attachment, None if no event has it; or the `chat` of a message; or
            how much is in an outbox: see `read_tally`.
        rows: Rows of an outbox.
        fault: Why an outbox could not be read, empty if it could be; a word, see `errors.KEYS`. The inbox
            beside it is none the worse for it.
    """

    items: tuple[Item, ...] = ()
    last: int = 0
    more: bool = False
    about: Json | None = field(default=None, repr=False)
    rows: tuple[Row, ...] = ()
    fault: str = ""


def write_request(ask: Ask) -> bytes:
    """Return a request with its length before it."""
    # `asdict` would take four times as long, and this is done for each look at an inbox.
    fields = {
        "task": ask.task,
        "account": ask.account,
        "seq": ask.seq,
        "limit": ask.limit,
        "chat": ask.chat,
        "media": ask.media,
        "states": ask.states,
        "message": ask.message,
    }
    text = json.dumps(fields, separators=(",", ":")).encode()
    return LENGTH.pack(len(text)) + text


def read_request(text: bytes) -> Ask:
    """Return a request; it comes from the gateway, which may be believed."""
    return Ask(**json.loads(text))


def write_answer(answer: Answer) -> bytes:
    """Return an answer with its length before it."""
    items = [[one.seq, one.type, one.lane, one.at, len(one.data)] for one in answer.items]
    head: Json = {"items": items, "last": answer.last, "more": answer.more, "about": answer.about}
    if answer.rows or answer.fault:
        head |= {"fault": answer.fault, "rows": [outbox_form.values(row) for row in answer.rows]}
    return _framed(head, b"".join(one.data for one in answer.items))


def fitting(rows: Sequence[Row]) -> Sequence[Row]:
    """Return as many of the first rows as fit into one answer, at least one if there is one."""
    size = 0
    for count, row in enumerate(rows):
        size += len(json.dumps(outbox_form.values(row)))
        if size > MAX_HEAD - MAX_ROW:
            return rows[: count + 1]
    return rows


def tally_as_json(tally: Tally) -> Json:
    """Return what is said of how much is in an outbox. What the pacing remembers has no address in it."""
    return {
        "states": dict(tally.states),
        "paces": [[pace, count] for pace, count in tally.paces.items()],
        "oldest": tally.oldest,
        "soonest": tally.soonest,
        "memory": None if tally.memory is None else (Memory.load(tally.memory).desk or "")[:MAX_DESK],
    }


def read_tally(about: Json | None) -> Tally:
    """Return how much is in an outbox, as `tally_as_json` has written it; nothing if there is none.

    Its memory is that of the desk.

    Raises:
        WireError: It is something else.
    """
    if about is None:
        return Tally({}, {}, None, None, None)
    states, paces, memory = (about.get(key) for key in ("states", "paces", "memory"))
    if not isinstance(states, dict) or not isinstance(paces, list):
        raise WireError("with something else in place of how much there is")
    if not (memory is None or (isinstance(memory, str) and len(memory) <= MAX_DESK)):
        raise WireError("with something else in place of what is remembered")
    try:
        counts = {State(state): _count(count) for state, count in states.items()}
        waiting = {None if pace is None else Pace(pace): _count(count) for pace, count in paces}
        oldest, soonest = _moment(about.get("oldest")), _moment(about.get("soonest"))
    except (ValueError, TypeError):
        raise WireError("with something else in place of how much there is") from None
    return Tally(counts, waiting, oldest, soonest, memory)


def _count(value: object) -> int:
    if not _is_seq(value):
        raise ValueError("no number")
    return value


def _moment(value: object) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not isinstance(value, int | float) or not 0 <= value <= _LATEST:
        raise ValueError("no time")
    return float(value)


def write_refusal(key: str) -> bytes:
    """Return the answer that says that nothing can be read, with its length before it.

    Args:
        key: Why.
    """
    return _framed({"error": key}, b"")


def _framed(head: Json, data: bytes) -> bytes:
    text = json.dumps(head, separators=(",", ":")).encode()
    return LENGTH.pack(LENGTH.size + len(text) + len(data)) + LENGTH.pack(len(text)) + text + data


def read_answer(frame: bytes, ask: Ask) -> Answer:
    """Return an answer, which comes without its length.

    Args:
        frame: It.
        ask: What was asked.

    Raises:
        Refused: The reader could not read.
        WireError: It is none, or none to this request.
    """
    if not LENGTH.size <= len(frame) <= MAX_ANSWER:
        raise WireError("of another length")
    (size,) = LENGTH.unpack_from(frame)
    if not size <= min(MAX_HEAD, len(frame) - LENGTH.size):
        raise WireError("with a head of another length")
    head = _object(frame[LENGTH.size : LENGTH.size + size])
    if (key := head.get("error")) is not None:
        raise Refused(key if isinstance(key, str) and _WORD.fullmatch(key) else "failed")
    last, more, about, listed = (head.get(key) for key in ("last", "more", "about", "items"))
    if not (_is_seq(last) and type(more) is bool and isinstance(listed, list) and len(listed) <= ask.limit):
        raise WireError("of another form")
    if not (about is None or isinstance(about, dict)):
        raise WireError("with something else in place of what is said of an attachment")
    items = _items(listed, frame[LENGTH.size + size :], ask.seq)
    if last < (items[-1].seq if items else ask.seq):
        raise WireError("that leads back")
    fault = head.get("fault", "")
    if not isinstance(fault, str) or not (fault == "" or _WORD.fullmatch(fault)):
        raise WireError("with something else in place of a fault")
    return Answer(items, last, more, about, _rows(head.get("rows", []), ask), fault)


def _rows(listed: object, ask: Ask) -> tuple[Row, ...]:
    if not isinstance(listed, list) or len(listed) > ask.limit:
        raise WireError("with rows of another form")
    found: list[Row] = []
    for one in listed:
        try:
            row = outbox_form.read(tuple(one) if isinstance(one, list) else ())
        except (UnfitError, ValueError):
            raise WireError("with a row of another form") from None
        before = found[-1].number if found else ask.seq - (ask.task == "row")
        if not before < row.number <= MOST or (ask.task == "row" and row.number != ask.seq):
            raise WireError("with a row out of order")
        found.append(row)
    return tuple(found)


def _items(listed: list[Any], data: bytes, after: int) -> tuple[Item, ...]:
    found, at = [], 0
    for one in listed:
        if not isinstance(one, list) or len(one) != 5:
            raise WireError("with an event of another form")
        seq, kind, lane, stored_at, size = one
        if not _is_seq(seq) or seq <= after or type(size) is not int or not 0 <= size <= len(data) - at:
            raise WireError("with an event out of order, or of another length")
        if not isinstance(kind, str) or kind not in form.DATA:
            raise WireError("with an event of no known type")
        if not isinstance(lane, str) or not _LANE.fullmatch(lane):
            raise WireError("with an event of no known chat")
        if type(stored_at) not in (int, float) or not 0 <= stored_at <= _LATEST:
            raise WireError("with an event of no known time")
        piece = data[at : at + size]
        _object(piece)
        found.append(Item(seq, kind, lane, float(stored_at), piece))
        after, at = seq, at + size
    if at != len(data):
        raise WireError("with something behind its end")
    return tuple(found)


def is_lane(text: str) -> bool:
    """Tell whether a text is the address of a chat."""
    return _LANE.fullmatch(text) is not None


def _is_seq(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= MOST


def _object(text: bytes) -> Json:
    """Return a JSON object.

    Raises:
        WireError: It is none.
    """
    try:
        found = json.loads(text.decode("ascii"), parse_constant=bounds.no_constant)
    except (ValueError, RecursionError):
        raise WireError("that is no JSON") from None
    if not isinstance(found, dict):
        raise WireError("that is no object")
    return found


def body(account: str, item: Item) -> bytes:
    """Return the event, whole: what its reader says it is about, within what the gateway knows of it.

    Args:
        account: The account that was asked for.
        item: The event.

    Raises:
        WireError: It would be larger than an event may be.
    """
    assert is_name(account)
    around = {
        "id": f"evt_{account}_{item.seq}",
        "type": item.type,
        "timestamp": clean.moment_ms(item.at),
        "account": account,
        "seq": item.seq,
    }
    text = json.dumps(around, separators=(",", ":"))[:-1].encode() + b',"data":' + item.data + b"}"
    if len(text) > form.MAX_EVENT:
        raise WireError("with an event that is too large")
    return text
