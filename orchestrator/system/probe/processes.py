"""Doors that are other processes: their memory, their signals, their limits, their descriptors."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from orchestrator.system.probe.calls import call
from orchestrator.system.probe.doors import Door
from orchestrator.system.probe.report import Aims

_READ = ("maps", "smaps", "environ", "auxv", "syscall", "personality", "io", "pagemap", "timers")
_WRITTEN = ("clear_refs", "coredump_filter", "oom_score_adj", "comm", "uid_map")
_LINKS = ("cwd", "root", "exe", "ns/user", "ns/mnt", "ns/net")
_UNMAPPED = 0x1000
"""An address at which no process has memory, so that nothing is read or written there."""
_SEIZE, _ATTACH, _DETACH = 0x4206, 16, 17
_WAIT_ALL = 0x40000000
_RLIMIT_CORE = 4
_NEW_NETWORK = 0x40000000


def doors(aims: Aims) -> Iterator[Door]:
    """Return what is tried on other processes."""
    for who, pid in aims.processes.items():
        yield from _memory(who, pid)
        yield from _tracing(who, pid)
        yield from _signals(who, pid)
        yield from _limits(who, pid)
    if aims.processes:
        yield Door("signals", "signal 0 to all processes", lambda: os.kill(-1, 0), by="signals")


def _memory(who: str, pid: int) -> Iterator[Door]:
    door = f"memory of the {who}"
    folder = Path(f"/proc/{pid}")
    mem = folder / "mem"
    yield Door(door, "open /proc/PID/mem to read", lambda: _open(mem, os.O_RDONLY))
    yield Door(door, "open /proc/PID/mem to write", lambda: _open(mem, os.O_RDWR))
    thread = folder / "task" / str(pid) / "mem"
    yield Door(door, "open /proc/PID/task/PID/mem to write", lambda: _open(thread, os.O_RDWR))
    for name in _READ:
        yield Door(door, f"read /proc/PID/{name}", partial(_read, folder / name))
    for name in _WRITTEN:
        yield Door(door, f"open /proc/PID/{name} to write", partial(_open, folder / name, os.O_WRONLY))
    for name in ("fd", "fdinfo", "map_files"):
        yield Door(door, f"list /proc/PID/{name}", partial(_list, folder / name))
    for name in _LINKS:
        yield Door(door, f"follow /proc/PID/{name}", partial(_follow, folder / name))
    for name in ("status", "cmdline", "wchan"):
        # The kernel shows them to all users of the machine, the last one as a zero.
        yield Door(door, f"read /proc/PID/{name}", partial(_read, folder / name), wanted="either")
    yield Door(door, "process_vm_readv", lambda: _move_memory("process_vm_readv", pid), by="calls")
    yield Door(door, "process_vm_writev", lambda: _move_memory("process_vm_writev", pid), by="calls")
    yield Door(door, "move_pages", lambda: call("move_pages", pid, 0, None, None, None, 0), by="calls")
    yield Door(door, "kcmp", lambda: call("kcmp", pid, os.getpid(), 2, 0, 0), by="calls")
    yield Door(door, "get_robust_list", lambda: _robust_list(pid), by="calls")


def _tracing(who: str, pid: int) -> Iterator[Door]:
    door = f"tracing the {who}"
    yield Door(door, "ptrace: seize or attach", lambda: _in_thread(partial(_trace, pid)), by="calls")
    yield Door(door, "pidfd_getfd", lambda: _take_descriptor(pid), by="calls")
    yield Door(door, "setns", lambda: _enter(pid), by="kernel")


def _signals(who: str, pid: int) -> Iterator[Door]:
    door = "signals"
    information = bytes(struct.pack("iii", 0, 0, -1).ljust(128, b"\0"))
    attempts: dict[str, Callable[[], object]] = {
        "kill with 0": lambda: os.kill(pid, 0),
        "kill with SIGCONT": lambda: os.kill(pid, signal.SIGCONT),
        "tgkill": lambda: call("tgkill", pid, pid, 0),
        "tkill": lambda: call("tkill", pid, 0),
        "rt_sigqueueinfo": lambda: call("rt_sigqueueinfo", pid, 0, information),
        "rt_tgsigqueueinfo": lambda: call("rt_tgsigqueueinfo", pid, pid, 0, information),
        "pidfd_send_signal": lambda: _by_pidfd(pid),
    }
    for what, attempt in attempts.items():
        yield Door(door, f"{what} to the {who}", attempt, by="signals")


def _limits(who: str, pid: int) -> Iterator[Door]:
    door = "limits of others"
    attempts: dict[str, Callable[[], object]] = {
        "prlimit": lambda: call("prlimit64", pid, _RLIMIT_CORE, None, ctypes.create_string_buffer(16)),
        "sched_setaffinity": lambda: os.sched_setaffinity(pid, os.sched_getaffinity(pid)),
        "setpriority": lambda: os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, pid)),
        "sched_setscheduler": lambda: os.sched_setscheduler(
            pid, os.sched_getscheduler(pid), os.sched_param(0)
        ),
    }
    for what, attempt in attempts.items():
        yield Door(door, f"{what} for the {who}", attempt, by="calls")


def _open(path: Path, flags: int) -> None:
    os.close(os.open(path, flags | os.O_CLOEXEC))


def _read(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.read(descriptor, 8)
    finally:
        os.close(descriptor)


def _list(folder: Path) -> None:
    if not os.listdir(folder):  # noqa: PTH208
        raise PermissionError(errno.EACCES, "it looks empty")


def _follow(path: Path) -> None:
    path.readlink()


def _move_memory(name: str, pid: int) -> None:
    byte = ctypes.create_string_buffer(1)
    ours = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(byte), 1), 16)
    theirs = ctypes.create_string_buffer(struct.pack("PN", _UNMAPPED, 1), 16)
    try:
        call(name, pid, ours, 1, theirs, 1, 0)
    except OSError as error:
        if error.errno != errno.EFAULT:  # it was allowed, and there is nothing
            raise


def _robust_list(pid: int) -> None:
    call("get_robust_list", pid, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8))


def _trace(pid: int) -> str:
    """Trace a process for a moment. A tracer that seizes does not stop it, and lets go of it when it ends."""
    try:
        call("ptrace", _SEIZE, pid, 0, 0)
    except OSError:
        call("ptrace", _ATTACH, pid, 0, 0)
        with contextlib.suppress(OSError):
            os.waitpid(pid, _WAIT_ALL)
        call("ptrace", _DETACH, pid, 0, 0)
        return "by attaching"
    return "by seizing"


def _in_thread(attempt: Callable[[], str]) -> str:
    said = ""
    failed: OSError | None = None

    def run() -> None:
        nonlocal said, failed
        try:
            said = attempt()
        except OSError as error:
            failed = error

    thread = threading.Thread(target=run, name="probe")
    thread.start()
    thread.join()
    if failed is not None:
        raise failed
    return said


def _by_pidfd(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        call("pidfd_send_signal", descriptor, 0, None, 0)
    finally:
        os.close(descriptor)


def _take_descriptor(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        os.close(call("pidfd_getfd", descriptor, 0, 0))
    except OSError as error:
        if error.errno != errno.EBADF:  # it was allowed, and there is none of that number
            raise
    finally:
        os.close(descriptor)


def _enter(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    try:
        call("setns", descriptor, _NEW_NETWORK)
    finally:
        os.close(descriptor)
