"""What one consumer is sent next, what is written down of it, and where its positions may stand. Pure.

The machine is told what is there, what was read, and how each try ended; it says what to read and what to
send. It never waits, and has no clock: whoever runs it asks again at `wake_at`. No event of a chat is sent
before an earlier one that was neither taken nor given up, also when all that was not written down is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from orchestrator.consumers import schedule
from orchestrator.consumers.breaker import OPENS_AFTER, Breaker
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.courses import Courses
from orchestrator.consumers.lanes import Course, Event, Lane, head_of
from orchestrator.consumers.outcomes import Delivered, Failed
from orchestrator.consumers.reading import ROWS, Find, Read
from orchestrator.consumers.writes import (
    Buried,
    Died,
    Head,
    Hurried,
    Kept,
    Letter,
    Moved,
    Place,
    Revived,
    Standing,
    Write,
)

MAX_WHY: Final = 200
"""Characters of the reason for a failure."""
STRAINED_ROWS: Final = 50
"""Chats that wait behind an event that failed, while that cannot be written down."""


@dataclass(frozen=True, slots=True)
class Gone:
    """An event that was to be tried again is not kept any more, neither here nor in the inbox."""


@dataclass(slots=True, eq=False)
class Flight:
    """An event on its way.

    Attributes:
        place: Where it is from.
        head: What is known of it.
        number: Which try this is, from 1.
        body: What is sent; None if it is to be looked up in the row of the lane.
        lane: The lane, None for a dead letter.
        letter: The dead letter.
    """

    place: Place
    head: Head
    number: int
    body: bytes | None = field(repr=False)
    lane: Lane | None = None
    letter: Letter | None = None


@dataclass(frozen=True, slots=True)
class Revive:
    """A dead letter is wanted that is to be delivered again."""


Action: TypeAlias = Read | Find | Flight | Revive


@dataclass(slots=True)
class Counts:
    """What was counted since the start.

    Attributes:
        delivered: Events that the consumer has taken.
        failed: Tries that failed.
        died: Events that became dead letters.
    """

    delivered: int = 0
    failed: int = 0
    died: int = 0


class Machine(Courses):
    """Everything about one consumer.

    Args:
        consumer: The consumer.
        kept: What was written down of it.
        now: Unix seconds.
        since: See `configure`.
        held: The accounts that are handed over here, None for all: in a cluster, others hand over the rest.

    Attributes:
        counts: What was counted.
        flying: Events that are on their way.
        is_urgent: Whether something is to be written down before anything else is done.
        is_strained: Whether nothing can be written down at the moment.
        is_closing: Whether nothing more is begun.
    """

    def __init__(
        self,
        consumer: Consumer,
        kept: Kept,
        now: float,
        since: float | None = None,
        held: Iterable[str] | None = None,
    ) -> None:
        super().__init__(consumer, kept, held)
        self.counts = Counts()
        self.flying = 0
        self.is_urgent = self.is_strained = self.is_closing = False
        self._breaker = Breaker(kept.standing.failures)
        self._retrying = 0
        self._restore(kept, now)
        self.configure(consumer, now, since)

    # What is told

    def found(self, find: Find, cursor: int) -> None:
        """Take in where a course begins."""
        self._reading.ended(find)
        if self._is_gone(find.course):
            return
        if find.course.cursor is None:
            find.course.begin(cursor)
            self._changed.add(find.course)
        self._reading.want(find.course)

    def got(self, read: Read, events: Iterable[Event], last: int, *, more: bool, now: float) -> None:
        """Take in what was read."""
        course, lane, events = read.course, read.lane, tuple(events)
        if self._is_gone(course):
            self._reading.ended(read)
            return
        if more and not events and last <= read.after:
            self._reading.failed(read, now)  # it would be asked for for ever
            return
        self._reading.ended(read)
        self._changed.add(course)
        if lane is not None:
            if course.lanes.get(lane.name) is lane and lane.looked == read.after and not lane.has_next:
                course.looked_up(lane, events, last, more=more, asked=read.asked)
            self._place(lane, now)
        elif course.read == read.after and course.target is None:
            course.has_news = course.has_news or more
            for found in course.take(events, last):
                self._place(found, now)
            self._relieve(course, now)
        else:
            course.has_news = True
        self._reading.want(course)

    def unreadable(self, read: Read | Find, now: float) -> None:
        """Take in that something cannot be read now."""
        self._reading.failed(read, now)

    def ended(self, flight: Flight, outcome: Delivered | Failed | Gone, now: float, random: float) -> None:
        """Take in how a try ended.

        Args:
            flight: The try, with the body that was sent.
            outcome: How it ended.
            now: Unix seconds.
            random: A number from 0 up to 1, for the jitter.
        """
        self.flying -= 1
        self._retrying -= flight.number > 1 or flight.letter is not None
        wait: float | None = None
        match outcome:
            case Delivered():
                self.counts.delivered += 1
                if self._breaker.note(took=True):
                    self._stand(failures=0, why="", changed_at=now)
                elif self.standing.why:
                    self._stand(why="")
            case Failed():
                wait = schedule.wait(flight.number, random, outcome.retry_after)
                self._note_failure(outcome, now)
            case Gone():
                self.tally.expired += 1
        if flight.lane is not None and self._is_gone(flight.lane.course):
            return
        if flight.letter is not None:
            self._end_letter(flight.letter, outcome, wait, now)
        elif flight.lane is not None:
            self._end_lane(flight, flight.lane, outcome, wait, now)

    def revived(self, letter: Letter | None, next_due: float | None = None) -> None:
        """Take in a dead letter that is to be delivered again: see `Letters.got`."""
        if letter is not None and not self._holds(letter.place.account):
            letter, next_due = None, 0.0  # it is of an account that was let go meanwhile
        self._letters.got(letter, next_due)

    def revive(self) -> None:
        """Take in that there are dead letters that are to be delivered again."""
        self._letters.want()

    # What an operator wants

    def pause(self, now: float) -> None:
        """Send nothing more."""
        self._stand(paused=True, changed_at=now)

    def resume(self, now: float) -> None:
        """Send again, and try at once what waits for its time."""
        self._stand(paused=False, disabled=False, held_until=0.0, changed_at=now)
        self._writes.append(Hurried(now))
        self._sending.hurry(now)
        for course in self.courses.values():
            for lane in course.lanes.values():
                lane.due = min(lane.due, now)
        if self._letters.wake_at() is not None:
            self._letters.want()

    def stand_as(self, standing: Standing, now: float) -> None:
        """Take in how the consumer stands elsewhere: paused, disabled, and since when events are its own."""
        if self.standing.since and standing.since:
            self._stand(since=min(self.standing.since, standing.since))
        before = self.standing
        if (before.paused, before.disabled) == (standing.paused, standing.disabled):
            return
        if not (standing.paused or standing.disabled):
            self.resume(now)
            return
        self._stand(paused=standing.paused, disabled=standing.disabled, changed_at=standing.changed_at)
        if standing.disabled:
            self._stand(why=standing.why[:MAX_WHY])

    def reset(self, place: Place, cursor: int) -> None:
        """Begin a course anew after a number, as soon as nothing of it is on its way."""
        course = self.courses.get(place) or self._course(place, Moved(place, None))
        course.target = cursor
        self._begin_anew(course)

    # What is to be done

    def next(self, now: float) -> list[Action]:
        """Return what is to be done now."""
        if self.is_closing or self.standing.paused or self.standing.disabled:
            return []
        actions: list[Action] = []
        self._sending.see_what_is_due(now)
        while (flight := self._send(now)) is not None:
            actions.append(flight)
        if self._letters.ask(now):
            actions.append(Revive())
        rows = STRAINED_ROWS if self.is_strained else ROWS
        actions += self._reading.next(now, sparing=self._breaker.is_open, rows=rows)
        return actions

    def wake_at(self, now: float) -> float | None:
        """Return when to ask again although nothing was told, in Unix seconds; None if never."""
        if self.is_closing or self.standing.paused or self.standing.disabled:
            return None
        times = [self._reading.wake_at(), self._sending.wake_at()]
        if self.standing.held_until > now:
            times.append(self.standing.held_until)
        if self._breaker.is_open and not self.flying:
            times.append(self._breaker.next_new())
        times.append(self._letters.wake_at())
        return min((at for at in times if at is not None and at > now), default=None)

    def wants(self, event_type: str) -> bool:
        """Tell whether the consumer gets events of a type."""
        return self._selection.wants(event_type)

    def state(self, now: float) -> str:
        """Return how the consumer stands, in one word."""
        if self.standing.disabled:
            return "disabled"
        if self.standing.paused:
            return "paused"
        if self.standing.held_until > now:
            return "waiting"
        return "failing" if self._breaker.is_open else "active"

    def retrying(self) -> int:
        """Return how many events wait for their next try."""
        return len(self._sending) + self._retrying

    def writes(self) -> list[Write]:
        """Return what is to be written down, once: all of it, or nothing."""
        writes, self._writes, self.is_urgent = self._writes, [], False
        for course in self._changed:
            writes += course.writes()
        self._changed.clear()
        return writes

    def _note_failure(self, outcome: Failed, now: float) -> None:
        self.counts.failed += 1
        self.is_urgent = True
        changes: dict[str, Any] = {"why": outcome.why[:MAX_WHY]}
        if self._breaker.note(took=False):
            changes |= {"failures": self._breaker.failures, "changed_at": now}
        if outcome.disable:
            changes |= {"disabled": True, "changed_at": now}
        until = now + schedule.asked(outcome.retry_after)
        if until > max(now, self.standing.held_until):
            changes |= {"held_until": until}
        self._stand(**changes)

    def _end_lane(
        self, flight: Flight, lane: Lane, outcome: Delivered | Failed | Gone, wait: float | None, now: float
    ) -> None:
        course = lane.course
        lane.is_flying = False
        course.flying -= 1
        if isinstance(outcome, Failed) and wait is not None:
            lane.tries, lane.due, lane.why = flight.number, now + wait, outcome.why[:MAX_WHY]
            course.keep(lane, flight.body)
        else:
            if isinstance(outcome, Failed):
                self.dead += 1
                self.counts.died += 1
                why = outcome.why[:MAX_WHY]
                died = Died(flight.place, lane.name, flight.head, flight.number, why, now, flight.body)
                self._writes.append(died)
            course.pass_on(lane)
        self._begin_anew(course)
        self._relieve(course, now)
        self._place(lane, now)
        self._reading.want(course)

    def _end_letter(
        self, letter: Letter, outcome: Delivered | Failed | Gone, wait: float | None, now: float
    ) -> None:
        self._letters.ended()
        if isinstance(outcome, Failed):
            due, why = None if wait is None else now + wait, outcome.why[:MAX_WHY]
            self._writes.append(Revived(letter.number, due, letter.tries + 1, why, now))
        else:
            self.dead -= self._holds(letter.place.account)
            self._writes.append(Buried(letter.number))

    def _begin_anew(self, course: Course) -> None:
        if course.target is not None and not course.flying:
            course.begin(course.target)
            self._sending.forget_gone()
            self._changed.add(course)
            self._reading.want(course)

    def _relieve(self, course: Course, now: float) -> None:
        """Have the cursor go on, if it is held back by one event and too much is done beyond it."""
        while (lane := course.overdue()) is not None:
            lane.due = now
            course.keep(lane, lane.events[0].body)
            self._place(lane, now)

    def _send(self, now: float) -> Flight | None:
        if now < self.standing.held_until:
            return None
        if self._breaker.is_open:
            if self.flying:
                return None
            if lane := self._sending.next_retry():
                return self._fly(lane, now)
            # A few chats that fail may be to blame themselves. With more, each new one would fail as well.
            if len(self._sending) >= OPENS_AFTER and now < self._breaker.next_new():
                return None
            if lane := self._sending.next_new():
                return self._fly(lane, now)
            return self._fly_letter(now)
        if self.flying >= self.consumer.parallel:
            return None
        # What hangs again and again takes half of the room at most, also while nothing else is there.
        few = self._retrying < (self.consumer.parallel + 1) // 2
        if few and (lane := self._sending.next_retry()):
            return self._fly(lane, now)
        if few and (letter := self._fly_letter(now)):
            return letter
        lane = self._sending.next_new()
        return None if lane is None else self._fly(lane, now)

    def _fly(self, lane: Lane, now: float) -> Flight:
        lane.is_flying = True
        lane.course.flying += 1
        if lane.head is not None:
            flight = Flight(lane.course.place, lane.head, lane.tries + 1, None, lane)
        else:
            event = lane.events[0]
            flight = Flight(lane.course.place, head_of(event), lane.tries + 1, event.body, lane)
        return self._begin(flight, now)

    def _fly_letter(self, now: float) -> Flight | None:
        letter = self._letters.take()
        if letter is None:
            return None
        return self._begin(
            Flight(letter.place, letter.head, letter.tries + 1, letter.body, None, letter), now
        )

    def _begin(self, flight: Flight, now: float) -> Flight:
        self.flying += 1
        self._retrying += flight.number > 1 or flight.letter is not None
        self._breaker.tried_at = now
        return flight
