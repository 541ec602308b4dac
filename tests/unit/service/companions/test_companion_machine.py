"""The machine of a companion, by the thousand and in virtual time."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.service.companions.machine import (
    BACKOFF,
    SILENCE_SECONDS,
    START_SECONDS,
    Action,
    Beat,
    Broke,
    Event,
    Exited,
    Kill,
    Machine,
    NotSpawned,
    Renew,
    Spawned,
    Stalled,
    Start,
    State,
    Stop,
    Tick,
    Want,
)


@dataclass
class World:
    """What a machine lives in: a clock, and at most one process."""

    machine: Machine = field(default_factory=Machine)
    now: float = 1000.0
    random: float = 0.0
    process: bool = False
    being_made: bool = False
    asked: list[Action] = field(default_factory=list)

    def tell(self, event: Event) -> list[Action]:
        if isinstance(event, Spawned):
            self.being_made, self.process = False, True
        if isinstance(event, NotSpawned):
            self.being_made = False
        if isinstance(event, Exited):
            self.process = False
        actions = self.machine.handle(event, self.now, self.random)
        for action in actions:
            if isinstance(action, Start):
                assert not self.process
                assert not self.being_made
                self.being_made = True
            else:
                assert self.process, f"{action} without a process"
        self.asked += actions
        return actions

    def wait(self, seconds: float) -> list[Action]:
        """Let time pass, with all the ticks in it."""
        end, done = self.now + seconds, list[Action]()
        while (at := self.machine.wake_at) is not None and at <= end:
            self.now = max(self.now, at)
            done += self.tell(Tick())
        self.now = end
        return done

    def run(self) -> None:
        """Have it running."""
        assert self.tell(Want(on=True)) == [Start()]
        self.tell(Spawned())
        self.tell(Beat())
        assert self.machine.state is State.RUNNING


def test_a_process_that_beats_is_left_alone() -> None:
    world = World()
    world.run()
    for _ in range(1000):
        assert world.wait(10) == []
        assert world.tell(Beat()) == []
    assert world.machine.ready


def test_a_process_that_falls_silent_is_killed_and_started_anew() -> None:
    world = World()
    world.run()
    assert world.wait(SILENCE_SECONDS - 0.1) == []
    (kill,) = world.wait(0.2)
    assert isinstance(kill, Kill)
    assert world.wait(1000) == []
    assert world.tell(Exited("it was killed")) == []
    assert world.machine.state is State.WAITING
    assert "sign of life" in world.machine.reason
    assert world.wait(BACKOFF.base) == [Start()]


def test_a_process_that_never_beats_is_killed() -> None:
    world = World()
    world.tell(Want(on=True))
    world.tell(Spawned())
    assert world.wait(START_SECONDS - 1) == []
    assert [type(action) for action in world.wait(2)] == [Kill]


@given(st.floats(0, 0.999))
def test_waits_grow_to_the_maximum_and_never_stop(random: float) -> None:
    world = World(random=random)
    world.tell(Want(on=True))
    waits = []
    for count in range(1, 30):
        world.tell(NotSpawned("no memory"))
        assert world.machine.wake_at is not None
        waits.append(world.machine.wake_at - world.now)
        assert waits[-1] == pytest.approx(BACKOFF.delay(count, random))
        assert world.wait(waits[-1] + 0.001) == [Start()]
    assert max(waits) <= BACKOFF.max
    assert world.machine.starts == 30


def test_a_process_that_worked_for_a_while_begins_to_count_anew() -> None:
    world = World()
    world.run()
    for _ in range(5):
        world.tell(Exited("1"))
        world.wait(400)
        world.tell(Spawned())
        world.tell(Beat())
    assert world.machine.failures == 5
    for _ in range(7):
        world.wait(10)
        world.tell(Beat())
    world.tell(Exited("1"))
    assert world.machine.failures == 1


def test_stopping_asks_first_and_kills_after_the_time() -> None:
    world = World()
    world.run()
    assert world.tell(Want(on=False, seconds=5)) == [Stop(5)]
    assert world.tell(Beat()) == []
    assert world.wait(4) == []
    (kill,) = world.wait(2)
    assert isinstance(kill, Kill)
    assert world.tell(Exited("killed")) == []
    assert world.machine.is_over
    assert world.wait(10_000) == []


def test_a_second_wish_to_stop_may_only_shorten_the_time() -> None:
    world = World()
    world.run()
    world.tell(Want(on=False, seconds=5))
    world.tell(Want(on=False, seconds=100))
    assert world.machine.wake_at == world.now + 5
    world.tell(Want(on=False, seconds=0))
    assert [type(action) for action in world.wait(0)] == [Kill]


def test_a_process_that_is_being_made_is_stopped_as_soon_as_it_is_there() -> None:
    world = World()
    world.tell(Want(on=True))
    assert world.tell(Want(on=False, seconds=3)) == []
    assert not world.machine.is_over
    assert world.tell(Spawned()) == [Stop(3)]
    assert world.tell(Exited("0")) == []
    assert world.machine.is_over


def test_a_process_that_could_not_be_made_and_is_not_wanted_is_over() -> None:
    world = World()
    world.tell(Want(on=True))
    world.tell(Want(on=False))
    assert world.tell(NotSpawned("no memory")) == []
    assert world.machine.is_over


def test_wanted_again_while_it_stops_it_is_started_when_the_old_one_is_gone() -> None:
    world = World()
    world.run()
    world.tell(Want(on=False, seconds=5))
    assert world.tell(Want(on=True)) == []
    assert world.tell(Exited("0")) == [Start()]


def test_another_takes_its_place_when_what_it_was_started_with_has_changed() -> None:
    world = World()
    world.run()
    assert world.tell(Renew(5)) == [Stop(5)]
    assert world.tell(Exited("0")) == [Start()]
    world.tell(NotSpawned("no"))
    assert world.tell(Renew(5)) == [Start()]
    assert Machine().handle(Renew(5), 0.0) == []


def test_a_broken_port_ends_the_process_once() -> None:
    world = World()
    world.run()
    assert world.tell(Broke("half a frame")) == [Kill("half a frame")]
    assert world.tell(Broke("again")) == []
    world.tell(Exited("killed"))
    assert world.machine.reason == "half a frame"


def test_a_service_that_stood_still_blames_nobody() -> None:
    world = World()
    world.run()
    world.now += 500
    assert world.tell(Stalled(500)) == []
    assert world.tell(Tick()) == []
    assert world.wait(SILENCE_SECONDS - 1) == []
    assert [type(action) for action in world.wait(2)] == [Kill]


events: st.SearchStrategy[str | float] = st.sampled_from(
    ["want", "unwant", "renew", "spawned", "not spawned", "beat", "broke", "exited", "tick", "stalled"]
) | st.floats(0, 400)


@settings(max_examples=400)
@given(st.lists(events, max_size=60), st.floats(0, 0.999))
def test_whatever_happens_there_is_one_process_at_most_and_it_ends_when_it_must(
    story: list[str | float], random: float
) -> None:
    world = World(random=random)
    for step in story:
        before = len(world.asked)
        match step:
            case float(seconds):
                world.wait(seconds)
            case "want":
                world.tell(Want(on=True))
            case "unwant":
                world.tell(Want(on=False, seconds=5))
            case "renew":
                world.tell(Renew(5))
            case "spawned" if world.being_made:
                world.tell(Spawned())
            case "not spawned" if world.being_made:
                world.tell(NotSpawned("no"))
            case "exited" if world.process:
                world.tell(Exited("1"))
            case "beat" if world.process:
                world.tell(Beat())
            case "broke":
                world.tell(Broke("rule"))
            case "stalled":
                world.tell(Stalled(3))
            case "tick":
                world.tell(Tick())
        assert len(world.asked) <= before + 40
        machine = world.machine
        assert machine.is_over == (not world.process and not world.being_made and not machine.wanted)
        if machine.state is State.WAITING:
            assert machine.wake_at is not None
    # In the end it stops, whatever state it is in.
    world.tell(Want(on=False, seconds=5))
    if world.being_made:
        world.tell(Spawned())
    if world.process:
        world.wait(6)
        assert any(isinstance(action, Kill | Stop) for action in world.asked)
        world.tell(Exited("killed"))
    assert world.machine.is_over
    assert world.wait(1000) == []


@settings(max_examples=100)
@given(st.lists(st.sampled_from(["beat", "exit", "fail", "silence"]), min_size=1, max_size=40))
def test_a_wanted_process_always_comes_back(story: list[str]) -> None:
    world = World()
    world.tell(Want(on=True))
    for step in story:
        if world.being_made and step == "fail":
            world.tell(NotSpawned("no"))
        elif world.being_made:
            world.tell(Spawned())
        if world.process and step == "beat":
            world.tell(Beat())
        if world.process and step == "silence":
            world.wait(START_SECONDS + 1)
            world.tell(Exited("killed"))
        if world.process and step == "exit":
            world.tell(Exited("1"))
        if not world.process and not world.being_made:
            assert world.wait(BACKOFF.max + 1)[:1] == [Start()]
            assert world.being_made
