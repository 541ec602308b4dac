"""How a process is called where processes are listed: `ps`, `top`, `pgrep`. Without a package for it.

The kernel keeps two names of a process. One has 15 bytes, and a call changes it. The other is the command
line, which stands in the process's own memory, where the process may write over it. The room is what the
command line had at the start: a fork of a Python that was started by `-c` has hundreds of bytes. Nothing
moves, and nothing is allocated: one page of the stack is the process's own afterward, which it is anyway.

The package setproctitle does the same, and also makes room where there is none, by moving the environment.
That is not needed here, and would be one more package with compiled code in each account's process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

from orchestrator.system import kernel

_LONGEST_NAME: Final = 15
"""Bytes of the short name."""
_SELF: Final = Path("/proc/self")
_ARG_START, _ARG_END = 48, 49
"""Fields of /proc/PID/stat, counted from 1; see proc_pid_stat(5)."""


def show(name: str, line: str) -> None:
    """Change how this process is listed. Where the kernel does not let it, it keeps the name that it has.

    The process must be able to write its own `/proc/self`: see `cores.open_to_self`.

    Args:
        name: The short name, which is cut after 15 bytes. Call this in the main thread.
        line: What stands in the place of the command line, cut where the room ends.
    """
    with contextlib.suppress(OSError):
        kernel.prctl(kernel.PR_SET_NAME, ctypes.c_char_p(cut(name, _LONGEST_NAME)))
    with contextlib.suppress(OSError, ValueError, IndexError):
        _write_over_command_line(line)


def cut(text: str, size: int) -> bytes:
    """Return a text in UTF-8, in no more than so many bytes, without half a character at its end."""
    return text.encode()[:size].decode(errors="ignore").encode()


def _write_over_command_line(line: str) -> None:
    """Write over what the kernel shows as the command line, and nothing else.

    Raises:
        OSError, ValueError, IndexError: It cannot be found, or cannot be written.
    """
    before = (_SELF / "cmdline").read_bytes()
    # The second field is the name in brackets, which may hold brackets and blanks of its own.
    fields = (_SELF / "stat").read_bytes().rpartition(b")")[2].split()
    start, end = int(fields[_ARG_START - 3]), int(fields[_ARG_END - 3])
    # By the file and not by a pointer: an address that is wrong is then an error, and no crash.
    memory = os.open(_SELF / "mem", os.O_RDWR | os.O_CLOEXEC)
    try:
        if not start or os.pread(memory, end - start, start) != before:
            raise ValueError("the command line is not where the kernel says")
        # The zero at the end must stay: without one, the kernel would show what follows, too.
        os.pwrite(memory, cut(line, len(before) - 1).ljust(len(before), b"\0"), start)
    finally:
        os.close(memory)
