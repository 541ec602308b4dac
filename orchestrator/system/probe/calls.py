"""Calls of the kernel that Python does not offer, by their numbers."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from typing import Final

_libc = ctypes.CDLL(None, use_errno=True)
_holding = ctypes.PyDLL(None, use_errno=True)
"""The same library; its functions keep the GIL. A process made without the GIL would wait for it for ever."""

_X86_64: Final = {
    "add_key": 248, "bpf": 321, "clone": 56, "execveat": 322, "exit_group": 231, "fanotify_init": 300,
    "finit_module": 313, "get_robust_list": 274, "inotify_add_watch": 254, "inotify_init1": 294,
    "kcmp": 312, "keyctl": 250, "mount": 165, "move_pages": 279, "msgget": 68, "open_by_handle_at": 304,
    "perf_event_open": 298, "personality": 135, "prlimit64": 302, "process_vm_readv": 310,
    "process_vm_writev": 311, "ptrace": 101, "removexattr": 197, "rt_sigqueueinfo": 129,
    "rt_tgsigqueueinfo": 297, "sched_setaffinity": 203, "semget": 64, "setns": 308, "shmget": 29,
    "tgkill": 234, "tkill": 200, "unshare": 272, "userfaultfd": 323,
}  # fmt: skip
_AARCH64: Final = {
    "add_key": 217, "bpf": 280, "clone": 220, "execveat": 281, "exit_group": 94, "fanotify_init": 262,
    "finit_module": 273, "get_robust_list": 100, "inotify_add_watch": 27, "inotify_init1": 26,
    "kcmp": 272, "keyctl": 219, "mount": 40, "move_pages": 239, "msgget": 186, "open_by_handle_at": 265,
    "perf_event_open": 241, "personality": 92, "prlimit64": 261, "process_vm_readv": 270,
    "process_vm_writev": 271, "ptrace": 117, "removexattr": 14, "rt_sigqueueinfo": 138,
    "rt_tgsigqueueinfo": 240, "sched_setaffinity": 122, "semget": 190, "setns": 268, "shmget": 194,
    "tgkill": 131, "tkill": 130, "unshare": 97, "userfaultfd": 282,
}  # fmt: skip
_ALIKE: Final = {
    "clone3": 435, "fsopen": 430, "io_uring_setup": 425, "open_tree": 428, "pidfd_getfd": 438,
    "pidfd_send_signal": 424,
}  # fmt: skip
"""Since 2019 all machines have the same numbers."""
NUMBERS: Final = {**(_AARCH64 if platform.machine() == "aarch64" else _X86_64), **_ALIKE}

Argument = int | bytes | ctypes.Array[ctypes.c_char] | None


def call(name: str, *arguments: Argument) -> int:
    """Call the kernel.

    Args:
        name: The call.
        *arguments: Numbers, bytes that end with a zero, buffers, or None for no address.

    Returns:
        What it returns.

    Raises:
        OSError: It fails.
    """
    return _checked(_libc.syscall(ctypes.c_long(NUMBERS[name]), *map(_argument, arguments)))


def call_holding(name: str, *arguments: Argument) -> int:
    """Call the kernel, and let no other thread of Python run meanwhile.

    Raises:
        OSError: It fails.
    """
    return _checked(_holding.syscall(ctypes.c_long(NUMBERS[name]), *map(_argument, arguments)))


def function(name: str, *arguments: Argument) -> int:
    """Call a function of libc's that returns a number below 0 when it fails.

    Raises:
        OSError: It fails.
    """
    return _checked(getattr(_libc, name)(*map(_argument, arguments)))


def _argument(value: Argument) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def in_process(attempt: Callable[[], object]) -> None:
    """Try something in a new process, so that this one is none the worse for it.

    Raises:
        OSError: It failed, or no process can be made.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of threads; the new process does next to nothing
        pid = os.fork()
    if pid == 0:
        status = 255
        try:
            attempt()
            status = 0
        except OSError as error:
            status = error.errno or 255
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    number = os.waitstatus_to_exitcode(ended)
    if number:
        raise OSError(number, os.strerror(number) if number > 0 else f"it ended by signal {-number}")
