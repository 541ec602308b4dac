"""Finds in a session which messages of the account have left, by what stands for their secrets.

Before the library sends a message, it writes down the secret of the message with the identifier that it has
chosen. So a message whose secret is not in the session was never sent, and one whose secret is there has that
identifier.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path
from typing import Final

from orchestrator.accounts import deadlines
from orchestrator.store import device
from orchestrator.system.files import open_folder, read_file

MAX_ID: Final = 128
"""Characters of a message's identifier."""
SECRET_BYTES: Final = 32
"""Bytes of a message's secret."""

_TRIES: Final = 5
_LOG_HEAD: Final = 32
"""Bytes of a log's head, in which a number changes whenever the log begins anew."""

_IS_TABLE = (
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'whatsmeow_message_secrets'"
    " AND sql LIKE 'CREATE TABLE %'"
)
_OWN = (
    "SELECT message_id, key FROM whatsmeow_message_secrets"
    " WHERE +our_jid = ? AND substr(sender_jid, 1, ?) = ? OR +our_jid = ? AND substr(sender_jid, 1, ?) = ?"
    " ORDER BY rowid DESC"
)
"""What the account itself has sent, the last first. The plus keeps SQLite from sorting what an index has."""


def find(
    connection: sqlite3.Connection, wanted: Collection[bytes], digest: Callable[[bytes], bytes]
) -> dict[bytes, str] | None:
    """Return the identifiers of those messages whose secrets are there.

    Args:
        connection: The open session, within `device.careful`.
        wanted: What stands for the secrets.
        digest: Returns what stands for a secret.

    Returns:
        Identifiers by what stands for the secrets. Of the others it is certain that they are not there. None
        if nothing is certain, because the session is of no linked device, or not as the library makes it.

    Raises:
        sqlite3.Error: The session cannot be read, or not in time: then nothing is certain, either.
    """
    row = device.first_row(connection)
    jid = _text((row or {}).get("jid"))
    if not jid or connection.execute(_IS_TABLE).fetchone()[0] != 1:
        return None
    users = [_user(one) for one in (jid, _text((row or {}).get("lid")) or jid)]
    arguments = [value for user in users for value in (jid, len(user), user)]
    missing, found = set(wanted), dict[bytes, str]()
    for id_, key in connection.execute(_OWN, arguments):
        if not missing:
            break
        if not isinstance(key, bytes) or len(key) != SECRET_BYTES or (sign := digest(key)) not in missing:
            continue
        name = _text(id_)
        if not is_id(name):
            return None  # it is there, and nobody can say what it is called
        missing.discard(sign)
        found[sign] = name
    return found


def look(
    database: Path, wanted: Collection[bytes], digest: Callable[[bytes], bytes]
) -> dict[bytes, str] | None:
    """Do what `find` does for a session that its process may be using; never raises.

    The session's file belongs to that process, which may hold anything in it: a copy in memory is read.

    Args:
        database: The session's file.
        wanted: What stands for the secrets.
        digest: Returns what stands for a secret.

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
                return find(connection, wanted, digest)
    except (OSError, ValueError, TypeError, MemoryError, sqlite3.Error):
        return None


def is_id(name: str) -> bool:
    """Tell whether a session's word for a message can be an identifier of WhatsApp's."""
    return 0 < len(name) <= MAX_ID and all("!" <= character <= "~" for character in name)


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


def _user(address: str) -> str:
    """Return an address up to the device: what the library writes of a sender may have one or not."""
    return address.partition("@")[0].partition(":")[0].partition(".")[0]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""
