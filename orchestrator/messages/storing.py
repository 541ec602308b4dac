"""How an account's process has its messages stored by who runs it: questions and answers over a socket.

    length of the head, length of the bytes | head: JSON in ASCII | bytes

The head of a question is ``[account, word, arguments]``, that of an answer ``[status, value]``. Bytes stand
in a head as ``{"$": length}``, and follow it in the same order. A process has one question at a time, and
gets one answer to it: so what an account stores stays in order, and who is faster than the store waits.

The socket is a border, like the pipe: `QUESTIONS` says what an argument may be, and `read_question` refuses
everything else.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from orchestrator.accounts import outgoing
from orchestrator.errors import StoreAway
from orchestrator.messages.entry import MAX_EXTRA, MAX_NOTES, MAX_RAW, SOURCES, Entry, Stored, UnfitError
from orchestrator.messages.entry import load_notes as _load_notes
from orchestrator.messages.outbox_form import (
    MAX_MEMORY,
    MAX_WHY,
    KeyConflict,
    NoRow,
    NotWaiting,
    OutboxError,
    OutboxFull,
)
from orchestrator.messages.outbox_moves import MOVABLE
from orchestrator.sending.row import Pace, State

LENGTHS: Final = struct.Struct("!II")
"""The lengths of a head and of the bytes that follow it."""
MAX_HEAD: Final = 4 << 20
"""Bytes of a head. The largest has what is suspected of a kill, or the rows that wait."""
MAX_BYTES: Final = 24 << 20
"""Bytes that follow a head: of a question one message, of an answer some."""
TOKEN: Final = 16
"""Bytes by which a write is known again."""
_LATEST: Final = float(2**36)
_MOST: Final = 2**53
_ID: Final = 300
_IDS: Final = 2000
MAX_LEFT: Final = 10_000
"""Messages of which one question wants to know whether they have left."""

Check: TypeAlias = Callable[[Any], Any]
"""Returns a value as it is used, and raises `StoringError` for what it may not be."""


class StoringError(ValueError):
    """Bytes are no question and no answer; the text says why and quotes nothing."""


class Question(NamedTuple):
    """A question.

    Attributes:
        account: The account's name, where the socket does not say that; else None.
        word: What is wanted.
        arguments: What it needs.
    """

    account: str | None
    word: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """What a question takes.

    Attributes:
        checks: One for each argument.
        writes: Whether it changes something.
    """

    checks: tuple[Check, ...] = field(repr=False)
    writes: bool = False


def _text(most: int) -> Check:
    def check(value: Any) -> str:  # noqa: ANN401 - that is what is checked
        if isinstance(value, str) and len(value) <= most:
            return value
        raise StoringError("a text that is none, or too long")

    return check


def _data(most: int, least: int = 0) -> Check:
    def check(value: Any) -> bytes:  # noqa: ANN401
        if isinstance(value, bytes) and least <= len(value) <= most:
            return value
        raise StoringError("bytes of another length")

    return check


def _number(value: Any) -> int:  # noqa: ANN401
    if type(value) is int and 0 <= value <= _MOST:
        return value
    raise StoringError("a number that is none")


def _time(value: Any) -> float:  # noqa: ANN401
    if type(value) in (int, float) and 0 <= value <= _LATEST:
        return float(value)
    raise StoringError("a time that is none")


def _flag(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, bool):
        return value
    raise StoringError("a yes or no that is neither")


def _or_none(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _list(check: Check, most: int) -> Check:
    def check_all(value: Any) -> list[Any]:  # noqa: ANN401
        if not isinstance(value, list) or len(value) > most:
            raise StoringError("a list that is none, or too long")
        return [check(one) for one in value]

    return check_all


def _one_of(words: Any) -> Check:  # noqa: ANN401
    known = {str(word): word for word in words}

    def check(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, str) and value in known:
            return known[value]
        raise StoringError("a word that is not known")

    return check


def _tuple(*checks: Check) -> Check:
    def check(value: Any) -> tuple[Any, ...]:  # noqa: ANN401
        if not isinstance(value, list) or len(value) != len(checks):
            raise StoringError("another number of values")
        return tuple(one(each) for one, each in zip(checks, value, strict=True))

    return check


def _columns(value: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return what a move of a row writes besides."""
    pairs = _list(_tuple(_one_of(MOVABLE), lambda one: one), len(MOVABLE))(value)
    return {name: _COLUMNS[name](one) for name, one in pairs}


_TOKEN = _data(TOKEN, TOKEN)
_KEY = _data(16, 16)
_KEYS = _list(_KEY, 100_000)
_KEYS_OF_SENDS = _list(_KEY, MAX_LEFT)
_WORD = _text(_ID)
_SECONDS = _tuple(_time, _time)  # `keep` and `keep_at_most`
_STATE = _one_of(State)
_STATES = _or_none(_list(_STATE, len(State)))
_SEQ = _or_none(_number)
_COLUMNS: Final[Mapping[str, Check]] = {
    "pace": _or_none(_one_of(Pace)),
    "secret": _or_none(_KEY),
    "why": _or_none(_text(10 * MAX_WHY)),
    "code": _or_none(_number),
    "message": _or_none(_WORD),
    "queued_until": _or_none(_time),
}
_ENTRY = (
    _one_of(SOURCES), _WORD, _WORD, _WORD, _time, _data(MAX_RAW), _text(MAX_NOTES), _text(MAX_EXTRA),
)  # fmt: skip
_CONTACT = _tuple(_WORD, _time, _time, _time, _time, _time)

QUESTIONS: Final[Mapping[str, Form]] = {
    # The inbox
    "inbox": Form(()),
    "append": Form(_ENTRY, writes=True),
    "meta": Form((_WORD,)),
    "set_meta": Form((_TOKEN, _list(_tuple(_WORD, _or_none(_text(1 << 21))), 16)), writes=True),
    "clear_inbox": Form((_TOKEN, _SECONDS, _SEQ), writes=True),
    # The ledger
    "known": Form((_KEYS,)),
    "pass_over": Form((_TOKEN, _KEYS, _time), writes=True),
    "stored_since": Form((_time, _number)),
    "last_heard": Form(()),
    "first_stored": Form(()),
    "sending": Form((_TOKEN, _KEY, _WORD, _time), writes=True),
    "ledger_sent": Form((_TOKEN, _KEY, _WORD), writes=True),
    "sent_chats": Form((_list(_WORD, _IDS),)),
    "sent_digests": Form((_flag,)),
    # The outbox
    "outbox": Form(()),
    "add": Form((_TOKEN, _text(outgoing.MAX_WRITTEN), _data(32, 32), _time, _time, _number), writes=True),
    "move": Form((_TOKEN, _number, _or_none(_STATE), _list(_STATE, len(State)), _columns), writes=True),
    "sent": Form((_TOKEN, _number, _or_none(_WORD), _or_none(_time)), writes=True),
    "waiting": Form(()),
    "row": Form((_number,)),
    "by_message": Form((_WORD,)),
    "body": Form((_number,)),
    "unsettled": Form(()),
    "files": Form(()),
    "clear_outbox": Form((_TOKEN, _SECONDS), writes=True),
    "contact": Form((_WORD,)),
    "note_contacts": Form((_TOKEN, _list(_CONTACT, 100_000)), writes=True),
    "memory": Form(()),
    "remember": Form((_TOKEN, _text(MAX_MEMORY)), writes=True),
    "note_receipt": Form((_TOKEN, _list(_WORD, _IDS)), writes=True),
    "receipts": Form(()),
    # The session
    "left": Form((_KEYS_OF_SENDS,)),
    "heard": Form((_or_none(_WORD), _number, _text(_ID))),
    # What others read
    "after": Form((_number, _number, _or_none(_WORD), _number)),
    "before_last": Form((_number,)),
    "chats_of": Form((_WORD, _number)),
    "message": Form((_WORD, _WORD)),
    "latest": Form((_WORD,)),
    "find": Form((_WORD, _number)),
    "find_media": Form((_WORD,)),
    "with_media": Form((_number, _time, _number)),
    "newest": Form(()),
    "rows": Form((_number, _number, _STATES)),
    "last": Form((_number, _STATES)),
    "count_states": Form((_list(_STATE, len(State)),)),
    "tally": Form(()),
    "accounts": Form(()),
}
"""What can be asked. The first argument of a write other than `append` is its token; an entry is known again
by its own key."""
READS: Final = frozenset(word for word, form in QUESTIONS.items() if not form.writes)
"""The questions that change nothing."""
OF_SESSIONS: Final = frozenset({"left", "heard"})
"""The questions that only the process of an account may ask: what they are about is in its session."""

_ERRORS: Final[Mapping[str, type[Exception]]] = {
    one.__name__: one for one in (KeyConflict, OutboxFull, NoRow, NotWaiting, OutboxError, UnfitError)
}
"""What an answer may be instead of a value: errors of who asks, by which nothing has changed."""
OK: Final = "ok"
AWAY: Final = "away"
"""The store cannot be reached; its answer has a sentence."""
IN_DOUBT: Final = "in_doubt"
"""The same, and the store may have done what was asked."""


def write(head: list[Any]) -> bytes:
    """Return a head and its bytes, ready to be sent.

    Raises:
        StoringError: It is larger than the other side takes.
    """
    pieces: list[bytes] = []

    def bytes_as_length(value: object) -> dict[str, int]:
        if not isinstance(value, bytes | memoryview):
            raise TypeError(type(value).__name__)
        pieces.append(bytes(value))
        return {"$": len(value)}

    text = json.dumps(head, default=bytes_as_length, separators=(",", ":"), allow_nan=False).encode("ascii")
    size = sum(map(len, pieces))
    if len(text) > MAX_HEAD or size > MAX_BYTES:
        raise StoringError("it is too large")
    return b"".join([LENGTHS.pack(len(text), size), text, *pieces])


def whole(data: bytearray | bytes) -> int | None:
    """Return how many bytes of what has come are the next question or answer; None if they are not all there.

    Raises:
        StoringError: It is larger than may be.
    """
    if len(data) < LENGTHS.size:
        return None
    head, size = LENGTHS.unpack_from(data)
    if head > MAX_HEAD or size > MAX_BYTES:
        raise StoringError("it is too large")
    end = LENGTHS.size + head + size
    return end if len(data) >= end else None


def read(data: bytes) -> list[Any]:
    """Return a head with its bytes in their places.

    Raises:
        StoringError: It has another form.
    """
    head, size = LENGTHS.unpack_from(data)
    at = LENGTHS.size + head
    try:
        found = json.loads(data[LENGTHS.size : at].decode("ascii"), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise StoringError("not JSON") from None
    if not isinstance(found, list):
        raise StoringError("not a list")
    found, at = _with_bytes(found, data, at, 0)
    if at != LENGTHS.size + head + size:
        raise StoringError("bytes that stand nowhere")
    return found  # type: ignore[no-any-return]


def read_question(data: bytes) -> Question:
    """Return a question, checked.

    Raises:
        StoringError: It has another form.
    """
    head = read(data)
    if len(head) != 3 or not isinstance(head[1], str) or not isinstance(head[2], list):
        raise StoringError("no question")
    account, word, arguments = head
    form = QUESTIONS.get(word)
    if form is None or len(arguments) != len(form.checks):
        raise StoringError("a question that is not known")
    if account is not None:
        _text(_ID)(account)
    return Question(account, word, tuple(one(each) for one, each in zip(form.checks, arguments, strict=True)))


def entry_of(arguments: tuple[Any, ...]) -> Entry:
    """Return the entry of a question `append`.

    Raises:
        UnfitError: Its notes are none.
    """
    source, chat, sender, id_, at, raw, notes, extra = arguments
    return Entry(source, chat, sender, id_, at, raw, _load_notes(notes), extra)


def as_values(entry: Stored) -> list[Any]:
    """Return an entry of an inbox as an answer has it."""
    notes = json.dumps(entry.notes, separators=(",", ":")) if entry.notes else ""
    return [
        entry.source, entry.chat, entry.sender, entry.id, entry.at, entry.raw, notes, entry.extra, entry.seq,
        entry.stored_at,
    ]  # fmt: skip


def as_entry(values: list[Any]) -> Stored:
    """Return the entry of an inbox that an answer has.

    Raises:
        UnfitError: It is none.
    """
    source, chat, sender, id_, at, raw, notes, extra, seq, stored_at = values
    return Stored(source, chat, sender, id_, at, raw, _load_notes(notes), extra, seq, stored_at)


def refusal(error: Exception) -> list[Any]:
    """Return the answer that an error of who asks is."""
    name = type(error).__name__
    return [name if name in _ERRORS else OutboxError.__name__, str(error)]


def value_of(answer: list[Any]) -> Any:  # noqa: ANN401 - whatever was asked for
    """Return what an answer says.

    Raises:
        StoreAway: The store cannot be reached. It has not done what was asked, unless that is in doubt.
        Exception: What was asked for is refused, by an error of `refusal`.
        StoringError: It is no answer.
    """
    if len(answer) != 2 or not isinstance(answer[0], str):
        raise StoringError("no answer")
    status, value = answer
    if status == OK:
        return value
    if status in (AWAY, IN_DOUBT):
        raise StoreAway(str(value), in_doubt=status == IN_DOUBT)
    raise _ERRORS.get(status, OutboxError)(str(value))


def _with_bytes(value: Any, data: bytes, at: int, depth: int) -> tuple[Any, int]:  # noqa: ANN401
    """Return a value with its bytes in their places, and where the next ones begin."""
    if isinstance(value, dict):
        length = value.get("$") if len(value) == 1 else None
        if type(length) is not int or not 0 <= length <= len(data) - at:
            raise StoringError("an object that stands for no bytes")
        return data[at : at + length], at + length
    if isinstance(value, list):
        if depth > 8:
            raise StoringError("too deep")
        found = []
        for one in value:
            one, at = _with_bytes(one, data, at, depth + 1)
            found.append(one)
        return found, at
    return value, at


def _no_constant(_: str) -> Any:  # noqa: ANN401
    raise StoringError("a number that is none")
