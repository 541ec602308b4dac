"""How soon the next message may go, taken by itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.settings import Sending
from orchestrator.sending import wire
from orchestrator.sending.contacts import DAY
from orchestrator.sending.forms import File, Media
from orchestrator.sending.pacing import Flow, Pacer, new_a_day, typing_time
from orchestrator.sending.row import Pace

NOW = 1_800_000_000.0


def pacer(flow: Flow | None = None, **settings: object) -> Pacer:
    return Pacer(Sending(**settings), flow or Flow(), lambda: 0.5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("age", "count"),
    [(-DAY, 20), (0.0, 20), (7 * DAY, 110), (13.99 * DAY, 199), (14 * DAY, 200), (1e12, 200)],
)
def test_the_number_of_new_chats_grows_evenly(age: float, count: int) -> None:
    assert new_a_day(Sending(), age) == count


def test_without_a_warm_up_the_later_number_holds_at_once() -> None:
    assert new_a_day(Sending(warm_up=0.0), 0.0) == 200


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ({"text": "x"}, 0.55),
        ({"text": "x" * 4000}, 8.0),
        ({"kind": "image", "media": "1", "caption": "x" * 10}, 1.0),
        ({"kind": "image", "media": "1"}, 0.5),
        ({"kind": "poll", "poll": {"name": "x" * 30, "options": ["a", "b"]}}, 2.0),
        ({"kind": "edit", "message": "M", "text": "x"}, 0.0),
        ({"kind": "read", "messages": ["M"]}, 0.0),
    ],
)
def test_how_long_an_account_types(asked: dict[str, object], seconds: float) -> None:
    outgoing = wire.parse({"to": "+4915100002", "kind": "text", **asked})
    assert typing_time(Sending(), outgoing) == pytest.approx(seconds)
    assert typing_time(Sending(pacing="off"), outgoing) == 0
    assert typing_time(Sending(typing=False), outgoing) == 0


@pytest.mark.parametrize(("length", "seconds"), [(0, 0.5), (3, 3.5), (600, 8.0)])
def test_a_voice_note_takes_as_long_as_it_is(length: int, seconds: float) -> None:
    outgoing = wire.parse({"to": "+4915100002", "kind": "voice", "media": "1"})
    assert isinstance(outgoing.content, Media)
    file = File("1", "0" * 64, 1, "audio/ogg", seconds=length)
    outgoing = replace(outgoing, content=replace(outgoing.content, file=file))
    assert typing_time(Sending(), outgoing) == seconds


def test_the_day_is_the_last_24_hours() -> None:
    one = pacer(Flow(first=tuple(NOW + index for index in range(20)), linked=NOW), warm_up=1e9)
    assert one.free(Pace.NEW, NOW + 100) == NOW + DAY
    one.give_back(NOW + 7)
    assert one.free(Pace.NEW, NOW + 100) == NOW + 100
    one.give_back(NOW + 7.5)
    assert len(one.flow.first) == 19, "there was none at that time"


def test_a_growing_number_lets_the_next_one_go_before_the_day_is_over() -> None:
    one = pacer(Flow(first=(NOW,) * 20, linked=NOW))
    at = one.free(Pace.NEW, NOW + 100)
    assert at == pytest.approx(NOW + 14 * DAY / 180)
    assert new_a_day(Sending(), at - NOW) == 21


def test_none_at_all_is_never() -> None:
    assert pacer(new_a_day=0, new_a_day_later=0).free(Pace.NEW, NOW) == math.inf
    assert pacer(new_a_day=0, new_a_day_later=0).roughly(Pace.NEW, 7, NOW) == math.inf


def test_what_is_far_back_in_a_line_is_guessed() -> None:
    one = pacer()
    assert one.roughly(Pace.REPLY, 1000, NOW) == NOW
    assert one.roughly(Pace.KNOWN, 1000, NOW) == NOW + 4000
    assert one.roughly(Pace.NEW, 200, NOW) == NOW + 10 * DAY
    assert pacer(pacing="off").roughly(Pace.NEW, 200, NOW) == NOW


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from([Pace.KNOWN, Pace.NEW])), max_size=50),
    st.floats(-1e9, 1e9),
)
def test_nothing_waits_longer_than_it_ever_may(went: list[tuple[float, Pace]], jump: float) -> None:
    one, at = pacer(), NOW
    one.linked(NOW)
    for gap, pace in went:
        at = max(at + gap, min(at + 1e6, one.free(pace, at)))
        one.take(pace, at)
    now = at + jump
    one.clamp(now)
    assert one.free(Pace.KNOWN, now) <= now + 4.0 + 1e-6
    assert one.free(Pace.NEW, now) <= now + DAY + 67.5 + 1e-6
    assert Flow.from_json(one.flow.as_json()) == one.flow
