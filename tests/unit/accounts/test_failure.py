from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.failure import (
    EXIT_CODES,
    HAS_ENDED_SESSION,
    Kind,
    Outcome,
    describe_exit,
    from_exit,
)
from orchestrator.accounts.policy import BAN_MARGIN, BAN_SPREAD, judge
from orchestrator.accounts.settings import AccountSettings, Backoff
from orchestrator.accounts.states import State

RUNNING = {State.STARTING, State.CONNECTING, State.PAIRING, State.CONNECTED, State.RECONNECTING}
"""The states of an account that has a process, or is about to."""

OUTCOMES = st.builds(
    Outcome,
    kind=st.sampled_from(list(Kind)),
    text=st.just("seen"),
    code=st.none() | st.integers(400, 599),
    expire=st.none() | st.floats(-10, 1e6),
)
STATUSES = st.none() | st.integers(-64, 255)


def test_the_exit_codes_are_distinct_and_nobody_elses() -> None:
    assert set(EXIT_CODES) == set(Kind)
    assert len(set(EXIT_CODES.values())) == len(Kind)
    assert all(10 <= code < 126 for code in EXIT_CODES.values()), "1 is Python's, 2 Go's, 126 on the shell's"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_word_that_the_exit_code_bears_out_counts(kind: Kind) -> None:
    word = Outcome(kind, "seen", 7, 8.0)
    assert from_exit(EXIT_CODES[kind], word) is word


def test_a_word_counts_too_if_the_process_was_killed_on_its_way_out() -> None:
    word = Outcome(Kind.LOGGED_OUT, "seen")
    assert from_exit(-signal.SIGKILL, word) is word


@pytest.mark.parametrize("kind", list(Kind))
def test_a_word_counts_too_if_nobody_knows_the_exit_status(kind: Kind) -> None:
    word = Outcome(kind, "seen", 7, 8.0)
    assert from_exit(None, word) is word


@given(STATUSES)
def test_no_exit_status_alone_ends_a_session(status: int | None) -> None:
    assert from_exit(status, None).kind not in HAS_ENDED_SESSION


@given(STATUSES, st.none() | OUTCOMES)
def test_what_the_parent_killed_is_a_crash(status: int | None, word: Outcome | None) -> None:
    assert from_exit(status, word, killed_because="silent") == Outcome(Kind.CRASH, "silent")


@given(STATUSES)
def test_what_the_kernel_killed_for_lack_of_memory_is_the_machines_trouble(status: int | None) -> None:
    outcome = from_exit(status, None, out_of_memory=True)
    if status in (None, -signal.SIGKILL):
        assert outcome.kind is Kind.MACHINE
        assert "memory" in outcome.text
    else:
        assert outcome == from_exit(status, None)


@given(STATUSES, OUTCOMES)
def test_a_last_word_counts_all_the_same(status: int | None, word: Outcome) -> None:
    if from_exit(status, word) is word:
        assert from_exit(status, word, out_of_memory=True) is word


@given(STATUSES, st.none() | OUTCOMES)
def test_a_session_is_ended_only_by_the_childs_own_word(status: int | None, word: Outcome | None) -> None:
    outcome = from_exit(status, word)
    if outcome.kind in HAS_ENDED_SESSION:
        assert outcome is word


@pytest.mark.parametrize(
    ("status", "text"),
    [(-9, "SIGKILL"), (-6, "SIGABRT"), (-99, "signal 99"), (2, "exit code 2"), (None, "status is unknown")],
)
def test_exits_are_said_in_words(status: int | None, text: str) -> None:
    assert text in describe_exit(status)


@given(OUTCOMES, st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_every_end_has_a_verdict(outcome: Outcome, count: int, random: float) -> None:
    settings = AccountSettings("support", backoff=Backoff(max=60))
    verdict = judge(outcome, count, settings, random)
    assert verdict.state not in RUNNING
    assert verdict.reason
    if verdict.state is State.BACKOFF:
        assert verdict.wait is not None
        assert 0 <= verdict.wait <= 60
    if verdict.state is State.FAILED:
        assert verdict.wait is None
    if outcome.kind in (Kind.NETWORK, Kind.MACHINE):
        assert verdict.state is State.BACKOFF, "what passes by itself is never given up"
    if outcome.kind is Kind.TEMPORARY_BAN:
        assert verdict.wait is not None
        assert verdict.wait >= (outcome.expire or 0) + BAN_MARGIN, "not before the ban's end"
        longest = max(outcome.expire or 0, 60) + BAN_MARGIN + BAN_SPREAD
        assert verdict.wait <= longest


@given(
    st.floats(0.01, 100), st.floats(1, 10), st.floats(0.01, 1e4), st.floats(0, 1),
    st.integers(1, 10**6), st.floats(0, 1, exclude_max=True),
)  # fmt: skip
def test_a_wait_is_never_above_the_maximum_nor_below_its_jitter(
    base: float, factor: float, maximum: float, jitter: float, attempt: int, random: float
) -> None:
    backoff = Backoff(base=base, factor=factor, max=maximum, jitter=jitter)
    delay = backoff.delay(attempt, random)
    assert 0 <= delay <= maximum
    assert delay >= min(base, maximum) * (1 - jitter) - 1e-9
