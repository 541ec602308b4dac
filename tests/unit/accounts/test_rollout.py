"""New settings reach the accounts one after another, and no further than the first that does not connect."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from support.world import World

from orchestrator.accounts import pipe
from orchestrator.accounts.events import Configured, Order, Said
from orchestrator.accounts.states import State

GOOD, BAD = "http://good:1", "http://bad:1"


def world_of(count: int, parallel: int, hangs: float = 0.0) -> World:
    world = World(*(f"a{number:02}" for number in range(count)), parallel=parallel, spread=0, hangs=hangs)
    world.run(count * 5)
    assert world.states() == {State.CONNECTED}
    return world


def move(world: World, proxies: dict[str, str]) -> None:
    """Have a reload give accounts other proxies."""
    world.fleet.renewals.reloaded()
    for name, proxy in proxies.items():
        world.move(name, proxy)


def go_on(world: World) -> None:
    """Have a reload read the same configuration again."""
    world.fleet.renewals.reloaded()
    for name, account in world.accounts.items():
        if account.keeps_settings:
            world.handle(name, Configured(account.settings))


@settings(max_examples=60, deadline=None)
@given(
    bad=st.lists(st.booleans(), min_size=1, max_size=14),
    parallel=st.integers(1, 6),
    hangs=st.sampled_from([0.0, 3.0, 40.0]),
)
def test_no_more_are_away_than_were_on_trial_when_the_first_failed(
    bad: list[bool], parallel: int, hangs: float
) -> None:
    world = world_of(len(bad), parallel, hangs)
    world.dead = {BAD}
    names = list(world.accounts)
    move(world, {name: BAD if is_bad else GOOD for name, is_bad in zip(names, bad, strict=True)})
    world.run(len(bad) * 60 + 60)
    accounts = world.accounts
    away = [name for name in names if accounts[name].state is not State.CONNECTED]
    assert all(accounts[name].settings.proxy == BAD for name in away)
    assert bool(away) == any(bad)
    if not any(bad):
        assert not any(one.behind for one in accounts.values())
        return
    first = bad.index(True)
    # Before the first failure, as many had connected as come before it: so many and one more try at once.
    # While a proxy gives no answer, others connect, and more may try: as many as may connect at once.
    assert len(away) <= (parallel if hangs else min(parallel, first + 1))
    assert not any(accounts[name].behind for name in names[:first])
    kept = [name for name in names if accounts[name].behind]
    assert first > 0 or kept == names[1:]
    for name in kept:
        assert "keeps its old settings" in (accounts[name].reason or "")
        assert accounts[name].keeps_settings
        assert accounts[name].in_force.proxy is None
    # Each further reload goes on, past those that are away.
    for _ in range(len(bad)):
        go_on(world)
        world.run(len(bad) * 60 + 60)
    # Who is to go a way that is known to be lost by then stays connected and waits for it.
    for name, is_bad in zip(names, bad, strict=True):
        assert is_bad or (accounts[name].state is State.CONNECTED and not accounts[name].behind)


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 12), parallel=st.integers(1, 6))
def test_a_mended_proxy_is_used_after_one_more_reload(count: int, parallel: int) -> None:
    world = world_of(count, parallel)
    world.dead = {BAD}
    move(world, dict.fromkeys(world.accounts, BAD))
    world.run(count * 60)
    assert sum(one.state is not State.CONNECTED for one in world.accounts.values()) == 1
    world.dead = set()
    go_on(world)
    world.run(count * 60 + 400)
    assert world.states() == {State.CONNECTED}
    assert not any(one.behind for one in world.accounts.values())
    assert all(one.reason is None for one in world.accounts.values())


@settings(max_examples=60, deadline=None)
@given(count=st.integers(2, 12), parallel=st.integers(1, 6), wait=st.sampled_from([0.0, 0.2, 1.0, 200.0]))
def test_settings_that_are_taken_back_restart_nobody_who_has_the_old_ones(
    count: int, parallel: int, wait: float
) -> None:
    world = world_of(count, parallel)
    world.dead = {BAD}
    move(world, dict.fromkeys(world.accounts, BAD))
    world.run(wait)
    waiting = [name for name, one in world.accounts.items() if one.behind and not one.stopping]
    then = world.now
    for name, account in world.accounts.items():
        world.handle(name, Configured(replace(account.settings, proxy=None)))
    world.run(400)
    assert world.states() == {State.CONNECTED}
    assert not set(waiting) & set(world.started_since(then))
    assert all(one.reason is None for one in world.accounts.values())


def test_a_connection_that_comes_back_proves_nothing_more() -> None:
    world = world_of(3, 3)
    move(world, {"a00": GOOD})
    world.run(20)
    assert world.fleet.renewals.proven == 1
    for message in (pipe.LinkLost("gone"), pipe.Connected("4915100001")):
        world.handle("a00", Said(message))
    assert world.accounts["a00"].state is State.CONNECTED
    assert world.fleet.renewals.proven == 1


def test_a_restart_by_an_operator_takes_new_settings_up_as_carefully() -> None:
    world = world_of(8, 4)
    world.dead = {BAD}
    move(world, dict.fromkeys(world.accounts, BAD))
    world.run(300)
    then = world.now
    for name in world.accounts:
        world.order(name, Order.RESTART)
    world.run(20)
    assert len({name for name in world.started_since(then) if name != "a00"}) == 1
