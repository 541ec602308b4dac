"""An account that shows codes only while somebody looks: no process, no code and no failure for nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import driving
from support.world import CODE, DIAL, ROUND, STOP, World

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Action, HideCode, LookUp, Quarantine, Queue, Record, Spawn, TellStop
from orchestrator.accounts.events import (
    Begin,
    Event,
    Exited,
    Found,
    Held,
    Looked,
    LookedUp,
    Moment,
    Order,
    Ordered,
    Released,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    SpawnFailed,
    Stalled,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.looking import LOOK_SECONDS, RENEW_SECONDS, UNSEEN, Looks
from orchestrator.accounts.states import State

NUMBER = "4915100001"
CODE_MESSAGE = pipe.Code("2@secret", b"png", 1000.0, 1060.0)


class Driver(driving.Driver):
    """An account with a clock. It shows codes only while somebody looks."""

    def __init__(self, **values: Any) -> None:  # noqa: ANN401
        super().__init__(**{"pairing": "on_demand", **values})

    def begin(self, *, linked: bool = False) -> list[Action]:
        assert LookUp() in self(Begin())
        return self(LookedUp(linked))

    def shows_code(self) -> None:
        """Let a look lead to a code."""
        self(Looked())
        self(TurnCame())
        self(Spawned(4711))
        self(Said(pipe.Connecting(False)))
        self(Said(CODE_MESSAGE))
        assert self.state() is State.PAIRING
        assert self.account.child is not None

    def waits(self) -> bool:
        account = self.account
        return account.waits_for_look and account.reason == UNSEEN and not account.runs


def kinds_of(actions: list[Action]) -> set[type[Action]]:
    return {type(action) for action in actions}


# Looks


@given(st.lists(st.floats(0, 300), max_size=20), st.booleans())
def test_a_look_is_good_for_a_minute_after_the_last_one(pauses: list[float], asked: bool) -> None:
    now, looks = 1000.0, Looks().wanted() if asked else Looks()
    assert looks.at(now) is asked
    for pause in pauses:
        now += pause
        looks = looks.looked(now)
        assert looks.at(now)
        assert looks.at(now + LOOK_SECONDS - 0.001)
        assert looks.at(now + LOOK_SECONDS) is asked
        assert looks.ends_at() == (None if asked else now + LOOK_SECONDS)
    assert looks.served().at(now) is bool(pauses)


@given(st.floats(0, 1e6), st.floats(0, 1e4))
def test_what_nobody_could_hear_is_given_back(now: float, seconds: float) -> None:
    looked = Looks().looked(now)
    assert looked.later(seconds).ends_at() == pytest.approx(now + LOOK_SECONDS + seconds)
    assert Looks().later(seconds) == Looks()


def test_whoever_shows_codes_says_so_in_time() -> None:
    assert 2 * RENEW_SECONDS < LOOK_SECONDS, "one that is late does not count as gone"


# Nobody looks


def test_without_a_session_it_waits_and_has_no_process() -> None:
    driver = Driver()
    actions = driver.begin()
    assert driver.waits()
    assert not kinds_of(actions) & {Queue, Spawn}
    assert driver.account.wakes_at() is None, "time brings nothing"
    assert driver(Ticked(), after=1e6) == []
    assert driver.waits()


def test_with_a_session_it_connects_as_always() -> None:
    driver = Driver()
    assert Queue() in driver.begin(linked=True)
    driver(TurnCame())
    driver(Said(pipe.Connecting(True)))
    driver(Said(pipe.Connected(NUMBER)))
    assert driver.state() is State.CONNECTED
    assert driver.account.child is not None
    assert driver.account.child.purpose is None


def test_whoever_shows_codes_always_is_not_looked_at_first() -> None:
    driver = Driver(pairing="always")
    assert kinds_of(driver(Begin())) == {Queue, Record}
    driver(TurnCame())
    driver(Said(pipe.Connecting(False)))
    driver(Said(CODE_MESSAGE))
    for _ in range(15):
        driver(Said(pipe.Heartbeat(None, 1)), after=10)
        driver(Ticked())
    assert driver.account.child is not None
    assert driver.account.child.purpose is None


def test_a_process_that_finds_no_device_ends_before_it_shows_a_code() -> None:
    driver = Driver()
    driver.begin(linked=True)
    driver(TurnCame())
    driver(Spawned(1))
    assert TellStop() in driver(Said(pipe.Connecting(False)))
    assert LookUp() in driver.end(Kind.STOPPED)
    driver(LookedUp(linked=False))
    assert driver.waits()


def test_nobody_is_told_of_an_attempt_or_a_failure() -> None:
    driver = Driver()
    driver.begin()
    assert driver.account.attempt == 0
    assert driver.account.kind is None
    assert driver.account.next_retry_at is None
    assert not driver.account.held


# Somebody looks


def test_a_look_brings_a_code_and_its_end_takes_the_code_away() -> None:
    driver = Driver()
    driver.begin()
    assert Queue() in driver(Looked())
    assert driver.state() is State.STARTING
    driver(TurnCame())
    driver(Spawned(1))
    driver(Said(pipe.Connecting(False)))
    driver(Said(CODE_MESSAGE))
    assert driver.account.wakes_at() is not None
    driver(Said(pipe.Heartbeat(None, 1)), after=25)
    driver(Said(pipe.Heartbeat(None, 1)), after=25)
    assert driver.account.wakes_at() == 1000.0 + LOOK_SECONDS
    actions = driver(Ticked(), after=10)
    assert {TellStop, HideCode} <= kinds_of(actions)
    assert LookUp() in driver.end(Kind.STOPPED)
    assert driver.waits()
    driver(LookedUp(linked=False))
    assert driver.waits()


def test_it_goes_on_for_as_long_as_somebody_looks() -> None:
    driver = Driver()
    driver.begin()
    driver.shows_code()
    for _ in range(8):
        driver(Said(pipe.Heartbeat(None, 1)), after=RENEW_SECONDS)
        assert kinds_of(driver(Looked())) <= {HideCode}
        driver(Ticked())
        assert driver.account.child is not None
        assert driver.account.child.purpose is None


def test_a_look_while_the_process_stops_brings_the_next_one() -> None:
    driver = Driver()
    driver.begin()
    driver.shows_code()
    driver(Said(pipe.Heartbeat(None, 1)), after=29)
    driver(Said(pipe.Heartbeat(None, 1)), after=29)
    assert TellStop() in driver(Ticked(), after=2)
    driver(Looked())
    assert Queue() in driver.end(Kind.STOPPED)
    assert driver.state() is State.STARTING


def test_who_has_looked_and_left_before_the_turn_came_costs_nothing() -> None:
    driver = Driver()
    driver.begin()
    driver(Looked())
    actions = driver(TurnCame(), after=LOOK_SECONDS)
    assert Spawn("qr") not in actions
    assert driver.waits()


def test_a_phone_that_uses_the_code_in_the_last_moment_is_not_lost() -> None:
    driver = Driver()
    driver.begin()
    driver.shows_code()
    for _ in range(3):
        driver(Said(pipe.Heartbeat(None, 1)), after=20)
    driver(Ticked())
    driver(Said(pipe.Paired(NUMBER)))
    assert LookUp() in driver.end(Kind.STOPPED)
    assert Queue() in driver(LookedUp(linked=True))
    assert driver.state() is State.STARTING


def test_a_phone_that_uses_the_code_connects_also_when_nobody_looks_any_more() -> None:
    driver = Driver()
    driver.begin()
    driver.shows_code()
    driver(Said(pipe.Paired(NUMBER)))
    driver(Said(pipe.Heartbeat(None, 1)), after=25)
    driver(Said(pipe.Heartbeat(None, 1)), after=25)
    driver(Said(pipe.Connected(NUMBER)), after=9)
    driver(Ticked(), after=5)
    assert driver.state() is State.CONNECTED
    assert driver.account.child is not None
    assert driver.account.child.purpose is None


def test_time_for_which_the_service_stood_still_is_given_back() -> None:
    driver = Driver()
    driver.begin()
    driver.shows_code()
    driver(Stalled(100.0), after=100)
    driver(Ticked())
    assert driver.account.child is not None
    assert driver.account.child.purpose is None


# Rounds of codes


def test_a_round_that_nobody_saw_is_no_round() -> None:
    driver = Driver(pairing_rounds=1)
    driver.begin()
    driver(Ordered(Order.REPAIR))
    for _ in range(20):
        driver(Ordered(Order.REPAIR))
        driver(TurnCame())
        driver(Spawned(1))
        driver(Said(pipe.Connecting(False)))
        driver(Said(CODE_MESSAGE))
        driver.end(Kind.PAIRING_EXPIRED)
        assert driver.waits()
        assert driver.account.attempts[Kind.PAIRING_EXPIRED] == 0
        assert driver.account.kind is None


def test_rounds_that_somebody_saw_count_and_end_with_a_failure() -> None:
    driver = Driver(pairing_rounds=3)
    driver.begin()
    for number in range(1, 4):
        driver.shows_code() if number == 1 else None
        for _ in range(8):
            driver(Said(pipe.Heartbeat(None, 1)), after=20)
            driver(Looked())
        driver.end(Kind.PAIRING_EXPIRED)
        assert driver.account.attempt == number
        if number < 3:
            assert driver.state() is State.BACKOFF
            driver(Looked(), after=10)
            driver(Ticked())
            driver(TurnCame())
            driver(Said(pipe.Connecting(False)))
            driver(Said(CODE_MESSAGE))
    assert driver.state() is State.FAILED
    driver(Looked())
    assert driver.state() is State.FAILED, "an operator has to act"
    driver(Ordered(Order.REPAIR))
    assert driver.state() is State.STARTING


def test_who_looks_later_has_all_rounds_again() -> None:
    driver = Driver(pairing_rounds=2)
    driver.begin()
    for _ in range(5):
        driver.shows_code()
        driver.end(Kind.PAIRING_EXPIRED)
        assert driver.state() is State.BACKOFF
        assert driver.account.attempt == 1
        driver(Ticked(), after=LOOK_SECONDS)
        assert driver.waits(), "nobody looks when the next round would begin"


# What operators want


def test_a_repair_shows_codes_for_a_whole_round_and_then_it_waits() -> None:
    driver = Driver()
    driver.begin(linked=True)
    driver(TurnCame())
    driver(Said(pipe.Connecting(True)))
    driver(Said(pipe.Connected(NUMBER)))
    driver(Ordered(Order.REPAIR, "code"))
    assert Quarantine("repair") in driver.end(Kind.STOPPED)
    assert driver.state() is State.STARTING
    assert Spawn("code") in driver(TurnCame(), after=300)
    driver(Spawned(1))
    driver(Said(pipe.Connecting(False)))
    driver(Said(pipe.LinkCode("ABCDEFGH", 1060.0)))
    for _ in range(8):
        driver(Said(pipe.Heartbeat(None, 1)), after=20)
        driver(Ticked())
        assert driver.account.child is not None
        assert driver.account.child.purpose is None
    driver.end(Kind.PAIRING_EXPIRED)
    assert driver.waits()
    driver(Looked())
    assert Spawn("code") in driver(TurnCame()), "the next code is of the same kind"


def test_a_repair_of_a_disabled_account_asks_for_no_code_once_it_is_enabled() -> None:
    driver = Driver(enabled=False)
    driver(Begin())
    assert driver(Ordered(Order.REPAIR)) == []
    assert LookUp() in driver.configure(enabled=True)
    driver(LookedUp(linked=False))
    assert driver.waits()


@pytest.mark.parametrize("order", [Order.START, Order.RESTART])
def test_a_start_is_no_look_but_has_the_session_looked_at_again(order: Order) -> None:
    driver = Driver()
    driver.begin()
    assert LookUp() in driver(Ordered(order, by_name=True))
    driver(LookedUp(linked=False))
    assert driver.waits()
    assert LookUp() in driver(Ordered(order, by_name=True))
    assert Queue() in driver(LookedUp(linked=True)), "an operator has put a session there"


def test_what_was_found_of_a_session_that_a_process_uses_now_does_not_count() -> None:
    driver = Driver()
    driver(Begin())
    driver(Ordered(Order.REPAIR))
    driver(TurnCame())
    driver(Spawned(1))
    driver(Said(pipe.Connecting(False)))
    driver(Said(pipe.Paired(NUMBER)))
    driver(LookedUp(linked=False))
    assert driver.account.linked is True


def test_a_stop_ends_the_wait_and_a_look_does_not_start_it() -> None:
    driver = Driver()
    driver.begin()
    driver(Ordered(Order.STOP))
    assert driver.state() is State.STOPPED
    driver(Looked())
    assert driver.state() is State.STOPPED
    assert not driver.account.queued


def test_a_stop_takes_back_what_a_repair_has_asked_for() -> None:
    driver = Driver()
    driver.begin()
    driver(Ordered(Order.REPAIR))
    driver(Ordered(Order.STOP))
    driver(Ordered(Order.START))
    driver(LookedUp(linked=False))
    assert driver.waits()


def test_a_waiting_account_can_be_removed_and_disabled() -> None:
    driver = Driver()
    driver.begin()
    driver.configure(enabled=False)
    assert driver.state() is State.DISABLED
    driver.configure(enabled=True)
    assert driver.waits()
    assert Quarantine("removed", messages=True) in driver(Removed(unlink=True))


def test_a_service_that_stops_leaves_nothing_behind() -> None:
    driver = Driver()
    driver.begin()
    driver(ShuttingDown(driver.now + 15))
    assert driver(Looked()) == []
    assert not driver.account.queued
    assert driver.account.parked(Moment(driver.now, driver.now)) is None


def test_a_change_of_the_configuration_takes_effect_at_once() -> None:
    driver = Driver()
    driver.begin()
    assert Queue() in driver.configure(pairing="always")
    driver(TurnCame())
    driver(Spawned(1))
    driver(Said(pipe.Connecting(False)))
    driver(Said(CODE_MESSAGE))
    assert driver.account.child is not None
    assert driver.account.child.purpose is None
    assert TellStop() in driver.configure(pairing="on_demand")
    driver.end(Kind.STOPPED)
    assert driver.waits()


def test_a_change_while_the_session_is_looked_at_takes_effect_with_the_answer() -> None:
    driver = Driver()
    driver(Begin())
    driver.configure(pairing="always")
    assert Queue() in driver(LookedUp(linked=False))


# Ends that lead to a code


@pytest.mark.parametrize("kind", [Kind.LOGGED_OUT, Kind.DAMAGED])
def test_who_has_lost_its_session_waits_for_somebody_who_looks(kind: Kind) -> None:
    driver = Driver()
    driver.begin(linked=True)
    driver(TurnCame())
    driver(Said(pipe.Connecting(True)))
    driver(Said(pipe.Connected(NUMBER)))
    driver.end(kind)
    assert driver.state() is State.BACKOFF
    assert driver.account.next_retry_at is not None
    driver(Ticked(), after=driver.account.next_retry_at - driver.now)
    assert driver.waits()
    assert driver.account.kind is kind, "for people: that is why there is a code to scan"


@pytest.mark.parametrize("kind", [Kind.NETWORK, Kind.CRASH, Kind.MACHINE])
def test_who_has_a_session_is_tried_again_also_when_nobody_looks(kind: Kind) -> None:
    driver = Driver()
    driver.begin(linked=True)
    for _ in range(3):
        driver(TurnCame())
        driver(Said(pipe.Connecting(True)))
        driver.end(kind)
        assert driver.account.next_retry_at is not None
        assert Queue() in driver(Ticked(), after=driver.account.next_retry_at - driver.now)


def test_a_machine_that_makes_no_process_is_no_reason_to_forget_who_looks() -> None:
    driver = Driver()
    driver.begin()
    driver(Looked())
    driver(TurnCame())
    driver(SpawnFailed("no memory"))
    assert driver.state() is State.BACKOFF
    driver(Looked(), after=4)
    assert Queue() in driver(Ticked())


def test_a_waiting_account_is_not_held_and_one_that_is_released_waits() -> None:
    driver = Driver()
    driver.begin()
    assert driver(Held(Kind.NETWORK, "no network")) == []
    assert driver.waits()
    driver(Looked())
    driver(Held(Kind.NETWORK, "no network"))
    assert driver.account.held
    driver(Released(), after=LOOK_SECONDS)
    assert driver.waits()


def test_a_session_that_is_restored_is_used() -> None:
    driver = Driver()
    driver.begin()
    driver(Found(NUMBER, restored=True))
    driver(Ordered(Order.START))
    assert Queue() in driver(LookedUp(linked=True))


# All that can happen, in each order: no code for nobody

_STEPS: dict[str, Event] = {
    "look": Looked(),
    "repair": Ordered(Order.REPAIR),
    "start": Ordered(Order.START, by_name=True),
    "stop": Ordered(Order.STOP),
    "turn": TurnCame(),
    "held": Held(Kind.NETWORK, "no network"),
    "released": Released(),
}


def _play(steps: tuple[str, ...]) -> Iterator[tuple[Driver, list[Action]]]:
    """Play a story, and yield after each event what was to be done. No session is ever linked."""
    driver = Driver()
    queue: list[Event] = [Begin(), *(_STEPS[step] for step in steps)]
    while queue:
        actions = driver(queue.pop(0), after=1)
        yield driver, actions
        if LookUp() in actions:
            queue.insert(0, LookedUp(linked=False))
        if any(isinstance(action, Spawn) for action in actions):
            queue[:0] = [Spawned(1), Said(pipe.Connecting(False)), Said(CODE_MESSAGE)]
        if TellStop() in actions:
            queue.insert(0, Exited(EXIT_CODES[Kind.STOPPED]))


@pytest.mark.parametrize("first", _STEPS)
def test_no_order_of_events_brings_a_code_that_nobody_sees(first: str) -> None:
    for others in itertools.product(_STEPS, repeat=3):
        steps = (first, *others)
        wanted = {"look", "repair"} & set(steps)
        looked = False
        for driver, actions in _play(steps):
            looks = driver.account.looks
            looked = looked or looks.asked or looks.until is not None
            if any(isinstance(action, Spawn) for action in actions):
                assert looked, f"{steps}: a process for nobody"
        account = driver.account
        if not account.stopped and not wanted:
            assert driver.waits(), steps
        if account.child is not None and account.child.purpose is None:
            assert wanted, steps
        assert not account.attempts, steps


# Hundreds of them


def _names(count: int) -> list[str]:
    return [f"a{number:03}" for number in range(count)]


def test_two_hundred_who_are_not_linked_do_nothing_all_day() -> None:
    names = _names(200)
    world = World(*names, unlinked=names, on_demand=True)
    world.run(24 * 3600)
    assert world.starts == []
    assert all(account.waits_for_look for account in world.accounts.values())
    assert all(len(records) == 2 for records in world.records.values()), "nobody's timeline grows"


def test_only_those_start_that_are_linked() -> None:
    names = _names(60)
    unlinked = names[::2]
    world = World(*names, unlinked=unlinked, on_demand=True)
    world.run(60)
    assert sorted(name for _, name in world.starts) == sorted(set(names) - set(unlinked))
    for name, account in world.accounts.items():
        expected = State.PAIRING if name in unlinked else State.CONNECTED
        assert account.state is expected
    assert not world.codes


def test_who_is_linked_does_not_wait_for_those_who_are_not() -> None:
    names = _names(100)
    world = World(*names, unlinked=names[1:], on_demand=True)
    world.run(2 * DIAL + 2)
    assert world.accounts[names[0]].state is State.CONNECTED


def test_a_wall_brings_the_codes_of_those_on_it_and_no_others() -> None:
    names = _names(40)
    world = World(*names, unlinked=names, on_demand=True)
    world.run(10)
    shown = names[:12]
    for _ in range(8):
        world.look(*shown)
        world.run(RENEW_SECONDS)
    assert set(world.codes) == set(shown)
    showing = [name for name in names if world.accounts[name].child is not None]
    assert showing == shown
    world.scan(shown[3])
    world.run(LOOK_SECONDS + CODE + STOP + 1)
    assert {name for name in names if world.accounts[name].child is not None} == {shown[3]}
    assert world.accounts[shown[3]].state is State.CONNECTED
    before = world.codes.total()
    world.run(3600)
    assert world.codes.total() == before
    waiting = [name for name in names if name != shown[3]]
    assert all(world.accounts[name].waits_for_look for name in waiting)


def test_a_wall_that_is_left_open_ends_with_a_failure_as_always() -> None:
    world = World("a", unlinked=["a"], on_demand=True)
    rounds = 0
    while world.accounts["a"].state is not State.FAILED:
        world.look("a")
        world.run(RENEW_SECONDS)
        rounds += 1
        assert rounds < 10 * (ROUND + 300) / RENEW_SECONDS
    assert "qr a" in (world.accounts["a"].reason or "")


@settings(max_examples=40, deadline=None)
@given(
    looks=st.lists(st.tuples(st.sampled_from(_names(6)), st.floats(0, 90)), max_size=40),
    scans=st.sets(st.sampled_from(_names(6)), max_size=3),
)
def test_no_code_is_shown_for_longer_than_a_look_is_good(
    looks: list[tuple[str, float]], scans: set[str]
) -> None:
    names = _names(6)
    world = World(*names, unlinked=names, on_demand=True)
    last = dict.fromkeys(names, float("-inf"))
    codes = dict.fromkeys(names, 0)
    for name, pause in looks:
        world.look(name)
        last[name] = world.now
        while pause > 0:
            step = min(1.0, pause)
            world.run(step)
            pause -= step
            for one in names:
                if world.codes[one] > codes[one]:
                    assert world.now - step - last[one] <= LOOK_SECONDS
                    codes[one] = world.codes[one]
                    if one in scans and world.accounts[one].state is State.PAIRING:
                        world.scan(one)
    world.run(LOOK_SECONDS + 30)
    for name in names:
        account = world.accounts[name]
        assert account.waits_for_look or account.state is State.CONNECTED or name in scans
        assert account.attempts[Kind.PAIRING_EXPIRED] <= 1


def test_an_outage_does_not_start_who_waits_for_a_look() -> None:
    names = _names(20)
    world = World(*names, unlinked=names[:10], on_demand=True)
    world.run(60)
    world.cut()
    world.run(600)
    world.up = True
    world.run(600)
    assert not {name for _, name in world.starts} & set(names[:10])
    assert {world.accounts[name].state for name in names[10:]} == {State.CONNECTED}


def test_a_refused_client_does_not_start_who_waits_for_a_look() -> None:
    names = _names(6)
    world = World(*names, unlinked=names[:3], on_demand=True)
    world.run(60)
    world.outdated = True
    for name in names[3:]:
        world.order(name, Order.RESTART)
    world.run(60)
    world.look(names[0])
    world.run(30)
    assert world.accounts[names[0]].state is State.OUTDATED
    world.outdated = False
    world.run(24 * 3600)
    assert world.accounts[names[0]].waits_for_look
    assert {world.accounts[name].state for name in names[3:]} == {State.CONNECTED}
