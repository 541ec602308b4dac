"""Looks into an account's session for messages of which nobody knows whether they have left.

The session's file belongs to the account's process, which may hold anything in it: a copy in memory is read.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Collection
from contextlib import closing
from pathlib import Path
from typing import Final

from orchestrator.accounts import deadlines
from orchestrator.messages.loss import digest
from orchestrator.store import device, sent_secrets
from orchestrator.system.files import open_folder, read_file

_TRIES: Final = 5
_LOG_HEAD: Final = 32
"""Bytes of a log's head, in which a number changes whenever the log begins anew."""


def find(database: Path, wanted: Collection[bytes]) -> dict[bytes, str] | None:
    """Return the identifiers of those messages whose secrets are in a session.

    Args:
        database: The session's file.
        wanted: What stands for the secrets.

    Returns:
        Identifiers by what stands for the secrets. None if nothing is certain, also of those that are not
        there: the session cannot be read, or not in time.
    """
    try:
        folder = open_folder(database.parent)
        try:
            image = _image(folder, database.name)
        finally:
            os.close(folder)
        if image is None:
            return None
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(image)
            with device.careful(connection, time.monotonic() + deadlines.SECRETS_SECONDS):
                return sent_secrets.find(connection, wanted, digest)
    except (OSError, ValueError, TypeError, MemoryError, sqlite3.Error):
        return None


def _image(folder: int, name: str) -> bytes | None:
    """Return a session as it was at one moment, None if that is not to be had while its process writes.

    The file and its log are read one after the other. If the log began anew meanwhile, what it had may be in
    neither copy, and a message that has left would look as if it had not.
    """
    for _ in range(_TRIES):
        before = _generation(folder, name)
        data = read_file(name, device.MAX_SIZE + 1, dir_fd=folder)
        image = device.image(data, folder, name)
        if before is not None and before == _generation(folder, name):
            return image
    return None


def _generation(folder: int, name: str) -> tuple[object, ...] | None:
    """Return what changes when a log begins anew, or without a log with each write.

    It is None while a journal lies there, by which a write is undone.
    """
    with contextlib.suppress(FileNotFoundError):
        if os.stat(f"{name}-journal", dir_fd=folder, follow_symlinks=False).st_size:
            return None
    with contextlib.suppress(FileNotFoundError):
        if head := read_file(f"{name}-wal", _LOG_HEAD, dir_fd=folder):
            return (head,)
    about = os.stat(name, dir_fd=folder, follow_symlinks=False)
    return about.st_ino, about.st_size, about.st_mtime_ns
