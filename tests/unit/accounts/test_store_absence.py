"""The database that has the sessions goes away and comes back. Time is simulated."""

from __future__ import annotations

import pytest
from support.world import DIAL, STOP, World

from orchestrator.accounts.events import Order, StoreGone
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.running import STOP_DEADLINE
from orchestrator.accounts.states import State
from orchestrator.accounts.store_absence import REASON

HOUR = 3600.0


def names(count: int) -> list[str]:
    return [f"a{number:03}" for number in range(count)]


def go(world: World) -> None:
    world.fleet.store.since = world.now
    for name in list(world.accounts):
        world.handle(name, StoreGone(), dispatch=False)
    world.dispatch()


def come(world: World) -> None:
    world.fleet.store.since = None
    world.dispatch()


@pytest.mark.parametrize("seed", range(20))
def test_everybody_hangs_up_waits_and_comes_back_uncounted(seed: int) -> None:
    world = World(*names(30), seed=seed)
    world.run(world.random.uniform(0, 40))  # some are about to start, some dial, some are connected
    go(world)
    world.run(1)
    assert {account.child for account in world.accounts.values()} == {None}
    then = world.now
    world.run(world.random.uniform(1, HOUR))
    assert world.started_since(then) == []
    assert world.states() == {State.BACKOFF}
    assert {account.reason for account in world.accounts.values()} == {REASON}
    come(world)
    world.run(60)
    assert world.states() == {State.CONNECTED}
    assert all(not sum(account.attempts.values()) for account in world.accounts.values())


def test_it_may_go_a_hundred_times_and_nobody_is_given_up() -> None:
    world = World(*names(5))
    for _ in range(100):
        go(world)
        world.run(3)
        come(world)
        world.run(20)
    assert world.states() == {State.CONNECTED}
    assert not any(record.kind is Kind.CRASH for records in world.records.values() for record in records)


def test_they_come_back_at_the_usual_pace() -> None:
    world = World(*names(40), parallel=2, spread=0)
    world.run(100)
    go(world)
    world.run(10)
    then = world.now
    come(world)
    assert len(world.started_since(then)) == 2
    world.run(DIAL / 4)
    assert len(world.started_since(then)) == 2


@pytest.mark.parametrize("seed", range(20))
def test_those_who_were_linked_are_known_until_they_are_linked_again(seed: int) -> None:
    world = World(*names(30), parallel=2, spread=1, seed=seed)
    world.run(world.random.uniform(3, 60))
    linked = {name for name, account in world.accounts.items() if account.child is not None}
    absence = world.fleet.store
    assert linked
    assert not absence.is_returning(world.accounts), "it has not been away"
    go(world)
    world.run(world.random.uniform(1, 300))
    assert not absence.is_returning(world.accounts), "nobody may start"
    come(world)
    while absence.is_returning(world.accounts):
        assert {world.accounts[name].state for name in linked} != {State.CONNECTED}
        world.run(0.5)
    assert {world.accounts[name].state for name in linked} == {State.CONNECTED}
    linked = {name for name, account in world.accounts.items() if account.child is not None}
    go(world)
    world.order(min(linked), Order.STOP)
    world.run(2 * STOP)
    for name in linked - {min(linked)}:
        world.fleet.forget(name, world.now)
        del world.accounts[name]
    come(world)
    assert not absence.is_returning(world.accounts), "they are stopped, or gone"


def test_whom_an_operator_starts_or_has_stopped() -> None:
    world = World(*names(3))
    world.run(30)
    world.order("a002", Order.STOP)
    world.run(2 * STOP)
    go(world)
    world.run(5)
    world.order("a000", Order.START, by_name=True)
    world.order("a001", Order.STOP)
    world.run(HOUR)
    assert world.accounts["a000"].state is State.BACKOFF, "without its session it cannot start"
    come(world)
    world.run(60)
    assert [account.state for account in world.accounts.values()] == [
        State.CONNECTED,
        State.STOPPED,
        State.STOPPED,
    ]


def test_a_process_that_does_not_hang_up_is_killed() -> None:
    world = World(*names(2))
    world.run(30)
    world.liars["a001"] = lambda *_: None
    go(world)
    world.run(STOP_DEADLINE + 1)
    assert world.accounts["a001"].child is None


def test_what_waits_for_something_else_goes_on_waiting_for_that() -> None:
    world = World(*names(3))
    world.run(30)
    world.outdated = True
    for name in names(3):
        world.order(name, Order.RESTART)
    world.run(120)
    assert world.states() == {State.OUTDATED}
    go(world)
    world.run(60)
    come(world)
    world.run(60)
    assert world.states() == {State.OUTDATED}
    world.outdated = False
    world.run(2 * HOUR)
    assert world.states() == {State.CONNECTED}


def test_maintenance_lasts_longer() -> None:
    world = World(*names(3))
    world.run(30)
    go(world)
    world.run(5)
    world.fleet.maintenance.since = world.now
    come(world)
    world.run(60)
    assert world.states() == {State.BACKOFF}
    world.fleet.maintenance.since = None
    world.dispatch()
    world.run(60)
    assert world.states() == {State.CONNECTED}
