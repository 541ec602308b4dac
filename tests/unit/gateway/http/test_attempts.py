from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.http.attempts import SECONDS_A_TRY, TRIES, Attempts, UnderWay


def test_after_some_wrong_tokens_there_is_a_wait() -> None:
    attempts = Attempts()
    assert [attempts.wrong("a", None, 0.0) for _ in range(TRIES)] == [None] * TRIES
    assert attempts.wrong("a", None, 0.0) == SECONDS_A_TRY
    assert attempts.wrong("b", None, 0.0) is None
    assert attempts.wrong("a", None, 2 * SECONDS_A_TRY) is None


def test_a_token_that_many_try_counts_by_itself() -> None:
    attempts = Attempts()
    for number in range(TRIES):
        assert attempts.wrong(f"10.0.0.{number}", "0123", 0.0) is None
    assert attempts.wrong("10.0.1.1", "0123", 0.0) is not None
    assert attempts.wrong("10.0.1.1", "4567", 0.0) is None


@given(st.lists(st.floats(0, 60), max_size=200))
def test_whoever_goes_on_at_any_pace_has_so_many_tries_a_minute(pauses: list[float]) -> None:
    attempts = Attempts()
    now = 0.0
    let_through = 0
    for pause in pauses:
        now += pause
        let_through += attempts.wrong("a", None, now) is None
    assert let_through <= TRIES + now / SECONDS_A_TRY + 1


def test_what_is_remembered_has_a_bound() -> None:
    attempts = Attempts()
    for number in range(20_000):
        attempts.wrong(f"peer {number}", f"token {number}", 0.0)
    assert len(attempts._used) <= 4096


def test_what_is_under_way_is_counted_by_each() -> None:
    under_way = UnderWay(2)
    assert [under_way.begin("a") for _ in range(3)] == [True, True, False]
    assert under_way.begin("b")
    under_way.end("a")
    assert under_way.begin("a")
    for key in ("a", "a", "b"):
        under_way.end(key)
    assert dict(under_way._counts) == {}
