import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.wire.frames import HEADER, MAX_FRAME, FrameError, FrameReader, encode_frame

BODIES = st.lists(st.binary(max_size=40), max_size=8)


def read(reader: FrameReader, *pieces: bytes) -> list[bytes]:
    frames: list[bytes] = []
    for piece in pieces:
        reader.feed(piece)
        frames += reader.frames()
    return frames


def test_the_bytes_of_a_frame() -> None:
    assert HEADER == b"\x57\x41\x06\x03"
    assert encode_frame(b"abc") == b"\x00\x00\x03abc"
    assert encode_frame(b"") == b"\x00\x00\x00"
    assert encode_frame(bytes(0x010203))[:4] == b"\x01\x02\x03\x00"


def test_a_stream_with_its_header() -> None:
    reader = FrameReader()
    assert read(reader, b"WA\x06\x03\x00\x00\x02hi\x00\x00\x00\x00\x00\x01!") == [b"hi", b"", b"!"]
    assert read(reader, b"\x00\x00\x04WA\x06\x03") == [b"WA\x06\x03"]


@settings(deadline=None)
@given(BODIES, st.lists(st.integers(0, 400)), st.booleans())
@example([b"x" * 300], list(range(400)), True)
def test_any_cutting_gives_the_same_frames(bodies: list[bytes], cuts: list[int], from_client: bool) -> None:
    header = HEADER if from_client else b""
    stream = header + b"".join(map(encode_frame, bodies))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert read(FrameReader(header=header), *pieces) == bodies


@settings(deadline=None)
@given(BODIES, st.integers(0, 8))
def test_frames_taken_one_by_one_stay_whole(bodies: list[bytes], taken: int) -> None:
    reader = FrameReader(header=b"")
    reader.feed(b"".join(map(encode_frame, bodies)))
    assert [*itertools.islice(reader.frames(), taken), *reader.frames()] == bodies


@settings(deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=20))
def test_any_bytes_give_frames_or_a_frame_error(pieces: list[bytes]) -> None:
    reader = FrameReader(limit=100)
    stream = b"".join(pieces)
    try:
        frames = read(reader, *pieces)
    except FrameError:
        return
    assert stream.startswith(HEADER[: len(stream)])
    assert stream[4:].startswith(b"".join(map(encode_frame, frames)))


@pytest.mark.parametrize("start", [b"X", b"WB", b"WA\x06\x02", b"GET / HTTP/1.1"])
def test_a_wrong_header_is_refused_at_once_and_for_good(start: bytes) -> None:
    reader = FrameReader()
    for piece in (start, b"", HEADER):
        with pytest.raises(FrameError, match="begins with"):
            read(reader, piece)


def test_a_frame_over_the_limit_is_refused_before_its_body_comes() -> None:
    reader = FrameReader(limit=4, header=b"")
    assert read(reader, encode_frame(b"four")) == [b"four"]
    for piece in (b"\x00\x00\x05", b"fiver"):
        with pytest.raises(FrameError, match="5 bytes, where 4"):
            read(reader, piece)


def test_the_limit_can_change_between_two_frames_of_one_piece() -> None:
    reader = FrameReader(limit=4, header=b"")
    reader.feed(encode_frame(b"four") + encode_frame(b"hundred") + encode_frame(b"x"))
    frames = reader.frames()
    assert next(frames) == b"four"
    reader.limit = 7
    assert next(frames) == b"hundred"
    reader.limit = 0
    with pytest.raises(FrameError):
        next(frames)


def test_the_longest_frame() -> None:
    body = bytes(MAX_FRAME)
    frame = encode_frame(body)
    assert frame[:3] == b"\xff\xff\xff"
    half = len(frame) // 2
    assert read(FrameReader(header=b""), frame[:half], frame[half:]) == [body]
    with pytest.raises(FrameError, match="16777216"):
        encode_frame(body + b"\0")


def test_what_was_read_is_not_kept() -> None:
    reader = FrameReader(header=b"")
    assert len(read(reader, encode_frame(bytes(1_000_000)) + b"\x00")) == 1
    assert reader._buffer.__sizeof__() < 1000
