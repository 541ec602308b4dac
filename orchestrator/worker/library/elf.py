"""What a shared library runs when it is loaded, and how to have it loaded without that: the form ELF, 64 bit.

Only what is understood is taken: whatever does not fit together as the linker reads it is refused. Nothing is
loaded or changed here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

_MAGIC: Final = b"\x7fELF\x02\x01\x01"  # 64 bit, little endian, version 1
_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_ENTRY: Final = struct.Struct("<qQ")
_SHARED_OBJECT: Final = 3
_PT_LOAD, _PT_DYNAMIC = 1, 2
_EXECUTE, _WRITE = 1, 2
_DT_NULL, _DT_INIT_ARRAY, _DT_INIT_ARRAYSZ, _DT_PREINIT_ARRAY = 0, 25, 27, 32
_POINTER: Final = 8
MAX_SEGMENTS: Final = 64
"""Segments of a file; neonize's library has 10."""
MAX_ENTRIES: Final = 256
"""Entries of the list for the linker; neonize's library has 27."""
MAX_CONSTRUCTORS: Final = 16
"""Functions that run when a library is loaded; Go's has 2."""


class NotUnderstoodError(Exception):
    """The file does not have the form that is understood here; the text says what is different."""


class Bytes(Protocol):
    """A file's content: ``bytes``, or a file that is mapped."""

    def __len__(self) -> int:
        """Return its length."""

    def __getitem__(self, key: slice, /) -> bytes:
        """Return a piece."""


@dataclass(frozen=True, slots=True)
class Constructors:
    """The functions that the linker calls when it has loaded a library.

    Addresses are as in the file: where the library was loaded comes on top of each.

    Attributes:
        field: Where in the file their list's length stands, in 8 bytes; 0 there, and the linker calls none.
        address: Where their list is, once the library is loaded.
        count: How many they are.
        code: Where the library's code is: first addresses, and the addresses after the last.
    """

    field: int
    address: int
    count: int
    code: tuple[tuple[int, int], ...]

    def is_code(self, address: int) -> bool:
        """Tell whether an address is in the library's code."""
        return any(start <= address < end for start, end in self.code)


class _Segment(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    in_file: int
    in_memory: int
    align: int


def constructors(data: Bytes) -> Constructors:
    """Find the functions that the linker calls when it loads a library.

    Raises:
        NotUnderstoodError: The file has another form.
    """
    segments = list(_segments(data))
    loaded = [one for one in segments if one.kind == _PT_LOAD]
    found = [one for one in segments if one.kind == _PT_DYNAMIC]
    if len(found) != 1:
        raise NotUnderstoodError(f"it has {len(found)} lists for the linker")
    (dynamic,) = found
    # The linker reads the list where it was loaded to, so that is what has to be changed in the file.
    if not any(_holds(one, dynamic.address, dynamic.in_file, dynamic.offset) for one in loaded):
        raise NotUnderstoodError("its list for the linker is not where it is loaded")
    values = _values(data, dynamic)
    if _DT_PREINIT_ARRAY in values:
        raise NotUnderstoodError("it has functions for programs")
    if _DT_INIT_ARRAY not in values or _DT_INIT_ARRAYSZ not in values:
        raise NotUnderstoodError("nothing in it runs when it is loaded")
    address, _ = values[_DT_INIT_ARRAY]
    size, field = values[_DT_INIT_ARRAYSZ]
    count, rest = divmod(size, _POINTER)
    if rest or not 0 < count <= MAX_CONSTRUCTORS or address % _POINTER:
        raise NotUnderstoodError(f"what runs when it is loaded is a list of {size} bytes")
    if not any(one.flags & _WRITE and _holds(one, address, size) for one in loaded):
        raise NotUnderstoodError("what runs when it is loaded is not in its data")
    code = tuple((one.address, one.address + one.in_memory) for one in loaded if one.flags & _EXECUTE)
    return Constructors(field, address, count, code)


def _segments(data: Bytes) -> Iterator[_Segment]:
    head = data[: _HEADER.size]
    if len(head) != _HEADER.size or not head.startswith(_MAGIC):
        raise NotUnderstoodError("it is no ELF file of 64 bits, little endian")
    _, kind, _, _, _, offset, _, _, _, size, count, *_ = _HEADER.unpack(head)
    if kind != _SHARED_OBJECT:
        raise NotUnderstoodError("it is no shared library")
    if size != _SEGMENT.size or not 0 < count <= MAX_SEGMENTS or offset + size * count > len(data):
        raise NotUnderstoodError(f"it has {count} segments of {size} bytes")
    for one in _SEGMENT.iter_unpack(data[offset : offset + size * count]):
        segment = _Segment(*one)
        if segment.kind in (_PT_LOAD, _PT_DYNAMIC) and not (
            segment.in_file <= segment.in_memory and segment.offset + segment.in_file <= len(data)
        ):
            raise NotUnderstoodError("it is shorter than it says")
        yield segment


def _holds(segment: _Segment, address: int, size: int, offset: int | None = None) -> bool:
    """Tell whether a piece of memory comes from a segment's part of the file, and from this offset."""
    within = address - segment.address
    return within >= 0 and within + size <= segment.in_file and offset in (None, segment.offset + within)


def _values(data: Bytes, dynamic: _Segment) -> dict[int, tuple[int, int]]:
    """Return what the list for the linker says, and where in the file each value stands, by its tag."""
    size = min(dynamic.in_file, MAX_ENTRIES * _ENTRY.size) // _ENTRY.size * _ENTRY.size
    values: dict[int, tuple[int, int]] = {}
    entries = _ENTRY.iter_unpack(data[dynamic.offset : dynamic.offset + size])
    for number, (tag, value) in enumerate(entries):
        if tag == _DT_NULL:
            return values
        if tag in (_DT_INIT_ARRAY, _DT_INIT_ARRAYSZ) and tag in values:
            raise NotUnderstoodError("its list for the linker says the same twice")
        values[tag] = (value, dynamic.offset + number * _ENTRY.size + _POINTER)
    raise NotUnderstoodError("its list for the linker has no end")
