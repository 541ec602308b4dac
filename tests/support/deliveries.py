"""A world for the machine of one consumer: inboxes, a consumer, a store, virtual time, and kills.

What the machine does is checked as it happens. `Kept` rows are those that the gateway's store has to keep.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol
from unittest.mock import patch

from hypothesis import strategies as st

from orchestrator.consumers import lanes, reading, schedule
from orchestrator.consumers.breaker import OPENS_AFTER
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.lanes import Course
from orchestrator.consumers.machine import Flight, Gone, Machine, Revive
from orchestrator.consumers.outcomes import Delivered, Failed
from orchestrator.consumers.reading import Find, Read
from orchestrator.consumers.writes import (
    Buried,
    Died,
    Hurried,
    Kept,
    LaneGone,
    LaneRow,
    Letter,
    Moved,
    Pending,
    Place,
    Revived,
    Standing,
    Waiting,
    Write,
)

START = 1_800_000_000.0
"""When the world begins."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An event, as the feed renders it."""

    id: str
    type: str
    account: str
    stream: str
    seq: int
    lane: str
    at: float
    body: bytes


class Keeper(Protocol):
    """Keeps what is written down of the one consumer."""

    def apply(self, writes: tuple[Write, ...]) -> None: ...

    def kept(self) -> Kept: ...

    def body(self, place: Place, lane: str, seq: int) -> bytes | None: ...

    def revive(self, now: float) -> None: ...

    def next_letter(self, now: float) -> tuple[Letter | None, float | None]: ...

    def dead(self) -> set[tuple[Place, int]]: ...


@dataclass
class Letters:
    """A row of a dead letter."""

    died: Died
    due: float | None = None
    tries: int = 0


class Plain:
    """What is written down of one consumer: what the gateway keeps in SQLite, in plain Python."""

    def __init__(self) -> None:
        self.standing = Standing()
        self.positions: dict[Place, Moved] = {}
        self.lanes: dict[tuple[Place, str], LaneRow] = {}
        self.letters: dict[int, Letters] = {}
        self._number = 0

    def apply(self, writes: tuple[Write, ...]) -> None:
        for write in writes:
            match write:
                case Moved(place):
                    self.positions[place] = write
                case LaneRow(place, lane):
                    assert write.head is None or write.body
                    self.lanes[place, lane] = write
                case Waiting(place, lane, counted, waiting):
                    row = self.lanes[place, lane]
                    self.lanes[place, lane] = replace(row, counted=counted, waiting=waiting)
                case LaneGone(place, lane):
                    self.lanes.pop((place, lane), None)
                case Died(place, head=head):
                    for number, letter in tuple(self.letters.items()):
                        if (letter.died.place, letter.died.head.seq) == (place, head.seq):
                            del self.letters[number]
                    self._number += 1
                    self.letters[self._number] = Letters(write)
                case Revived(number, due, tries):
                    if number in self.letters:
                        self.letters[number].due, self.letters[number].tries = due, tries
                case Buried(number):
                    self.letters.pop(number, None)
                case Hurried(now):
                    for key, row in self.lanes.items():
                        self.lanes[key] = replace(row, due=min(row.due, now))
                    for letter in self.letters.values():
                        letter.due = letter.due and min(letter.due, now)
                case Standing():
                    self.standing = write

    def kept(self) -> Kept:
        return Kept(
            self.standing,
            dict(self.positions),
            tuple(replace(row, body=None) for row in self.lanes.values()),
            len(self.letters),
            any(one.due is not None for one in self.letters.values()),
        )

    def body(self, place: Place, lane: str, seq: int) -> bytes | None:
        row = self.lanes.get((place, lane))
        return None if row is None or row.head is None or row.head.seq != seq else row.body

    def dead(self) -> set[tuple[Place, int]]:
        return {(one.died.place, one.died.head.seq) for one in self.letters.values()}

    def revive(self, now: float) -> None:
        for letter in self.letters.values():
            if letter.due is None:
                letter.due, letter.tries = now, 0

    def next_letter(self, now: float) -> tuple[Letter | None, float | None]:
        """Return the first letter of its chat, of those that are to be delivered now."""
        firsts: dict[tuple[Place, str], tuple[int, Letters]] = {}
        for number, one in self.letters.items():
            if one.due is not None:
                key = (one.died.place, one.died.lane)
                if key not in firsts or one.died.head.seq < firsts[key][1].died.head.seq:
                    firsts[key] = (number, one)
        due = sorted(firsts.values(), key=lambda pair: pair[1].due or 0.0)
        if not due:
            return None, None
        number, one = due[0]
        assert one.due is not None
        if one.due > now:
            return None, one.due
        assert one.died.body
        return Letter(number, one.died.place, one.died.head, one.tries, one.died.body), None


@dataclass
class Seen:
    """What is known of one event."""

    event: Stored
    taken: int = 0
    due: float = 0.0
    tries: int = 0


@dataclass
class World:
    """Everything.

    Attributes:
        consumer: Who gets the events.
        now: The time.
        is_large: There is too much in it to be looked through at each step.
    """

    consumer: Consumer
    seed: int = 0
    now: float = START
    inbox: dict[Place, dict[int, Stored]] = field(default_factory=dict)
    numbers: dict[Place, int] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    store: Keeper = field(default_factory=Plain)
    pending: Pending = field(default_factory=Pending)
    reads: list[Read | Find | Revive] = field(default_factory=list)
    flights: list[Flight] = field(default_factory=list)
    failed_in_row: int = 0
    sends: int = 0
    hurried: bool = False
    was_reset: bool = False
    is_full: bool = False
    is_large: bool = False
    was_cleared: bool = False
    most_in_memory: int = 0
    most_rows: int = 0
    begins: dict[Place, int] = field(default_factory=dict)
    dying: set[tuple[Place, int]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.machine = Machine(self.consumer, self.store.kept(), self.now)
        self.pump()
        self.flush()

    # What happens in the world

    def arrives(
        self, account: str, lane: str, kind: str = "message.received", stream: str = "messages"
    ) -> None:
        place = Place(account, stream)
        seq = self.numbers[place] = self.numbers.get(place, 0) + 1
        body = f'{{"seq":{seq},"of":"{account}"}}'.encode()
        event = Stored(f"evt_{account}_{stream}_{seq}", kind, account, stream, seq, lane, self.now, body)
        self.inbox.setdefault(place, {})[seq] = event
        self.seen[event.id] = Seen(event)
        self.machine.heard(place)
        self.pump()

    def passes(self, seconds: float) -> None:
        self.now += seconds
        self.pump()

    def passes_until_something_happens(self, longest: float) -> bool:
        wake = self.machine.wake_at(self.now)
        if wake is None or wake > self.now + longest:
            return False
        self.passes(max(0.0, wake - self.now))
        return True

    def reads_done(self, which: int, *, works: bool = True) -> None:
        if not self.reads:
            return
        read = self.reads.pop(which % len(self.reads))
        if isinstance(read, Revive):
            self.flush()
            if self.is_full:
                self.machine.revived(None, self.now + 60)
            else:
                self.machine.revived(*self.store.next_letter(self.now))
        elif not works:
            self.machine.unreadable(read, self.now)
        elif isinstance(read, Find):
            inbox = self.inbox.get(read.place, {})
            later = [seq for seq, event in inbox.items() if event.at >= read.since]
            newest = self.numbers.get(read.place, 0)
            self.machine.found(read, min(later) - 1 if later else newest)
        else:
            inbox = self.inbox.get(read.place, {})
            found = [
                event
                for seq, event in sorted(inbox.items())
                if seq > read.after and read.chat in (None, event.lane)
            ]
            # What was stored and rendered to nothing is looked at, too: `last` is beyond the last event.
            more = len(found) > read.limit
            events = tuple(found[: read.limit])
            last = events[-1].seq if more else max(read.after, self.numbers.get(read.place, 0))
            self.machine.got(read, events, last, more=more, now=self.now)
        self.pump()

    def answers(self, which: int, outcome: Delivered | Failed) -> None:
        if not self.flights:
            return
        flight = self.flights.pop(which % len(self.flights))
        seen = self.seen[flight.head.id]
        found: Delivered | Failed | Gone = outcome
        if flight.body is None:
            found = Gone()
        elif isinstance(outcome, Delivered):
            seen.taken += 1
            self.failed_in_row = 0
        else:
            self.failed_in_row += 1
            least = schedule.wait(flight.number, 0.0, outcome.retry_after)
            if flight.letter is None:
                seen.tries = flight.number
                seen.due = self.now + (least or 0.0)
        self.machine.ended(flight, found, self.now, self.random.random())
        self.pump()

    def flush(self) -> None:
        if not self.is_full:
            self.store.apply(self.pending.take())
            self.dying.clear()

    def is_killed(self, took: bool = True) -> None:
        """Lose everything that was not written down. What is on its way arrives, or not."""
        for flight in self.flights:
            if took and flight.body is not None:
                self.seen[flight.head.id].taken += 1
        if self.is_full:  # when something is to be tried again is lost as well
            for seen in self.seen.values():
                seen.due = 0.0
        self.flights.clear()
        self.reads.clear()
        self.pending.take()
        self.dying.clear()
        kept = self.store.kept()
        self.failed_in_row = OPENS_AFTER if kept.standing.failures >= OPENS_AFTER else 0
        self.machine = Machine(self.consumer, kept, self.now)
        for place in self.inbox:
            self.machine.heard(place)
        self.pump()

    def is_cleared(self, place: Place, number: int) -> None:
        """Delete the oldest entries of an inbox, whoever needs them."""
        self.was_cleared = True
        inbox = self.inbox.get(place, {})
        for seq in sorted(inbox)[:number]:
            del inbox[seq]

    # What the machine does

    def pump(self) -> None:
        for action in self.machine.next(self.now):
            if isinstance(action, Flight):
                self._sent(action)
            else:
                self.reads.append(action)
        urgent = self.machine.is_urgent
        writes = self.machine.writes()
        self.dying |= {(write.place, write.head.seq) for write in writes if isinstance(write, Died)}
        self.pending.add(writes)
        if urgent:
            self.flush()
        self._check()

    def _sent(self, flight: Flight) -> None:
        seen = self.seen[flight.head.id]
        if self.failed_in_row >= OPENS_AFTER:
            assert not self.flights, "one probe at a time"
        self.flights.append(flight)
        self.sends += 1
        assert len(self.flights) <= self.consumer.parallel
        assert flight.head == lanes.head_of(seen.event)
        if flight.body is None:
            assert flight.lane is not None
            row = self.pending.row(flight.place, flight.lane.name)  # with a full disk, it is in memory
            if row is not None and row.head == flight.head:
                flight.body = row.body
            else:
                flight.body = self.store.body(flight.place, flight.lane.name, flight.head.seq)
        assert flight.body == seen.event.body, "byte for byte"
        assert self.now >= self.machine.standing.held_until
        if flight.letter is not None:
            key = flight.place, flight.head.seq
            assert key in self.store.dead(), "a dead letter that was taken is none any more"
            return
        if self.was_reset or self.is_large:
            return
        assert not self.is_dead(seen.event), "it is dead until somebody asks for it"
        if not self.hurried:
            assert self.now >= seen.due - 1e-3, "not before its time"
        of = seen.event
        for other in self.seen.values():
            one = other.event
            if (one.account, one.stream, one.lane) == (of.account, of.stream, of.lane) and one.seq < of.seq:
                assert self.is_done(one), f"{one.id} before {of.id}"

    def is_done(self, event: Stored) -> bool:
        """Tell whether an event was taken, is dead, is not wanted, or is not kept any more."""
        place = Place(event.account, event.stream)
        return (
            self.seen[event.id].taken > 0
            or self.is_dead(event)
            or event.seq not in self.inbox[place]
            or event.seq <= self.begins.get(place, 0)
            or not self.machine._selection.wants(event.type)
            or not self.machine._selection.sees(event.account)
        )

    def is_dead(self, event: Stored) -> bool:
        key = Place(event.account, event.stream), event.seq
        return key in self.store.dead() or key in self.dying

    def _check(self) -> None:
        machine = self.machine
        assert machine.flying == len(self.flights)
        buffered = sum(course.buffered for course in machine.courses.values())
        assert machine.tally.events == buffered
        assert buffered == sum(
            len(lane.events) for course in machine.courses.values() for lane in course.lanes.values()
        )
        rows = sum(lane.is_kept for course in machine.courses.values() for lane in course.lanes.values())
        assert machine.tally.rows == rows
        assert machine.tally.size >= 0
        self.most_in_memory = max(self.most_in_memory, buffered)
        self.most_rows = max(self.most_rows, rows)
        if not self.is_large:
            for course in machine.courses.values():
                self._check_course(course)

    def _check_course(self, course: Course) -> None:
        if course.cursor is None or self.was_reset:
            return
        rows = {lane.name for lane in course.lanes.values() if lane.is_kept}
        for seq, event in self.inbox.get(course.place, {}).items():
            if seq <= course.cursor and not self.is_done(event):
                assert event.lane in rows, "the cursor is beyond what is neither done nor written down"
            if seq <= course.needed() and not self.is_done(event):
                lane = course.lanes[event.lane]
                assert lane.head is not None
                assert lane.head.seq == seq, "its body is written down"

    def settle(self) -> None:
        """Let everything work, until nothing is to be done any more."""
        self.is_full = False
        self.machine.is_strained = False
        if self.machine.standing.paused or self.machine.standing.disabled:
            self.machine.resume(self.now)
            self.hurried = True
        for place in self.inbox:
            self.machine.heard(place)
        self.pump()
        for _ in range(20_000):
            if self.reads:
                self.reads_done(0)
            elif self.flights:
                self.answers(0, Delivered())
            elif not self.passes_until_something_happens(10 * 86400.0):
                break
            self.flush()
        else:
            raise AssertionError("it never ends")
        self.flush()

    def check_that_all_is_done(self) -> None:
        kept = self.store.kept()
        for seen in self.seen.values():
            assert self.is_done(seen.event), seen
        for place, number in self.numbers.items():
            if self.machine._selection.sees(place.account):
                assert kept.positions[place].cursor == number
        assert not kept.lanes
        assert not kept.reviving
        if not self.was_cleared:
            assert self.machine.tally.expired == 0
        assert not self.machine.tally.events


@contextmanager
def little_room() -> Iterator[None]:
    """Have all bounds so low that a few events reach them."""
    with ExitStack() as stack:
        for module, values in (
            (schedule, {"TRIES": 3}),
            (lanes, {"SPAN": 4, "AHEAD": 2}),
            (reading, {"AHEAD": 2, "BATCH": 3, "WINDOW": 4, "ROOM": 6, "SHARE": 1, "AT_ONCE": 2}),
        ):
            for name, value in values.items():
                stack.enter_context(patch.object(module, name, value))
        yield


ACCOUNTS = ("a", "b")
LANES = ("x", "y", "z")

outcomes = st.one_of(
    st.just(Delivered()),
    st.just(Failed("HTTP 500")),
    st.builds(Failed, st.just("HTTP 429"), st.sampled_from([0.0, 7.0, 3600.0, 1e9, float("nan")])),
    st.just(Failed("HTTP 410", disable=True)),
)
few = st.integers(0, 7)
steps = st.one_of(
    st.tuples(st.just("arrives"), st.sampled_from(ACCOUNTS), st.sampled_from(LANES)),
    st.tuples(st.just("arrives"), st.sampled_from(ACCOUNTS), st.sampled_from(LANES)),
    st.tuples(st.just("arrives"), st.just("a"), st.just("x")),
    st.tuples(st.just("unwanted"), st.sampled_from(ACCOUNTS), st.sampled_from(LANES)),
    st.tuples(st.just("happens"), st.sampled_from(ACCOUNTS)),
    st.tuples(st.just("reads"), few),
    st.tuples(st.just("reads"), few),
    st.tuples(st.just("reads"), few),
    st.tuples(st.just("cannot_read"), few),
    st.tuples(st.just("answers"), few, outcomes),
    st.tuples(st.just("answers"), few, outcomes),
    st.tuples(st.just("answers"), few, st.just(Failed("HTTP 500"))),
    st.tuples(st.just("passes"), st.sampled_from([0.01, 1.0, 6.0, 700.0, 90_000.0])),
    st.tuples(st.just("waits")),
    st.tuples(st.just("flush")),
    st.tuples(st.just("killed"), st.booleans()),
    st.tuples(st.just("pause")),
    st.tuples(st.just("resume")),
    st.tuples(st.just("cleared"), st.sampled_from(ACCOUNTS), st.integers(1, 3)),
    st.tuples(st.just("replay")),
    st.tuples(st.just("full"), st.booleans()),
)


def perform(world: World, step: tuple[Any, ...]) -> None:
    match step:
        case "arrives", account, lane:
            world.arrives(account, lane)
        case "unwanted", account, lane:
            world.arrives(account, lane, "call.offered")
        case "happens", account:
            world.arrives(account, "", "account.connected", "account")
        case "reads", which:
            world.reads_done(which)
        case "cannot_read", which:
            world.reads_done(which, works=False)
        case "answers", which, outcome:
            world.answers(which, outcome)
        case "passes", seconds:
            world.passes(seconds)
        case ("waits",):
            world.passes_until_something_happens(1e9)
        case ("flush",):
            world.flush()
        case "killed", took:
            world.is_killed(took)
        case ("pause",):
            world.machine.pause(world.now)
            world.pump()
            world.flush()
        case ("resume",):
            world.hurried = True
            world.machine.resume(world.now)
            world.pump()
            world.flush()
        case "cleared", account, number:
            world.is_cleared(Place(account, "messages"), number)
        case ("replay",):
            world.store.revive(world.now)
            world.machine.revive()
            world.pump()
        case "full", is_full:
            world.is_full = world.machine.is_strained = is_full
