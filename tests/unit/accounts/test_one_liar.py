"""One account tells lies, of any kind and as often as it likes: no other is held, slowed or restarted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.world import DIAL, NUMBER, Lie, World

from orchestrator.accounts import fleet, pipe
from orchestrator.accounts.breaker import (
    ALONE_SECONDS,
    NETWORK_PROBE_LAST,
    PROBE_FIRST,
    PROBE_LAST,
    Breaker,
    Renewals,
)
from orchestrator.accounts.events import Order, SpawnFailed
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.states import State

pytestmark = pytest.mark.timeout(900)  # a model that lives many hours takes its time on a busy machine

HONEST = ("a", "b", "c", "d")
FINE = {State.STARTING, State.CONNECTING, State.CONNECTED}
SLOT = 75.0
"""Seconds for which a process can keep a start slot at the most, until it is killed."""

KINDS = list(Kind)
MESSAGES: list[pipe.FromChild] = [
    pipe.Loading(),
    pipe.NotLoaded(),
    pipe.Connecting(paired=True),
    pipe.Connecting(paired=False),
    pipe.Code("text", b"png", 0.0, 60.0),
    pipe.LinkCode("ABCDEFGH", 60.0),
    pipe.Paired(NUMBER),
    pipe.Connected(NUMBER),
    pipe.LinkLost("it says"),
    pipe.Heartbeat(None, 1 << 40),
    *(pipe.Ended(kind, "it says", 405, 3600.0) for kind in KINDS),
]
DELAYS = st.sampled_from([0.0, 0.1, 1.0, 4.0, 20.0, 40.0, 170.0])
STEPS = st.tuples(DELAYS, st.sampled_from([*MESSAGES, *EXIT_CODES.values(), 0, 1, -9, -11]))
RUNS = st.lists(st.lists(STEPS, max_size=12), min_size=1, max_size=4)
Runs = Sequence[Sequence[tuple[float, pipe.FromChild | int]]]


def lie(runs: Runs, *, rounds: int = 20) -> Lie:
    """Return what a process does, run by run and again and again."""
    turns = itertools.cycle(runs)

    def begin(world: World, name: str, child: object) -> None:
        world.beat(name, child)
        after = 0.0
        for delay, what in list(next(turns)) * rounds:
            after += max(delay, 0.01)
            if isinstance(what, int):
                world.later(after, partial(world.exit, name, child, what))
                continue
            world.later(after, partial(world.say, name, what, child))
            if isinstance(what, pipe.Ended):
                world.later(after + 0.5, partial(world.exit, name, child, EXIT_CODES[what.kind]))

    return begin


def world_with(runs: Runs, parallel: int, first: bool) -> World:
    names = ["liar", *HONEST] if first else [*HONEST, "liar"]
    return World(*names, parallel=parallel, liars={"liar": lie(runs)})


def assert_untouched(world: World) -> None:
    for name in HONEST:
        assert {record.after for record in world.records[name]} <= FINE, name
    assert fleet.NETWORK not in world.news
    assert not any(fleet.OUTDATED in sentence for sentence in world.news)


@settings(max_examples=100, deadline=None)
@given(RUNS, st.sampled_from([1, 2]), st.booleans())
def test_the_others_start_run_and_are_restarted_as_if_it_were_not_there(
    runs: Runs, parallel: int, first: bool
) -> None:
    world = world_with(runs, parallel, first)
    # At worst it comes before each of the others.
    world.run(len(HONEST) * (SLOT + DIAL) + 10)
    assert [world.accounts[name].state for name in HONEST] == [State.CONNECTED] * len(HONEST)
    then = world.now
    for name in HONEST[:2]:
        world.order(name, Order.RESTART, by_name=True)
    world.order("c", Order.RESTART)
    world.run(3 * (SLOT + DIAL) + 10)
    assert sorted(name for name in world.started_since(then) if name in HONEST) == ["a", "b", "c"]
    assert [world.accounts[name].state for name in HONEST] == [State.CONNECTED] * len(HONEST)
    world.run(600)
    assert_untouched(world)
    assert sum(name in HONEST for _, name in world.starts) == len(HONEST) + 3, "nobody else was restarted"
    assert len(world.renewed) <= 2 + world.now / ALONE_SECONDS


@settings(max_examples=30, deadline=None)
@given(RUNS, st.booleans())
def test_a_client_that_is_accepted_again_is_used_by_all_others(runs: Runs, first: bool) -> None:
    world = world_with(runs, 2, first)
    world.run(len(HONEST) * (SLOT + DIAL) + 10)
    world.outdated = True
    for name in HONEST:
        world.order(name, Order.RESTART)
    world.run(2 * PROBE_FIRST)
    world.outdated = False
    # Its turn to probe comes no oftener than that of any other, so one of two probes at the most is its.
    world.run(12 * PROBE_FIRST)
    assert [world.accounts[name].state for name in HONEST] == [State.CONNECTED] * len(HONEST)


@settings(max_examples=100, deadline=None)
@given(RUNS, st.booleans())
def test_a_network_that_is_back_is_used_by_all_others(runs: Runs, first: bool) -> None:
    world = world_with(runs, 2, first)
    world.run(len(HONEST) * (SLOT + DIAL) + 10)
    world.up = False
    for name in HONEST:
        world.lose(name)
    world.run(900)
    world.up = True
    world.run(2 * (NETWORK_PROBE_LAST + 180) + 400)
    assert [world.accounts[name].state for name in HONEST] == [State.CONNECTED] * len(HONEST)


# One by one


ALONE: dict[str, Runs] = {
    "it is refused": [[(0.1, pipe.Connecting(True)), (0.1, pipe.Ended(Kind.OUTDATED, "405"))]],
    "it dials again and again": [[(1.0, pipe.Connecting(True))]],
    "it is linked again and again": [[(1.0, pipe.Code("t", b"p", 0, 60)), (1.0, pipe.Paired(NUMBER))]],
    "it never ends its end": [[(1.0, pipe.Ended(Kind.NETWORK, "soon"))]],
    "it cannot load the library": [[(0.1, pipe.NotLoaded()), (0.1, pipe.Ended(Kind.MACHINE, "no"))]],
    "it is up and down": [[(0.5, pipe.Connected(NUMBER)), (0.5, pipe.LinkLost("no"))]],
    "it says nothing": [[]],
}


@pytest.mark.parametrize("what", ALONE)
@pytest.mark.parametrize("parallel", [1, 2])
def test_one_that_goes_on_and_on(what: str, parallel: int) -> None:
    world = world_with(ALONE[what], parallel, first=True)
    world.run(len(HONEST) * (SLOT + DIAL) + 10)
    assert [world.accounts[name].state for name in HONEST] == [State.CONNECTED] * len(HONEST)
    assert_untouched(world)


def test_one_that_is_refused_waits_alone_and_ever_longer() -> None:
    world = world_with(ALONE["it is refused"], 2, first=True)
    world.run(60)
    account = world.accounts["liar"]
    assert (account.state, account.held) == (State.OUTDATED, False)
    assert account.next_retry_at is not None
    assert world.now < account.next_retry_at <= world.now + PROBE_FIRST
    then = world.now
    world.run(24 * 3600)
    tries = [at for at, name in world.starts if name == "liar" and at >= then]
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps == sorted(gaps)
    assert PROBE_LAST <= gaps[-1] <= PROBE_LAST + 10
    assert_untouched(world)


def test_a_second_one_that_is_refused_holds_all_that_wait() -> None:
    world = World("a", "b", "c", "d", spread=0)
    world.run(30)
    world.outdated = True
    world.order("a", Order.RESTART)
    world.run(30)
    assert world.news == []
    world.order("b", Order.RESTART)
    world.run(30)
    (news,) = world.news
    assert fleet.OUTDATED in news
    then = world.now
    world.order("c", Order.RESTART)
    world.run(60)
    assert world.started_since(then) == []
    assert [world.accounts[name].held for name in "abcd"] == [True, True, False, False]
    assert world.accounts["c"].state is State.CONNECTED


def test_whom_whatsapp_has_let_in_meanwhile_is_a_witness() -> None:
    world = World("a", "b", "c", spread=0)
    world.run(30)
    world.outdated = True
    world.order("a", Order.RESTART)
    world.run(30)
    world.outdated = False
    world.order("c", Order.RESTART)
    world.run(30)
    world.outdated = True
    world.order("b", Order.RESTART)
    world.run(30)
    assert world.news == []
    assert [world.accounts[name].held for name in "abc"] == [False, False, False]


@pytest.mark.parametrize("order", [Order.START, Order.RESTART, Order.REPAIR])
def test_an_account_that_an_operator_names_is_tried_while_all_are_held(order: Order) -> None:
    world = World("a", "b", "c", "d", spread=0)
    world.outdated = True
    world.run(60)
    assert world.states() == {State.OUTDATED}
    then = world.now
    world.order("d", order, by_name=True)
    world.run(10)
    assert world.started_since(then) == ["d"]
    assert world.states() == {State.OUTDATED}
    assert all(account.held for account in world.accounts.values()), "the hold has not ended"
    world.run(60)
    assert world.started_since(then) == ["d"], "once"
    for name in world.accounts:
        world.order(name, Order.START)  # as `start --all` does
    world.run(60)
    assert world.started_since(then) == ["d"]
    # Should WhatsApp let it in, that is news for all.
    world.outdated = False
    world.order("d", order, by_name=True)
    world.run(10)
    if order is Order.REPAIR:
        world.scan("d")
    world.run(60)
    assert world.states() == {State.CONNECTED}


def test_an_account_that_an_operator_names_is_tried_while_another_probes_the_network() -> None:
    world = World("a", "b", "c", "d", "e", spread=0)
    world.up = False
    world.run(60)
    assert fleet.NETWORK in world.news
    (way,) = world.fleet._ways
    while way.breaker.canary is None:
        world.run(0.5)
    other = next(name for name in world.accounts if name != way.breaker.canary)
    then = world.now
    world.order(other, Order.START, by_name=True)
    world.run(DIAL)
    assert other in world.started_since(then)


def test_one_new_process_that_fails_stops_no_restart_of_all() -> None:
    world = World(*HONEST, parallel=1, spread=0)
    world.run(60)
    world.liars["a"] = lie([[(0.1, 1)]])
    then = world.now
    for name in HONEST:
        world.order(name, Order.RESTART)
    world.run(300)
    assert {"b", "c", "d"} <= set(world.started_since(then))
    assert [world.accounts[name].state for name in "bcd"] == [State.CONNECTED] * 3


@pytest.mark.parametrize("broken", [2, 4])
def test_two_new_processes_that_fail_stop_a_restart_of_all(broken: int) -> None:
    world = World(*HONEST, parallel=1, spread=0)
    world.run(60)
    for name in HONEST[:broken]:
        world.liars[name] = lie([[(0.1, 1)]])
    for name in HONEST:
        world.order(name, Order.RESTART)
    world.run(60)
    assert [world.accounts[name].state for name in "cd"] == [State.CONNECTED] * 2
    assert "keeps its old process" in (world.accounts["c"].reason or "")


def test_what_the_service_has_seen_itself_stops_a_restart_of_all_at_once() -> None:
    assert Renewals().failed("a", seen=True)
    renewals = Renewals()
    assert not renewals.failed("a", seen=False)
    assert not renewals.failed("a", seen=False), "one account, however often"
    assert renewals.failed("b", seen=False)
    assert not renewals.failed("b", seen=False)
    renewals.worked()
    assert not renewals.failed("a", seen=False)
    assert SpawnFailed("no memory").kind is Kind.MACHINE


def test_the_fork_server_is_replaced_at_once_for_two_and_now_and_then_for_one() -> None:
    renewals = Renewals()
    assert renewals.not_loaded("a", 1000.0)
    assert not any(renewals.not_loaded("a", 1000.0 + second) for second in range(1, int(ALONE_SECONDS)))
    assert renewals.not_loaded("a", 1000.0 + ALONE_SECONDS)
    assert renewals.not_loaded("b", 1001.0 + ALONE_SECONDS)
    assert renewals.not_loaded("c", 1002.0 + ALONE_SECONDS)


def test_nobody_probes_twice_before_all_others_have() -> None:
    breaker = Breaker(10.0, 10.0)
    breaker.refused("x", 0.0)
    probed = []
    for now in range(10, 1000, 10):
        name = breaker.probe(float(now), ["liar", "a", "b"])  # always the best, by its own word
        assert name is not None
        probed.append(name)
        breaker.canary_ended(name, float(now))
        breaker.probe_at = float(now)
    assert all(set(probed[at : at + 3]) == {"liar", "a", "b"} for at in range(0, 99, 3))
