"""Numbers that change all the time are told when they say something, and not at each heartbeat."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import pipe
from orchestrator.accounts.events import Begin, Moment, Said, Spawned, TurnCame
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.service.drift import MOST_SECONDS, Drift


class Watched:
    """An account whose heartbeats are looked at."""

    def __init__(self) -> None:
        now = Moment(0.0, 1_800_000_000.0)
        self.account = Account(AccountSettings("a"), now, random=lambda: 0.0)
        for event in (Begin(), TurnCame(), Spawned(1), Said(pipe.Loading(""))):
            self.account.handle(event, now)
        self.drift = Drift()
        self.waiting: int | None = None

    def beat(self, at: float, **values: float | None) -> bool:
        known = {"memory_bytes": 10_000_000, "stored": 7, **values}
        beat = pipe.Heartbeat(None, **known)  # type: ignore[arg-type]
        self.account.handle(Said(beat), Moment(at, 1_800_000_000.0 + at))
        return self.drift.is_news(self.account, self.waiting, at)


def test_an_account_at_rest_is_told_once_a_minute() -> None:
    watched = Watched()
    told = [at for at in range(0, 601, 10) if watched.beat(at)]
    assert told == list(range(0, 601, int(MOST_SECONDS)))


@pytest.mark.parametrize(
    "change",
    [
        lambda watched: watched.beat(10, stored=8),
        lambda watched: watched.beat(10, lost=1),
        lambda watched: watched.beat(10, refused=1),
        lambda watched: watched.beat(10, queued=1),
        lambda watched: watched.beat(10, last_in_at=1_799_999_999.0),
        lambda watched: watched.beat(10, last_out_at=1_799_999_999.0),
        lambda watched: watched.beat(10, memory_bytes=12_000_000),
        lambda watched: watched.beat(10, memory_bytes=8_000_000),
    ],
)
def test_what_says_something_is_told_at_once_and_once(change: Callable[[Watched], bool]) -> None:
    watched = Watched()
    assert watched.beat(0)
    assert change(watched)
    assert not watched.drift.is_news(watched.account, watched.waiting, 11)


def test_what_a_consumer_has_not_had_is_told() -> None:
    watched = Watched()
    watched.beat(0)
    watched.waiting = 3
    assert watched.beat(10)
    assert not watched.beat(20)


def test_memory_that_creeps_up_is_told_when_it_has_come_far() -> None:
    watched = Watched()
    told = [at for at in range(20) if watched.beat(at, memory_bytes=10_000_000 + at * 200_000)]
    assert told == [0, 6, 12, 19]


@given(st.lists(st.tuples(st.floats(1, 30), st.integers(0, 2), st.integers(0, 2**30)), max_size=30))
def test_nobody_knows_less_than_a_minute_ago(beats: list[tuple[float, int, int]]) -> None:
    watched, at, told = Watched(), 0.0, (-MOST_SECONDS, -1)
    for passed, stored, memory in beats:
        at += passed
        if watched.beat(at, stored=stored, memory_bytes=memory):
            told = (at, stored)
        assert at - told[0] < MOST_SECONDS
        assert told[1] == stored
