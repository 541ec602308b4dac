"""The plan of a soak of a cluster: it follows from its seed, keeps to its time, and spares one machine."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.chance import Range
from benchmarks.cluster_soak.kinds import KINDS
from benchmarks.cluster_soak.plan import LEAD, SPARE, Strike, plan


@given(seed=st.integers(), accounts=st.integers(1, 60), shards=st.integers(1, 5), minutes=st.floats(0.2, 12))
@settings(max_examples=100, deadline=None)
def test_a_plan_keeps_to_its_time_and_hits_what_is_there(
    seed: int, accounts: int, shards: int, minutes: float
) -> None:
    strikes = plan(seed, accounts, shards, minutes)
    assert strikes == plan(seed, accounts, shards, minutes)
    assert [one.number for one in strikes] == list(range(1, len(strikes) + 1))
    assert [one.at for one in strikes] == sorted(one.at for one in strikes)
    for one in strikes:
        kind = KINDS[one.kind]
        assert one.at >= LEAD
        assert one.until <= minutes * 60 + 0.1  # times are rounded to tenths
        assert len(one.shards) == {"shard": 1, "two shards": 2}.get(kind.reach, 0)
        assert set(one.shards) <= set(range(shards))
        assert (one.account is not None) == (kind.reach == "account")
        assert one.account is None or 0 <= one.account < accounts
        assert one.values.keys() == kind.values.keys()
        for name, value in one.values.items():
            choice = kind.values[name]
            allowed = choice.low <= value <= choice.high if isinstance(choice, Range) else value in choice
            assert allowed


@given(seed=st.integers(), shards=st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_a_machine_has_one_fault_at_a_time_and_one_machine_has_none(seed: int, shards: int) -> None:
    strikes = [one for one in plan(seed, 10, shards, 10) if one.account is None]
    for one in strikes:
        at_once = [other for other in strikes if other.at <= one.at < other.until]
        hit = [number for other in at_once for number in other.shards]
        assert len(hit) == len(set(hit)) <= shards - SPARE
        assert len(at_once) == 1 or all(other.shards for other in at_once)


@pytest.mark.parametrize("seed", range(5))
def test_a_long_soak_has_most_in_it(seed: int) -> None:
    found = {one.kind for one in plan(seed, 60, 3, 30)}
    assert found == KINDS.keys()


def test_another_seed_gives_another_plan() -> None:
    assert len({tuple(one.kind for one in plan(seed, 10, 3, 5)) for seed in range(20)}) == 20


def test_a_plan_may_be_of_some_kinds_only() -> None:
    assert {one.kind for one in plan(1, 10, 3, 5, ["kill", "reset"])} == {"kill", "reset"}


def test_a_strike_says_what_it_is_about() -> None:
    assert str(Strike(1, 5.04, "kill-two", (0, 2), None, {"seconds": 12.5}, 40.0)).split() == [
        "5.0", "s", "kill-two", "shard-1", "and", "shard-3", "seconds=12.5",
    ]  # fmt: skip
    assert "account-007" in str(Strike(2, 6.0, "reset", (), 7, {}, 40.0))
    assert "the database" in str(Strike(3, 6.0, "database-crash", (), None, {}, 40.0))
