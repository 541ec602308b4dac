"""Looks at other processes. For the service and `doctor`, since psutil takes memory and time to import.

An account's process must not import this module, and neither must a command that only asks the service.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import psutil

T = TypeVar("T")


class Usage(NamedTuple):
    """What a process uses; each value is None if it cannot be read, as when the process is gone.

    Attributes:
        cpu_s: CPU seconds since its start.
        threads: Threads.
    """

    cpu_s: float | None = None
    threads: int | None = None


def usage(pid: int) -> Usage:
    """Read what a process uses; this takes a tenth of a millisecond."""
    cpu = _try(lambda: time.clock_gettime(_cpu_clock(pid)))
    process = _try(lambda: psutil.Process(pid))
    if process is None:
        return Usage(None if cpu is None else round(cpu, 2))
    with process.oneshot():
        return Usage(
            None if cpu is None else round(cpu, 2),
            _try(process.num_threads),
        )


def _cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time, as clock_getcpuclockid(3) does; anybody may read it."""
    return ~pid << 3 | 2


def _try(read: Callable[[], T]) -> T | None:
    # An OSError is a descriptor that is not to be had, or a file that the kernel hides.
    with contextlib.suppress(psutil.Error, OSError):
        return read()
    return None
