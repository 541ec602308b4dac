"""Who has caused a change of an account: whoever gave the command that led to it, and nobody else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Action, Record, TellStop
from orchestrator.accounts.events import (
    Begin,
    Configured,
    Event,
    Exited,
    LeftOut,
    Moment,
    Order,
    Ordered,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    Stalled,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State

NUMBER = "4915100001"
SETTINGS = AccountSettings("support")
ANNA, BEN = "anna (1000)", "ben (1001), as root"


class World:
    """An account with a clock, and who has caused each of its changes."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.account = Account(SETTINGS, Moment(self.now, self.now), random=lambda: 0.5)
        self.records: list[tuple[State, str | None]] = []

    def __call__(self, *events: Event) -> list[Action]:
        done: list[Action] = []
        for event in events:
            self.now += 1.0
            done += self.account.handle(event, Moment(self.now, self.now))
        self.records += [(one.after, one.by) for one in done if isinstance(one, Record)]
        return done

    def new(self, *events: Event) -> list[tuple[State, str | None]]:
        """Let something happen, and return the changes that this has led to."""
        before = len(self.records)
        self(*events)
        return self.records[before:]

    def connect(self) -> None:
        self(Begin())
        self.run()

    def run(self) -> list[tuple[State, str | None]]:
        return self.new(TurnCame(), Spawned(1), Said(pipe.Connecting(True)), Said(pipe.Connected(NUMBER)))


def ended(kind: Kind = Kind.STOPPED) -> tuple[Event, Event]:
    return Said(pipe.Ended(kind, "ended", None, None)), Exited(EXIT_CODES[kind])


def test_who_stops_and_who_starts() -> None:
    world = World()
    world.connect()
    assert {by for _, by in world.records} == {None}
    assert world.new(Ordered(Order.STOP, by=ANNA)) == [], "its process is still there"
    assert world.new(*ended()) == [(State.STOPPED, ANNA)]
    assert world.new(Ordered(Order.START, by=BEN)) == [(State.STARTING, BEN)]
    assert world.run() == [(State.CONNECTING, None), (State.CONNECTED, None)]


def test_the_first_who_stops_counts_and_the_newest_purpose() -> None:
    world = World()
    world.connect()
    world(Ordered(Order.STOP, by=ANNA), Ordered(Order.STOP, by=BEN))
    assert world.new(*ended()) == [(State.STOPPED, ANNA)]
    world = World()
    world.connect()
    world(Ordered(Order.STOP, by=ANNA), Ordered(Order.START, by=BEN))
    assert world.new(*ended()) == [(State.STARTING, BEN)]


def test_a_restart_that_waits_for_its_turn_keeps_who_wanted_it() -> None:
    world = World()
    world.connect()
    assert world.new(Ordered(Order.RESTART, by=ANNA)) == []
    world(Ticked(), Stalled(2.0))
    assert any(isinstance(one, TellStop) for one in world(TurnCame()))
    assert world.new(*ended())[0] == (State.STARTING, ANNA)


def test_a_repair_a_change_of_the_configuration_and_a_removal() -> None:
    world = World()
    world.connect()
    world(Ordered(Order.REPAIR, by=ANNA))
    assert world.new(*ended()) == [(State.STARTING, ANNA)]
    world.run()
    world(Configured(replace(SETTINGS, enabled=False), by=BEN))
    assert world.new(*ended()) == [(State.DISABLED, BEN)]
    assert world.new(Configured(SETTINGS, by=ANNA)) == [(State.STARTING, ANNA)]
    world.run()
    world(Removed(by=BEN))
    assert world.new(*ended()) == [(State.STOPPED, BEN)]


def test_the_end_of_the_service_is_nobodys() -> None:
    world = World()
    world.connect()
    world(ShuttingDown(world.now + 10))
    assert world.new(*ended()) == [(State.STOPPED, None)]
    world = World()
    world.connect()
    world(Ordered(Order.STOP, by=ANNA), ShuttingDown(world.now + 10))
    assert world.new(*ended()) == [(State.STOPPED, ANNA)]


def test_a_crash_after_a_restart_is_nobodys() -> None:
    world = World()
    world.connect()
    world(Ordered(Order.RESTART, by=ANNA), TurnCame(), *ended())
    world.run()
    assert [by for _, by in world.new(*ended(Kind.CRASH))] == [None]


BY = st.sampled_from([None, ANNA, BEN])
EVENTS = st.one_of(
    st.builds(Ordered, st.sampled_from(Order), by=BY),
    st.builds(Configured, st.sampled_from([SETTINGS, replace(SETTINGS, enabled=False)]), by=BY),
    st.builds(Configured, st.just(replace(SETTINGS, device_name="x")), by=BY),
    st.sampled_from([TurnCame(), Spawned(1), Ticked(), Stalled(1.0), LeftOut(3), Exited(1), Exited(None)]),
    st.sampled_from(
        [
            Said(pipe.Connecting(True)),
            Said(pipe.Connected(NUMBER)),
            Said(pipe.LinkLost("gone")),
            Said(pipe.Ended(Kind.NETWORK, "no network", None, None)),
        ]
    ),
)


@given(st.lists(EVENTS, max_size=30))
def test_only_those_are_named_who_have_given_a_command(events: list[Event]) -> None:
    world, given_by = World(), set[str | None]([None])
    world(Begin())
    for event in events:
        if isinstance(event, Ordered | Configured | Removed):
            given_by.add(event.by)
        new = world.new(event)
        assert {by for _, by in new} <= given_by
        if isinstance(event, Ticked | LeftOut | Stalled | Said):
            assert {by for _, by in new} <= {None}, "what happens by itself is nobody's"
