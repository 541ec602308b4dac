"""Takes over sessions as version 0.1 kept them: ``sessions/NAME.sqlite3`` goes into ``sessions/NAME/``.

A session of 0.1 is up to four files and a lock. A process can be killed between any two of their renames, and
SQLite must never open a database whose log or journal is still elsewhere: it would take the database for
complete, and what is in the log would be lost. So the files are gathered in a folder ``sessions/.NAME.old``,
which no account can have because of the dot, and which nothing opens. The database goes first: what is left
under the old names is then nothing that SQLite takes for a session. One rename at the end makes the folder
the account's. Until then the account has no session that anybody could use, and from then on all of it.

Whoever is killed in between leaves the folder behind, and the next one goes on from there. After an error,
the files go back in the opposite order, the database last, for the same reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.store import quarantine
from orchestrator.store.layout import DATABASE, LOCK, REALM, StatePaths
from orchestrator.store.sessions import OLD_FILE, files, has_files, lock
from orchestrator.system.files import sync_folder
from orchestrator.system.os_errors import shortage, trouble
from orchestrator.system.sqlite_files import SIDES

_GATHERED = re.compile(rf"\.({NAME_PATTERN})\.old")


class _RefusedError(Exception):
    """A session stays where it is; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Old:
    """A session as 0.1 kept it.

    Attributes:
        sessions: The folder of the sessions.
        name: The account.
    """

    sessions: Path
    name: str

    @property
    def database(self) -> Path:
        return self.sessions / f"{self.name}.sqlite3"

    @property
    def lock(self) -> Path:
        return self.sessions / f"{self.name}.lock"

    @property
    def gathered(self) -> Path:
        """The folder in which its files are gathered."""
        return self.sessions / f".{self.name}.old"

    @property
    def home(self) -> Path:
        """The folder that is to be the account's."""
        return self.sessions / self.name

    def moves(self) -> list[tuple[Path, Path]]:
        """Return from where to where each file goes, in this order."""
        targets = [self.gathered / name for name in (DATABASE, *(DATABASE + side for side in SIDES), LOCK)]
        return list(zip([*files(self.database), self.lock], targets, strict=True))


def waiting(sessions: Path) -> list[str]:
    """Return the accounts whose sessions are still as 0.1 kept them, or half taken over; the shortest first.

    Args:
        sessions: The folder of the sessions; it may be missing.
    """
    found = set()
    with contextlib.suppress(OSError), os.scandir(sessions) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                match = _GATHERED.fullmatch(entry.name)
            else:
                match = OLD_FILE.fullmatch(entry.name)
            if match:
                found.add(match[1])
    # The account "a.sqlite3" gets a folder where the file of the account "a" may still be.
    return sorted(found, key=lambda name: (len(name), name))


def is_waiting(sessions: Path, name: str) -> bool:
    """Tell whether an account has a session as 0.1 kept it, or one that is half taken over."""
    old = _Old(sessions, name)
    return _is_folder(old.gathered) or any(_is_there(file) for file in files(old.database))


def take_over(paths: StatePaths) -> list[str]:
    """Take over all sessions of 0.1; whoever calls this holds the lock of the state folder.

    Returns:
        What was done, or cannot be done, a sentence each, for the log.
    """
    said = []
    halves = quarantine.unfinished(paths.quarantine)
    for name in waiting(paths.sessions):
        if name in halves:
            continue  # the rest of it belongs into quarantine, where its database is
        before = is_waiting(paths.sessions, name)
        why = take_over_one(paths, name)
        if why is not None:
            said.append(f"{name}: {why.text}")
        elif before:
            said.append(f"{name}: the session of version 0.1 was taken over: it is in {paths.home(name)} now")
    return said


class Problem(NamedTuple):
    """Why a session cannot be taken over.

    Attributes:
        text: The reason, and what to do.
        lack: Whether the machine lacks something, so that a later try may succeed.
    """

    text: str
    lack: bool = False


def take_over_one(paths: StatePaths, name: str) -> Problem | None:
    """Take over an account's session of 0.1, if it has one; no process may use it.

    Returns:
        Why it cannot be taken over; None if all is done.
    """
    lack = False
    old = _Old(paths.sessions, name)
    try:
        if old.sessions.is_symlink():
            raise _RefusedError(f"{old.sessions} is a symbolic link: remove it")
        _take_over(old, paths.quarantine)
    except BlockingIOError as error:
        why = f"{old.database} is {error.strerror}: end that process"
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else old.database
        why, lack = f"{place}: {trouble(error)}", shortage(error) is not None
    except _RefusedError as error:
        why = str(error)
    else:
        return None
    return Problem(f"the session of version 0.1 cannot be taken over: {why}", lack)


def problem(sessions: Path, name: str) -> str | None:
    """Say what keeps a session of 0.1 from being taken over, as far as that can be told without doing it."""
    try:
        _check(_Old(sessions, name))
    except _RefusedError as error:
        return str(error)
    return None


def _check(old: _Old) -> None:
    """See that a session can be taken over.

    Raises:
        _RefusedError: It cannot.
    """
    for file, target in old.moves():
        if not _is_there(file):
            continue
        mode = file.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise _RefusedError(
                f"{file} is a symbolic link: replace the link by the file that it points to, or remove it"
            )
        if not stat.S_ISREG(mode):
            raise _RefusedError(f"{file} is not a file: move it away")
        if file != old.lock and os.path.lexists(target):
            raise _RefusedError(
                f"there is a session in {old.gathered}, and one of an older version was made since: move"
                f" {file} away"
            )
    if old.gathered.is_symlink() or (os.path.lexists(old.gathered) and not old.gathered.is_dir()):
        raise _RefusedError(f"{old.gathered} is in the way: move it away")
    if not os.path.lexists(old.home) or not _has_something(old):
        return
    if not _is_folder(old.home):
        raise _RefusedError(f"a folder {old.home} is needed, and something else is there: move it away")
    if has_files(old.home):
        raise _RefusedError(
            f"the account has another session in {old.home}: keep one of them, move the other one away"
        )
    with os.scandir(old.home) as entries:
        other = next((entry.name for entry in entries if entry.name not in (LOCK, REALM)), None)
    if other is not None:
        raise _RefusedError(f"{old.home} holds other files, such as {other!a}: move that folder away")


def _has_something(old: _Old) -> bool:
    """Tell whether there is more than a lock."""
    places = [*files(old.database), *files(old.gathered / DATABASE)]
    return any(map(_is_there, places))


def _take_over(old: _Old, folder: Path) -> None:
    if not _is_folder(old.gathered) and not any(_is_there(file) for file, _ in old.moves()):
        return
    _check(old)
    gathered = not _is_there(old.lock) and _is_there(old.gathered / LOCK)
    descriptor = lock(old.gathered / LOCK if gathered else old.lock)
    try:
        if not _has_something(old):  # a lock that was left behind, or an empty folder
            for path in (old.lock, old.gathered / LOCK):
                path.unlink(missing_ok=True)
            if _is_folder(old.gathered):
                old.gathered.rmdir()
            return
        with contextlib.suppress(FileExistsError):
            old.gathered.mkdir(0o700)
        _gather(old)
        sync_folder(old.gathered)
        if not _is_there(old.gathered / DATABASE):
            folder.mkdir(mode=0o700, exist_ok=True)
            place = quarantine.new_folder(folder, old.name, "leftover", time.time())
            old.gathered.rename(place)
            return
        quarantine.make_room(old.home)
        old.gathered.rename(old.home)
        sync_folder(old.sessions)
    finally:
        os.close(descriptor)


def _gather(old: _Old) -> None:
    """Move the files into the folder in which they are gathered, or leave them as they were."""
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target in old.moves():
            if _is_there(source):
                source.rename(target)
                moved.append((source, target))
    except OSError:
        for source, target in reversed(moved):
            with contextlib.suppress(OSError):
                target.rename(source)
        with contextlib.suppress(OSError):
            old.gathered.rmdir()
        raise


def finish_moving(of: Path, to: Path) -> None:
    """End a move of a session of 0.1 that 0.1 has begun: its database was the first to go.

    Args:
        of: Where the database was.
        to: Where it went.

    Raises:
        OSError: A file cannot be moved.
    """
    if _is_there(of) or not _is_there(to):
        return
    rest = zip(files(of)[1:], files(to)[1:], strict=True)
    quarantine.move_files([(source, target) for source, target in rest if _is_there(source)])


def old_database(paths: StatePaths, name: str) -> Path:
    """Return where 0.1 kept an account's database."""
    return _Old(paths.sessions, name).database


def _is_there(path: Path) -> bool:
    """Tell whether a file is in a place: not a folder, which may be that of an account of such a name."""
    return os.path.lexists(path) and not _is_folder(path)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False
