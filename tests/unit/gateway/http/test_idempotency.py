from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import KEYS
from orchestrator.gateway.http import idempotency
from orchestrator.gateway.http.idempotency import KEEP_SECONDS, Again, Go, Known, No, State, decide, hash_of

ONE, OTHER = hash_of("POST", "/a", b"1"), hash_of("POST", "/a", b"2")


@pytest.mark.parametrize(
    ("state", "decision"),
    [
        ("running", No("idempotency_running")),
        ("unknown", No("idempotency_unknown")),
        ("done", Again(200, b"{}")),
    ],
)
def test_what_was_asked_before_is_not_done_again(state: State, decision: object) -> None:
    known = Known(state, ONE, 0.0, 200, b"{}")
    assert decide(known, ONE, 1.0) == decision
    assert decide(known, OTHER, 1.0) == No("idempotency_conflict")
    assert decide(known, ONE, KEEP_SECONDS) == Go()
    assert decide(None, ONE, 1.0) == Go()


def test_a_clock_that_was_wrong_holds_a_key_no_longer_and_a_small_step_back_repeats_nothing() -> None:
    known = Known("done", ONE, 1_000_000.0, 200, b"{}")
    assert decide(known, ONE, 1_000_000.0 - 3600.0) == Again(200, b"{}")
    assert decide(known, ONE, 1_000_000.0 - KEEP_SECONDS) == Go()


@given(
    st.tuples(st.text(), st.text(), st.binary()),
    st.tuples(st.text(), st.text(), st.binary()),
)
def test_two_requests_have_one_hash_only_if_they_are_the_same(
    one: tuple[str, str, bytes], other: tuple[str, str, bytes]
) -> None:
    try:
        same = hash_of(*one) == hash_of(*other)
    except UnicodeEncodeError:  # a method has no such characters
        return
    assert same == (one == other)


def test_keys_have_a_form() -> None:
    assert idempotency.is_key("x")
    assert idempotency.is_key("!~" * 100)
    for text in ("", " ", "a b", "ä", "x" * 256, "a\n", "\x00"):
        assert not idempotency.is_key(text)


def test_an_error_that_may_have_done_something_is_not_forgotten() -> None:
    for key in ("delivery_unknown", "no_answer", "not_running", "internal_error", "failed", "of_later"):
        assert not idempotency.did_nothing(key)
    assert idempotency.did_nothing("not_connected")
    assert {key for key in KEYS if idempotency.did_nothing(key)} == idempotency._NOTHING_DONE
