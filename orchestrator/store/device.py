"""Which device of which phone a session's file is linked as, told by marks that hold no secret.

Nothing here writes, and nothing raises: a file that cannot be read is told by those who need to read it.

The file was written by a process that parses what strangers send, so it may hold anything, and so may its
folder. SQLite never gets to open the file there: SQLite would follow links, wait for a pipe in the place of
a log, and undo writes as a journal tells it to. A copy in memory is read instead, with limits on its size and
on the time, and without anything that the copy's schema could have run.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.accounts import phones
from orchestrator.system.files import open_file, open_folder

MAX_SIZE = 64 << 20
"""Bytes of a session that are read, and of its log; real sessions have some hundred kilobytes."""
_READ_SECONDS = 2.0
_PROGRESS_STEPS = 1000
_MAX_VALUE = 1 << 16
"""Bytes of one value; those of a device have less than a thousand."""
_ADDRESS = re.compile(rf"({phones.DIGITS})(?:[.:][0-9]+)*@s\.whatsapp\.net")
_MAX_COLUMNS = 200
"""Columns of a table; those of a device are about twenty. A row has so many values at most."""
_HIDDEN = 6
"""Which column of what SQLite says of a column tells whether the column is computed."""
_KEYS = ("noise_key", "identity_key")
_HEADER = 100
_WAL_HEADER = 32
_FRAME_HEADER = 24


@dataclass(frozen=True, slots=True)
class Device:
    """What can be told of a session's file.

    Attributes:
        linked: Whether it is of a linked device; None if that cannot be told, False also if there is none.
        marks: Words without a secret. Two files with a mark in common are of one device.
        number: Digits of the number it is linked to; None if it is not, or that cannot be told.
    """

    linked: bool | None
    marks: frozenset[str] = field(default_factory=frozenset)
    number: str | None = field(default=None, repr=False)


def first_row(connection: sqlite3.Connection) -> dict[str, object] | None:
    """Return the row of the device that the library uses, which is the first as they lie there.

    Raises:
        sqlite3.Error: The database cannot be read.
    """
    found = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'whatsmeow_device'"
        # No virtual table, whose code would run.
        " AND sql LIKE 'CREATE TABLE %'"
    ).fetchone()[0]
    if not found:
        return None
    # Nothing that is computed: one call of a function may take minutes, and nothing interrupts it.
    if any(column[_HIDDEN] for column in connection.execute("PRAGMA table_xinfo(whatsmeow_device)")):
        raise sqlite3.DataError("the table of the device has columns that are computed")
    cursor = connection.execute("SELECT * FROM whatsmeow_device ORDER BY rowid LIMIT 1")
    row = cursor.fetchone()
    return row and dict(zip((column[0] for column in cursor.description), row, strict=True))


def number_of(address: object) -> str | None:
    """Return the digits of a device's address, None if it is not one."""
    match = _ADDRESS.fullmatch(str(address))
    return match[1] if match else None


def look(database: Path) -> Device:
    """Tell whom a session's file is of. No link is followed, neither of the file nor of its folder."""
    try:
        folder = open_folder(database.parent)
    except FileNotFoundError:
        return Device(linked=False)
    except OSError:
        return Device(linked=None)
    try:
        return _look(folder, database.name)
    except FileNotFoundError:
        return Device(linked=False)
    except OSError:
        return Device(linked=None)
    finally:
        os.close(folder)


def _look(folder: int, name: str) -> Device:
    """Tell whom a file in an open folder is of.

    Raises:
        OSError: The file cannot be opened.
    """
    with os.fdopen(open_file(name, dir_fd=folder), "rb") as file:
        about = os.fstat(file.fileno())
        # Of two names of one file, the second would write into what the first one uses, linked or not.
        mark = f"file {about.st_dev}:{about.st_ino}"
        unknown = Device(None, frozenset([mark]))
        try:
            row = _row(image(file.read(MAX_SIZE + 1), folder, name))
            if row is None:
                # A journal of an interrupted write may hold the row that the file has lost.
                return unknown if _is_there(folder, f"{name}-journal") else Device(False, frozenset([mark]))
            jid = row.get("jid")
            number = number_of(jid.decode(errors="replace")) if isinstance(jid, bytes) else None
            return Device(True, frozenset([mark, _mark(row)]), number)
        except Exception:  # noqa: BLE001 - whatever the file makes SQLite or Python say, it means just this
            return unknown


def image(data: bytes, folder: int, name: str) -> bytes:
    """Return a database as a reader finds it: with what its log holds of it, and without a log.

    Args:
        data: What is in its file.
        folder: The open folder of the file.
        name: The file's name.

    Raises:
        OSError: The log cannot be read.
        ValueError: There is more than `MAX_SIZE`.
    """
    if len(data) > MAX_SIZE:
        raise ValueError("too large")
    if len(data) < _HEADER or data[18:20] != b"\x02\x02":
        return data
    found = bytearray(data)
    with contextlib.suppress(FileNotFoundError):
        with os.fdopen(open_file(f"{name}-wal", dir_fd=folder), "rb") as file:
            log = file.read(MAX_SIZE + 1)
        if len(log) > MAX_SIZE:
            raise ValueError("too large")
        _apply(log, found)
    # SQLite opens a database in memory only if the database says that it has no log.
    found[18:20] = b"\x01\x01"
    return bytes(found)


def _apply(log: bytes, image: bytearray) -> None:
    """Write the pages of a log's whole transactions into a database; SQLite's file format describes both."""
    size = int.from_bytes(log[8:12], "big")
    if len(log) < _WAL_HEADER or size < 512 or size > 65536:
        return
    salts = log[16:24]
    pages: dict[int, int] = {}
    done: dict[int, int] = {}
    count = 0
    for at in range(_WAL_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
        if log[at + 8 : at + 16] != salts:
            break  # of an earlier log in the same file
        pages[int.from_bytes(log[at : at + 4], "big")] = at + _FRAME_HEADER
        commit = int.from_bytes(log[at + 4 : at + 8], "big")
        if commit:
            done, count = {**done, **pages}, commit
            pages = {}
    if not count or count * size > MAX_SIZE:
        return
    image.extend(bytes(max(0, count * size - len(image))))
    for number, at in done.items():
        if 0 < number <= count:
            image[(number - 1) * size : number * size] = log[at : at + size]


def _row(image: bytes) -> dict[str, object] | None:
    with closing(sqlite3.connect(":memory:")) as connection:
        if image:
            connection.deserialize(image)
        connection.text_factory = bytes
        with careful(connection, time.monotonic() + _READ_SECONDS):
            return first_row(connection)


@contextmanager
def careful(connection: sqlite3.Connection, deadline: float) -> Iterator[None]:
    """Read a database that somebody else has written: nothing is changed, and all has an end.

    Args:
        connection: The open database.
        deadline: When to give up, by the monotonic clock; SQLite then says that it was interrupted.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
    connection.setlimit(sqlite3.SQLITE_LIMIT_COLUMN, _MAX_COLUMNS)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
    try:
        for pragma in ("query_only = ON", "trusted_schema = OFF", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
        yield
    finally:
        connection.set_progress_handler(None, 0)


def _is_there(folder: int, name: str) -> bool:
    """Tell whether there is more than an empty file."""
    with contextlib.suppress(FileNotFoundError):
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_size > 0
    return False


def _mark(row: dict[str, object]) -> str:
    """Return what tells devices apart; from a hash of 32 random bytes nobody gets back to them.

    Raises:
        ValueError: The row is of no device.
    """
    from hashlib import sha256  # children, which import this module too, do not need it

    parts = [value for key in ("jid", *_KEYS) if isinstance(value := row.get(key), bytes)]
    if len(parts) <= len(_KEYS):
        raise ValueError("no device")
    return f"device {sha256(b' '.join(part.hex().encode() for part in parts)).hexdigest()[:32]}"
