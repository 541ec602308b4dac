"""The session's file as a child finds it: whose it is, who may read it, whether it is sound, whom it is of.

Nothing here writes to the database. What SQLite or the library can mend (an interrupted write, most of all)
is theirs to mend; only what is certainly no sound database is called damaged.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import stat
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from orchestrator.accounts.deadlines import BUSY_SECONDS, CHECK_SECONDS, LOCK_SECONDS
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.store import device, sessions
from orchestrator.system.os_errors import DISK_FULL, shortage, trouble

ROOM = 256 * 1024
"""Bytes that a connected account may need at once: SQLite's journal, the keys of some hundred contacts."""
_PROGRESS_STEPS = 10_000

# Findings of quick_check that are about what is written, not about how it is stored.
_HARMLESS = re.compile(r"(NULL value|\w+ value|non-\w+ value|CHECK constraint failed) in\b")
_DAMAGES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_MACHINES = {sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}
_MENDABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
"""What opening a database read-only says if a write to it was interrupted: the rest needs to be undone."""


class SessionUnusable(Exception):  # noqa: N818 - it is how a run ends, and named for what it says
    """The run cannot begin; it ends with this outcome."""

    def __init__(self, kind: Kind, text: str) -> None:
        super().__init__(text)
        self.outcome = Outcome(kind, text)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a session's file holds.

    Attributes:
        paired: Whether it is of a linked device.
        phone: Digits of the number, None if it is not linked or the number cannot be told.
    """

    paired: bool
    phone: str | None = field(default=None, repr=False)


def hold(lock: Path, *, seconds: float = LOCK_SECONDS) -> int:
    """Make the session ours for as long as this process lives; return the lock's descriptor.

    Args:
        lock: The file to lock; it is made if need be.
        seconds: How long to wait for another process to let go of it.

    Raises:
        SessionUnusable: Another process holds it, or it cannot be made.
    """
    try:
        return sessions.lock(lock, patience=seconds)
    except BlockingIOError as error:
        # The other process may be gone the next time, so this is worth some tries.
        raise SessionUnusable(Kind.CRASH, f"the session is {error.strerror}: end it") from None
    except OSError as error:
        advice = f"{lock} cannot be locked ({trouble(error)}): choose another state folder"
        raise _unusable(error, lock, advice) from None


def prepare(database: Path) -> Stored:
    """Check the session's file and what lies beside it, and make them private.

    Raises:
        SessionUnusable: It is damaged, or cannot be used as things are.
    """
    folder = database.parent
    if folder.is_symlink():
        raise SessionUnusable(Kind.CONFIG, f"the folder {folder} is a symbolic link: remove it")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        advice = f"the folder {folder} cannot be written: check its owner and its mode"
        raise _unusable(_why_not_writable(folder), database, advice)
    exists = make_private(database)
    stored = _inspect(database) if exists[0] else Stored(paired=False)
    if stored.paired and not has_room(folder):
        # Messages that come in could not be stored, nor asked for again; WhatsApp keeps them until then.
        raise SessionUnusable(Kind.MACHINE, DISK_FULL)
    return stored


def make_private(database: Path) -> list[bool]:
    """Close a session's files to others; return of each, the database first, whether it is there.

    Raises:
        SessionUnusable: One is no file, or cannot be closed.
    """
    return [_make_private(file) for file in sessions.files(database)]


def has_room(folder: Path) -> bool:
    """Tell whether there is room on the disk for what a session stores in a moment."""
    about = os.statvfs(folder)
    return about.f_bavail * about.f_frsize >= ROOM


def _unusable(error: OSError, path: Path, advice: str) -> SessionUnusable:
    """Tell the machine's trouble, which may pass by itself, from what the operator has to mend."""
    if isinstance(error, FileNotFoundError):
        # A disk that is not mounted, most likely: nobody must link all accounts anew for that.
        gone = f"the folder {path.parent} is gone: restore it, or restart the service with an empty folder"
        return SessionUnusable(Kind.MACHINE, gone)
    lack = shortage(error)
    return SessionUnusable(Kind.CONFIG, advice) if lack is None else SessionUnusable(Kind.MACHINE, lack)


def _why_not_writable(folder: Path) -> OSError:
    try:
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError as error:
        return error
    number = errno.EROFS if read_only else errno.EACCES
    return OSError(number, os.strerror(number), str(folder))


def _make_private(path: Path) -> bool:
    """Take away what others may do with a file; return whether there is one."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise SessionUnusable(
                Kind.CONFIG, f"{path} is a symbolic link: replace it by the file that it points to"
            )
        if not stat.S_ISREG(mode):
            raise SessionUnusable(Kind.CONFIG, f"{path} is not a file: move it away")
        if mode & 0o777 != 0o600:
            path.chmod(0o600)
    except FileNotFoundError:
        return False
    except OSError as error:
        advice = f"{path} cannot be used ({error.strerror}): check its owner and its mode"
        raise _unusable(error, path, advice) from None
    return True


def _inspect(database: Path) -> Stored:
    try:
        return _read(database)
    except sqlite3.Error as error:
        # Only the last eight bits: the others say where it was noticed.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code in _DAMAGES:
            raise SessionUnusable(Kind.DAMAGED, f"the session file is damaged: {error}") from None
        if code in _BUSY:
            raise SessionUnusable(
                Kind.CONFIG, f"another program has locked the session file {database}: end that program"
            ) from None
        if code in _MACHINES:
            raise SessionUnusable(Kind.MACHINE, f"the session file cannot be read: {error}") from None
        advice = f"the session file {database} cannot be read: {error}"
        if code in _MENDABLE:
            why = _why_unreadable(database)
            if why is None:
                return Stored(paired=database.stat().st_size > 0)
            raise _unusable(why, database, advice) from None
        raise SessionUnusable(Kind.CONFIG, advice) from None


def _read(database: Path) -> Stored:
    deadline = time.monotonic() + CHECK_SECONDS
    address = f"file:{quote(str(database))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.text_factory = lambda data: data.decode(errors="replace")
        row = device.first_row(connection)
        stored = Stored(paired=bool(row), phone=device.number_of(row.get("jid")) if row else None)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
        try:
            _check(connection)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
        return stored


def _check(connection: sqlite3.Connection) -> None:
    for (finding,) in connection.execute("PRAGMA quick_check(20)"):
        if finding != "ok" and not _HARMLESS.match(finding):
            # SQLite's words are about pages and cells, never about what is in them.
            text = " ".join(str(finding).split())[:200]
            raise SessionUnusable(Kind.DAMAGED, f"the session file is damaged: {text}")


def _why_unreadable(database: Path) -> OSError | None:
    try:
        with database.open("rb") as file:
            file.read(1)
    except OSError as error:
        return error
    return None
