"""The accounts of which one consumer gets events, and how far it is with each. Pure: see `machine`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from orchestrator.consumers import schedule
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.lanes import Course, Lane, Tally
from orchestrator.consumers.letters import Letters
from orchestrator.consumers.reading import Reading
from orchestrator.consumers.selection import Selection
from orchestrator.consumers.sending import Sending
from orchestrator.consumers.writes import Kept, Moved, Place, Write

STREAMS: Final = ("messages", "account")


class Courses:
    """What a machine knows of accounts: which there are, and where the consumer is with them.

    In a cluster, an account is handed over by one machine at a time. So accounts come and go, with what was
    written down of them.

    Args:
        consumer: The consumer.
        kept: What was written down of it.
        held: The accounts that are handed over here, None for all.

    Attributes:
        consumer: The same.
        standing: How it stands.
        courses: The accounts' events.
        tally: What the courses have together.
        dead: Dead letters.
    """

    def __init__(self, consumer: Consumer, kept: Kept, held: Iterable[str] | None = None) -> None:
        self.consumer = consumer
        self.standing = kept.standing
        self.tally = Tally()
        self.courses: dict[Place, Course] = {}
        self.dead = kept.dead
        self._held = None if held is None else set(held)
        self._named: dict[str, float] = {}  # since when accounts are wanted by name that are not held
        self._selection = Selection(consumer)
        self._reading = Reading(self.tally)
        self._sending = Sending(self._reading.look_up)
        self._letters = Letters(any_wanted=kept.reviving)
        self._writes: list[Write] = []
        self._changed: set[Course] = set()

    def configure(self, consumer: Consumer, now: float, since: float | None = None) -> None:
        """Take over a configuration that says so since a time, or since now: what is new begins there."""
        begins = now if since is None else min(now, since)
        everyone_before = self.consumer.accounts is None
        self.consumer = consumer
        self._selection = Selection(consumer)
        named = consumer.accounts or frozenset()
        self._named = {one: at for one, at in self._named.items() if one in named}
        for account in named:
            wanted = self.standing.since if everyone_before and self.standing.since else begins
            if self._holds(account):
                self._begin_named(account, wanted)
            else:
                self._named.setdefault(account, wanted)
        if (consumer.accounts is None and not everyone_before) or not self.standing.since:
            self._stand(since=begins)
        for course in self.courses.values():
            self._turn(course, now)

    def take_up(self, account: str, kept: Kept, now: float) -> None:
        """Go on with an account that is handed over here from now on.

        Args:
            account: The account.
            kept: What was written down of the account, and nothing else.
            now: Unix seconds.
        """
        if self._held is None or account in self._held:
            return
        self._held.add(account)
        self._restore(kept, now)
        self.dead += kept.dead
        if kept.reviving:
            self._letters.want()
        if self.consumer.accounts is not None and account in self.consumer.accounts:
            self._begin_named(account, self._named.pop(account, self.standing.since or now))
        for stream in STREAMS:
            if (course := self.courses.get(Place(account, stream))) is not None:
                self._turn(course, now)

    def stop_with(self, account: str) -> int:
        """Begin nothing more of an account; return how many of its events are on their way."""
        courses = [one for place, one in self.courses.items() if place.account == account]
        for course in courses:
            course.is_off = True
        self._letters.let_go(account)
        return sum(course.flying for course in courses)

    def let_go(self, account: str, dead: int) -> None:
        """Know nothing more of an account: it is handed over elsewhere. What is on its way is not waited for.

        Args:
            account: The account.
            dead: How many dead letters of it the consumer has.
        """
        if self._held is None or account not in self._held:
            return
        self._held.discard(account)
        self._letters.let_go(account)
        self.dead -= dead
        for place in [place for place in self.courses if place.account == account]:
            course = self.courses.pop(place)
            self._changed.discard(course)
            course.leave()
        self._sending.forget_gone()
        self._writes = [one for one in self._writes if not _is_of(one, account)]

    def heard(self, place: Place) -> None:
        """Take in that a stream may have something new."""
        course = self.courses.get(place)
        if course is None:
            if not (self._selection.sees(place.account) and self._holds(place.account)):
                return
            course = self._course(place, Moved(place, None, self.standing.since))
        course.has_news = True
        self._reading.want(course)

    def _restore(self, kept: Kept, now: float) -> None:
        for place, moved in kept.positions.items():
            self._course(place, moved)
        for row in kept.lanes:
            course = self.courses.get(row.place) or self._course(row.place, Moved(row.place, None))
            row = replace(row, due=min(row.due, now + schedule.DELAYS[-1] * (1 + schedule.JITTER)))
            self._place(course.restore(row), now)

    def _holds(self, account: str) -> bool:
        return self._held is None or not account or account in self._held  # notices are of no account

    def _begin_named(self, account: str, since: float) -> None:
        for stream in STREAMS:
            if (place := Place(account, stream)) not in self.courses:
                self._writes.append(Moved(place, None, since))
                self._course(place, Moved(place, None, since))

    def _turn(self, course: Course, now: float) -> None:
        course.wants = self._selection.wants
        account = course.place.account
        course.is_off = not (self._selection.sees(account) and self._holds(account))
        if not course.is_off:
            course.has_news = True
            self._reading.want(course)
            for lane in tuple(course.lanes.values()):
                self._place(lane, now)

    def _is_gone(self, course: Course) -> bool:
        """Tell whether an account was let go since something of it was begun."""
        return self.courses.get(course.place) is not course

    def _course(self, place: Place, moved: Moved) -> Course:
        course = Course(place, self._selection.wants, self.tally, moved.cursor, moved.since)
        self.courses[place] = course
        return course

    def _stand(self, **changes: Any) -> None:  # noqa: ANN401 - fields of `Standing`
        self.standing = replace(self.standing, **changes)
        self._writes.append(self.standing)

    def _place(self, lane: Lane, now: float) -> None:
        self._changed.add(lane.course)
        self._sending.place(lane, now)


def _is_of(write: Write, account: str) -> bool:
    place = getattr(write, "place", None)
    return isinstance(place, Place) and place.account == account
