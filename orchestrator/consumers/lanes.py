"""The chats of one account on their way to one consumer: each in order, none waiting for another. Pure.

A course reads the account's events in order, and gives each to the lane of its chat. A lane whose event fails
is written down in one row, and from then on the course passes by what belongs to it: that stays in the inbox
until the lane looks it up. So the position of the course goes on, and neither memory nor rows grow with what
waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator.consumers.writes import Head, LaneGone, LaneRow, Moved, Place, Waiting, Write

SPAN: Final = 256
"""Events that may be done beyond the oldest that is not. So many are delivered twice, at most, after a kill.
The chat of the oldest gets a row then."""
LEAP: Final = 10**6
"""So far ahead, the newest number of an inbox says that another one has begun, beyond a damaged one."""
AHEAD: Final = 16
"""Events of a lane with a row that are kept in memory."""


class Event(Protocol):
    """An event, rendered: see `gateway.feed`."""

    @property
    def id(self) -> str:
        """What it is known by."""

    @property
    def type(self) -> str:
        """Its type."""

    @property
    def account(self) -> str:
        """Its account."""

    @property
    def stream(self) -> str:
        """Where it is from."""

    @property
    def seq(self) -> int:
        """Its number there."""

    @property
    def lane(self) -> str:
        """Its chat."""

    @property
    def at(self) -> float:
        """When it was stored, in Unix seconds."""

    @property
    def body(self) -> bytes:
        """What is sent."""


def head_of(event: Event) -> Head:
    """Return what is known of an event without its body."""
    return Head(event.id, event.type, event.seq, event.at)


class Lane:
    """A chat: what of it is in memory, and what is written down.

    Args:
        course: What the lane belongs to.
        name: The chat.

    Attributes:
        events: What is next, in order. In a lane with a row, without the head.
        is_kept: Whether the lane has a row.
        head: The event that failed, in a lane with a row; None if the next one is yet to be looked up.
        tries: How often the next event was tried.
        due: When it may be tried, in Unix seconds.
        why: Why it failed.
        done: See `LaneRow`.
        counted: See `LaneRow`.
        waiting: See `LaneRow`. What of it is in `events` is included.
        looked: Up to this number the lane has looked up what waits.
        is_flying: Whether the next event is on its way.
        is_queued: Whether the lane stands in a queue of lanes with something to send.
        is_reading: Whether the lane is looking up what waits, or stands in the queue for that.
    """

    __slots__ = (
        "counted", "course", "done", "due", "events", "head", "is_flying", "is_kept", "is_queued",
        "is_reading", "looked", "name", "tries", "waiting", "why",
    )  # fmt: skip

    def __init__(self, course: Course, name: str) -> None:
        self.course = course
        self.name = name
        self.events: deque[Event] = deque()
        self.is_kept = False
        self.head: Head | None = None
        self.tries = 0
        self.due = 0.0
        self.why = ""
        self.done = self.counted = self.waiting = self.looked = 0
        self.is_flying = self.is_queued = self.is_reading = False

    @property
    def has_next(self) -> bool:
        """Whether there is something to send, be it now or later."""
        return self.head is not None or bool(self.events)

    @property
    def is_through(self) -> bool:
        """Whether nothing of the lane waits any more."""
        return not self.has_next and self.looked >= self.counted

    def row(self, body: bytes | None = None) -> LaneRow:
        """Return what is to be written down.

        Args:
            body: The head as it was sent, if there is a head.
        """
        return LaneRow(
            self.course.place, self.name, self.done, self.counted, self.waiting, self.head, self.tries,
            self.due, self.why, body,
        )  # fmt: skip


@dataclass(slots=True)
class Tally:
    """What the courses of a consumer have together.

    Attributes:
        events: Events in memory.
        size: The bytes of their bodies.
        rows: Lanes with a row.
        expired: Events that were gone before they could be sent.
    """

    events: int = 0
    size: int = 0
    rows: int = 0
    expired: int = 0


class Course:
    """One account's events, of one stream, on their way to one consumer.

    Args:
        place: The account and the stream.
        wants: Tells whether the consumer gets events of a type.
        tally: Shared with the other courses of the consumer.
        cursor: Up to where everything is done or written down; None if that is yet to be found.
        since: For a cursor that is yet to be found.

    Attributes:
        read: Up to where events were read.
        lanes: The chats of which anything is known.
        ready: Lanes that may send now, in turn.
        buffered: Events in memory.
        flying: Events that are on their way.
        newest: The highest number that is known to be there.
        has_news: Whether there may be something to read.
        is_reading: Whether something is being read.
        is_off: Whether the consumer does not get the account's events any more.
        is_queued, is_in_turn: Whether the course stands in its machine's queues: to read, to send.
        retry_at: Nothing is read before this, in Unix seconds.
        errors: How often in a row nothing could be read.
        target: Where the course is to begin anew as soon as nothing is on its way, None if it is not.
    """

    __slots__ = (
        "_count", "_left", "_open", "_tally", "_writes", "buffered", "cursor", "errors", "flying",
        "has_news", "is_in_turn", "is_off", "is_queued", "is_reading", "lanes", "newest", "place", "read",
        "ready", "retry_at", "since", "target", "wants",
    )  # fmt: skip

    def __init__(
        self,
        place: Place,
        wants: Callable[[str], bool],
        tally: Tally,
        cursor: int | None,
        since: float = 0.0,
    ) -> None:
        self.place = place
        self.cursor = cursor
        self.since = since
        self.read = cursor or 0
        self.lanes: dict[str, Lane] = {}
        self.ready: deque[Lane] = deque()
        self.buffered = self.flying = self.newest = self.errors = 0
        self.has_news = True
        self.is_reading = self.is_off = self.is_queued = self.is_in_turn = False
        self.retry_at = 0.0
        self.target: int | None = None
        self.wants = wants
        self._tally = tally
        self._open: dict[
            int, tuple[int, Lane]
        ] = {}  # what is read and not done: which event of all, its lane
        self._count = 0
        self._left: list[
            Lane
        ] = []  # lanes that are through, with a row that is needed until the cursor is there
        self._writes: list[Write] = []

    def restore(self, row: LaneRow) -> Lane:
        """Take in what was written down of a lane."""
        lane = self.lanes[row.lane] = Lane(self, row.lane)
        lane.is_kept = True
        self._tally.rows += 1
        lane.done = lane.looked = row.done
        lane.counted, lane.waiting = max(row.counted, row.done), max(0, row.waiting)
        lane.head, lane.tries, lane.due, lane.why = row.head, row.tries, row.due, row.why
        self._settle(lane)
        return lane

    def take(self, events: tuple[Event, ...], last: int) -> Iterator[Lane]:
        """Take in what was read after `read`; yield each lane that has something to send by that.

        Args:
            events: The events, in order.
            last: Up to where was read.
        """
        for event in events:
            if event.seq > self.read:
                self.read = event.seq
                if self.wants(event.type) and (lane := self._take(event)) is not None:
                    yield lane
        self.read = max(self.read, last)
        self.newest = max(self.newest, self.read)
        self._advance()

    def _take(self, event: Event) -> Lane | None:
        lane = self.lanes.get(event.lane)
        if lane is None:
            lane = self.lanes[event.lane] = Lane(self, event.lane)
        if lane.is_kept:
            if event.seq <= lane.counted:
                return None  # the cursor was behind what is written down of this lane
            # What a lane has looked up ends where this event begins.
            follows = lane.looked >= lane.counted and lane.head is None and not lane.is_reading
            follows = follows and len(lane.events) < AHEAD
            lane.waiting += 1
            lane.counted = event.seq
            self._writes.append(Waiting(self.place, lane.name, lane.counted, lane.waiting))
            if not follows:
                return lane
            lane.looked = event.seq
        else:
            self._count += 1
            self._open[event.seq] = (self._count, lane)
        self._hold(lane, event)
        return lane

    def looked_up(self, lane: Lane, events: tuple[Event, ...], last: int, *, more: bool, asked: int) -> None:
        """Take in what waits in a lane.

        Args:
            lane: The lane.
            events: Its events after `looked`, in order.
            last: Up to where was looked.
            more: Whether there is more.
            asked: What `counted` was when the question was put.
        """
        covered = last if more else max(last, asked)
        for event in events:
            if event.seq > lane.counted:
                covered = lane.counted
                break
            if event.seq > lane.looked:
                covered = max(covered, event.seq)
                if self.wants(event.type):
                    self._hold(lane, event)
        lane.looked = max(lane.looked, min(covered, lane.counted))
        self._settle(lane)

    def pass_on(self, lane: Lane) -> None:
        """The next event of a lane is done: it was delivered, is dead, or is gone."""
        lane.tries, lane.due, lane.why = 0, 0.0, ""
        if lane.head is not None:
            lane.done, lane.head = lane.head.seq, None
        else:
            event = self._let_go(lane)
            if not lane.is_kept:
                del self._open[event.seq]
                if not lane.events:
                    del self.lanes[lane.name]
                self._advance()
                return
            lane.done = event.seq
            lane.waiting = max(0, lane.waiting - 1)
        self._writes.append(lane.row())
        self._settle(lane)

    def keep(self, lane: Lane, body: bytes | None) -> None:
        """Write down the next event of a lane: it is to be tried again, and what follows waits in the inbox.

        Args:
            lane: The lane, with `tries`, `due` and `why` of the event.
            body: The event as it was sent.
        """
        if lane.head is None:
            event = self._let_go(lane)
            lane.head, lane.done = head_of(event), event.seq
            if lane.is_kept:
                lane.waiting = max(0, lane.waiting - 1)
            else:
                lane.is_kept = True
                self._tally.rows += 1
                lane.waiting, lane.looked = len(lane.events), event.seq
                lane.counted = lane.events[-1].seq if lane.events else event.seq
                del self._open[event.seq]
                for other in lane.events:
                    del self._open[other.seq]
            if lane.events:
                lane.looked = event.seq
            while lane.events:
                self._let_go(lane)
        self._writes.append(lane.row(body))
        self._advance()

    def overdue(self) -> Lane | None:
        """Return the lane that holds the cursor back, if too much is done beyond it."""
        first = next(iter(self._open.values()), None)
        return None if first is None or self._count - first[0] < SPAN else first[1]

    def needed(self) -> int:
        """Return up to which number nothing of the inbox is needed any more."""
        if self.cursor is None:
            return 0
        return min([self.cursor, *(lane.done for lane in self.lanes.values() if lane.done < lane.counted)])

    def safe(self) -> int:
        """Return a number after which one may begin anew without any row, and miss only dead letters."""
        heads = [lane.head.seq - 1 for lane in self.lanes.values() if lane.head is not None]
        return min([self.needed(), *heads])

    def waiting(self) -> int:
        """Return how many events are not done, as far as that is known without reading them."""
        rows = sum(lane.waiting + (lane.head is not None) for lane in self.lanes.values() if lane.is_kept)
        unread = max(0, self.newest - self.read)
        if unread >= LEAP or self.place.stream == "account":  # whose numbers are times
            unread = min(1, unread)
        return rows + len(self._open) + unread

    def is_done(self, seq: int, lane: str | None) -> bool:
        """Tell whether nothing is to be done any more about an event.

        Args:
            seq: Its number.
            lane: Its chat, None if that is not known.
        """
        if seq > self.read or seq in self._open:
            return False
        of = None if lane is None else self.lanes.get(lane)
        return of is None or not of.is_kept or seq <= of.done or seq > of.counted

    def begin(self, cursor: int) -> list[Lane]:
        """Begin anew after a number; return the lanes that were given up."""
        given_up = list(self.lanes.values())
        for lane in given_up:
            if lane.is_kept:
                self._tally.rows -= 1
                self._writes.append(LaneGone(self.place, lane.name))
            while lane.events:
                self._let_go(lane)
        self.lanes, self.target = {}, None
        self.ready.clear()
        self._open.clear()
        self._left.clear()
        self.read, self.cursor, self.has_news = cursor, cursor, True
        self._writes.append(Moved(self.place, cursor))
        return given_up

    def leave(self) -> None:
        """Forget everything that is in memory: somebody else goes on with the account. Nothing is written."""
        for lane in self.lanes.values():
            self._tally.rows -= lane.is_kept
            while lane.events:
                self._let_go(lane)
        self.lanes, self.target, self.is_off = {}, None, True
        self.ready.clear()
        self._open.clear()
        self._left.clear()
        self._writes.clear()

    def _hold(self, lane: Lane, event: Event) -> None:
        lane.events.append(event)
        self.buffered += 1
        self._tally.events += 1
        self._tally.size += len(event.body)

    def _let_go(self, lane: Lane) -> Event:
        event = lane.events.popleft()
        self.buffered -= 1
        self._tally.events -= 1
        self._tally.size -= len(event.body)
        return event

    def writes(self) -> list[Write]:
        """Return what is to be written down, once."""
        writes, self._writes = self._writes, []
        return writes

    def _advance(self) -> None:
        first = next(iter(self._open), None)
        cursor = self.read if first is None else first - 1
        if self.cursor is None or cursor > self.cursor:
            self.cursor = cursor
            self._writes.append(Moved(self.place, cursor))
            if self._left:
                left, self._left = self._left, []
                for lane in left:
                    self._settle(lane)

    def _settle(self, lane: Lane) -> None:
        """Forget a lane with a row once nothing of it waits, and the cursor is beyond what was counted."""
        if not lane.is_through:
            return
        if lane.waiting:
            self._tally.expired += lane.waiting
            lane.waiting = 0
            self._writes.append(Waiting(self.place, lane.name, lane.counted, 0))
        if (self.cursor or 0) < lane.counted:
            if lane not in self._left:
                self._left.append(lane)
        elif self.lanes.get(lane.name) is lane:
            del self.lanes[lane.name]
            self._tally.rows -= 1
            self._writes.append(LaneGone(self.place, lane.name))
