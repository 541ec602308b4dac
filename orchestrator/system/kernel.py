"""Calls of the kernel that Python's standard library does not offer: by ctypes, with errors as `OSError`."""

from __future__ import annotations

import ctypes
import os
from typing import Any, Final

PR_GET_DUMPABLE: Final = 3
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_SECCOMP: Final = 22
PR_SET_NO_NEW_PRIVS: Final = 38
PR_SET_MEMORY_MERGE: Final = 67
PR_GET_MEMORY_MERGE: Final = 68

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(number: int, *arguments: Any) -> int:  # noqa: ANN401 - numbers, and pointers to any structure
    """Make a system call.

    Args:
        number: The number of the call on this architecture.
        *arguments: Integers, None for a null pointer, or what ctypes can pass.

    Returns:
        What the call returns.

    Raises:
        OSError: The call fails.
    """
    passed = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *passed))


def prctl(option: int, *arguments: Any) -> int:  # noqa: ANN401 - as above
    """Change or read something of this process: prctl, a call with many options.

    Args:
        option: What to change or read.
        *arguments: Up to four; those that are left out are 0.

    Returns:
        What the call returns.

    Raises:
        OSError: The call fails.
    """
    passed = [ctypes.c_ulong(one) if isinstance(one, int) else one for one in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(_libc.prctl(ctypes.c_int(option), *passed))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
