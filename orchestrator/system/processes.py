"""Looks at other processes. For the service and `doctor`, since psutil takes memory and time to import.

An account's process must not import this module, and neither must a command that only asks the service.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import psutil

T = TypeVar("T")


class Usage(NamedTuple):
    """What a process uses; each value is None if it cannot be read, as when the process is gone.

    Attributes:
        cpu_s: CPU seconds since its start.
        open_files: Open files. The kernel may hide them, even from the same user (PR_SET_DUMPABLE).
        threads: Threads.
    """

    cpu_s: float | None = None
    open_files: int | None = None
    threads: int | None = None


def usage(pid: int) -> Usage:
    """Read what a process uses; this takes a tenth of a millisecond."""
    process = _try(lambda: psutil.Process(pid))
    if process is None:
        return Usage()
    with process.oneshot():
        times = _try(process.cpu_times)
        return Usage(
            None if times is None else round(times.user + times.system, 2),
            _try(process.num_fds),
            _try(process.num_threads),
        )


def _try(read: Callable[[], T]) -> T | None:
    # An OSError is a descriptor that is not to be had, or a file that the kernel hides.
    with contextlib.suppress(psutil.Error, OSError):
        return read()
    return None
