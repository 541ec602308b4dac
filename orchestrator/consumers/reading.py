"""What is read next for one consumer: in turn, and never more than there is room for. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from dataclasses import dataclass
from typing import Final

from orchestrator.consumers.lanes import AHEAD, Course, Lane, Tally
from orchestrator.consumers.writes import Place

AT_ONCE: Final = 4
"""Reads that are on their way at once for one consumer."""
BATCH: Final = 50
"""Events that are read at once."""
WINDOW: Final = 100
"""Events of one course in memory: a chat in which much is written hides what lies behind it, beyond that."""
ROOM: Final = 400
"""Events of a consumer in memory. Beyond that, a course reads only `SHARE`, and only when it has fewer."""
SHARE: Final = 4
SIZE: Final = 8 << 20
"""Bytes of the bodies in memory, and one batch more."""
ROWS: Final = 1000
"""Chats that wait behind an event that failed. A consumer that fails in so many chats gets nothing new."""
_LOOKED_AT = 16  # courses in one go: each call is cheap, whatever waits
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 60.0  # seconds until what could not be read is read again


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Events are wanted.

    Attributes:
        course: Of whom.
        after: The number after which.
        limit: How many.
        lane: Of which lane alone, None for all.
        asked: Up to where the lane's waiting events were counted.
    """

    course: Course
    after: int
    limit: int
    lane: Lane | None = None
    asked: int = 0

    @property
    def place(self) -> Place:
        """Where."""
        return self.course.place

    @property
    def chat(self) -> str | None:
        """Of which chat alone. All events of an account are of one lane, which is no chat."""
        return None if self.lane is None or self.place.stream == "account" else self.lane.name


@dataclass(frozen=True, slots=True, eq=False)
class Find:
    """The position is wanted that all events that were stored before a time are before.

    Attributes:
        course: Of whom.
        since: The time, in Unix seconds.
    """

    course: Course
    since: float

    @property
    def place(self) -> Place:
        """Where."""
        return self.course.place


class Reading:
    """What wants to be read, and what is being read.

    Args:
        tally: What the courses have in memory together.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._courses: deque[Course] = deque()
        self._lanes: deque[Lane] = deque()
        self._later: list[tuple[float, int, Course | Lane]] = []
        self._order = itertools.count()
        self._running = 0

    def want(self, course: Course) -> None:
        """Note that a course may have something to read."""
        if course.has_news and not (course.is_queued or course.is_reading or course.is_off):
            course.is_queued = True
            self._courses.append(course)

    def look_up(self, lane: Lane) -> None:
        """Note that a lane has to look up what waits."""
        if not lane.is_reading:
            lane.is_reading = True
            self._lanes.append(lane)

    def next(self, now: float, *, sparing: bool, rows: int = ROWS) -> list[Read | Find]:
        """Return what is to be read now.

        Args:
            now: Unix seconds.
            sparing: Nothing is wanted beyond one batch, as there is one probe at a time.
            rows: How many chats may wait behind an event that failed.
        """
        while self._later and self._later[0][0] <= now:
            waited = heapq.heappop(self._later)[2]
            if isinstance(waited, Lane):
                self._lanes.append(waited)
            else:
                self._courses.append(waited)
        found: list[Read | Find] = []
        for _ in range(min(_LOOKED_AT, len(self._lanes) + len(self._courses))):
            if not self._has_room(sparing=sparing):
                break
            read = self._next_lane() or self._next_course(rows)
            if read is not None:
                self._running += 1
                found.append(read)
        return found

    def ended(self, read: Read | Find) -> None:
        """Note that something was read."""
        self._running -= 1
        self._free(read)
        read.course.errors = 0

    def failed(self, read: Read | Find, now: float) -> None:
        """Note that something cannot be read now."""
        self._running -= 1
        self._free(read)
        course = read.course
        course.errors += 1
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(course.errors - 1, 16))
        waits: Course | Lane
        if isinstance(read, Read) and read.lane is not None:
            waits, read.lane.is_reading = read.lane, True
        else:
            waits, course.is_queued, course.has_news = course, True, True
        heapq.heappush(self._later, (now + pause, next(self._order), waits))

    def wake_at(self) -> float | None:
        """Return when there is something to be read again that could not be."""
        return self._later[0][0] if self._later else None

    def _free(self, read: Read | Find) -> None:
        if isinstance(read, Read) and read.lane is not None:
            read.lane.is_reading = False
        else:
            read.course.is_reading = False

    def _has_room(self, *, sparing: bool) -> bool:
        if self._tally.size >= SIZE:
            return False
        if sparing:
            return not self._running and not self._tally.events
        return self._running < AT_ONCE

    def _next_lane(self) -> Read | None:
        while self._lanes and self._tally.events < ROOM:
            lane = self._lanes.popleft()
            lane.is_reading = False
            course = lane.course
            is_there = course.lanes.get(lane.name) is lane and not course.is_off
            if is_there and not (lane.has_next or lane.is_through):
                lane.is_reading = True
                return Read(course, lane.looked, AHEAD // 2, lane, lane.counted)
        return None

    def _next_course(self, rows: int) -> Read | Find | None:
        # Those that want nothing any more are passed over: nobody asks again because of them.
        while self._courses and (self._courses[0].is_off or not self._courses[0].has_news):
            self._courses.popleft().is_queued = False
        if not self._courses or self._tally.rows >= rows:
            return None
        course = self._courses.popleft()
        has_room = self._tally.events < ROOM
        limit = min(BATCH, WINDOW - course.buffered) if has_room else SHARE
        if course.target is not None or course.buffered >= (WINDOW // 2 if has_room else SHARE):
            self._courses.append(course)
            return None
        course.is_queued, course.is_reading = False, True
        if course.cursor is None:
            return Find(course, course.since)
        course.has_news = False
        return Read(course, course.read, limit)
