"""Locks on files: taken with patience, held as long as a descriptor is open, and the holder has a name.

A lock of flock(2) ends with the process that holds it, however that ends. So no lock is ever stale.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from pathlib import Path

from orchestrator.system.files import open_file

_POLL = 0.02
_LOCKS = Path("/proc/locks")


def flock(descriptor: int, *, patience: float | None = 0.0) -> None:
    """Lock an open file or folder.

    Args:
        descriptor: The open file or folder.
        patience: Seconds to wait for another holder to let go, None for as long as that takes.

    Raises:
        BlockingIOError: Another process holds the lock after that time.
        OSError: The file system has no locks.
    """
    if patience is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(_POLL)
        else:
            return


def lock_file(path: Path, *, patience: float = 0.0) -> int:
    """Lock a lock file, making the file if need be, and write the id of this process into it.

    The lock is held exactly as long as the descriptor is open. The descriptor is closed on exec. A forked
    process shares the descriptor, and with it the lock.

    Args:
        path: The lock file, which is never removed.
        patience: Seconds to wait for another holder to let go.

    Returns:
        The descriptor.

    Raises:
        BlockingIOError: Another process holds the lock; ``strerror`` says which, if that is known.
        OSError: The file cannot be made or opened, or is a symbolic link, or no regular file.
    """
    deadline = time.monotonic() + patience
    while True:
        descriptor = open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            try:
                flock(descriptor, patience=max(0.0, deadline - time.monotonic()))
            except BlockingIOError:
                raise BlockingIOError(errno.EWOULDBLOCK, _holder(descriptor), str(path)) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody has put another file there since this one was opened
    with contextlib.suppress(OSError):  # on a full disk: the lock holds, only its holder has no name
        # A file with a second name may be anything of this user, linked here by whoever may write here.
        if os.fstat(descriptor).st_nlink == 1:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _holder(descriptor: int) -> str:
    try:
        process = int(os.pread(descriptor, 20, 0))
    except (OSError, ValueError):
        process = 0
    # A process id from another container, or of a process that is gone, would lead astray.
    return f"in use by process {process}" if process and Path(f"/proc/{process}").exists() else "in use"


def holders(path: Path) -> frozenset[int]:
    """Return the ids of the processes that hold a lock of flock(2) on a file, as the kernel tells.

    What is written in the file is the word of whoever wrote it, and the open files of a process can be hidden
    (PR_SET_DUMPABLE). The kernel's list of locks has neither fault. It shows no process of other containers.

    Raises:
        OSError: The file cannot be opened, or the list is hidden, as by ProcSubset=pid of a unit.
    """
    descriptor = open_file(path)
    try:
        place = _place(descriptor)
        found = set()
        for line in _LOCKS.read_text().splitlines():
            # "1: FLOCK  ADVISORY  WRITE 4711 00:1b:23 0 EOF"; who waits has an arrow after the number.
            fields = line.split()
            if fields[1] == "FLOCK" and fields[5] == place:
                found.add(int(fields[4]))
        return frozenset(found)
    finally:
        os.close(descriptor)


def _place(descriptor: int) -> str:
    """Return how the kernel's list of locks names an open file.

    stat(2) shows other devices on some file systems, such as btrfs and overlays. A lock of the other kind,
    which flock(2) does not meet, has the kernel name the file.
    """
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
            fields = line.split()
            if fields[0] == "lock:" and fields[2] == "POSIX":
                return fields[6]
    except (OSError, IndexError):
        pass  # the file system has no such locks
    about = os.fstat(descriptor)
    return f"{os.major(about.st_dev):02x}:{os.minor(about.st_dev):02x}:{about.st_ino}"
