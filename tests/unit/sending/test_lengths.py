"""How long sounds and videos take."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.sending import lengths, media_types


def told(data: bytes, mime_type: str) -> int:
    return lengths.seconds(lambda at, size: data[at : at + size], len(data), mime_type)


def page(position: int, body: bytes = b"") -> bytes:
    """Return a page of an Ogg file that ends at a sample."""
    head = b"OggS\0\0" + struct.pack("<qIII", position, 1, 0, 0)
    return head + bytes((1, len(body))) + body


def voice(samples: int, skip: int = 312, filling: int = 0) -> bytes:
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, skip, 48_000, 0, 0)
    return page(0, head) + bytes(filling) + page(samples)


@pytest.mark.parametrize(
    ("samples", "seconds"),
    [
        (312, 0),
        (313, 1),
        (48_312, 1),
        (48_313, 2),
        (48_000 * 60 + 312, 60),
        (0, 0),
        (-1, 0),
        (2**62, 2**20 - 1),
    ],
)
def test_a_voice_note(samples: int, seconds: int) -> None:
    assert told(voice(samples), media_types.OPUS) == seconds
    assert told(voice(samples, filling=200_000), media_types.OPUS) == seconds


def test_a_sound_that_is_no_voice_note_tells_nothing() -> None:
    assert told(voice(48_000), "audio/ogg") == 0
    assert told(b"ID3", "audio/mpeg") == 0


def box(name: bytes, body: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">I4sQ", 1, name, 16 + len(body)) + body
    return struct.pack(">I4s", 8 + len(body), name) + body


def header(scale: int, length: int, *, version: int = 0) -> bytes:
    times = ">III" if version == 0 else ">QQI"
    body = struct.pack(times, 0, 0, scale) + struct.pack(">I" if version == 0 else ">Q", length)
    return box(b"mvhd", bytes((version, 0, 0, 0)) + body + bytes(80))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("mime_type", ["video/mp4", "video/3gpp", "audio/mp4"])
def test_a_video_at_its_beginning_or_its_end(version: int, mime_type: str, *, large: bool) -> None:
    kind, media = box(b"ftyp", b"isom"), box(b"mdat", bytes(100_000), large=large)
    movie = box(b"moov", box(b"free", b"") + header(1000, 12_345, version=version), large=large)
    assert told(kind + movie + media, mime_type) == 13
    assert told(kind + media + movie, mime_type) == 13


@pytest.mark.parametrize(
    "data",
    [
        b"",
        box(b"ftyp", b"isom"),
        box(b"moov", b""),
        box(b"moov", header(0, 100)),
        box(b"moov", box(b"mvhd", b"\0\0")),
        struct.pack(">I4s", 4, b"moov"),
        struct.pack(">I4s", 2**31, b"moov"),
        box(b"free", b"") * 2000 + box(b"moov", header(1, 1)),
    ],
)
def test_what_does_not_say_it(data: bytes) -> None:
    assert told(data, "video/mp4") == 0


@given(st.binary(max_size=400), st.sampled_from(["video/mp4", media_types.OPUS]))
def test_whatever_the_bytes_are_it_is_a_number_of_seconds(data: bytes, mime_type: str) -> None:
    for one in (data, box(b"moov", data), box(b"moov", box(b"mvhd", data)), page(0, data[:200]) + data):
        assert 0 <= told(one, mime_type) < 2**20
