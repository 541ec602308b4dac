"""Looks at other processes. For the service and `doctor`, since psutil takes memory and time to import.

An account's process must not import this module, and neither must a command that only asks the service.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
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
    process = _try(lambda: psutil.Process(pid))
    if process is None:
        return Usage()
    with process.oneshot():
        times = _try(process.cpu_times)
        return Usage(
            None if times is None else round(times.user + times.system, 2),
            _try(process.num_threads),
        )


def _try(read: Callable[[], T]) -> T | None:
    # An OSError is a descriptor that is not to be had, or a file that the kernel hides.
    with contextlib.suppress(psutil.Error, OSError):
        return read()
    return None


def has_open(pid: int, file: Path) -> bool:
    """Tell whether a process has a file open.

    psutil compares names, which are different in another mount namespace, such as that of a unit with
    PrivateTmp=. So this function compares the files themselves.

    Raises:
        OSError: The file is missing, or the open files of the process cannot be read.
    """
    about = file.stat()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), about):
                return True
    return False
