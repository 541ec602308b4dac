"""The files of an SQLite database that another process has written, looked at before SQLite opens them."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import Final

SIDES: Final = ("-wal", "-shm", "-journal")
"""What the names of the files that SQLite keeps beside a database end with."""
LARGEST_LOG: Final = 256 << 20
"""Bytes of a write-ahead log that is taken into its database. Inboxes and outboxes have some megabytes."""


def check(folder: int, name: str) -> None:
    """See that SQLite would open only files of the folder, and undo no writes.

    A journal makes SQLite undo writes, and can name further files. Databases of ours have a write-ahead log
    instead.

    Args:
        folder: The open folder.
        name: The database's name; it may be missing.

    Raises:
        OSError: A file is a link, has a second name, or is no file.
        ValueError: There is a journal, or a log that is too large.
    """
    for one in (name, *(name + side for side in SIDES)):
        with contextlib.suppress(FileNotFoundError):
            about = os.stat(one, dir_fd=folder, follow_symlinks=False)
            if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
                raise OSError(errno.EINVAL, "is not a file of its own", one)
            if one.endswith("-journal") or (one.endswith("-wal") and about.st_size > LARGEST_LOG):
                raise ValueError("not as a database of ours is")
