import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.consumers.answers import Answer, Trouble, advise, judge, wait
from orchestrator.consumers.outcomes import Delivered, Failed

NOW = 1_780_000_000.0


@given(st.integers(200, 299))
def test_2xx_is_success(status: int) -> None:
    assert judge(Answer(status, "120"), NOW) == Delivered()
    assert advise(Answer(status)) is None


@given(st.integers(300, 999), st.none() | st.text())
def test_everything_else_is_a_failure_that_says_the_status_and_no_more(status: int, text: str | None) -> None:
    outcome = judge(Answer(status, text), NOW)
    assert isinstance(outcome, Failed)
    assert outcome.why in (f"answered {status}", f"answered {status}: redirects are not followed")
    assert outcome.disable == (status == 410)
    assert outcome.retry_after is None or status in (429, 503)
    assert advise(Answer(status))


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        (email.utils.formatdate(NOW + 90, usegmt=True), 90),
        (email.utils.formatdate(NOW - 90, usegmt=True), 0),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("9" * 10, None),
        ("soon", None),
        ("", None),
        ("Sun, 99 Nov 2026 07:00:00 GMT", None),
        ("Sun, 29 Nov 2026 07:00:00 " + "x" * 100, None),
    ],
)
def test_a_receiver_may_say_when_to_come_again(status: int, text: str, seconds: float | None) -> None:
    assert judge(Answer(status, text), NOW) == Failed(f"answered {status}", retry_after=seconds)


@pytest.mark.parametrize("status", [301, 401, 404, 410, 500, 502])
def test_other_answers_cannot_ask_for_a_wait(status: int) -> None:
    outcome = judge(Answer(status, "120"), NOW)
    assert isinstance(outcome, Failed)
    assert outcome.retry_after is None


@given(st.text(), st.floats(0, 2**33))
def test_whatever_a_receiver_writes_is_seconds_or_nothing(text: str, now: float) -> None:
    seconds = wait(text, now)
    assert seconds is None or seconds >= 0


@given(st.text(alphabet="0123456789 :,GMTSunNov+-", max_size=64))
def test_what_looks_like_a_date_does_no_harm(text: str) -> None:
    wait(text, NOW)


@pytest.mark.parametrize("trouble", Trouble)
def test_each_trouble_is_a_failure_with_words_and_advice(trouble: Trouble) -> None:
    assert judge(trouble, NOW) == Failed(trouble.value)
    assert advise(trouble)
