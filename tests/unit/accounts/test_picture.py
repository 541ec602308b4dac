"""Pictures that a child may have shown, and those that it may not."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pictures import END, PIXEL, PNG, SIGNATURE, chunk, header

from orchestrator.accounts.picture import LONGEST, is_picture
from orchestrator.store.codes.draw import render


@pytest.mark.parametrize("text", ["2@" + "A" * 18, "2@" + "Aa1," * 60, "~" * 700])
def test_what_is_drawn_is_a_picture(text: str) -> None:
    drawn = render(text, 1_800_000_000)
    assert is_picture(drawn)
    assert len(drawn) < LONGEST / 2


def packed(data: bytes) -> bytes:
    return chunk(b"IDAT", zlib.compress(data))


EXPIRES = chunk(b"tEXt", b"Expires\x002026-11-22T10:00:00Z")
WRONG = {
    "empty": b"",
    "text": b"<svg/>",
    "no signature": PNG[1:],
    "the signature alone": SIGNATURE,
    "cut off": PNG[:-1],
    "a part cut off": SIGNATURE + header() + PIXEL[:-3] + END,
    "more behind its end": PNG + b"<script>",
    "another picture behind its end": PNG + PNG,
    "no end": SIGNATURE + header() + PIXEL,
    "no pixels": SIGNATURE + header() + END,
    "an end with content": SIGNATURE + header() + PIXEL + chunk(b"IEND", b"PK\x03\x04"),
    "two headers": SIGNATURE + header() + header() + PIXEL + END,
    "a header too late": SIGNATURE + PIXEL + header() + END,
    "a short header": SIGNATURE + chunk(b"IHDR", b"\0" * 12) + PIXEL + END,
    "a wrong checksum": PNG[:-1] + b"\0",
    "a length beyond its end": SIGNATURE + b"\xff\xff\xff\xffIHDR" + PNG,
    "enormous": SIGNATURE + header(30_000, 30_000) + PIXEL + END,
    "no width": SIGNATURE + header(0, 1) + PIXEL + END,
    "in color": SIGNATURE + header(color=2) + packed(b"\0\xff\xff\xff") + END,
    "with a palette": SIGNATURE + header(color=3) + chunk(b"PLTE", b"\0" * 3) + PIXEL + END,
    "interlaced": SIGNATURE + header(interlace=1) + PIXEL + END,
    "16 bits deep": SIGNATURE + header(depth=16) + packed(b"\0\xff\xff") + END,
    "animated": SIGNATURE + header() + chunk(b"acTL", b"\0" * 8) + PIXEL + END,
    "with a profile": SIGNATURE + header() + chunk(b"iCCP", b"x\0\0" + zlib.compress(b"x")) + PIXEL + END,
    "with packed text": SIGNATURE
    + header()
    + chunk(b"zTXt", b"x\0\0" + zlib.compress(b"x" * 999))
    + PIXEL
    + END,
    "with other text": SIGNATURE + header() + chunk(b"tEXt", b"Comment\0\x1b]0;x\x07") + PIXEL + END,
    "with no time": SIGNATURE + header() + chunk(b"tEXt", b"Expires\0soon") + PIXEL + END,
    "with text twice": SIGNATURE + header() + 2 * EXPIRES + PIXEL + END,
    "with EXIF": SIGNATURE + header() + chunk(b"eXIf", b"II*\0") + PIXEL + END,
    "of an odd name": SIGNATURE + header() + chunk(b"\x1b[2J", b"") + PIXEL + END,
    "no zlib": SIGNATURE + header() + chunk(b"IDAT", b"\0\xff") + END,
    "too few pixels": SIGNATURE + header() + packed(b"\0") + END,
    "a bomb": SIGNATURE + header() + packed(b"\0" * 10_000_000) + END,
    "more behind the pixels": SIGNATURE + header() + chunk(b"IDAT", zlib.compress(b"\0\xff") + b"more") + END,
    "an unknown filter": SIGNATURE + header() + packed(b"\x09\xff") + END,
}


@pytest.mark.parametrize("data", WRONG.values(), ids=list(WRONG))
def test_anything_else_is_none(data: bytes) -> None:
    assert not is_picture(data)


def test_a_picture_made_by_hand() -> None:
    assert is_picture(PNG)
    assert is_picture(SIGNATURE + header() + EXPIRES + PIXEL + END)
    assert is_picture(SIGNATURE + header(8, 2, 1) + packed(b"\0\xff\4\0") + END), "a bit a pixel"


@given(st.data())
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(PNG) - 1))
    changed = bytearray(PNG)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert not is_picture(bytes(changed))


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    assert not is_picture(data)
    assert not is_picture(SIGNATURE + data)
