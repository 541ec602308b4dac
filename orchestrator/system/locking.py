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
