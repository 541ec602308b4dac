"""Runs inside the unit's sandbox and tells, as JSON, what it could do there that it should not be able to.

It stands alone: its Python is the service's, its folder is not.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import platform
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

OUTSIDE = ("/etc", "/usr", "/opt/orchestrator", "/var/lib", "/var/log", "/run", "/srv", "/", "/dev/shm/..")
_PERSONALITY = 0x0040000  # ADDR_NO_RANDOMIZE

libc = ctypes.CDLL(None, use_errno=True)
_ring = ctypes.create_string_buffer(120)
_allow = ctypes.create_string_buffer(4)


def write_below(folder: str) -> Callable[[], object]:
    """Return what writes a file into a folder."""
    return lambda: Path(folder, "probe").write_text("")


def call(name: str, *arguments: int) -> Callable[[], object]:
    """Return what calls a function of libc's."""

    def attempt() -> None:
        if getattr(libc, name)(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "")

    return attempt


def by_number(number: int, *arguments: int) -> Callable[[], object]:
    """Return what makes a call of x86-64's."""

    def attempt() -> None:
        if platform.machine() != "x86_64":
            raise OSError("not here")
        if libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments)) < 0:
            raise OSError(ctypes.get_errno(), "")

    return attempt


def let_through(attempt: Callable[[], object]) -> Callable[[], object]:
    """Return what tries something that older kernels do not have, and other machines by another number."""

    def tried() -> None:
        try:
            attempt()
        except PermissionError:
            raise
        except OSError:
            pass

    return tried


def command(*line: str) -> Callable[[], object]:
    """Return what runs a command, which must succeed."""
    return lambda: subprocess.run(line, check=True, stderr=subprocess.DEVNULL)


def set_group_id() -> None:
    """Make a program that runs as its group."""
    path = Path(os.environ["STATE_DIRECTORY"], "setgid")
    path.write_text("")
    try:
        path.chmod(0o2755)
        if not path.stat().st_mode & stat.S_ISGID:
            raise OSError("it did not stick")
    finally:
        path.unlink()


FORBIDDEN: dict[str, Callable[[], object]] = {
    **{f"write below {folder}": write_below(folder) for folder in OUTSIDE},
    "write a setting of the kernel": lambda: Path("/proc/sys/kernel/hostname").write_text("mine"),
    "write the configuration": lambda: os.close(os.open("/etc/orchestrator/accounts.yaml", os.O_WRONLY)),
    "write control groups": lambda: Path("/sys/fs/cgroup/probe").mkdir(),
    "see root's home": lambda: next(Path("/root").iterdir()),
    "see others' files in /tmp": lambda: next(Path("/tmp").glob("*.outside")),
    "see other users' processes": lambda: Path("/proc/1/status").read_text(),
    "see the kernel's memory": lambda: Path("/proc/meminfo").read_text(),
    "use a device": lambda: Path("/dev/kmsg").read_bytes(),
    "open a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "open a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "make a namespace": command("unshare", "--user", "true"),
    "change its personality": call("personality", _PERSONALITY),
    "have memory to write and run": lambda: mmap.mmap(
        -1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    ),
    "make a program that runs as its group": set_group_id,
    "mount": command("mount", "-t", "tmpfs", "probe", "/mnt"),
    "read another process's memory": by_number(310, os.getpid(), 0, 0, 0, 0, 0),
    "write another process's memory": by_number(311, os.getpid(), 0, 0, 0, 0, 0),
    "compare processes": by_number(312, os.getpid(), os.getpid(), 2, 0, 0),
    "take over page faults": by_number(323, 1),
    "have rings of calls": by_number(425, 1, ctypes.addressof(_ring)),
    "have keys": by_number(250, 0, -3, 0),
    "be heard before others": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
}
NEEDED: dict[str, Callable[[], object]] = {
    "write its state": write_below(os.environ.get("STATE_DIRECTORY", "")),
    "write below /tmp": write_below("/tmp"),
    "write below /dev/shm": write_below("/dev/shm"),
    "look up a name": lambda: socket.getaddrinfo("localhost", 443),
    "watch a process": lambda: os.pidfd_open(os.getpid()),
    "have a semaphore": lambda: __import__("multiprocess").get_context("forkserver").Semaphore(1),
    "be called back from C": lambda: ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 3)(),
    "give up files": let_through(by_number(444, 0, 0, 1)),
    "give up calls": let_through(by_number(317, 2, 0, ctypes.addressof(_allow))),
    "write its own memory": lambda: os.close(os.open("/proc/self/mem", os.O_RDWR)),
}


def works(attempt: Callable[[], object]) -> bool:
    """Tell whether something can be done."""
    try:
        attempt()
    except (OSError, StopIteration, subprocess.CalledProcessError):
        return False
    return True


if __name__ == "__main__":
    found = {
        "could": [what for what, attempt in FORBIDDEN.items() if works(attempt)],
        "could not": [what for what, attempt in NEEDED.items() if not works(attempt)],
        "environment": sorted(os.environ),
    }
    Path(sys.argv[1]).write_text(json.dumps(found))
