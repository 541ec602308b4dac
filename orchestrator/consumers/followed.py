"""What is known of consumers, as it follows an account from one machine to another. Pure.

The gateway of the machine that has an account works with a file of its own. What changes there of an account
follows into the database, row by row, and the next machine takes the account up with these rows. A row says
how something is now, and not what has changed: a row that comes twice does no harm. A row has no text of an
event, because the inbox has it.

The positions of an account come after all other rows that changed before them. So a position never stands
behind an event of which nothing is written down.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from orchestrator.accounts.names import is_name
from orchestrator.consumers.writes import Head, LaneRow, Moved, Place, Standing

STREAMS: Final = ("messages", "account")
MOST_ROWS: Final = 1000
"""Rows of one request or answer, which has some 500 kB then."""
_LONGEST: Final = 256
_LATEST: Final = 1e11  # seconds
_LARGEST: Final = 2**53
_STAND: Final = {"name", "kind", "paused", "disabled", "since", "changed_at", "why", "revision"}

Kind: TypeAlias = Literal["position", "chat", "letter"]
Plain: TypeAlias = list[Any]
"""A row in JSON."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter.

    Attributes:
        place: Where the event is from.
        lane: The chat.
        head: The event.
        tries: How often it was tried before it died.
        why: Why the last try failed.
        died_at: When that was, in Unix seconds.
        due: When it is delivered again, None if nobody wants that.
        revived: How often it was tried since somebody wanted that.
    """

    place: Place
    lane: str = field(repr=False)
    head: Head
    tries: int
    why: str
    died_at: float
    due: float | None
    revived: int


@dataclass(frozen=True, slots=True)
class Gone:
    """A row is not there any more.

    Attributes:
        kind: What it was.
        place: Where.
        key: The chat, or the number of the event; empty for a position.
    """

    kind: Kind
    place: Place
    key: str | int = field(repr=False)


What: TypeAlias = Moved | LaneRow | DeadLetter | Gone


@dataclass(frozen=True, slots=True)
class Row:
    """A row of one consumer.

    Attributes:
        consumer: The consumer.
        what: How it is.
    """

    consumer: str
    what: What

    @property
    def account(self) -> str:
        """The account that the row is of."""
        return self.what.place.account

    @property
    def is_position(self) -> bool:
        """Whether the row follows only when all others have."""
        return isinstance(self.what, Moved)


@dataclass(frozen=True, slots=True)
class Stand:
    """How a consumer stands, for all machines.

    Attributes:
        name: The consumer.
        kind: What it is.
        standing: How it stands.
        revision: Grows with each change. Of what is told, 0 says that it counts only if nothing is known yet.
    """

    name: str
    kind: str
    standing: Standing
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the rows of an account.

    Attributes:
        rows: They.
        is_last: Whether there are no others.
        is_known: Whether there are positions of the account at all.
    """

    rows: tuple[Row, ...]
    is_last: bool
    is_known: bool


def dump(row: Row) -> Plain:
    """Return a row in JSON."""
    what = row.what
    about = [row.consumer, *what.place]
    match what:
        case Moved():
            return ["position", *about, what.cursor, what.since]
        case LaneRow():
            return [
                "chat", *about, what.lane, what.done, what.counted, what.waiting,
                None if what.head is None else _of_head(what.head), what.tries, what.due, what.why,
            ]  # fmt: skip
        case DeadLetter():
            return [
                "letter", *about, what.lane, _of_head(what.head), what.tries, what.why, what.died_at,
                what.due, what.revived,
            ]  # fmt: skip
        case Gone():
            return ["gone", *about, what.kind, what.key]


def load(plain: object) -> Row:
    """Read a row, which comes from another process.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(plain, list) or len(plain) < 4:
        raise ValueError("no row")
    kind, consumer, account, stream, *rest = plain
    read = _READ.get(kind) if isinstance(kind, str) else None
    if read is None or not (_is_name(consumer) and _is_name(account) and stream in STREAMS):
        raise ValueError("no row")
    try:
        return Row(consumer, read(Place(account, stream), *rest))
    except TypeError:
        raise ValueError("no row") from None


def load_stand(plain: object) -> Stand:
    """Read how a consumer stands, which comes from another process.

    Raises:
        ValueError: That is none.
    """
    if not isinstance(plain, dict) or plain.keys() != _STAND:
        raise ValueError("no standing")
    name, kind, paused, disabled = (plain[key] for key in ("name", "kind", "paused", "disabled"))
    if not _is_name(name) or kind not in ("webhook", "bot"):
        raise ValueError("no standing")
    if type(paused) is not bool or type(disabled) is not bool:
        raise ValueError("no standing")
    since, changed_at = checked_time(plain["since"]), checked_time(plain["changed_at"])
    standing = Standing(since, paused, disabled, why=checked_text(plain["why"]), changed_at=changed_at)
    return Stand(name, kind, standing, checked_number(plain["revision"]))


def dump_stand(stand: Stand) -> dict[str, Any]:
    """Return how a consumer stands in JSON."""
    how = stand.standing
    return {
        "name": stand.name, "kind": stand.kind, "paused": how.paused, "disabled": how.disabled,
        "since": how.since, "changed_at": how.changed_at, "why": how.why, "revision": stand.revision,
    }  # fmt: skip


def order(rows: Sequence[Row]) -> list[list[Row]]:
    """Return rows in pieces, each of which can be written by itself, in this order."""
    sorted_rows = [*(row for row in rows if not row.is_position), *(row for row in rows if row.is_position)]
    return [sorted_rows[at : at + MOST_ROWS] for at in range(0, len(sorted_rows), MOST_ROWS)]


def _of_head(head: Head) -> Plain:
    return [head.seq, head.id, head.type, head.at]


def _position(place: Place, cursor: object, since: object) -> Moved:
    return Moved(place, None if cursor is None else checked_number(cursor), checked_time(since))


def _chat(
    place: Place,
    lane: object,
    done: object,
    counted: object,
    waiting: object,
    head: object,
    tries: object,
    due: object,
    why: object,
) -> LaneRow:
    return LaneRow(
        place, checked_text(lane), checked_number(done), checked_number(counted), checked_number(waiting),
        None if head is None else _head(head), checked_number(tries), checked_time(due), checked_text(why),
    )  # fmt: skip


def _letter(
    place: Place,
    lane: object,
    head: object,
    tries: object,
    why: object,
    died_at: object,
    due: object,
    revived: object,
) -> DeadLetter:
    again = None if due is None else checked_time(due)
    return DeadLetter(
        place, checked_text(lane), _head(head), checked_number(tries), checked_text(why),
        checked_time(died_at), again, checked_number(revived),
    )  # fmt: skip


def _gone(place: Place, kind: object, key: object) -> Gone:
    match kind:
        case "position" if key == "":
            return Gone("position", place, "")
        case "chat":
            return Gone("chat", place, checked_text(key))
        case "letter":
            return Gone("letter", place, checked_number(key))
    raise ValueError("no row")


_READ: Final[dict[str, Callable[..., What]]] = {
    "position": _position,
    "chat": _chat,
    "letter": _letter,
    "gone": _gone,
}


def _head(value: object) -> Head:
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError("no event")
    seq, id_, type_, at = value
    return Head(checked_text(id_), checked_text(type_), checked_number(seq), checked_time(at))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and is_name(value)


def checked_place(account: object, stream: object) -> Place:
    """Return a place.

    Raises:
        ValueError: It is none.
    """
    if not (isinstance(account, str) and is_name(account) and isinstance(stream, str) and stream in STREAMS):
        raise ValueError("no place")
    return Place(account, stream)


def checked_number(value: object) -> int:
    """Return a number that an event may have, or that counts something.

    Raises:
        ValueError: It is none.
    """
    if type(value) is not int or not 0 <= value < _LARGEST:
        raise ValueError("no number")
    return value


def checked_time(value: object) -> float:
    """Return a time in Unix seconds.

    Raises:
        ValueError: It is none.
    """
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value < _LATEST:  # type: ignore[arg-type, operator]
        raise ValueError("no time")
    return float(value)  # type: ignore[arg-type]


def checked_text(value: object) -> str:
    """Return a text that a database can keep, of at most 256 characters.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, str) or len(value) > _LONGEST or "\0" in value:
        raise ValueError("no text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("no text") from None
    return value
