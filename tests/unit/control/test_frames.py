"""The form of what goes over a port."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control import frames
from orchestrator.control.frames import Answer, Asked, Cancel, Event, Frame, FrameError, More, Reader

numbers = st.integers(1, 2**53)
plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text()
values = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
objects = st.dictionaries(st.text(), values, max_size=5)
some_frames: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Asked, numbers, st.from_regex("[a-z_]{1,40}", fullmatch=True), objects),
    st.builds(More, numbers),
    st.builds(Cancel, numbers),
    st.builds(Event, numbers, objects),
    st.builds(Answer, numbers, objects.map(lambda value: {"result": value})),
)


def framed(value: Any) -> bytes:  # noqa: ANN401
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return frames.LENGTH.pack(len(data)) + data


def read_all(reader: Reader) -> list[Frame]:
    found = []
    while (frame := reader.next()) is not None:
        found.append(frame)
    return found


@given(st.lists(some_frames, max_size=6), st.lists(st.integers(1, 40), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_were_cut(sent: list[Frame], cuts: list[int]) -> None:
    try:
        data = b"".join(map(frames.write, sent))
    except FrameError:
        return  # a text with half of a pair is not written at all, or not read
    reader, found, at = Reader(), list[Frame](), 0
    try:
        for turn in range(len(data)):
            step = cuts[turn % len(cuts)]
            reader.feed(data[at : at + step])
            at += step
            found += read_all(reader)
    except FrameError:
        assert any("\\ud" in json.dumps(str(one)).lower() or "ud" in repr(one).lower() for one in sent)
        return
    assert found == sent
    assert reader.is_empty


@given(st.binary(max_size=200))
def test_garbage_is_a_frame_error_or_not_yet_a_frame(data: bytes) -> None:
    reader = Reader()
    reader.feed(data)
    with contextlib.suppress(FrameError):
        assert all(isinstance(frame.id, int) for frame in read_all(reader))


@given(values, st.sampled_from(["id", "command", "arguments", "fds", "event", "result", "error", "more"]))
def test_no_field_may_hold_just_anything(value: Any, key: str) -> None:  # noqa: ANN401
    for whole in (
        {"id": 1, "command": "list", "arguments": {}, "fds": 0},
        {"id": 1, "event": {}},
        {"id": 1, "result": {}},
        {"id": 1, "error": "no", "exit_code": 1, "key": "failed"},
        {"id": 1, "more": True},
    ):
        reader = Reader()
        reader.feed(framed({**whole, key: value}))
        try:
            frame = reader.next()
        except FrameError:
            continue
        assert frame is not None
        assert isinstance(frame.id, int)
        if isinstance(frame, Asked):
            assert isinstance(frame.arguments, dict)
            assert len(frame.fds) == 0


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":1,"result":{"a":NaN}}',
        b'{"id":1,"result":{"a":Infinity}}',
        b'{"id":1,"result":{"a":1e400}}',
        b'{"id":1,"result":{"a":' + b"1" * 4000 + b"}}",
        b'{"id":1,"result":{"a":1,"a":2}}',
        b'{"id":1,"result":{"a":"\\ud800"}}',
        b'{"id":1,"result":{"\\uDFFF":1}}',
        b'{"id":1,"result":{"a":"\xc3\xa4"}}',
        b'{"id":1,"result":' + b'{"a":' * 5000 + b"1" + b"}" * 5001,
        b'{"id":true,"result":{}}',
        b'{"id":0,"result":{}}',
        b'{"id":1,"result":{},"event":{}}',
        b'{"id":1,"command":"rm -rf","arguments":{},"fds":0}',
        b'{"id":1,"command":"list","arguments":[],"fds":0}',
        b'{"id":1,"command":"list","arguments":{},"fds":true}',
        b'{"id":1,"command":"list","arguments":{},"fds":33}',
        b'{"id":1,"command":"list","arguments":{},"fds":1}',
        b'{"id":1,"command":"list","arguments":{}}',
        b"[1]",
        b"\x00\x00",
    ],
)
def test_what_no_honest_end_sends_is_refused(text: bytes) -> None:
    reader = Reader()
    reader.feed(framed(text))
    with pytest.raises(FrameError):
        reader.next()


def test_a_pair_of_surrogates_is_a_character() -> None:
    reader = Reader()
    reader.feed(frames.write(Event(1, {"text": "👍"})))
    assert reader.next() == Event(1, {"text": "👍"})


@pytest.mark.parametrize("size", [0, 1, frames.MAX_FRAME + 1, 2**32 - 1])
def test_a_frame_of_a_wrong_size_is_refused_before_it_is_there(size: int) -> None:
    reader = Reader()
    reader.feed(frames.LENGTH.pack(size))
    with pytest.raises(FrameError, match="bytes"):
        reader.next()


def test_a_request_may_not_be_as_long_as_an_answer() -> None:
    reader = Reader()
    reader.feed(
        framed(
            {"id": 1, "command": "list", "arguments": {"a": "x" * frames.MAX_REQUEST}, "fds": 0},
        )
    )
    with pytest.raises(FrameError):
        reader.next()
    with pytest.raises(FrameError):
        frames.write(Asked(1, "list", {"a": "x" * frames.MAX_REQUEST}))
    assert len(frames.write(Answer(1, {"result": {"a": "x" * frames.MAX_REQUEST}}))) > frames.MAX_REQUEST


@pytest.mark.parametrize("value", [{"a": "\ud800"}, {"\udfff": 1}, {"a": [{"b": "x\ud83dy"}]}])
@pytest.mark.parametrize("make", [Answer, Event])
def test_what_the_other_end_cannot_read_is_not_written(
    value: dict[str, Any], make: Callable[[int, Any], Frame]
) -> None:
    with pytest.raises(FrameError, match="cannot be written"):
        frames.write(make(1, {"result": value}))


def test_what_json_does_not_have_is_not_written() -> None:
    for value in (math.nan, object(), b"x"):
        with pytest.raises(FrameError):
            frames.write(Event(1, {"a": value}))


@given(st.lists(st.integers(0, 3), max_size=6))
def test_descriptors_go_to_their_requests_in_order(counts: list[int]) -> None:
    reader, given_out, expected = Reader(), iter(range(1000)), []
    for number, count in enumerate(counts, 1):
        fds = tuple(next(given_out) for _ in range(count))
        expected.append(fds)
        reader.feed(frames.write(Asked(number, "take", {}, fds)), fds)
    assert [frame.fds for frame in read_all(reader) if isinstance(frame, Asked)] == expected
    assert not reader.leftover()


def test_descriptors_that_no_request_has_are_found() -> None:
    reader = Reader()
    reader.feed(frames.write(More(1)), [7])
    assert reader.next() == More(1)
    with pytest.raises(FrameError):
        reader.next()
    assert list(reader.leftover()) == [7]
    with pytest.raises(FrameError):
        reader.feed(b"", range(frames.MAX_FDS + 1))
    assert len(reader.leftover()) == frames.MAX_FDS + 1
