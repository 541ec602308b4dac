"""What is understood of a shared library's form, and that everything else is refused."""

from __future__ import annotations

import struct
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from orchestrator.worker.library import elf

CODE, DATA, LIST = 0x1000, 0x2000, 0x2100
"""Where the parts of the small library are, in the file; in memory they are PAGE further up."""
PAGE = 0x10000
SIZE = 0x3000
ENTRIES = [(12, PAGE + CODE), (25, PAGE + DATA), (27, 16), (0, 0)]


def segment(
    kind: int, flags: int, offset: int, size: int, more: int = 0, address: int | None = None
) -> bytes:
    at = PAGE + offset if address is None else address
    return struct.pack("<IIQQQQQQ", kind, flags, offset, at, at, size, size + more, 0x1000)


def library(
    *segments: bytes,
    entries: list[tuple[int, int]] = ENTRIES,
    kind: int = 3,
    count: int | None = None,
    size: int = 56,
    magic: bytes = b"\x7fELF\x02\x01\x01",
) -> bytes:
    parts = segments or (
        segment(1, 5, CODE, 0x1000),
        segment(1, 6, DATA, 0x1000, more=0x500),
        segment(2, 6, LIST, len(entries) * 16),
    )
    number = len(parts) if count is None else count
    head = struct.pack("<16sHHIQQQIHHHHHH", magic, kind, 62, 1, 0, 64, 0, 0, 64, size, number, 0, 0, 0)
    data = bytearray(SIZE)
    data[: len(head)] = head
    data[64 : 64 + 56 * len(parts)] = b"".join(parts)
    data[LIST : LIST + 16 * len(entries)] = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    return bytes(data)


def test_the_functions_of_a_small_library_are_found() -> None:
    found = elf.constructors(library())
    assert found == elf.Constructors(
        field=LIST + 2 * 16 + 8, address=PAGE + DATA, count=2, code=((PAGE + CODE, PAGE + CODE + 0x1000),)
    )
    assert found.is_code(PAGE + CODE)
    assert not found.is_code(PAGE + DATA)


def test_those_of_neonize_s_library_are_found() -> None:
    spec = find_spec("neonize")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("neonize-*.so")
    data = path.read_bytes()
    found = elf.constructors(data)
    assert found.count == 2, "one of the C compiler's, and the start of Go"
    assert data[found.field : found.field + 8] == (16).to_bytes(8, "little")


TEXT = segment(1, 5, CODE, 0x1000)
WRITABLE = segment(1, 6, DATA, 0x1000)
DYNAMIC = segment(2, 6, LIST, 64)
STRANGE = {
    "empty": b"",
    "short": library()[:40],
    "32 bit": library(magic=b"\x7fELF\x01\x01\x01"),
    "big endian": library(magic=b"\x7fELF\x02\x02\x01"),
    "no ELF": library(magic=b"MZ"),
    "a program": library(kind=2),
    "no segments": library(count=0),
    "too many segments": library(count=1000),
    "segments of another size": library(size=32),
    "segments beyond the end": library()[:100],
    "a segment beyond the end": library(segment(1, 5, CODE, 1 << 40), WRITABLE, DYNAMIC),
    "a segment that is larger in the file": library(
        TEXT, struct.pack("<IIQQQQQQ", 1, 6, DATA, PAGE + DATA, 0, 0x1000, 0x800, 0x1000), DYNAMIC
    ),
    "no list": library(TEXT, WRITABLE),
    "two lists": library(TEXT, WRITABLE, DYNAMIC, DYNAMIC),
    "a list that is not loaded": library(TEXT, DYNAMIC),
    "a list that is loaded from elsewhere": library(
        TEXT, segment(1, 6, DATA - 0x100, 0x1000, address=PAGE + DATA), DYNAMIC
    ),
    "a list without an end": library(TEXT, WRITABLE, DYNAMIC, entries=[(1, 1)] * 4 + [(25, 0)] * 60),
    "nothing runs": library(entries=[(12, PAGE), (0, 0)]),
    "no length": library(entries=[(25, PAGE + DATA), (0, 0)]),
    "two lengths": library(entries=[(25, PAGE + DATA), (27, 8), (27, 8), (0, 0)]),
    "of length 0": library(entries=[(25, PAGE + DATA), (27, 0), (0, 0)]),
    "of an odd length": library(entries=[(25, PAGE + DATA), (27, 9), (0, 0)]),
    "of a huge length": library(entries=[(25, PAGE + DATA), (27, 1 << 20), (0, 0)]),
    "not aligned": library(entries=[(25, PAGE + DATA + 1), (27, 8), (0, 0)]),
    "in the code": library(entries=[(25, PAGE + CODE), (27, 8), (0, 0)]),
    "in memory that no file fills": library(entries=[(25, PAGE + DATA + 0x1000), (27, 8), (0, 0)]),
    "functions for programs": library(entries=[*ENTRIES[:3], (32, PAGE + DATA), (0, 0)]),
}


@pytest.mark.parametrize("data", STRANGE.values(), ids=STRANGE.keys())
def test_what_is_not_understood_is_refused(data: bytes) -> None:
    with pytest.raises(elf.NotUnderstoodError):
        elf.constructors(data)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_stands_there_ends_in_an_answer_or_a_refusal(seed: int) -> None:
    random = Random(seed)
    whole = library()
    places = [*range(64 + 3 * 56), *range(LIST, LIST + 64)]
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            data[random.choice(places)] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
        try:
            found = elf.constructors(bytes(data))
        except elf.NotUnderstoodError:
            continue
        assert 0 < found.count <= elf.MAX_CONSTRUCTORS
        assert 0 <= found.field <= len(data) - 8
