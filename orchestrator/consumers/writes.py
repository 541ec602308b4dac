"""What is written down of consumers: what a machine asks for, and what it is given after a restart. Pure.

A position says that every event up to its number is done, or written down. Nothing else is written down of an
event that was delivered. A chat whose event failed has one row: the event that is tried again, and how many
others of the chat wait behind it. These stay in the inbox.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias


class Place(NamedTuple):
    """Where events are numbered.

    Attributes:
        account: The account.
        stream: ``messages`` or ``account``.
    """

    account: str
    stream: str


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an event without its body.

    Attributes:
        id: The event's id.
        type: Its type.
        seq: Its number.
        at: When it was stored, in Unix seconds.
    """

    id: str
    type: str
    seq: int
    at: float


@dataclass(frozen=True, slots=True)
class Moved:
    """A position.

    Attributes:
        place: Where.
        cursor: Up to this number everything is done or written down; None if the position is yet to be found.
        since: With a position that is yet to be found: events that were stored before this are left out.
    """

    place: Place
    cursor: int | None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A chat of which something failed.

    Attributes:
        place: Where.
        lane: The chat.
        done: Everything of the chat is done up to this number, but for the head, which may have this number.
        counted: Up to this number the events that wait are counted.
        waiting: How many wait, the head not included.
        head: The event that is tried again, None if the next one is yet to be looked up.
        tries: How often the head was tried.
        due: When it is tried again, in Unix seconds.
        why: Why it failed.
        body: The head, as it was sent.
    """

    place: Place
    lane: str = field(repr=False)
    done: int
    counted: int
    waiting: int
    head: Head | None = None
    tries: int = 0
    due: float = 0.0
    why: str = ""
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Waiting:
    """More events wait in a chat of which something failed; all else of its row stays.

    Attributes:
        place: Where.
        lane: The chat.
        counted: Up to this number the events that wait are counted.
        waiting: How many wait.
    """

    place: Place
    lane: str = field(repr=False)
    counted: int
    waiting: int


@dataclass(frozen=True, slots=True)
class LaneGone:
    """Nothing waits in a chat any more.

    Attributes:
        place: Where.
        lane: The chat.
    """

    place: Place
    lane: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Died:
    """A dead letter.

    Attributes:
        place: Where.
        lane: The chat.
        head: The event.
        tries: How often it was tried.
        why: Why the last try failed.
        died_at: When that was, in Unix seconds.
        body: The event, as it was sent.
    """

    place: Place
    lane: str = field(repr=False)
    head: Head
    tries: int
    why: str
    died_at: float
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Revived:
    """A dead letter that is delivered again was tried.

    Attributes:
        number: The row of the dead letter.
        due: When it is tried again; None if it has died again.
        tries: How often it was tried since somebody asked for that.
        why: Why the last try failed.
        died_at: When that was.
    """

    number: int
    due: float | None
    tries: int
    why: str
    died_at: float


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter was delivered, or is not needed any more.

    Attributes:
        number: The row.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Hurried:
    """What waits for its next try is tried at once.

    Attributes:
        now: Unix seconds.
    """

    now: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a consumer stands as a whole.

    Attributes:
        since: Events of an account that was never seen before are left out if they were stored before this.
        paused: An operator wants nothing to be handed over.
        disabled: The consumer wants nothing any more.
        failures: How many tries in a row have failed, as far as that counts.
        held_until: The consumer asked for time until then, in Unix seconds.
        why: Why the last try failed, empty if it did not.
        changed_at: When the state became what it is.
    """

    since: float = 0.0
    paused: bool = False
    disabled: bool = False
    failures: int = 0
    held_until: float = 0.0
    why: str = ""
    changed_at: float = 0.0


Write: TypeAlias = Moved | LaneRow | Waiting | LaneGone | Died | Revived | Buried | Hurried | Standing
"""What can be written down."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter that is to be delivered again.

    Attributes:
        number: Its row.
        place: Where it is from.
        head: The event.
        tries: How often it was tried since somebody asked for that.
        body: The event, as it was sent.
    """

    number: int
    place: Place
    head: Head
    tries: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """What was written down of one consumer.

    Attributes:
        standing: How it stands.
        positions: Where it is.
        lanes: The chats of which something failed, without the bodies.
        dead: How many dead letters there are, those included that are delivered again.
        reviving: Whether dead letters are to be delivered again.
    """

    standing: Standing = Standing()
    positions: Mapping[Place, Moved] = field(default_factory=dict)
    lanes: tuple[LaneRow, ...] = ()
    dead: int = 0
    reviving: bool = False


class Pending:
    """What is to be written down: of the same thing only the latest, however long it cannot be written.

    It is all written at once or not at all: a position holds only with the rows that were made before it.
    """

    def __init__(self) -> None:
        self._writes: dict[Hashable, Write] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._writes)

    def add(self, writes: Iterable[Write]) -> None:
        """Take in what a machine asks for."""
        for write in writes:
            key = _key(write)
            before = self._writes.pop(key, None)
            if isinstance(write, Waiting) and isinstance(before, LaneRow):
                write = replace(before, counted=write.counted, waiting=write.waiting)
            elif (
                isinstance(write, LaneRow)
                and isinstance(before, LaneRow)
                and write.body is None  # it could not be looked up
                and write.head == before.head
            ):
                write = replace(write, body=before.body)
            self._writes[key] = write

    def row(self, place: Place, lane: str) -> LaneRow | None:
        """Return the row of a chat, if there is one among them."""
        found = self._writes.get((place, lane))
        return found if isinstance(found, LaneRow) else None

    def take(self) -> tuple[Write, ...]:
        """Return all, and begin anew."""
        writes = tuple(self._writes.values())
        self._writes.clear()
        return writes

    def give_back(self, writes: Iterable[Write]) -> None:
        """Take in again what could not be written, before what has come since."""
        since = self.take()
        self.add(writes)
        self.add(since)


def _key(write: Write) -> Hashable:
    match write:
        case Moved(place):
            return place
        case LaneRow(place, lane) | Waiting(place, lane) | LaneGone(place, lane):
            return place, lane
        case Died(place, head=head):
            return place, head.seq
        case Revived(number) | Buried(number):
            return number
        case Standing() | Hurried():
            return type(write).__name__
