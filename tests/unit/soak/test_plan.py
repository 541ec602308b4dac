"""The plan of a soak: everything in it follows from its seed, and fits into its time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.chance import Range
from benchmarks.soak.faults import DO
from benchmarks.soak.kinds import KINDS
from benchmarks.soak.plan import LEAD, plan

ROOT = Path(__file__).resolve().parents[3]


@given(seed=st.integers(), accounts=st.integers(1, 60), minutes=st.floats(0.2, 12))
@settings(max_examples=100, deadline=None)
def test_a_plan_keeps_to_its_time_and_to_one_fault_an_account(
    seed: int, accounts: int, minutes: float
) -> None:
    strikes = plan(seed, accounts, minutes)

    assert [one.number for one in strikes] == list(range(1, len(strikes) + 1))
    assert [one.at for one in strikes] == sorted(one.at for one in strikes)
    busy_until = dict.fromkeys(range(accounts), 0.0)
    fleet_until = 0.0
    for one in strikes:
        kind = KINDS[one.kind]
        # Times are rounded to tenths.
        assert one.at >= LEAD
        assert one.until <= minutes * 60 + 0.1
        assert one.until >= one.at + kind.lasts - 0.1
        assert set(one.victims) <= set(range(accounts))
        assert len(set(one.victims)) == len(one.victims)
        assert bool(one.victims) == (kind.reach != "gateway")
        assert kind.reach != "one" or len(one.victims) == 1
        if kind.reach == "all":
            assert len(one.victims) == accounts
            assert one.at >= fleet_until - 0.1
            fleet_until = one.until
            continue
        for number in one.victims:
            assert one.at >= busy_until[number] - 0.1
            busy_until[number] = one.until
    for one in strikes:
        assert one.values.keys() == KINDS[one.kind].values.keys()
        for name, value in one.values.items():
            choice = KINDS[one.kind].values[name]
            if isinstance(choice, Range):
                assert choice.low <= value <= choice.high
                assert not choice.whole or isinstance(value, int)
            else:
                assert value in choice


@given(seed=st.integers(), accounts=st.integers(1, 20), minutes=st.floats(0.5, 4))
@settings(max_examples=20, deadline=None)
def test_the_same_seed_gives_the_same_plan(seed: int, accounts: int, minutes: float) -> None:
    assert plan(seed, accounts, minutes) == plan(seed, accounts, minutes)


def test_another_seed_gives_another_plan() -> None:
    kinds = {tuple(one.kind for one in plan(seed, 10, 2)) for seed in range(20)}
    assert len(kinds) == 20


def printed(hash_seed: str) -> str:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.soak",
            "--plan",
            "--accounts",
            "7",
            "--minutes",
            "3",
            "--seed",
            "5",
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_plan_is_the_same_in_every_process_and_can_be_seen_beforehand() -> None:
    output = printed("1")
    assert output == printed("2")
    strikes = plan(5, 7, 3)
    assert output.splitlines()[2:] == [f"  {one}" for one in strikes]


@pytest.mark.parametrize("seed", range(5))
def test_a_long_soak_has_everything_in_it(seed: int) -> None:
    assert {one.kind for one in plan(seed, 50, 10)} == KINDS.keys()


def test_a_plan_may_be_of_some_kinds_only() -> None:
    assert {one.kind for one in plan(1, 10, 5, ["reset", "outage"])} == {"reset", "outage"}


def test_there_is_something_that_makes_each_kind() -> None:
    assert DO.keys() == KINDS.keys()
