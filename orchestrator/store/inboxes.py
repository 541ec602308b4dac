"""The folders of the accounts' messages: how they move, and what stays behind of them.

An account's process keeps an inbox in its folder ``messages/NAME``, with attachments beside it, and an outbox
with the files that wait to be sent. Events are known by the account's name and their number in the inbox, and
so are rows of the outbox: no number may come again under the same name. Where an inbox and an outbox go, the
folder stays with a file ``begin``, which says how far both have counted. The next ones go on from there. If
the account was renamed, a file ``renamed`` says which name it has now. Once another account has got the
folder, that file has a second line, which says so.

What lies in the folder was written by a process that parses what strangers send: nothing here follows a link.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from orchestrator.accounts.names import NAME_PATTERN, is_name
from orchestrator.store import counted, device
from orchestrator.store.layout import BEGIN, INBOX, OUTBOX, OUTGOING, RESERVE
from orchestrator.system import sqlite_files
from orchestrator.system.files import (
    is_temporary,
    open_file,
    open_folder,
    read_file,
    remove,
    remove_folder,
    replacing,
    sync,
    sync_folder,
    temporary_name,
)
from orchestrator.system.sqlite_files import SIDES

RENAMED: Final = "renamed"
"""The name of the file that says which name an account has now whose inbox was here."""
MEDIA: Final = "media"
"""The name of the folder of attachments."""
_MARKS: Final = (BEGIN, RENAMED)
_COUNTED: Final = {INBOX: "entries", OUTBOX: "rows"}
"""The databases of a folder of messages, each with the table whose rows are numbered."""
_USED: Final = {INBOX: ("entries", "seen"), OUTBOX: ("rows",)}
"""The tables of each that are empty as long as it was not used."""
_FOLDERS: Final = (MEDIA, OUTGOING)
_UNUSED: Final = (*(name + side for name in _COUNTED for side in ("", *SIDES)), *_FOLDERS, RESERVE)
_TAKEN: Final = "taken"
"""The second line of `RENAMED`, if another account has got the folder since."""
_NOTE: Final = re.compile(rf"({NAME_PATTERN})\n?({_TAKEN}\n)?")
_DAMAGED: Final = re.compile(r"damaged-(?:outbox-)?[0-9]+(?:-[0-9]+)?\.sqlite3")
_LARGEST_UNUSED: Final = 1 << 20
"""Bytes of an inbox that may have been made and not used; an empty one has 64 kB."""
_LONGEST_VALUE: Final = 1 << 20
"""Bytes of a value that is read here: numbers, and how the tables were made."""
_COUNTS: Final = "CREATE TABLE sqlite_sequence(name,seq)"
"""How SQLite makes the table of the highest numbers."""
_READ_SECONDS: Final = 2.0
_PROGRESS_STEPS: Final = 1000


def holds(folder: Path) -> bool:
    """Tell whether a folder of messages has more than what an earlier inbox has left behind.

    An account's process makes its inbox and its outbox before the first message comes or goes. Those that had
    none are nothing. A row that waits to be sent is something, and so is one that was sent.
    """
    return _has_more(folder) and not _is_unused(folder)


def is_put_away(folder: Path) -> bool:
    """Tell whether the messages that were in a folder are in quarantine, or deleted.

    They are not while somebody moves them, nor where there never were any, nor after a rename.
    """
    return _names(folder) == [BEGIN]


def are_elsewhere(folder: Path) -> bool:
    """Tell whether the messages that were in a folder are neither there nor put away.

    Somebody moves them, or they have another name. So it is where there never were any.
    """
    names = _names(folder)
    return INBOX not in names and names != [BEGIN]


def _has_more(folder: Path) -> bool:
    return any(name not in _MARKS and not _is_mark(name) for name in _names(folder))


def _is_unused(folder: Path) -> bool:
    """Tell whether there are but databases that were never used; the files are read as copies."""
    if not {name for name in _names(folder) if not _is_mark(name)} <= {*_MARKS, *_UNUSED}:
        return False
    try:
        if any(_names(folder / name) or (folder / name).is_symlink() for name in _FOLDERS):
            return False
        number = counted.begin(folder)
        return all(_is_empty(folder, name, number) for name in _COUNTED)
    except (OSError, sqlite3.Error, ValueError, TypeError, MemoryError):
        return False


def _is_empty(folder: Path, name: str, number: int) -> bool:
    """Tell whether a database is missing, or has no row, remembers none, and has given no number beyond one.

    Raises:
        OSError, ValueError, sqlite3.Error: It cannot be read.
    """
    descriptor = open_folder(folder)
    try:
        beside = [side for side in SIDES if os.path.lexists(f"/proc/self/fd/{descriptor}/{name}{side}")]
        if "-journal" in beside:
            raise ValueError("not as a database of ours is")
        try:
            data = read_file(name, _LARGEST_UNUSED + 1, dir_fd=descriptor)
        except FileNotFoundError:
            return not beside
        if len(data) > _LARGEST_UNUSED:
            raise ValueError("too large to be unused")
        image = device.image(data, descriptor, name)
    finally:
        os.close(descriptor)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(image)
        with device.careful(connection, time.monotonic() + _READ_SECONDS):
            return not _has_rows(connection, _USED[name]) and _highest(connection, _COUNTED[name]) <= number


def _has_rows(connection: sqlite3.Connection, tables: tuple[str, ...]) -> bool:
    for table in tables:
        # No virtual table, whose code would run.
        kind = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? AND sql LIKE 'CREATE TABLE %'"
        if not connection.execute(kind, (table,)).fetchone():
            return True
        if connection.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():
            return True
    return False


def _highest(connection: sqlite3.Connection, table: str) -> int:
    """Return the highest number that rows of a table were given.

    Raises:
        ValueError, sqlite3.Error: It cannot be read.
    """
    for kind, name, made in connection.execute("SELECT type, name, sql FROM sqlite_master"):
        # A virtual table runs the code of its module on what is in the file.
        plain = kind == "index" or (kind == "table" and str(made).startswith("CREATE TABLE "))
        if not plain or (name == "sqlite_sequence" and made != _COUNTS):
            raise ValueError("not as a database of ours is")
    row = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    number = row[0] if row[0] is not None else 0
    if type(number) is not int or not 0 <= number <= counted.MOST:
        raise ValueError("not a number of a row")
    return number


def drop_unused(folder: Path) -> None:
    """Remove databases that were never used, and the folder if nothing is left; never raises.

    No process may use them.
    """
    if not _has_more(folder) or holds(folder):
        return
    with contextlib.suppress(OSError):
        _drop(folder)
        folder.rmdir()


def _drop(folder: Path) -> None:
    for name in _names(folder):
        if name in _FOLDERS:
            (folder / name).rmdir()
        elif name in _UNUSED:
            (folder / name).unlink(missing_ok=True)


def names(messages: Path) -> list[str]:
    """Return the names of the accounts that have an inbox, used or not, in alphabetical order.

    Args:
        messages: The folder of all messages; it may be missing.
    """
    return [name for name in _names(messages) if is_name(name) and _has_more(messages / name)]


def put_aside(folder: Path) -> list[Path]:
    """Return the databases in a folder that were put aside because they are damaged."""
    return [folder / name for name in _names(folder) if _DAMAGED.fullmatch(name)]


def renamed(folder: Path) -> str | None:
    """Return the name that an account has now whose inbox was in a folder.

    It is None if that is not known, or if another account has got the folder since: see `take_up`.
    """
    match = _note(folder)
    return match[1] if match and not match[2] else None


def was_renamed(folder: Path) -> str | None:
    """Return the name that an account got whose inbox was in a folder, whoever has the folder now."""
    match = _note(folder)
    return match and match[1]


def take_up(folder: Path) -> None:
    """Note that an account of its own has a folder which another one has left behind; it never raises.

    Without that, whatever follows names would take the one for the other once the new account is gone, too.
    """
    new_name = renamed(folder)
    if new_name is not None:
        with contextlib.suppress(OSError), replacing(folder / RENAMED) as file:
            file.write(f"{new_name}\n{_TAKEN}\n".encode())
            sync(file)


def _note(folder: Path) -> re.Match[str] | None:
    try:
        return _NOTE.fullmatch(_read(folder, RENAMED).decode("ascii", "replace"))
    except OSError:
        return None


def settle(folder: Path) -> int:
    """Take the logs of an inbox and an outbox into their databases, so that deleted texts are in neither.

    No process may use them.

    Returns:
        The number after which those go on that come after these. Of a database that cannot be read, this is a
        number that is certainly high enough.
    """
    number = counted.begin(folder)
    for name, table in _COUNTED.items():
        if os.path.lexists(folder / name):
            try:
                number = max(number, _settle(folder, name, table))
            except (OSError, sqlite3.Error, ValueError, TypeError, MemoryError):
                number = max(number, counted.beyond(folder, time.time()))
    return number


def _settle(folder: Path, name: str, table: str) -> int:
    """Take a log into its database, and return the highest number that its rows were given.

    SQLite opens only what is a regular file with one name, and never undoes writes by a journal.

    Raises:
        OSError, ValueError, sqlite3.Error: The database cannot be opened or read.
    """
    descriptor = open_folder(folder)
    try:
        sqlite_files.check(descriptor, name)
        place = f"file:/proc/self/fd/{descriptor}/{name}?mode=rw"
        try:
            # Exclusive: without it, SQLite would map a file into memory that the account's process has made.
            return _take_log(place, table, "EXCLUSIVE", 0.0)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return _take_log(
                place, table, "NORMAL", _READ_SECONDS
            )  # a command shows the messages at this moment
    finally:
        os.close(descriptor)


def _take_log(place: str, table: str, locking: str, patience: float) -> int:
    deadline = time.monotonic() + _READ_SECONDS
    with closing(sqlite3.connect(place, uri=True, timeout=patience, isolation_level=None)) as connection:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
        connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
        for pragma in (f"locking_mode = {locking}", "trusted_schema = OFF", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        number = _highest(connection, table)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return number


def leave(folder: Path, number: int, new_name: str | None = None) -> None:
    """Have a folder say how far its inboxes have counted; an inbox in there is not touched.

    Args:
        folder: The folder of an account's messages; made if it is missing.
        number: The number; a smaller one than before changes nothing. For 0, no folder is made.
        new_name: The name that the account has now whose inbox was here, if it was renamed.

    Raises:
        OSError: It cannot be written.
    """
    if not number and not os.path.lexists(folder):
        return
    refuse_link(folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in filter(_is_mark, _names(folder)):  # of somebody who was killed
        remove(folder / name)
    if new_name is None or (folder / RENAMED).is_dir():
        remove(folder / RENAMED)
    if new_name is not None:
        with replacing(folder / RENAMED) as file:
            file.write(f"{new_name}\n".encode())
            sync(file)
    counted.write(folder, number)  # last: for others, the messages were put away by now, or have a new name
    sync_folder(folder)


def clear(folder: Path) -> None:
    """Remove a folder that has nothing but what an earlier inbox has left behind, for another to come there.

    No process may use the folder.

    Raises:
        OSError: It cannot be removed, or has something else in it.
    """
    refuse_link(folder)
    if holds(folder):
        raise OSError(errno.ENOTEMPTY, "has messages", str(folder))
    _drop(folder)
    for name in _names(folder):
        remove(folder / name)
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()


def take_out(folder: Path, target: Path) -> None:
    """Move an account's messages away whole, and leave behind how far the inbox has counted.

    No process may use the inbox. Whoever is killed in the middle leaves the messages in one of the two
    places, and the number is never lost.

    Args:
        folder: The folder of the account's messages.
        target: Where they go. What is there already is moved aside, in the same folder.

    Raises:
        OSError: They cannot be moved; all of them are where they were.
    """
    refuse_link(folder.parent)
    refuse_link(folder)
    number = settle(folder)
    # Written first into the folder that goes: a crash before the end leads back, and forward from there.
    counted.write(folder, number)
    if os.path.lexists(target):
        target.rename(target.with_name(temporary_name(target.name)))
    move(folder, target)
    try:
        leave(folder, number)
        sync_folder(folder.parent)
    except OSError:
        with contextlib.suppress(OSError):
            put_in(target, folder)
        raise


def put_in(source: Path, folder: Path) -> None:
    """Move messages to the place of an account's messages, where no inbox is.

    The next entry gets a number beyond all that were given under the account's name.

    Raises:
        OSError: They cannot be moved, or something else is there; all of them are where they were.
    """
    refuse_link(folder.parent)
    number = counted.begin(folder)
    counted.write(source, number)
    remove(source / RENAMED)
    clear(folder)
    try:
        move(source, folder)
    except OSError:
        with contextlib.suppress(OSError):
            leave(folder, number)
        raise
    sync_folder(folder.parent)


def move(source: Path, target: Path) -> None:
    """Move a folder of messages, whole or not at all: by one rename, or to another disk by copies.

    Args:
        source: The folder.
        target: Where it goes: nothing is there, or an empty folder.

    Raises:
        OSError: It cannot be moved; all of it is where it was.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        half = target.with_name(temporary_name(target.name))
        try:
            _copy(source, half)
            sync_folder(half)
            half.rename(target)
        except BaseException:
            with contextlib.suppress(OSError):
                remove_folder(half)
            raise
        sync_folder(target.parent)
        gone = source.with_name(temporary_name(source.name))
        source.rename(gone)
        with contextlib.suppress(OSError):  # `tidy` tries again
            remove_folder(gone)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder for this user alone, and see that it is on the disk. Links are copied as links.

    Raises:
        OSError: Something cannot be copied, or is neither a file, a folder nor a link.
    """
    target.mkdir(0o700)
    left = [(source, target)]
    while left:
        one, other = left.pop()
        for name in _names(one):
            mode = (one / name).lstat().st_mode
            if stat.S_ISDIR(mode):
                (other / name).mkdir(0o700)
                left.append((one / name, other / name))
            elif stat.S_ISLNK(mode):
                (other / name).symlink_to((one / name).readlink())
            else:
                _copy_file(one / name, other / name)
        sync_folder(other)


def _copy_file(source: Path, target: Path) -> None:
    with (
        os.fdopen(open_file(source), "rb") as original,
        os.fdopen(open_file(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy,
    ):
        shutil.copyfileobj(original, copy, 1024 * 1024)
        about = os.fstat(original.fileno())
        os.utime(copy.fileno(), ns=(about.st_atime_ns, about.st_mtime_ns))
        sync(copy)


def tidy(messages: Path) -> None:
    """Remove halves of folders that whoever moved them left when it was killed; never raises.

    Args:
        messages: The folder of all messages; it may be missing.
    """
    for name in _names(messages):
        if is_temporary(name):
            with contextlib.suppress(OSError):
                remove_folder(messages / name)


def refuse_link(folder: Path) -> None:
    """See that a folder is none that leads elsewhere.

    Raises:
        OSError: It is a symbolic link, or no folder.
    """
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "is a symbolic link, a folder is needed: remove it", str(folder))
    if os.path.lexists(folder) and not folder.is_dir():
        raise OSError(errno.ENOTDIR, "is not a folder: move it away", str(folder))


def _is_mark(name: str) -> bool:
    """Tell whether a name is the unfinished form of what is left behind."""
    return is_temporary(name) and name.startswith(tuple(f".{mark}." for mark in _MARKS))


def _names(folder: Path) -> list[str]:
    """Return the names in a folder, which may be missing, a link or no folder: then there are none."""
    try:
        descriptor = open_folder(folder)
    except OSError:
        return []
    try:
        return sorted(os.listdir(descriptor))  # noqa: PTH208 - of a descriptor
    except OSError:
        return []
    finally:
        os.close(descriptor)


def _read(folder: Path, name: str) -> bytes:
    descriptor = open_folder(folder)
    try:
        return read_file(name, 100, dir_fd=descriptor)
    finally:
        os.close(descriptor)
