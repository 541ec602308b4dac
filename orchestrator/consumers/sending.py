"""Which chat of a consumer is next: the new in turn among accounts, the failed when it is due. Pure."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from orchestrator.consumers.lanes import Course, Lane


class Sending:
    """The lanes that have something to send, each in the queue where it belongs.

    Args:
        look_up: Called with a lane that has to look up what is next.
    """

    def __init__(self, look_up: Callable[[Lane], None]) -> None:
        self._look_up = look_up
        self._turn: deque[Course] = deque()
        self._retries: deque[Lane] = deque()
        self._due: list[tuple[float, int, Lane]] = []
        self._order = itertools.count()

    def __len__(self) -> int:
        """Return how many lanes wait with an event that has failed."""
        return len(self._due) + len(self._retries)

    def place(self, lane: Lane, now: float) -> None:
        """Have a lane stand where it belongs, if it does not stand anywhere."""
        if lane.is_flying or lane.is_queued or not is_live(lane):
            return
        if lane.head is not None:
            lane.is_queued = True
            if lane.due > now:
                heapq.heappush(self._due, (lane.due, next(self._order), lane))
            else:
                self._retries.append(lane)
        elif lane.events:
            lane.is_queued = True
            course = lane.course
            course.ready.append(lane)
            if not course.is_in_turn:
                course.is_in_turn = True
                self._turn.append(course)
        elif not lane.is_through:
            self._look_up(lane)

    def see_what_is_due(self, now: float) -> None:
        """Let those whose time has come stand with those that can be tried."""
        while self._due and self._due[0][0] <= now:
            lane = heapq.heappop(self._due)[2]
            lane.is_queued = False
            self.place(lane, now)

    def hurry(self, now: float) -> None:
        """Let the time of all have come."""
        due, self._due = self._due, []
        for _, _, lane in due:
            lane.due, lane.is_queued = min(lane.due, now), False
            self.place(lane, now)

    def forget_gone(self) -> None:
        """Forget lanes that were given up, so that they do not count any more."""
        self._due = [one for one in self._due if is_there(one[2])]
        heapq.heapify(self._due)
        self._retries = deque(lane for lane in self._retries if is_there(lane))

    def next_retry(self) -> Lane | None:
        """Return a lane whose event has failed and is due."""
        while self._retries:
            lane = self._retries.popleft()
            lane.is_queued = False
            if is_live(lane) and lane.head is not None:
                return lane
        return None

    def next_new(self) -> Lane | None:
        """Return a lane whose event was not tried yet, of the account whose turn it is."""
        while self._turn:
            course = self._turn.popleft()
            lane = course.ready.popleft() if course.ready else None
            if course.ready:
                self._turn.append(course)
            else:
                course.is_in_turn = False
            if lane is not None:
                lane.is_queued = False
                if is_live(lane) and lane.has_next:
                    return lane
        return None

    def wake_at(self) -> float | None:
        """Return when the time of the next one has come."""
        return self._due[0][0] if self._due else None


def is_live(lane: Lane) -> bool:
    """Tell whether something of a lane may be sent."""
    return not lane.course.is_off and lane.course.target is None and is_there(lane)


def is_there(lane: Lane) -> bool:
    """Tell whether a lane was not given up."""
    return lane.course.lanes.get(lane.name) is lane
