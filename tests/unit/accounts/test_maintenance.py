"""Maintenance: nothing starts by itself. Time is simulated; accounts start, lose the link and retry in it."""

from __future__ import annotations

import pytest
from support.world import DIAL, World

from orchestrator.accounts import fleet
from orchestrator.accounts.breaker import NETWORK_PROBE_LAST, PROBE_FIRST
from orchestrator.accounts.events import Begin, Order
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.maintenance import REASON
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import MAINTENANCE, State

HOUR = 3600.0


def names(count: int) -> list[str]:
    return [f"a{number:03}" for number in range(count)]


def turn(world: World, *, on: bool) -> None:
    world.fleet.maintenance.since = world.now if on else None
    world.dispatch()


def waiting(world: World) -> int:
    return world.fleet.maintenance.waiting(world.accounts)


def test_what_runs_goes_on() -> None:
    world = World(*names(20))
    world.run(60)
    turn(world, on=True)
    then = world.now
    world.run(HOUR)
    assert world.states() == {State.CONNECTED}
    assert world.started_since(then) == []
    assert waiting(world) == 0


def test_an_account_whose_process_ends_waits_until_maintenance_is_off() -> None:
    world = World(*names(5))
    world.run(60)
    turn(world, on=True)
    world.end("a002", Kind.CRASH, world.accounts["a002"].child)
    then = world.now
    world.run(HOUR)
    account = world.accounts["a002"]
    assert (account.state, account.held, account.reason) == (State.BACKOFF, True, REASON)
    assert account.next_retry_at is None, "no time is promised"
    assert world.started_since(then) == []
    assert waiting(world) == 1
    turn(world, on=False)
    world.run(60)
    assert account.state is State.CONNECTED
    assert waiting(world) == 0


def test_a_ramp_stops_and_goes_on_at_the_same_pace() -> None:
    world = World(*names(100), parallel=2, spread=1.0)
    world.run(10)
    begun = len(world.starts)
    assert 2 <= begun < 50
    turn(world, on=True)
    world.run(HOUR)
    assert len(world.starts) == begun, "those that were dialing got through, and nobody else started"
    assert waiting(world) == 100 - begun
    turn(world, on=False)
    back = world.now
    world.run(5)
    assert len(world.started_since(back)) < 30, "not all at once"
    world.run(300)
    assert world.states() == {State.CONNECTED}


def test_a_service_that_starts_with_maintenance_on_starts_nobody() -> None:
    world = World()
    turn(world, on=True)
    for name in names(30):
        world.records[name] = []
        world.accounts[name] = Account(AccountSettings(name), world.moment, random=world.random.random)
        world.handle(name, Begin())
    world.run(HOUR)
    assert world.starts == []
    assert world.states() == {State.BACKOFF}
    assert waiting(world) == 30
    assert all((one.reason or "").startswith(MAINTENANCE) for one in world.accounts.values())
    turn(world, on=False)
    world.run(120)
    assert world.states() == {State.CONNECTED}


def test_an_operator_starts_an_account_by_name_and_only_this_one() -> None:
    world = World(*names(5))
    for name in names(5):
        world.order(name, Order.STOP)
    world.run(10)
    turn(world, on=True)
    then = world.now
    world.order("a003", Order.START, by_name=True)
    world.order("a004", Order.START)
    world.run(60)
    assert world.accounts["a003"].state is State.CONNECTED
    assert world.started_since(then) == ["a003"]
    assert (world.accounts["a004"].state, world.accounts["a004"].reason) == (State.BACKOFF, REASON)


def test_an_account_that_was_started_by_name_does_not_start_again_by_itself() -> None:
    world = World("a", "b")
    world.run(30)
    turn(world, on=True)
    world.order("a", Order.STOP)
    world.run(10)
    world.order("a", Order.START, by_name=True)
    world.run(30)
    assert world.accounts["a"].state is State.CONNECTED
    world.end("a", Kind.CRASH, world.accounts["a"].child)
    then = world.now
    world.run(HOUR)
    assert world.started_since(then) == []
    world.order("a", Order.START, by_name=True)
    world.run(30)
    assert world.accounts["a"].state is State.CONNECTED, "as often as the operator wants"


@pytest.mark.parametrize("by_name", [True, False])
def test_a_restart_by_name_works_and_a_restart_of_all_waits(by_name: bool) -> None:
    world = World("a", "b")
    world.run(30)
    turn(world, on=True)
    then = world.now
    world.order("a", Order.RESTART, by_name=by_name)
    world.run(HOUR)
    assert world.started_since(then) == (["a"] if by_name else [])
    assert world.states() == {State.CONNECTED}, "the old process stays until the new one may come"
    assert waiting(world) == (0 if by_name else 1)
    turn(world, on=False)
    world.run(60)
    assert world.started_since(then) == ["a"]


def test_a_stopped_account_stays_stopped_when_maintenance_ends() -> None:
    world = World("a", "b")
    world.run(30)
    turn(world, on=True)
    world.end("a", Kind.CRASH, world.accounts["a"].child)
    world.run(10)
    world.order("a", Order.STOP)
    turn(world, on=False)
    then = world.now
    world.run(HOUR)
    assert world.accounts["a"].state is State.STOPPED
    assert world.started_since(then) == []


def test_nobody_probes_a_lost_network_and_the_probes_go_on_afterwards() -> None:
    world = World(*names(20))
    world.run(60)
    world.cut()
    world.run(300)
    assert world.states() == {State.BACKOFF}
    turn(world, on=True)
    world.run(60)  # a probe that was under way comes to its end
    then = world.now
    world.run(HOUR)
    assert world.started_since(then) == []
    assert all(one.next_retry_at is None and one.reason == REASON for one in world.accounts.values())
    turn(world, on=False)
    world.run(NETWORK_PROBE_LAST + 60)
    assert 1 <= len(world.started_since(then)) <= 4, "one probes for all"
    world.up = True
    world.run(NETWORK_PROBE_LAST + DIAL + 120)
    assert world.states() == {State.CONNECTED}


def test_a_network_that_is_lost_meanwhile_is_found_to_be_back() -> None:
    world = World(*names(20))
    world.run(60)
    turn(world, on=True)
    world.cut()
    world.run(300)
    assert world.states() == {State.BACKOFF}
    world.up = True
    turn(world, on=False)
    world.run(NETWORK_PROBE_LAST + DIAL + 120)
    assert world.states() == {State.CONNECTED}
    assert world.news[-1] == fleet.RETURNED


def test_nobody_probes_a_version_that_whatsapp_refuses() -> None:
    world = World(*names(5))
    world.run(60)
    world.outdated = True
    for name in names(5):
        world.order(name, Order.RESTART)
    world.run(60)
    refused = [name for name in names(5) if world.accounts[name].state is State.OUTDATED]
    assert len(refused) >= 2
    turn(world, on=True)
    then = world.now
    world.run(20 * PROBE_FIRST)
    assert world.started_since(then) == []
    assert all(world.accounts[name].state is State.OUTDATED for name in refused), "that is still so"
    assert all(world.accounts[name].reason == REASON for name in refused)
    world.outdated = False
    turn(world, on=False)
    world.run(4 * PROBE_FIRST)
    assert world.states() == {State.CONNECTED}


def test_an_account_named_by_an_operator_tries_a_refused_version_and_nobody_follows() -> None:
    world = World(*names(5))
    world.run(60)
    world.outdated = True
    for name in names(5):
        world.order(name, Order.RESTART)
    world.run(60)
    turn(world, on=True)
    world.outdated = False
    then = world.now
    refused = [name for name in names(5) if world.accounts[name].state is State.OUTDATED]
    world.order(refused[0], Order.START, by_name=True)
    world.run(HOUR)
    assert world.accounts[refused[0]].state is State.CONNECTED
    assert world.started_since(then) == [refused[0]]
    turn(world, on=False)
    world.run(120)
    assert world.states() == {State.CONNECTED}


def test_histories_are_not_flooded() -> None:
    world = World(*names(10))
    world.run(60)
    before = {name: len(world.records[name]) for name in names(10)}
    for _ in range(20):
        turn(world, on=True)
        world.run(60)
        turn(world, on=False)
        world.run(60)
    assert {name: len(world.records[name]) for name in names(10)} == before, "who runs learns nothing"


@pytest.mark.parametrize("seed", range(40))
def test_nothing_ever_starts_by_itself_whatever_happens(seed: int) -> None:
    world = World(*names(6), seed=seed, parallel=1 + seed % 3)
    random = world.random
    world.run(random.uniform(0, 60))
    turn(world, on=True)
    world.run(60)  # what was on its way got through, or did not
    named: list[str] = []
    then = world.now
    for _ in range(30):
        name = random.choice(names(6))
        match random.randrange(7):
            case 0:
                world.up = not world.up
                if not world.up:
                    world.cut()
            case 1:
                world.outdated = not world.outdated
            case 2 if world.accounts[name].child is not None:
                world.end(name, random.choice([Kind.CRASH, Kind.NETWORK]), world.accounts[name].child)
            case 3:
                world.order(name, Order.STOP)
            case 4:
                world.order(name, random.choice([Order.START, Order.RESTART]))
            case 5:
                named.append(name)
                world.order(name, random.choice([Order.START, Order.RESTART]), by_name=True)
            case _:
                pass
        world.run(random.choice([0.1, 5, 60, 900]))
    started = world.started_since(then)
    assert set(started) <= set(named)
    assert len(started) <= len(named)
    world.up, world.outdated = True, False
    for name in names(6):
        world.order(name, Order.START)
    turn(world, on=False)
    world.run(8 * HOUR)
    assert world.states() == {State.CONNECTED}, "nobody is forgotten"
    assert waiting(world) == 0


def test_who_looks_at_a_code_starts_nothing() -> None:
    world = World(*names(3), on_demand=True, unlinked=names(3))
    world.run(30)
    assert world.states() == {State.PAIRING}
    turn(world, on=True)
    then = world.now
    world.look("a001")
    world.run(HOUR)
    assert world.started_since(then) == []
    assert (world.accounts["a001"].held, world.accounts["a001"].reason) == (True, REASON)
    assert world.accounts["a000"].waits_for_look, "nobody has looked at this one"
    turn(world, on=False)
    world.run(60)
    assert world.accounts["a001"].waits_for_look, "who has looked is gone"
    assert world.started_since(then) == []
    world.look("a001")
    world.run(30)
    assert world.started_since(then) == ["a001"]
