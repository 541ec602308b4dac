"""Which processes belong to a service, found by a mark in the environment they were started with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Found:
    """A process.

    Attributes:
        pid: Its id.
        parent: Its parent's id.
        state: A letter: T if it was stopped.
        command: Its command line.
    """

    pid: int
    parent: int
    state: str
    command: str


def marked(mark: str) -> Iterator[Found]:
    """Yield the processes that have ``NAME=VALUE`` in their environment; zombies have none."""
    wanted = mark.encode()
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            if wanted not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            # The name, in parentheses, may hold anything.
            state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        yield Found(int(entry.name), int(parent), state, command)


def open_files(pid: int) -> list[str]:
    """Return what a process has open; nothing of one that is gone."""
    found = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - names are all that is wanted
            try:
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))  # noqa: PTH115 - it may lead nowhere
            except OSError:
                continue
    except OSError:
        return []
    return found


def thread_count(pid: int) -> int:
    """Return how many threads a process has."""
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208 - as above
