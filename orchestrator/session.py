"""Session files, the credentials of the accounts: lock, look at, put into quarantine, clear up.

A session is a SQLite database, and whatever SQLite keeps beside it is part of it. Nothing here writes into
one. It is touched as a whole or not at all, and only by rename where that is possible.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import sqlite3
import stat
import struct
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import quote

SIDES: Final = ("-wal", "-shm", "-journal")
"""What SQLite appends to the database's name for its other files."""
CHECK_SECONDS: Final = 5.0
"""Time for the integrity check. A session of a few MB takes some 10 ms; of one that takes longer nothing bad
is assumed."""

_QUARANTINED = re.compile(
    r"([a-z0-9][a-z0-9._-]{0,62})-([0-9]{8}T[0-9]{6}Z)-[a-z0-9_]+(?:-[0-9]+)?", re.ASCII
)
_SESSION_FILE = re.compile(rf"[a-z0-9][a-z0-9._-]{{0,62}}\.(?:sqlite3(?:{'|'.join(SIDES)})?|lock)")
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_LOCK_BYTES: Final = (0x40000000, 512)
"""Where SQLite's own locks are in the file, and how many: PENDING_BYTE to the end of SHARED_SIZE."""
_FLOCK: Final = "hhqqi"
"""`struct flock` of 64-bit Linux: type, whence, start, length, process."""
_ABOUT_VALUES = re.compile(r"\S+ value in |CHECK constraint failed in ")
"""What quick_check says of contents: those may be of another version, and SQLite reads them all right."""
_SIDES_DECIDE: Final = ("-wal", "-journal")
"""The side files without which the database may look damaged: what is committed, and what is half done."""

log = logging.getLogger(__name__)


def files(path: Path) -> list[Path]:
    """Return the paths of a session's files, the database first, whether they exist or not."""
    return [path, *(path.with_name(path.name + side) for side in SIDES)]


# Lock


def lock(path: Path) -> int:
    """Lock a lock file, making it if need be; it stays locked exactly as long as the descriptor is open.

    The descriptor is closed on exec. A process forked off shares it, and with it the lock.

    Args:
        path: The lock file, which is never removed; the holder's process id is written into it.

    Returns:
        The descriptor.

    Raises:
        BlockingIOError: Somebody holds the lock; ``strerror`` says who, if that is known.
        OSError: It cannot be made or opened, or is a symbolic link.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        descriptor = os.open(path, flags, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BlockingIOError(errno.EWOULDBLOCK, _holder(descriptor), str(path)) from None
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), path.lstat()):
                    break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody has put another file there since it was opened
    with contextlib.suppress(OSError):  # on a full disk: the lock holds, only its holder has no name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _holder(descriptor: int) -> str:
    try:
        process = int(os.pread(descriptor, 20, 0))
    except (OSError, ValueError):
        process = 0
    # A process id from another container, or of one that is gone, would lead astray.
    return f"in use by process {process}" if process and Path(f"/proc/{process}").exists() else "in use"


# Quarantine


def quarantine(path: Path, folder: Path, reason: str, now: float) -> Path | None:
    """Put a session away: move all its files into a new folder ``NAME-<UTC time>-<reason>``.

    The process that used it must have ended. The files are moved by rename, the database first: what may be
    left of a session after a power failure in the middle is nothing that SQLite takes for one. Only if the
    quarantine is on another file system are they copied, written through to the disk, and then removed.

    Args:
        path: The database, ``NAME.sqlite3``. Its lock ``NAME.lock`` is held meanwhile, and stays.
        folder: The quarantine; made if it is missing.
        reason: A word for the folder's name.
        now: Unix seconds.

    Returns:
        The new folder, or None if there was no session.

    Raises:
        BlockingIOError: A process uses the session.
        OSError: The files cannot be moved; all of them are where they were, or, if not even that was
            possible, those that are not are in the quarantine.
    """
    _refuse_link(path.parent)
    found = [file for file in files(path) if os.path.lexists(file)]
    if not found:
        return None
    held = lock(path.with_suffix(".lock"))
    try:
        _refuse_link(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = _new_folder(folder, path.stem, reason, now)
        try:
            _move(found, place)
        except BaseException:
            with contextlib.suppress(OSError):
                place.rmdir()  # fails if something is in it, as it should
            raise
        return place
    finally:
        os.close(held)


def _refuse_link(folder: Path) -> None:
    """See that a folder is none that leads elsewhere."""
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "is a symbolic link, a folder is needed: remove it", str(folder))


def _new_folder(folder: Path, name: str, reason: str, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime(_STAMP)
    word = re.sub("[^a-z0-9_]+", "_", reason.lower()) or "unknown"
    number = 1
    while True:
        place = folder / (f"{name}-{stamp}-{word}" + (f"-{number}" if number > 1 else ""))
        try:
            place.mkdir(0o700)
        except FileExistsError:
            number += 1
        else:
            return place


def _move(found: list[Path], place: Path) -> None:
    """Move files into a folder, all or none."""
    moved: list[Path] = []
    try:
        for file in found:
            with contextlib.suppress(FileNotFoundError):  # SQLite's side files come and go
                file.rename(place / file.name)
                moved.append(file)
    except OSError as error:
        for file in reversed(moved):
            with contextlib.suppress(OSError):
                (place / file.name).rename(file)
        if error.errno != errno.EXDEV:
            raise
        _move_across(found, place)


def _move_across(found: list[Path], place: Path) -> None:
    """Move files into a folder on another file system: nothing is removed before everything is safe there."""
    copies: list[Path] = []
    try:
        for file in found:
            copies.append(place / file.name)
            _copy(file, copies[-1])
        _sync(place)
        _sync(place.parent)
    except BaseException:
        for copy in copies:
            with contextlib.suppress(OSError):
                copy.unlink()
        raise
    for file in found:
        file.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy a file for this user alone, and see that it is on the disk."""
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(reading, "rb") as original:
        if not stat.S_ISREG(os.fstat(reading).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(source))
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(writing, "wb") as copy:
            shutil.copyfileobj(original, copy, 1024 * 1024)
            copy.flush()
            os.fsync(writing)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prune(folder: Path, days: float, now: float) -> list[str]:
    """Remove what has been in quarantine for longer than that; never raises.

    Only folders with names that `quarantine` gives are looked at, the time in the name decides, and only
    session files in them are removed: a folder that holds anything else stays, with that in it. Symbolic
    links are not followed.

    Args:
        folder: The quarantine; it may be missing.
        days: How long sessions are kept.
        now: Unix seconds.

    Returns:
        The names of the folders that are gone.
    """
    removed = []
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        for entry in sorted(os.listdir(descriptor)):  # noqa: PTH208 - of a descriptor
            match = _QUARANTINED.fullmatch(entry)
            if match and _age(match[2], now) > days * 86_400:
                try:
                    _remove(descriptor, entry, match[1])
                except OSError as error:
                    log.warning("%s: could not be removed: %s", folder / entry, error.strerror)
                else:
                    removed.append(entry)
    except OSError as error:
        log.warning("%s: could not be read: %s", folder, error.strerror)
    finally:
        os.close(descriptor)
    return removed


def _age(stamp: str, now: float) -> float:
    try:
        return now - datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("-inf")


def _remove(folder: int, entry: str, name: str) -> None:
    place = os.open(entry, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    try:
        for file in files(Path(f"{name}.sqlite3")):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file.name, dir_fd=place)
    finally:
        os.close(place)
    os.rmdir(entry, dir_fd=folder)


# Look


class Condition(StrEnum):
    """What a session file is worth."""

    ABSENT = "absent"
    """There is none."""
    EMPTY = "empty"
    """It has no bytes; the library makes a database of it."""
    UNPAIRED = "unpaired"
    """A database without a device: it was logged out, or has never been linked."""
    PAIRED = "paired"
    """A database with the credentials of a linked device."""
    DAMAGED = "damaged"
    """No database, or one that SQLite finds errors in: there is no use in it any more."""
    BUSY = "busy"
    """Another process writes to it, so nothing can be said; it passes."""
    UNREADABLE = "unreadable"
    """It could not be looked at, for want of permission or of room: nothing can be said."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What `check` has found.

    Attributes:
        condition: What decides.
        detail: What SQLite or the system said of a damaged or unreadable one; nothing of what is in it.
        phone: Digits of the number it is paired with, if they can be told.
    """

    condition: Condition
    detail: str | None = None
    phone: str | None = field(default=None, repr=False)


def check(path: Path) -> Finding:
    """Look at a session without changing anything: neither the files nor what is beside them.

    Call it before this process opens the database in any other way: POSIX takes a process's locks on a file
    away as soon as it closes any descriptor of it.

    Args:
        path: The database.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return Finding(Condition.ABSENT)
    except OSError as error:
        return Finding(Condition.UNREADABLE, error.strerror)
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return Finding(Condition.UNREADABLE, "is not a file")
        if before.st_size == 0:
            return Finding(Condition.EMPTY)
        if _is_written(descriptor):
            return Finding(Condition.BUSY)
        finding = _examine(path)
        after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or _is_written(
            descriptor
        ):
            return Finding(Condition.BUSY)
        return finding
    except OSError as error:
        return Finding(Condition.UNREADABLE, error.strerror)
    finally:
        os.close(descriptor)


def _is_written(descriptor: int) -> bool:
    """Tell whether SQLite in any process may be writing to the database, by the locks it holds.

    With a rollback journal a writer has a write lock, and readers do no harm. With a write-ahead log every
    connection has a read lock on the database, and who writes shows elsewhere.
    """
    uses_wal = os.pread(descriptor, 1, 18) == b"\x02"  # the header's "file format write version"
    kind = fcntl.F_WRLCK if uses_wal else fcntl.F_RDLCK
    start, length = _LOCK_BYTES
    asked = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    try:
        answer = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked)
    except OSError:
        return False  # a file system without locks
    return bool(struct.unpack(_FLOCK, answer)[0] != fcntl.F_UNLCK)


def _examine(path: Path) -> Finding:
    try:
        with contextlib.ExitStack() as stack:
            if any(_has_content(path.with_name(path.name + side)) for side in _SIDES_DECIDE):
                # SQLite cannot take them into account without writing: it works on a copy.
                uri = f"file:{quote(str(stack.enter_context(_copied(path))))}"
            else:
                # Nothing to be recovered and nobody there: no locks, no other files, just reading.
                uri = f"file:{quote(str(path))}?mode=ro&immutable=1"
            database = stack.enter_context(contextlib.closing(sqlite3.connect(uri, uri=True)))
            database.text_factory = lambda data: data.decode(errors="replace")
            flaw = _flaw(database)
            return _device(database) if flaw is None else Finding(Condition.DAMAGED, flaw)
    except sqlite3.Error as error:
        match _primary(error):
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return Finding(Condition.DAMAGED, str(error))
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return Finding(Condition.BUSY)
            case _:
                return Finding(Condition.UNREADABLE, str(error))


def _flaw(database: sqlite3.Connection) -> str | None:
    """Return what is wrong with a database's structure, None if nothing is."""
    deadline = time.monotonic() + CHECK_SECONDS
    database.set_progress_handler(lambda: time.monotonic() > deadline, 10_000)
    try:
        for (text,) in database.execute("PRAGMA quick_check(20)"):
            if text != "ok" and not _ABOUT_VALUES.match(text):
                return " ".join(str(text).split())[:200]
    except sqlite3.Error as error:
        if _primary(error) != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        database.set_progress_handler(None, 0)
    return None


def _device(database: sqlite3.Connection) -> Finding:
    table = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'whatsmeow_device'"
    if database.execute(table).fetchone() is None:
        return Finding(Condition.UNPAIRED)
    # The library, too, takes the first row as they lie there.
    row = database.execute("SELECT jid FROM whatsmeow_device ORDER BY rowid").fetchone()
    if row is None:
        return Finding(Condition.UNPAIRED)
    number = re.match(r"([0-9]{5,20})(?:[.:][0-9]+)*@s\.whatsapp\.net\Z", str(row[0]))
    return Finding(Condition.PAIRED, phone=number[1] if number else None)


def _primary(error: sqlite3.Error) -> int:
    """Return SQLite's error code without its refinements."""
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _has_content(path: Path) -> bool:
    try:
        return path.lstat().st_size > 0
    except OSError:
        return False


@contextlib.contextmanager
def _copied(path: Path) -> Iterator[Path]:
    """Copy a database and what must be recovered into a private folder, in memory if possible."""
    memory = Path("/dev/shm")
    parent = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="orchestrator-check-", dir=parent) as folder:
        copy = Path(folder) / path.name
        for side in ("", *_SIDES_DECIDE):
            source = path.with_name(path.name + side)
            if _has_content(source):
                _copy(source, copy.with_name(source.name))
        yield copy


# Modes


def repair_modes(folder: Path) -> list[str]:
    """Close the folder of sessions and the files in it to everybody else: 0700 and 0600.

    Args:
        folder: The folder; it may be missing.

    Returns:
        What was repaired, a sentence each, for the log.

    Raises:
        OSError: A mode cannot be changed: the file is somebody else's, or the file system read-only.
    """
    repaired: list[str] = []
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return repaired
    try:
        _close_to_others(descriptor, folder, 0o700, repaired)
        for name in sorted(os.listdir(descriptor)):  # noqa: PTH208 - of a descriptor
            if not _SESSION_FILE.fullmatch(name):
                continue
            # By O_PATH a file can be opened that may not be read, and nothing else happens to it.
            with contextlib.suppress(FileNotFoundError):
                file = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
                try:
                    if stat.S_ISREG(os.fstat(file).st_mode):
                        _close_to_others(file, folder / name, 0o600, repaired)
                finally:
                    os.close(file)
    finally:
        os.close(descriptor)
    return repaired


def _close_to_others(descriptor: int, path: Path, mode: int, repaired: list[str]) -> None:
    before = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if before & 0o7077 or before & mode != mode:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101 - fchmod() does not take O_PATH
        repaired.append(f"{path}: its mode was {before:04o}, now it is {mode:04o}")
