"""The machine of a consumer: at least once, in order within a chat, whatever fails and whoever is killed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from support.deliveries import START, Stored, World, little_room, perform, steps

from orchestrator.consumers import reading, schedule
from orchestrator.consumers.breaker import PROBE_SECONDS, Breaker
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.lanes import Course, Tally
from orchestrator.consumers.machine import Flight, Machine
from orchestrator.consumers.outcomes import Delivered, Failed
from orchestrator.consumers.reading import Read
from orchestrator.consumers.selection import Selection
from orchestrator.consumers.writes import Head, Kept, LaneRow, Moved, Place, Standing

PLACE = Place("a", "messages")


@given(st.lists(steps, max_size=60), st.integers(1, 3), st.booleans())
@settings(max_examples=500)
def test_every_event_is_delivered_or_dead_and_in_order(
    happenings: list[tuple[Any, ...]], parallel: int, is_narrow: bool
) -> None:
    consumer = Consumer("crm", "webhook", None, ("message.*", "account.*"), parallel)
    if not is_narrow:
        run(World(consumer), happenings)
        return
    with little_room():
        run(World(consumer), happenings)


def run(world: World, happenings: list[tuple[Any, ...]]) -> None:
    note(f"{happenings}")
    for step in happenings:
        perform(world, step)
    world.settle()
    world.check_that_all_is_done()


def webhook(parallel: int = 8, **other: Any) -> Consumer:  # noqa: ANN401 - fields of a consumer
    return Consumer("crm", "webhook", other.pop("accounts", None), other.pop("events", ("*",)), parallel)


def works_off(world: World, outcome: Callable[[Flight], Delivered | Failed], seconds: float) -> None:
    """Let time pass, with an endpoint that answers at once."""
    until = world.now + seconds
    while world.now < until:
        if world.reads:
            world.reads_done(0)
        elif world.flights:
            world.answers(0, outcome(world.flights[0]))
        elif not world.passes_until_something_happens(until - world.now):
            world.passes(until - world.now)
        world.flush()


def test_a_dead_endpoint_costs_few_rows_and_few_tries() -> None:
    world = World(webhook(), is_large=True)
    for number in range(3000):
        world.arrives("ab"[number % 2], f"{number % 700}@lid")
    works_off(world, lambda _: Failed("cannot connect"), 6 * 86_400.0)
    kept = world.store.kept()
    # Five that failed at once, with what was on its way then, and one more now and then as a probe.
    assert len(kept.lanes) + kept.dead < 300
    assert world.sends < 3000
    assert sum(moved.cursor or 0 for moved in kept.positions.values()) < 1000
    assert world.most_in_memory <= reading.ROOM + reading.BATCH
    before = world.sends
    works_off(world, lambda _: Delivered(), 86_400.0)
    assert world.sends - before >= 2500
    world.settle()
    world.check_that_all_is_done()


def test_a_consumer_that_is_back_gets_new_messages_within_ten_minutes() -> None:
    world = World(webhook(), is_large=True)
    for number in range(500):
        world.arrives("a", f"{number}@lid")
    works_off(world, lambda _: Failed("HTTP 503"), 40_000.0)
    before = sum(seen.taken for seen in world.seen.values())
    works_off(world, lambda _: Delivered(), PROBE_SECONDS + 1)
    assert sum(seen.taken for seen in world.seen.values()) - before > 400


def test_a_chat_with_a_million_messages_behind_one_that_fails_is_one_row() -> None:
    machine = Machine(webhook(), Kept(Standing(since=1.0), {PLACE: Moved(PLACE, 0)}), START)
    body = b"x" * 500
    stored = 1_000_000
    now, sends, others = START, 0, 0
    most = 0

    def event(seq: int) -> Stored:
        lane = "bad@lid" if seq % 10 else "good@lid"
        return Stored(f"evt_a_{seq}", "message.received", "a", "messages", seq, lane, START, body)

    machine.heard(PLACE)
    for _ in range(200_000):
        actions = machine.next(now)
        if not actions:
            break
        for action in actions:
            if isinstance(action, Read):
                assert action.lane is None
                last = min(stored, action.after + action.limit)
                events = [event(seq) for seq in range(action.after + 1, last + 1)]
                machine.got(action, events, last, more=last < stored, now=now)
            elif isinstance(action, Flight):
                sends += 1
                assert action.lane is not None
                is_good = action.lane.name == "good@lid"
                others += is_good
                machine.ended(action, Delivered() if is_good else Failed("HTTP 400"), now, 0.5)
        machine.writes()
        most = max(most, machine.tally.events)
        if machine.courses[PLACE].read > 100_000:
            break
    assert others > 9_000
    assert sends == others + 1
    assert machine.tally.rows == 1
    assert most <= reading.ROOM + reading.BATCH
    (lane,) = [one for one in machine.courses[PLACE].lanes.values() if one.is_kept]
    assert lane.waiting > 80_000
    assert not lane.events


def test_numbers_that_follow_the_clock_do_not_count_as_events() -> None:
    course = Course(Place("a", "account"), lambda _: True, Tally(), 1_795_000_000)
    course.newest = 1_795_900_000
    assert course.waiting() == 1
    course.begin(0)
    assert course.waiting() == 1
    event = Stored(
        "evt_a_account_1795900000", "account.connected", "a", "account", 1_795_900_000, "", START, b"{}"
    )
    assert len(list(course.take((event,), 1_795_900_000))) == 1
    assert course.waiting() == 1


def test_one_chat_that_always_fails_does_not_hold_up_a_new_message_of_another() -> None:
    world = World(webhook())
    world.arrives("a", "bad@lid")
    works_off(world, lambda _: Failed("HTTP 400"), 10_000.0)
    assert world.machine.state(world.now) == "failing"
    world.arrives("a", "good@lid")
    works_off(world, lambda flight: Delivered() if flight.head.seq == 2 else Failed("HTTP 400"), 0.1)
    assert [seen.taken for seen in world.seen.values()] == [0, 1]
    assert world.machine.state(world.now) == "active"


def test_a_consumer_that_asks_for_time_gets_it() -> None:
    world = World(webhook())
    world.arrives("a", "x@lid")
    world.arrives("a", "y@lid")
    while world.reads:
        world.reads_done(0)
    world.answers(0, Failed("HTTP 429", retry_after=120.0))
    world.arrives("a", "z@lid")
    while world.reads:
        world.reads_done(0)
    assert len(world.flights) == 1  # that one was on its way
    assert world.machine.state(world.now) == "waiting"
    assert world.machine.wake_at(world.now) == world.now + 120.0
    world.passes(119.0)
    assert len(world.flights) == 1
    world.passes(2.0)
    assert len(world.flights) == 3


def test_what_hangs_again_and_again_leaves_room_for_others() -> None:
    world = World(webhook(parallel=4))
    for number in range(20):
        world.arrives("a", f"bad{number}@lid")
        world.arrives("a", f"good{number}@lid")
    works_off(
        world,
        lambda flight: Failed("no answer") if flight.lane and "bad" in flight.lane.name else Delivered(),
        3.0,
    )
    world.passes(100.0)  # all that have failed are due now, and none of them ends
    for number in range(10):
        world.arrives("a", f"new{number}@lid")
    while world.reads:
        world.reads_done(0)
    assert sum(flight.number > 1 for flight in world.flights) == 2
    for _ in range(100):
        new = [index for index, flight in enumerate(world.flights) if flight.number == 1]
        if not new:
            break
        world.answers(new[0], Delivered())
    assert all(seen.taken for seen in world.seen.values() if seen.event.lane.startswith("new"))


def test_what_died_stays_dead_although_the_position_is_behind_it() -> None:
    world = World(webhook(parallel=2))
    world.arrives("a", "hangs@lid")
    world.arrives("a", "dies@lid")
    while world.reads:
        world.reads_done(0)
    with little_room():  # few tries, so that the breaker stays closed
        for _ in range(schedule.TRIES):
            world.answers(1, Failed("HTTP 400"))
            world.passes_until_something_happens(1e6)
    assert world.store.dead() == {(PLACE, 2)}
    assert world.store.kept().positions[PLACE].cursor == 0
    world.is_killed(took=False)
    world.settle()
    assert [seen.taken for seen in world.seen.values()] == [1, 0]


def test_a_leap_of_the_numbers_is_no_heap_of_events() -> None:
    history = Place("a", "account")
    positions = {history: Moved(history, 1_796_000_000), PLACE: Moved(PLACE, 5)}
    machine = Machine(webhook(), Kept(Standing(since=START), positions), START)
    of_history, of_messages = machine.courses[history], machine.courses[PLACE]
    assert (of_history.waiting(), of_messages.waiting()) == (0, 0)
    of_history.newest = 1_796_086_400  # the next entry was made a day later: its number is the time
    of_messages.newest = 1_000_000_007  # an inbox was damaged, and the next one began far beyond it
    assert (of_history.waiting(), of_messages.waiting()) == (1, 1)
    of_messages.newest = 12
    assert of_messages.waiting() == 7


def test_accounts_take_turns() -> None:
    world = World(webhook(parallel=1), is_large=True)
    for number in range(300):
        world.arrives("a", f"{number}@lid")
    for number in range(3):
        world.arrives("b", f"{number}@lid")
    order: list[str] = []

    def takes(flight: Flight) -> Delivered:
        order.append(flight.place.account)
        return Delivered()

    works_off(world, takes, 10.0)
    assert max(index for index, account in enumerate(order) if account == "b") < 60


def test_a_position_is_moved_once_nothing_is_on_its_way() -> None:
    world = World(webhook())
    for number in range(6):
        world.arrives("a", f"{number % 2}@lid")
    while world.reads:
        world.reads_done(0)
    assert len(world.flights) == 2
    world.was_reset = True
    world.machine.reset(PLACE, 4)
    world.pump()
    assert len(world.flights) == 2
    world.answers(0, Failed("HTTP 500"))
    world.answers(0, Delivered())
    world.settle()
    assert {event for event, seen in world.seen.items() if seen.taken} == {
        "evt_a_messages_5", "evt_a_messages_6", "evt_a_messages_2"
    }  # fmt: skip
    assert world.store.kept().lanes == ()


def test_accounts_of_a_list_begin_when_they_are_named() -> None:
    world = World(webhook(accounts=frozenset("a")))
    world.now += 10
    for account in "ab":
        world.arrives(account, "x@lid")
    world.passes(10)
    world.machine.configure(webhook(accounts=frozenset("ab")), world.now)
    world.machine.heard(Place("b", "messages"))
    world.pump()
    world.passes(10)
    world.arrives("b", "x@lid")
    world.begins[Place("b", "messages")] = 1
    world.settle()
    assert [seen.taken for seen in world.seen.values()] == [1, 0, 1]


def test_an_account_that_is_left_out_and_comes_back_misses_nothing() -> None:
    world = World(webhook())
    world.arrives("a", "x@lid")
    world.arrives("b", "x@lid")
    while world.reads:
        world.reads_done(0)
    world.answers(0, Failed("HTTP 500"))
    world.machine.configure(webhook(accounts=frozenset("c")), world.now)
    world.pump()
    world.arrives("a", "x@lid")
    world.settle()
    assert world.seen["evt_a_messages_2"].taken == 0
    world.machine.configure(webhook(), world.now)
    world.settle()
    world.check_that_all_is_done()


def test_a_time_that_is_far_off_is_not_believed() -> None:
    row = LaneRow(PLACE, "x@lid", 1, 1, 0, Head("evt_a_1", "message.received", 1, START), 3, START * 2, "")
    machine = Machine(webhook(), Kept(Standing(since=1.0), {PLACE: Moved(PLACE, 1)}, (row,)), START)
    wake = machine.wake_at(START)
    assert wake is not None
    assert wake <= START + 1.2 * 86_400.0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40))
def test_the_breaker_opens_after_five_failures_in_a_row(ends: list[tuple[bool, int]]) -> None:
    breaker, row = Breaker(), 0
    for took, _ in ends:
        row = 0 if took else row + 1
        before = breaker.is_open
        assert breaker.note(took=took) == (breaker.is_open != before)
        assert breaker.is_open == (row >= 5)


@given(
    st.integers(0, 20),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats() | st.integers(-(10**9), 10**12),
)
def test_waits_are_bounded(failures: int, random: float, retry_after: float | None) -> None:
    wait = schedule.wait(failures, random, retry_after)
    if failures >= 12:
        assert wait is None
        return
    assert wait is not None
    assert schedule.DELAYS[failures] * 0.8 <= wait <= 86_400.0 * 1.2
    if retry_after is not None and 0 < retry_after <= 86_400.0:
        assert wait >= retry_after


def test_the_schedule_takes_three_days() -> None:
    assert 3 * 86_400.0 < sum(schedule.DELAYS) < 3.5 * 86_400.0
    assert len(schedule.DELAYS) == schedule.TRIES == 12


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("*",), {"message.received", "account.paired", "test"}),
        (("message.*",), {"message.received"}),
        (("account.paired", "test"), {"account.paired", "test"}),
        ((), set()),
    ],
)
def test_patterns_choose_types(patterns: tuple[str, ...], wanted: set[str]) -> None:
    selection = Selection(webhook(events=patterns))
    assert {one for one in ("message.received", "account.paired", "test") if selection.wants(one)} == wanted
    assert selection.sees("a")
    assert not Selection(webhook(accounts=frozenset("b"))).sees("a")


def test_what_a_consumer_does_not_get_any_more_keeps_nothing_waiting() -> None:
    """It was queued before, behind a pause: nobody would ask again before something else happens."""
    found = reading.Reading(Tally())
    courses = [Course(Place(f"{count}", "messages"), lambda _: True, Tally(), 0) for count in range(100)]
    for course in courses:
        found.want(course)
    for course in courses[:-1]:
        course.is_off = True
    (read,) = found.next(START, sparing=False)
    assert read.course is courses[-1]
