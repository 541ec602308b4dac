"""In what order a child may say what, and how much."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import PNG

from orchestrator.accounts import conduct, pipe
from orchestrator.accounts.acts import Fate
from orchestrator.accounts.conduct import Conduct
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.flood import Meter, more
from orchestrator.accounts.outgoing import Restriction
from orchestrator.accounts.pipe import FromChild, MessageError

LOADING, NOT_LOADED = pipe.Loading(), pipe.NotLoaded()
CONNECTING, PAIRED = pipe.Connecting(paired=True), pipe.Paired("4915100000001")
CODE = pipe.Code("2@" + "A" * 40, PNG, 1.0, 61.0)
LINK_CODE = pipe.LinkCode("ABCD-1234", 161.0)
CONNECTED, LOST = pipe.Connected("4915100000001"), pipe.LinkLost("the connection was lost")
BEAT, SENT = pipe.Heartbeat(None, 1), pipe.Acted(1, Fate.DONE, None, "", None)
SEEN = pipe.PhoneSeen(1_800_000_000.0)
UNSETTLED = pipe.Unsettled("0a" * 16)
NOTHING, NEW = pipe.Restricted(Restriction.NOTHING), pipe.Restricted(Restriction.NEW, 2.0, 463)
ENDED = pipe.Ended(Kind.NETWORK, "over")


def said(*messages: FromChild) -> list[FromChild]:
    """Return what an account hears of a child that says this, a message a second."""
    child = Conduct()
    return [heard for at, one in enumerate(messages) for heard in child.hear(one, float(at))]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [BEAT, LOADING, BEAT, CONNECTING, CONNECTED, BEAT, LOST, BEAT, CONNECTED, SENT, ENDED],
        [CONNECTING, CODE, CODE, PAIRED, CONNECTED],
        [CONNECTING, LINK_CODE, PAIRED, CONNECTED],
        [LOADING, NOT_LOADED, ENDED],
        [NOT_LOADED, ENDED],
        [ENDED],
        [SENT, CONNECTING],
        [LOADING, NOTHING, UNSETTLED, CONNECTING, NEW, pipe.Queued(1), ENDED],
        [CONNECTING, SEEN, PAIRED, SEEN, CONNECTED, SEEN, LOST, SEEN, ENDED],
        # Races of the library
        [CONNECTING, PAIRED, CODE, PAIRED, CONNECTED, CONNECTED],
        [CONNECTING, LOST, CONNECTED, LOST, LOST, CONNECTED],
    ],
)
def test_what_an_honest_child_says_is_heard(messages: list[FromChild]) -> None:
    assert said(*messages) == messages


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ([CONNECTED], "a Connected before a Connecting"),
        ([LOADING, PAIRED], "a Paired before a Connecting"),
        ([CODE], "a Code before a Connecting"),
        ([LOADING, SEEN], "a PhoneSeen before a Connecting"),
        ([LINK_CODE], "a LinkCode before a Connecting"),
        ([LOST], "a LinkLost before a Connecting"),
        ([LOADING, LOADING], "a second Loading"),
        ([NOT_LOADED, NOT_LOADED], "a second NotLoaded"),
        ([CONNECTING, CONNECTING], "a second Connecting"),
        ([CONNECTING, LOADING], "a Loading after a Connecting"),
        ([CONNECTING, NOT_LOADED], "a NotLoaded after a Connecting"),
        ([CONNECTING, CONNECTED, CODE], "a Code after a Connected"),
        ([CONNECTING, CONNECTED, LOST, LINK_CODE], "a LinkCode after a Connected"),
        ([CONNECTING, CONNECTED, PAIRED], "a Paired after a Connected"),
    ],
)
def test_what_none_says_is_a_breach(messages: list[FromChild], why: str) -> None:
    with pytest.raises(MessageError, match=why):
        said(*messages)


def test_nothing_counts_after_the_last_word() -> None:
    assert said(CONNECTING, ENDED, CONNECTING, CONNECTED, LOADING, ENDED) == [CONNECTING, ENDED]


def test_every_message_has_its_place() -> None:
    """A new message is added to the rules, or this says so."""
    known = {*conduct._START, *conduct._ANY_TIME, *conduct._LINKING, *conduct._LINK, pipe.PhoneSeen}
    assert known == set(get_args(pipe.FromChild))


def test_signs_of_the_phone_without_end_are_left_out() -> None:
    child = Conduct()
    child.hear(CONNECTING, 0.0)
    assert sum(len(child.hear(SEEN, 1.0)) for _ in range(100)) == 5
    assert sum(len(child.hear(SEEN, 1.0 + at)) for at in range(100)) <= 11


def test_messages_without_end_are_a_breach() -> None:
    child = Conduct()
    for _ in range(5000):
        child.hear(BEAT, 1.0)
    with pytest.raises(MessageError, match="more than 1000 messages a second"):
        child.hear(BEAT, 1.0)
    child = Conduct()
    for second in range(60):
        for number in range(1000):
            child.hear(BEAT, second + number / 1000)


def test_codes_without_end_are_a_breach() -> None:
    child = Conduct()
    child.hear(CONNECTING, 0.0)
    for _ in range(20):
        child.hear(CODE, 0.1)
    with pytest.raises(MessageError, match="faster than WhatsApp makes them"):
        child.hear(CODE, 0.2)
    child = Conduct()
    child.hear(CONNECTING, 0.0)
    for second in range(0, 3600, 20):
        assert child.hear(CODE, float(second)) == [CODE]


def test_questions_about_secrets_without_end_are_a_breach() -> None:
    child = Conduct()
    for _ in range(50):
        child.hear(UNSETTLED, 0.0)
    with pytest.raises(MessageError, match="one question about secrets after the other"):
        child.hear(UNSETTLED, 0.0)


def test_of_restrictions_without_end_the_last_counts() -> None:
    child = Conduct()
    assert sum(len(child.hear(one, 0.0)) for _ in range(50) for one in (NOTHING, NEW)) == 20
    assert child.holds
    at = child.due(0.0)
    assert at == pytest.approx(5.0)
    assert child.release(at) == ([NEW], 0), "only changes of the link are counted"
    assert not child.holds


def test_the_end_comes_before_a_restriction_that_waits() -> None:
    child = Conduct()
    for _ in range(21):
        child.hear(NEW, 0.0)
    assert child.holds
    assert child.hear(ENDED, 0.0) == [ENDED]
    assert not child.holds


def test_a_link_that_comes_and_goes_is_heard_now_and_then_and_the_last_word_counts() -> None:
    child = Conduct()
    child.hear(CONNECTING, 0.0)
    heard = [one for _ in range(50) for change in (CONNECTED, LOST) for one in child.hear(change, 1.0)]
    assert len(heard) == 20
    assert child.release(1.0) == ([], 0)
    assert child.hear(BEAT, 1.0) == [BEAT], "the others are heard meanwhile"
    assert child.hear(CONNECTED, 1.0) == []
    at = child.due(1.0)
    assert at == pytest.approx(1.05)
    assert child.release(at) == ([CONNECTED], 80)
    assert not child.holds
    assert child.release(at + 1) == ([], 0)
    assert child.hear(LOST, at + 1) == [LOST]


def test_the_end_comes_before_a_change_that_waits() -> None:
    child = Conduct()
    child.hear(CONNECTING, 0.0)
    for _ in range(30):
        child.hear(CONNECTED, 0.0)
    assert child.hear(ENDED, 0.0) == [ENDED]
    assert not child.holds


TIMES = st.lists(st.floats(0, 100), max_size=300).map(sorted)


@given(TIMES)
def test_changes_are_never_more_and_the_last_is_never_lost(times: list[float]) -> None:
    child = Conduct()
    child.hear(CONNECTING, 0.0)
    heard: list[tuple[float, FromChild]] = []
    changes: list[FromChild] = [pipe.LinkLost(str(number)) for number in range(len(times))]
    left_out = 0
    for at, change in zip(times, changes, strict=True):
        heard += [(at, one) for one in child.hear(change, at)]
    while child.holds:
        at = child.due(times[-1])
        released, count = child.release(at)
        heard += [(at, one) for one in released]
        left_out += count
    assert len(heard) + left_out == len(changes)
    assert [one for _, one in heard][-1:] == changes[-1:]
    for at, _ in heard:
        assert sum(at <= other < at + 1 for other, _ in heard) <= 41, "20 at once, 20 within the second"


@given(st.floats(0.1, 1000), st.integers(1, 50), st.lists(st.floats(0, 10), max_size=200))
def test_a_meter_lets_no_more_through(rate: float, burst: int, times: list[float]) -> None:
    meter = Meter(rate, burst)
    passed = sum(meter.admit(at) for at in times)  # a clock that goes back harms nothing
    assert passed + meter.take_count() == len(times)
    assert meter.take_count() == 0
    forward = sum(max(0.0, after - before) for before, after in pairwise(times))
    assert passed <= burst + forward * rate + 1e-6


def test_what_was_left_out_is_said() -> None:
    assert more(1, "line", "lines") == "… 1 more line was left out"
    assert more(2, "line", "lines") == "… 2 more lines were left out"
