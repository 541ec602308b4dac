from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.breaker import PROBE_FIRST, PROBE_LAST, TOGETHER_SECONDS, Breaker, Outage
from orchestrator.accounts.ramp import Ramp


def test_starts_come_in_order_few_at_a_time_and_apart() -> None:
    ramp = Ramp(2, 1.0, lambda: 0.5)
    for name in "abc":
        ramp.queue(name)
    assert ramp.next(0.0, 0) == "a"
    assert ramp.next(0.4, 1) is None
    assert ramp.wakes_at(1) == 0.5
    assert ramp.next(0.5, 1) == "b"
    assert ramp.next(9.0, 2) is None, "two are dialling already"
    assert ramp.wakes_at(2) is None
    assert ramp.next(9.0, 1) == "c"
    assert ramp.next(99.0, 0) is None


def test_waiting_twice_keeps_the_place_and_leaving_frees_it() -> None:
    ramp = Ramp(1, 0.0, random.random)
    for name in ("a", "b", "a"):
        ramp.queue(name)
    assert len(ramp) == 2
    ramp.unqueue("a")
    ramp.unqueue("a")
    assert ramp.next(0.0, 0) == "b"


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(0, 5)), max_size=60),
    st.integers(1, 4),
    st.floats(0, 5),
    st.randoms(use_true_random=False),
)
def test_never_more_than_allowed_and_never_closer_than_drawn(
    steps: list[tuple[float, int]], parallel: int, spread: float, rng: random.Random
) -> None:
    drawn = [0.0]

    def draw() -> float:
        drawn.append(rng.random())
        return drawn[-1]

    ramp = Ramp(parallel, spread, draw)
    for number in range(30):
        ramp.queue(str(number))
    now, dialling, last = 0.0, 0, -100.0
    for wait, ended in steps:
        now += wait
        dialling = max(0, dialling - ended)
        gap = spread * drawn[-1] if last >= 0 else 0.0
        if ramp.next(now, dialling) is not None:
            assert dialling < parallel
            assert now >= last + gap - 1e-9
            dialling += 1
            last = now


def test_one_refusal_holds_the_fleet_and_one_canary_probes() -> None:
    breaker = Breaker(PROBE_FIRST, PROBE_LAST)
    assert breaker.refused("a", 0.0)
    assert breaker.tripped
    assert not breaker.refused("b", 1.0), "the second refusal is no news"
    assert breaker.probe(PROBE_FIRST - 1, ["a", "b"]) is None
    assert breaker.probe(PROBE_FIRST, ["a", "b"]) == "a"
    assert breaker.probe(PROBE_FIRST + 1, ["b"]) is None, "one canary at a time"


def test_probes_come_less_and_less_often_up_to_a_maximum() -> None:
    breaker = Breaker(PROBE_FIRST, PROBE_LAST)
    breaker.refused("a", 0.0)
    now, gaps = 0.0, []
    for _ in range(12):
        assert breaker.probe_at is not None
        gaps.append(breaker.probe_at - now)
        now = breaker.probe_at
        assert breaker.probe(now, ["a"]) == "a"
        assert not breaker.refused("a", now)
    assert gaps[:3] == [PROBE_FIRST, 2 * PROBE_FIRST, 4 * PROBE_FIRST]
    assert gaps[-1] == PROBE_LAST


def test_a_connection_sets_the_fleet_free_and_the_next_refusal_starts_anew() -> None:
    breaker = Breaker(PROBE_FIRST, PROBE_LAST)
    assert not breaker.connected()
    breaker.refused("a", 0.0)
    breaker.probe(PROBE_FIRST, ["a"])
    breaker.refused("a", PROBE_FIRST)
    breaker.probe(4 * PROBE_FIRST, ["a"])
    assert breaker.connected()
    assert not breaker.tripped
    breaker.refused("b", 9e5)
    assert breaker.probe_at == 9e5 + PROBE_FIRST


def test_a_canary_that_ends_otherwise_leaves_the_plan_as_it_was() -> None:
    breaker = Breaker(PROBE_FIRST, PROBE_LAST)
    breaker.refused("a", 0.0)
    breaker.canary_ended("a", 1.0)
    assert breaker.probe_at == PROBE_FIRST, "it was no canary yet"
    breaker.probe(PROBE_FIRST, ["a"])
    breaker.canary_ended("b", 1.0)
    assert breaker.canary == "a"
    breaker.canary_ended("a", PROBE_FIRST + 5)
    assert breaker.probe_at == 2 * PROBE_FIRST + 5


def test_without_anybody_to_probe_it_waits_on() -> None:
    breaker = Breaker(PROBE_FIRST, PROBE_LAST)
    breaker.refused("a", 0.0)
    assert breaker.probe(PROBE_FIRST, []) is None
    assert breaker.tripped
    assert breaker.probe_at == 2 * PROBE_FIRST


def test_most_accounts_lose_the_network_together_or_each_its_own() -> None:
    outage = Outage()
    for name in "ab":
        outage.lost(name, 0.0)
    assert not outage.is_common(0.0, up=0), "two are too few to tell"
    outage.lost("c", 1.0)
    assert outage.is_common(1.0, up=2)
    assert not outage.is_common(1.0, up=3), "as many have not lost it"
    outage.lost("c", 10 * TOGETHER_SECONDS)
    assert not outage.is_common(10 * TOGETHER_SECONDS, up=0), "that one cannot get it back is no news"
    outage.reached("a")
    assert not outage.is_common(1.0, up=0)
    outage.lost("a", TOGETHER_SECONDS + 0.5)
    assert not outage.is_common(TOGETHER_SECONDS + 0.5, up=0), "the second was lost long before"


def test_what_turned_out_to_be_the_accounts_own_trouble_tells_nothing_until_they_are_back() -> None:
    outage = Outage()
    for name in "abc":
        outage.lost(name, 0.0)
    outage.settle()
    for name in "abc":
        outage.lost(name, 1.0)
    assert not outage.is_common(1.0, up=0)
    for name in "abc":
        outage.reached(name)
        outage.lost(name, 2.0)
    assert outage.is_common(2.0, up=0)
