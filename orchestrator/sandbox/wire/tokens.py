"""The dictionaries of binary XML, taken from the client's own library.

Both ends write frequent words as one or two bytes. The words are compiled into neonize's shared
library, so the tables found there are the client's by definition. The library is read as a file:
loading it would start a Go runtime in this process.

A Go string is a header of two 64-bit words, address and length. In a shared library the addresses
stand in the relocations, so finding a string means finding the relocation that points to its text.
"""

from __future__ import annotations

import hashlib
import importlib.util
import mmap
import platform
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

SINGLE_SIZE = 236
"""Entries of the one-byte table: a first byte from 236 on means something else."""
DOUBLE_SIZE = 256
"""Entries of each two-byte table: all values of the second byte."""
DOUBLE_COUNT = 4
"""Two-byte tables: the first bytes 236 to 239 select one."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# The machine field of the ELF header, and that machine's relocation "base address plus addend".
_RELATIVE = {62: 8, 183: 1027}
_PROGBITS, _RELA, _NOBITS = 1, 4, 8
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_HEADER = 16
_SLICE = 24
# Far more than any token has; the longest of version 3 has 48 characters.
_MAX_TOKEN = 255


class TokenError(Exception):
    """The token tables cannot be had; the message says what the operator can do about it."""


@dataclass(frozen=True)
class Tokens:
    """The token tables of one version of the dictionary.

    Shorter tables than real ones are allowed too. With none at all every text is written out, which
    a reader with any tables understands.

    Attributes:
        single: The words of one byte, by that byte; the first is empty and stands for nothing.
        double: The words of two bytes: four tables, each by the second byte.
        codes: Each word's one or two bytes on the wire.

    Raises:
        TokenError: A table is too long, a word occurs twice, or one is not ASCII.
    """

    single: tuple[str, ...]
    double: tuple[tuple[str, ...], ...]
    codes: Mapping[str, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        sizes = list(map(len, self.double))
        if len(self.single) > SINGLE_SIZE or len(sizes) > DOUBLE_COUNT or max(sizes, default=0) > DOUBLE_SIZE:
            raise TokenError("a token table is too long")
        if self.single[:1] not in ((), ("",)):
            raise TokenError("the first token is not the empty one")
        codes = {word: bytes([index]) for index, word in enumerate(self.single)}
        for table, words in enumerate(self.double, start=SINGLE_SIZE):
            codes.update((word, bytes([table, index])) for index, word in enumerate(words))
        if len(codes) != len(self.single) + sum(sizes):
            raise TokenError("a token occurs twice")
        if not all(map(str.isascii, codes)):
            raise TokenError("a token is not ASCII")
        codes.pop("", None)
        object.__setattr__(self, "codes", codes)

    @classmethod
    def none(cls) -> Tokens:
        """Return tables without a word, for what must be readable whatever the client's tables are."""
        return cls(("",), ())

    @property
    def fingerprint(self) -> str:
        """SHA-256 in hex of all words in order, joined by line feeds; it names the version."""
        words = chain(self.single, *self.double)
        return hashlib.sha256("\n".join(words).encode("ascii")).hexdigest()


def find_library() -> Path:
    """Return the path of the installed neonize's library for this machine, importing nothing.

    Raises:
        TokenError: neonize is not installed, or has no library for this machine.
    """
    spec = importlib.util.find_spec("neonize")
    if spec is None or not spec.submodule_search_locations:
        raise TokenError("neonize is not installed in this Python: run 'pip install neonize'")
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise TokenError(f"the sandbox runs on {' and '.join(_ARCHITECTURES)}, not on {machine}")
    library = Path(spec.submodule_search_locations[0], f"neonize-linux-{_ARCHITECTURES[machine]}.so")
    if not library.is_file():
        raise TokenError(f"{library} is missing: reinstall neonize on this machine")
    return library


def load_tokens(library: Path | None = None) -> Tokens:
    """Read the token tables, which takes about a tenth of a second.

    Args:
        library: neonize's shared library; by default the installed one.

    Raises:
        TokenError: neonize is not installed, or its library is not one the sandbox can read.
    """
    path = find_library() if library is None else library
    try:
        if not path.stat().st_size:
            raise TokenError("the file is empty")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_tables(_Library(data))
    except OSError as error:
        raise TokenError(f"{path} cannot be read: {error.strerror}") from None
    except TokenError as error:
        raise TokenError(
            f"{path}: {error}. The sandbox can read the library of neonize 0.5.2: reinstall that one"
        ) from None


def _read_tables(library: _Library) -> Tokens:
    single_texts = library.find(b"xmlstreamstart")
    double_texts = library.find(b"read-self")
    heads = library.links(targets=single_texts | double_texts)

    # The one-byte table begins one header before "xmlstreamstart", with the empty string.
    starts = [
        place - _HEADER
        for place, target in heads.items()
        if target in single_texts and library.lengths(place - _HEADER, 3) == (0, 14, 12)
    ]
    singles = [
        words
        for words in library.strings(starts, SINGLE_SIZE)
        if words[1:3] == ("xmlstreamstart", "xmlstreamend")
    ]
    if len(singles) != 1:
        raise TokenError("the table of one-byte tokens was not found")

    # An array of Go slices lists the two-byte tables; a slice is address, length and capacity.
    starts = [
        place
        for place, target in heads.items()
        if target in double_texts and library.lengths(place, 2) == (9, 6)
    ]
    slices = [place for place in library.links(targets=starts) if library.is_table(place)]
    if len(slices) != 1:
        raise TokenError("the list of two-byte tokens was not found")
    places = range(slices[0], slices[0] + DOUBLE_COUNT * _SLICE, _SLICE)
    tables = library.links(places=places)
    if len(tables) != DOUBLE_COUNT or not all(map(library.is_table, places)):
        raise TokenError(f"there are not {DOUBLE_COUNT} tables of two-byte tokens")
    double = tuple(library.strings([tables[place] for place in places], DOUBLE_SIZE))
    if double[0][1] != "active":
        raise TokenError("the tables of two-byte tokens were not found")
    return Tokens(singles[0], double)


class _Section(NamedTuple):
    kind: int
    flags: int
    address: int
    offset: int
    size: int


class _Library:
    """An ELF file, as far as one must understand it to read Go strings.

    Addresses are those the linker gave; they differ from offsets in the file.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        # Magic, 64 bits, little-endian.
        if len(data) < 64 or data[:6] != b"\x7fELF\x02\x01":
            raise TokenError("not a 64-bit little-endian ELF file")
        (machine,) = struct.unpack_from("<H", data, 18)
        if machine not in _RELATIVE:
            raise TokenError(f"a library for an unknown processor (ELF machine {machine})")
        self._relative = _RELATIVE[machine]
        (table,) = struct.unpack_from("<Q", data, 40)
        size, count = struct.unpack_from("<HH", data, 58)
        if size != 64 or table + size * count > len(data):
            raise TokenError("the ELF section headers are cut off")
        sections = []
        for index in range(count):
            _, *fields = struct.unpack_from("<IIQQQQ", data, table + size * index)
            section = _Section(*fields)
            if section.kind != _NOBITS and section.offset + section.size > len(data):
                raise TokenError("an ELF section is cut off")
            sections.append(section)
        self._relocations = [section for section in sections if section.kind == _RELA]
        self._loaded = [section for section in sections if section.flags & _ALLOC and section.kind != _NOBITS]

    def find(self, text: bytes) -> set[int]:
        """Return all addresses of a text in constant data."""
        found = set()
        for kind, flags, address, offset, size in self._loaded:
            if kind != _PROGBITS or flags & (_WRITE | _EXECUTE):
                continue
            at = self._data.find(text, offset, offset + size)
            while at >= 0:
                found.add(address + at - offset)
                at = self._data.find(text, at + 1, offset + size)
        return found

    def links(self, *, places: Collection[int] = (), targets: Collection[int] = ()) -> dict[int, int]:
        """Return which addresses point where: those at these places, and those to these targets.

        Going through all 83,000 relocations anew costs some 15 ms, a table of them 10 MB.
        """
        at, to = frozenset(places), frozenset(targets)
        return {place: target for place, target in self._pointers() if place in at or target in to}

    def _pointers(self) -> Iterator[tuple[int, int]]:
        for section in self._relocations:
            if section.size % _SLICE:
                raise TokenError("the relocations are cut off")
            entries = self._data[section.offset : section.offset + section.size]
            for place, info, target in struct.iter_unpack("<QQq", entries):
                if info & 0xFFFF_FFFF == self._relative:
                    yield place, target

    def lengths(self, place: int, count: int) -> tuple[int, ...]:
        """Return the lengths in the headers of successive strings; none where there can be no headers."""
        headers = self._read(place, count * _HEADER)
        return struct.unpack("<" + count * "8xQ", headers) if headers else ()

    def is_table(self, place: int) -> bool:
        """Tell whether the slice there has the length and capacity of a two-byte table."""
        return self._read(place + 8, 16) == struct.pack("<QQ", DOUBLE_SIZE, DOUBLE_SIZE)

    def strings(self, starts: Sequence[int], count: int) -> Iterator[tuple[str, ...]]:
        """Yield the texts of whole arrays of strings, each array of the same length."""
        arrays = [range(start, start + count * _HEADER, _HEADER) for start in starts]
        links = self.links(places=frozenset(chain.from_iterable(arrays)))
        for places in arrays:
            lengths = self.lengths(places[0], count)
            if not lengths:
                raise TokenError(f"there is no table at {places[0]:#x}")
            yield tuple(
                self._text(links.get(place), size) for place, size in zip(places, lengths, strict=True)
            )

    def _text(self, address: int | None, size: int) -> str:
        if not size:
            return ""
        text = self._read(address, size) if address is not None and size <= _MAX_TOKEN else b""
        if not text:
            raise TokenError("a token has no text")
        return text.decode("latin-1")

    def _read(self, start: int, count: int) -> bytes:
        """Return what is loaded there, or nothing if that is not all in one section."""
        for _, _, address, offset, size in self._loaded:
            if address <= start and start + count <= address + size:
                offset += start - address
                return self._data[offset : offset + count]
        return b""
