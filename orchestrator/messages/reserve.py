"""Room that is kept free for messages that are on their way when the disk becomes full.

WhatsApp has taken up to 100 messages for delivered that wait in the library. If the disk is full, there is
nowhere to store them. So each inbox has a file of nothing beside it, which is deleted then: the process
stores what waits, and leaves.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from orchestrator.store.layout import RESERVE

SIZE: Final = 1 << 20
"""Bytes of the reserve. A text takes 1 to 2 kB in an inbox and its log, and as much in the session."""
MARGIN: Final = 512 << 10
"""Bytes that have to be free beside the reserve: an account that starts without them would leave again."""


def keep(folder: Path) -> None:
    """See that a folder of messages has its reserve.

    Raises:
        OSError: There is no room for it, or the folder cannot be written.
    """
    path = folder / RESERVE
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_blocks * 512 >= SIZE:
            return
    about = os.statvfs(folder)
    if about.f_bavail * about.f_frsize < SIZE + MARGIN:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    spend(folder)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, SIZE)
    except OSError:
        spend(folder)
        raise
    finally:
        os.close(descriptor)


def spend(folder: Path) -> None:
    """Give the reserve up."""
    with contextlib.suppress(OSError):
        (folder / RESERVE).unlink()
