"""What the memory of an account's process consists of, from the kernel's list of its mappings."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.meter import Memory

_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(.*)")
_GO_HEAP_BELOW = 1 << 46
"""Go's runtime puts its heap below this address; programs, libraries and what malloc maps are far above."""
_GO_LIBRARY = re.compile(r"/(?:.*/|memfd:)neonize-[^/]*\.so(?: \(deleted\))?")
"""A file, or the copy in memory that all processes of a fork server share."""

GO_LIBRARY = "Go's library, the file"
GO_HEAP = "Go's heap"
INHERITED = "Python's, from before the fork"
LATER = "Python's, C's and Go's, from after the fork"
FILES = "other files: Python and libraries"


@dataclass(frozen=True, slots=True)
class Mapping:
    """A piece of a process's address space.

    Attributes:
        start: Its first address.
        end: The address after its last.
        name: The file it is of, or a name in brackets, or nothing.
        memory: What of it is in main memory.
    """

    start: int
    end: int
    name: str
    memory: Memory


def mappings(pid: int) -> Iterator[Mapping]:
    """Read a process's mappings; it takes the kernel some milliseconds."""
    head: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*Path(f"/proc/{pid}/smaps").read_text().splitlines(), "0-0 - - - 0"]:
        match = _HEAD.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        if head is not None:
            yield Mapping(int(head[1], 16), int(head[2], 16), head[3], Memory.read(lines))
        head, lines = match, []


def parts(pid: int, server: int) -> dict[str, Memory]:
    """Return the memory of an account's process by what it is for.

    Memory in no file that the fork server has at the same addresses is taken for inherited: what of it is
    private was written to since, or added at its end.

    Args:
        pid: The account's process.
        server: The fork server it comes from.
    """
    before = [one for one in mappings(server) if not one.name.startswith("/")]
    found = dict.fromkeys((INHERITED, LATER, GO_HEAP, GO_LIBRARY, FILES), Memory())
    for one in mappings(pid):
        if _GO_LIBRARY.fullmatch(one.name):
            part = GO_LIBRARY
        elif one.name.startswith("/"):
            part = FILES
        elif any(one.start < other.end and other.start < one.end for other in before):
            part = INHERITED
        elif not one.name and one.start < _GO_HEAP_BELOW:
            part = GO_HEAP
        else:
            part = LATER
        found[part] += one.memory
    return found


def count_go_libraries() -> int:
    """Return how many processes on this machine share the library: the more, the smaller each one's PSS."""
    count = 0
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            lines = maps.read_text().splitlines()
            count += any(_GO_LIBRARY.fullmatch(line.split(maxsplit=5)[-1]) for line in lines)
    return count
