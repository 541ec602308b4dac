"""What the reader says is checked, whatever it is; an account that makes it fail is left alone for longer."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.reader import wire
from orchestrator.gateway.reader.blame import LONGEST_SECONDS, SUSPECT_SECONDS, Blame
from orchestrator.gateway.reader.wire import Answer, Ask, Item, Refused, WireError
from orchestrator.messages.outbox_form import MAX_WHY
from orchestrator.messages.outbox_reader import Tally
from orchestrator.messages.rendering import form
from orchestrator.sending.forms import MAX_TAG, Kind
from orchestrator.sending.memory import Memory
from orchestrator.sending.row import Pace, Row, State

LANE = "269139479534551@lid"
ASK = Ask("after", "a", 5, 10)


def item(seq: int = 6, data: bytes = b'{"text":"Hello"}', **other: Any) -> Item:  # noqa: ANN401
    return Item(**{"seq": seq, "type": "message.received", "lane": LANE, "at": 1.5, "data": data, **other})


def frame(answer: Answer) -> bytes:
    return wire.write_answer(answer)[wire.LENGTH.size :]


def test_requests_and_answers_arrive_as_they_were_sent() -> None:
    ask = Ask("after", "a", 5, 10, LANE, "17")
    text = wire.write_request(ask)
    assert wire.read_request(text[wire.LENGTH.size :]) == ask
    assert len(text) - wire.LENGTH.size == wire.LENGTH.unpack_from(text)[0]
    answer = Answer((item(6), item(9, b"{}")), 11, more=True, about={"id": "1"})
    assert wire.read_answer(frame(answer), ASK) == answer


ROWS = Ask("rows", "a", 5, 10, states="queued sent")


def row(number: int = 6, **other: Any) -> Row:  # noqa: ANN401
    values = {"kind": Kind.TEXT, "to": LANE, "state": State.SENT, "message": "3EB0", "pace": Pace.NEW}
    times = {"created_at": 1.5, "expires_at": 2.0, "changed_at": 3.0, "queued_until": 4.0}
    return Row(**{"number": number, **values, **times, "code": 463, "why": "so", "tag": "t\n", **other})


def test_rows_arrive_as_they_were_sent() -> None:
    assert wire.read_request(wire.write_request(ROWS)[wire.LENGTH.size :]) == ROWS
    for answer in (Answer(last=9, rows=(row(6), row(9)), more=True), Answer(last=5, fault="outbox_unusable")):
        assert wire.read_answer(frame(answer), ROWS) == answer
    one = Answer(last=5, rows=(row(5),))
    assert wire.read_answer(frame(one), Ask("row", "a", 5)) == one


TALLY = Tally({State.QUEUED: 3, State.SENT: 9}, {None: 1, Pace.NEW: 2}, 1.5, None, '{"flow":{}}')


def test_how_much_there_is_arrives_as_it_was_told() -> None:
    kept = replace(TALLY, memory=Memory("device", "number", 3, TALLY.memory).dump())
    for found, wanted in [(kept, TALLY), (Tally({}, {}, None, None, None),) * 2]:
        answer = Answer(about=wire.tally_as_json(found))
        got = wire.read_answer(frame(answer), Ask("tally", "a"))
        assert wire.read_tally(got.about) == wanted
    assert wire.read_tally(None) == Tally({}, {}, None, None, None)


def test_of_a_memory_that_is_too_long_the_rest_is_left_out() -> None:
    long = Memory(desk="x" * (wire.MAX_DESK + 1)).dump()
    about = wire.tally_as_json(replace(TALLY, memory=long))
    assert len(wire.read_tally(about).memory or "") == wire.MAX_DESK


GOOD = wire.tally_as_json(replace(TALLY, memory=None))


@pytest.mark.parametrize(
    "change",
    [
        {"states": None}, {"states": []}, {"states": {"evil": 1}}, {"states": {"queued": -1}},
        {"states": {"queued": True}}, {"states": {"queued": 2**60}}, {"states": {"queued": "1"}},
        {"paces": None}, {"paces": {}}, {"paces": [["evil", 1]]}, {"paces": [["new"]]}, {"paces": ["new"]},
        {"paces": [[[], 1]]}, {"paces": [["new", 1.5]]}, {"oldest": -1}, {"oldest": True}, {"oldest": "x"},
        {"oldest": 2**40}, {"soonest": [1]}, {"memory": 1}, {"memory": "x" * (wire.MAX_DESK + 1)},
    ],
)  # fmt: skip
def test_what_is_no_word_of_how_much_there_is_is_refused(change: dict[str, Any]) -> None:
    assert wire.read_tally(json.loads(json.dumps(GOOD))).states == TALLY.states
    with pytest.raises(WireError):
        wire.read_tally({**GOOD, **change})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.sampled_from(["states", "paces", "oldest", "soonest", "memory"]), ANYTHING)
def test_whatever_is_told_of_how_much_there_is_is_read_or_refused(key: str, value: object) -> None:
    with contextlib.suppress(WireError):
        found = wire.read_tally({**GOOD, key: value})
        assert all(type(count) is int for count in [*found.states.values(), *found.paces.values()])


def test_the_longest_rows_fit_into_an_answer() -> None:
    longest = {"tag": "\U0001f600" * MAX_TAG, "why": "\U0001f600" * MAX_WHY, "message": "~" * 128}
    rows = tuple(row(number, **longest) for number in range(wire.MOST - wire.MAX_LIMIT, wire.MOST))
    ask = Ask("rows", "a", 0, wire.MAX_LIMIT)
    fitting = tuple(wire.fitting(rows))
    assert fitting == rows[: len(fitting)]
    assert len(fitting) >= 20
    assert wire.read_answer(frame(Answer(last=wire.MOST, rows=fitting)), ask).rows == fitting
    short = tuple(row(number) for number in range(1, wire.MAX_LIMIT + 1))
    assert wire.fitting(short) == short


@pytest.mark.parametrize(
    "answer",
    [
        Answer(last=9, rows=(row(5),)),  # was not asked for
        Answer(last=9, rows=(row(7), row(7))),
        Answer(last=9, rows=(row(2**53 + 1),)),
        Answer(last=20, rows=tuple(row(number) for number in range(6, 17))),
        Answer(last=9, rows=(row(to="somewhere"),)),
        Answer(last=9, rows=(row(message="two words"),)),
        Answer(last=9, rows=(row(why="one\ntwo"),)),
        Answer(last=9, rows=(row(tag="t" * (MAX_TAG + 1)),)),
        Answer(last=9, rows=(row(code=-1),)),
        Answer(last=9, rows=(row(changed_at=-1.0),)),
        Answer(last=9, rows=(row(queued_until=2.0**40),)),
        Answer(last=9, fault="somebody's words"),
    ],
)
def test_rows_of_another_form_are_no_answer(answer: Answer) -> None:
    with pytest.raises(WireError):
        wire.read_answer(frame(answer), ROWS)


def test_another_row_than_was_asked_for_is_no_answer() -> None:
    with pytest.raises(WireError):
        wire.read_answer(frame(Answer(last=9, rows=(row(6),))), Ask("row", "a", 5))


def test_a_refusal_says_why_by_a_word() -> None:
    with pytest.raises(Refused, match="no_inbox"):
        wire.read_answer(wire.write_refusal("no_inbox")[wire.LENGTH.size :], ASK)
    with pytest.raises(Refused, match="failed"):
        wire.read_answer(wire.write_refusal("somebody's words")[wire.LENGTH.size :], ASK)


@pytest.mark.parametrize(
    "answer",
    [
        Answer((item(5),), 6),  # was not asked for
        Answer((item(7), item(7)), 9),
        Answer((item(7), item(6)), 9),
        Answer((item(9),), 8),
        Answer((), 4),
        Answer((item(2**53 + 1),), 2**53 + 1),
        Answer((), 2**53 + 1),
        Answer(tuple(item(number) for number in range(6, 17)), 20),  # more than asked for
        Answer((item(type="message.invented"),), 6),
        Answer((item(type="account.banned"),), 6),
        Answer((item(lane="somewhere"),), 6),
        Answer((item(lane=f"{LANE}\n"),), 6),
        Answer((item(at=float("nan")),), 6),
        Answer((item(at=-1.0),), 6),
        Answer((item(at=1e300),), 6),
        Answer((item(data=b"[]"),), 6),
        Answer((item(data=b"{"),), 6),
        Answer((item(data=b'{},"account":"b"'),), 6),
        Answer((item(data=b'{"a":NaN}'),), 6),
        Answer((item(data='{"a":"ä"}'.encode()),), 6),
        Answer((item(data=b"[" * 100_000),), 6),
        Answer((item(data=b'{"a":' + b"9" * 5000 + b"}"),), 6),
        Answer((), 6, about=[]),  # type: ignore[arg-type]
        Answer((), True),
        Answer((), 6, more=1),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_answer_to_the_request_is_refused(answer: Answer) -> None:
    with pytest.raises(WireError):
        wire.read_answer(frame(answer), ASK)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=5),
    max_leaves=12,
)
HEADS = st.fixed_dictionaries({
    "items": st.lists(st.lists(JSON, min_size=4, max_size=6), max_size=3) | JSON,
    "last": JSON, "more": st.booleans() | JSON, "about": st.none() | JSON,
})  # fmt: skip


@given(JSON | HEADS, st.binary(max_size=40))
def test_nothing_that_a_reader_says_does_more_than_be_refused(head: Any, data: bytes) -> None:  # noqa: ANN401
    with contextlib.suppress(WireError, Refused):
        wire.read_answer(wire._framed(head, data)[wire.LENGTH.size :], ASK)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_answer_are_refused(data: bytes) -> None:
    with pytest.raises((WireError, Refused)):
        wire.read_answer(data, ASK)


def test_an_event_is_the_account_s_that_was_asked_for() -> None:
    text = wire.body("support", item(17, at=1_764_324_000.123))
    assert json.loads(text) == {
        "id": "evt_support_17",
        "type": "message.received",
        "timestamp": "2025-11-28T10:00:00.123Z",
        "account": "support",
        "seq": 17,
        "data": {"text": "Hello"},
    }
    assert text == wire.body("support", item(17, at=1_764_324_000.123))
    with pytest.raises(WireError):
        wire.body("support", item(17, b'{"text":"%s"}' % (b"x" * form.MAX_EVENT)))


def test_an_account_that_fails_is_left_alone_for_longer_each_time() -> None:
    blame, now = Blame(), 1000.0
    assert blame.wait("a", now) == 0
    waits = [blame.failed("a", now + 100 * number) for number in range(10)]
    assert waits[:3] == [0.5, 1.0, 2.0]
    assert waits[-1] == LONGEST_SECONDS
    assert blame.wait("a", now + 900) == LONGEST_SECONDS
    assert blame.wait("b", now + 900) == 0
    assert blame.suspects("a", now + 900)
    assert not blame.suspects("b", now + 900)
    assert blame.worked("a", now + 990)
    assert not blame.worked("a", now + 990)
    assert blame.wait("a", now + 990) == 0
    assert blame.suspects("a", now + 900 + SUSPECT_SECONDS), "it may do so again"
    assert blame.failed("a", now + 1000) == 0.5
    assert not blame.suspects("a", now + 1001 + SUSPECT_SECONDS)
    assert blame.failed("a", now + 2000) == 0.5
    assert not blame.worked("b", now)
    blame.keep(frozenset({"b"}))
    assert blame.wait("a", now + 2000) == 0
