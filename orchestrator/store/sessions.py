"""Sessions, the credentials of the accounts: where they are, their locks, and their modes.

Each account has a folder of its own, ``sessions/NAME``. The session in it is a SQLite database, and whatever
SQLite keeps beside the database is part of the session. Nothing here writes into a session.

What lies in an account's folder was written by a process that parses what strangers send. So nothing here
follows a link in there, or opens anything but a regular file.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator.accounts.names import NAME_PATTERN, is_name
from orchestrator.store.layout import DATABASE, LOCK, REALM
from orchestrator.system.files import open_folder
from orchestrator.system.locking import lock_file
from orchestrator.system.sqlite_files import SIDES

OLD_FILE: Final = re.compile(rf"({NAME_PATTERN})\.(?:sqlite3(?:{'|'.join(SIDES)})?|lock)")
"""The names that version 0.1 gave to the files of sessions, which lay in one folder without folders in it."""


def files(path: Path) -> list[Path]:
    """Return the paths of a session's files, the database first, whether they exist or not."""
    return [path, *(path.with_name(path.name + side) for side in SIDES)]


def find(folder: Path, name: str) -> Path:
    """Return where an account's database is: in its folder, or where version 0.1 has left it.

    Args:
        folder: The folder of the sessions.
        name: The account.
    """
    database = folder / name / DATABASE
    old = folder / f"{name}.sqlite3"
    return old if not os.path.lexists(database) and is_file(old) else database


def is_file(path: Path) -> bool:
    """Tell whether a regular file is in a place, and not a link to one."""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def names(folder: Path) -> list[str]:
    """Return the names of the accounts that have a session, in the folders of today or as 0.1 left them.

    Args:
        folder: The folder of the sessions; it may be missing.
    """
    found = set()
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if is_name(entry.name) and os.path.lexists(folder / entry.name / DATABASE):
                    found.add(entry.name)
            elif (match := OLD_FILE.fullmatch(entry.name)) and entry.name == f"{match[1]}.sqlite3":
                found.add(match[1])
    return sorted(found)


def has_files(home: Path) -> bool:
    """Tell whether an account's folder holds a session, or something of one."""
    return any(os.path.lexists(file) for file in files(home / DATABASE))


def kept(home: Path) -> list[Path]:
    """Return the paths of what is kept of a session, the database first, whether they exist or not."""
    return [*files(home / DATABASE), home / REALM]


def homes(sessions: Path) -> list[Path]:
    """Return the folders of the accounts, which need not hold a session, by their names.

    Args:
        sessions: The folder of sessions; it may be missing.
    """
    try:
        with os.scandir(sessions) as entries:
            found = [one.name for one in entries if is_name(one.name) and one.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [sessions / name for name in sorted(found)]


# Lock


def lock(path: Path, *, patience: float = 0.0) -> int:
    """Lock a session's lock file; `lock_file` says how, and which errors there are."""
    return lock_file(path, patience=patience)


@contextlib.contextmanager
def held(home: Path) -> Iterator[None]:
    """Hold the lock of an account's session, if the account has a folder.

    What is in the lock's place and is no file is no lock that anybody holds.

    Args:
        home: The account's folder.

    Raises:
        BlockingIOError: A process uses the session.
        OSError: The lock cannot be made.
    """
    path = home / LOCK
    try:
        descriptor = lock(path)
    except FileNotFoundError:
        descriptor = None
    except OSError:
        if not os.path.lexists(path) or is_file(path):
            raise
        descriptor = None
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


# Modes


def repair_modes(folder: Path) -> list[str]:
    """Close the folders of the sessions and the files in them to everybody else: 0700 and 0600.

    Args:
        folder: The folder of the sessions; it may be missing.

    Returns:
        What was repaired, a sentence each, for the log.

    Raises:
        OSError: A mode cannot be changed: the file is somebody else's, or the file system read-only.
    """
    repaired: list[str] = []
    try:
        descriptor = open_folder(folder)
    except FileNotFoundError:
        return repaired
    try:
        _close_to_others(descriptor, folder, 0o700, repaired)
        for name in sorted(os.listdir(descriptor)):  # noqa: PTH208 - of a descriptor
            if is_name(name):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    repair_modes_of(folder / name, repaired)
            if OLD_FILE.fullmatch(name):
                _close_file(descriptor, folder / name, repaired)
    finally:
        os.close(descriptor)
    return repaired


def open_to_others(folder: Path) -> list[Path]:
    """Return the files of sessions that others can get to by their modes.

    Args:
        folder: The folder of the sessions; it may be missing.
    """
    found = [file for home in homes(folder) for file in (*kept(home), home / LOCK)]
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found += sorted(folder / entry.name for entry in entries if OLD_FILE.fullmatch(entry.name))
    return [file for file in found if is_file(file) and file.lstat().st_mode & 0o077]


def repair_modes_of(home: Path, repaired: list[str]) -> None:
    """Close an account's folder to everybody else, and open it to this user; `repair_modes` does so for all.

    Args:
        home: The folder.
        repaired: Takes what was repaired.

    Raises:
        OSError: A mode cannot be changed, or there is no folder.
    """
    # By O_PATH a folder or file can be opened that may not be read, and nothing else happens to it.
    descriptor = os.open(home, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _close_to_others(descriptor, home, 0o700, repaired)
        for file in (*kept(home), home / LOCK):
            _close_file(descriptor, file, repaired)
    finally:
        os.close(descriptor)


def _close_file(folder: int, path: Path, repaired: list[str]) -> None:
    with contextlib.suppress(FileNotFoundError):
        file = os.open(path.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            if stat.S_ISREG(os.fstat(file).st_mode):
                _close_to_others(file, path, 0o600, repaired)
        finally:
            os.close(file)


def _close_to_others(descriptor: int, path: Path, mode: int, repaired: list[str]) -> None:
    before = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if before & 0o7077 or before & mode != mode:
        os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101 - fchmod() does not take O_PATH
        repaired.append(f"{path}: changed the mode from {before:04o} to {mode:04o}")
