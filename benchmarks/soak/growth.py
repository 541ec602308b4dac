"""Whether the service's own process grows: open files, threads, memory, over each of its lives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.soak.observation import Finding, Parent

WARM_UP_SECONDS = 10.0
"""Seconds of a life that are not compared: modules are imported, and all accounts start."""
SHORTEST_LIFE = 60.0
"""Seconds after the warm-up; of a shorter life nothing can be said."""
FILES_A_CHILD = 4
"""Descriptors for each account with a process: the pipe, the process's, and two of multiprocess's own."""
MORE_FILES = 8
MORE_THREADS = 4
MORE_MEMORY = 8_000_000
"""Bytes, for what is imported late and for the allocator; with `MEMORY_AN_ACCOUNT` for each account."""
MEMORY_AN_ACCOUNT = 100_000


@dataclass(frozen=True, slots=True)
class Life:
    """A life of the service, from its first part to its last, in medians.

    Attributes:
        pid: Its process.
        seconds: How long it was looked at.
        files: Open descriptors besides those for the children.
        threads: Threads.
        memory: Bytes that it has alone.
    """

    pid: int
    seconds: float
    files: tuple[float, float]
    threads: tuple[float, float]
    memory: tuple[float, float]


class Growth:
    """Collects what is seen of the service's own process."""

    def __init__(self) -> None:
        self._samples: dict[int, list[tuple[float, Parent]]] = {}

    def note(self, at: float, parent: Parent) -> None:
        """Take in a sample, with the seconds at which it was taken."""
        self._samples.setdefault(parent.pid, []).append((at, parent))

    def lives(self) -> list[Life]:
        """Return all lives that were long enough to be compared."""
        return [life for pid, samples in self._samples.items() if (life := _life(pid, samples)) is not None]

    def findings(self, accounts: int) -> list[Finding]:
        """Return what has grown by more than it may."""
        return [
            Finding("growth", None, f"process {life.pid}: {what} grew from {before:.0f} to {after:.0f}")
            for life in self.lives()
            for what, (before, after), limit in (
                ("open files", life.files, MORE_FILES),
                ("threads", life.threads, MORE_THREADS),
                ("memory in bytes", life.memory, MORE_MEMORY + MEMORY_AN_ACCOUNT * accounts),
            )
            if after - before > limit
        ]


def _life(pid: int, samples: Sequence[tuple[float, Parent]]) -> Life | None:
    warm = [(at, parent) for at, parent in samples if at >= samples[0][0] + WARM_UP_SECONDS]
    if not warm or warm[-1][0] - warm[0][0] < SHORTEST_LIFE:
        return None
    quarter = max(1, len(warm) // 4)

    def ends(value: Callable[[Parent], float]) -> tuple[float, float]:
        first, last = warm[:quarter], warm[-quarter:]
        return median(value(one) for _, one in first), median(value(one) for _, one in last)

    return Life(
        pid,
        warm[-1][0] - warm[0][0],
        ends(lambda one: one.files - FILES_A_CHILD * one.children),
        ends(lambda one: one.threads),
        ends(lambda one: one.memory),
    )
