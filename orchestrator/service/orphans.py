"""What an earlier service may have left running is ended before its sessions are used again.

An account's process ends by itself when its service is gone. One that cannot, because a signal or a debugger
has stopped it, would keep its session from its successors for ever.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from orchestrator.store import sessions as session
from orchestrator.store.layout import LOCK
from orchestrator.system import locking
from orchestrator.system.files import read_file

GRACE = 1.0
"""Seconds in which whoever can has ended by itself; it takes some hundredths."""
_POLL = 0.02
_GONE_SECONDS = 5.0
_MAX_SIZE = 32


def end(sessions: Path) -> list[str]:
    """End the processes that hold sessions; whoever calls this must hold the lock of the state folder.

    Args:
        sessions: The folder of sessions.

    Returns:
        What was done, a sentence for each process.
    """
    deadline = time.monotonic() + GRACE
    said = []
    for name, lock in _locks(sessions):
        while _is_held(lock):
            if time.monotonic() < deadline:
                time.sleep(_POLL)
                continue
            pid = _end_holder(lock)
            if pid is not None:
                said.append(f"{name}: ended process {pid}, which an earlier service left running")
            break
    return said


def _locks(sessions: Path) -> list[tuple[str, Path]]:
    """Return the accounts and their locks, also those of a service of version 0.1."""
    found = [(home.name, home / LOCK) for home in session.homes(sessions)]
    found += [(lock.stem, lock) for lock in sorted(sessions.glob("*.lock"))]
    return [(name, lock) for name, lock in found if session.is_file(lock)]


def _is_held(lock: Path) -> bool:
    try:
        os.close(session.lock(lock))
    except BlockingIOError:
        return True
    except OSError:
        return False  # the account's own process meets it again, and says so
    return False


def _end_holder(lock: Path) -> int | None:
    """End the process that has written its id into the lock file, if it holds the lock; return its id."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(read_file(lock, _MAX_SIZE))
        if pid == os.getpid():
            return None
        pidfd = os.pidfd_open(pid)  # first, so that it is this one that is looked at and ended
        try:
            if pid in locking.holders(lock):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                if select.select([pidfd], [], [], _GONE_SECONDS)[0]:
                    return pid
        finally:
            os.close(pidfd)
    return None
