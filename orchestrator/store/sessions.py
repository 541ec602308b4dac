"""Session files, the credentials of the accounts: lock, put into quarantine, clear up, close to others.

A session is a SQLite database, and whatever SQLite keeps beside it is part of it. Nothing here writes into
one. It is touched as a whole or not at all, and only by rename where that is possible.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.system.files import open_file, sync, sync_folder
from orchestrator.system.locking import lock_file

SIDES: Final = ("-wal", "-shm", "-journal")
"""What SQLite appends to the database's name for its other files."""

_QUARANTINED = re.compile(rf"({NAME_PATTERN})-([0-9]{{8}}T[0-9]{{6}}Z)-([a-z0-9_]+)(?:-([0-9]+))?", re.ASCII)
_SESSION_FILE = re.compile(rf"{NAME_PATTERN}\.(?:sqlite3(?:{'|'.join(SIDES)})?|lock)")
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_UNFINISHED: Final = stat.S_ISVTX
"""The sticky bit, by which `tidy` knows a folder of the quarantine that a session was still moved to."""


def files(path: Path) -> list[Path]:
    """Return the paths of a session's files, the database first, whether they exist or not."""
    return [path, *(path.with_name(path.name + side) for side in SIDES)]


# Lock


def lock(path: Path, *, patience: float = 0.0) -> int:
    """Lock a session's lock file; `lock_file` says how, and which errors there are."""
    return lock_file(path, patience=patience)


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
            place.chmod(0o700 | _UNFINISHED)
            move([(file, place / file.name) for file in found])
            place.chmod(0o700)
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


def move(moves: list[tuple[Path, Path]]) -> None:
    """Move a session's files, all or none: by rename, or to another file system by copies.

    Args:
        moves: From where to where each is moved, in this order; a file that is missing is left out. All of
            them go into one folder.

    Raises:
        OSError: They cannot be moved; all of them are where they were, as far as that was possible.
    """
    moved: list[tuple[Path, Path]] = []
    try:
        for source, target in moves:
            with contextlib.suppress(FileNotFoundError):  # SQLite's side files come and go
                source.rename(target)
                moved.append((source, target))
    except OSError as error:
        for source, target in reversed(moved):
            with contextlib.suppress(OSError):
                target.rename(source)
        if error.errno != errno.EXDEV:
            raise
        _move_across([one for one in moves if os.path.lexists(one[0])])


def _move_across(moves: list[tuple[Path, Path]]) -> None:
    """Move files to another file system: nothing is removed before everything is safe there."""
    copies: list[Path] = []
    try:
        for source, target in moves:
            copies.append(target)
            _copy(source, target)
        place = copies[0].parent
        sync_folder(place)
        sync_folder(place.parent)
    except BaseException:
        for copy in copies:
            with contextlib.suppress(OSError):
                copy.unlink()
        raise
    for source, _ in moves:
        source.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy a file for this user alone, and see that it is on the disk."""
    with (
        os.fdopen(open_file(source), "rb") as original,
        os.fdopen(open_file(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as copy,
    ):
        shutil.copyfileobj(original, copy, 1024 * 1024)
        sync(copy)


def tidy(sessions: Path, folder: Path, now: float) -> list[str]:
    """Clear up what was left half done because whoever moved sessions was killed.

    Whoever calls it holds the lock of the state folder, and no process may use a session.

    Args:
        sessions: The folder of sessions; it may be missing.
        folder: The quarantine; it may be missing.
        now: Unix seconds.

    Returns:
        What was done, a sentence each, for the log.
    """
    said: list[str] = []
    if not folder.is_symlink() and not sessions.is_symlink():
        for place in _folders(folder):
            try:
                if place.stat().st_mode & _UNFINISHED:
                    _finish(sessions, place)
                    said.append(f"{place}: finished an interrupted move of a session")
                if not os.listdir(place):  # noqa: PTH208 - names are all that is needed
                    place.rmdir()
            except OSError as error:
                said.append(f"{place}: cannot be cleaned up: {error.strerror}")
        # Without their database they are of no use, and would spoil the next one of that name.
        for path in _without_database(sessions):
            try:
                left = quarantine(path, folder, "leftover", now)
            except OSError as error:
                said.append(
                    f"{path}: the files left beside it cannot be moved to quarantine: {error.strerror}"
                )
            else:
                said.append(f"{path}: is missing; the files left beside it were moved to {left}")
    return said


def _folders(folder: Path) -> list[Path]:
    """Return the folders in quarantine that have names `quarantine` gives."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        one for one in entries if _QUARANTINED.fullmatch(one.name) and one.is_dir() and not one.is_symlink()
    ]


BY_THE_WAY: Final = ("leftover", "unlinked")
"""Reasons for which something was put away that nobody wants back."""


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A session in quarantine.

    Attributes:
        path: Its folder.
        name: The account it was of.
        reason: Why it was put there, empty if that cannot be told.
        database: Its database.
    """

    path: Path
    name: str
    reason: str
    database: Path


def quarantined(folder: Path) -> list[Quarantined]:
    """Return the sessions in quarantine, the newest first, and those last whose folders have another name.

    Args:
        folder: The quarantine; it may be missing.
    """
    found: list[tuple[tuple[str, int], Quarantined]] = []
    try:
        places = [one for one in folder.iterdir() if one.is_dir() and not one.is_symlink()]
    except OSError:
        return []
    for place in places:
        match = _QUARANTINED.fullmatch(place.name)
        databases = [place / f"{name}.sqlite3" for name in names(place)]
        if match is not None:
            databases = [one for one in databases if one.stem == match[1]]
        if len(databases) == 1:
            reason, number = (match[3], int(match[4] or 1)) if match else ("", 0)
            one = Quarantined(place, databases[0].stem, reason, databases[0])
            found.append(((match[2] if match else "", number), one))
    found.sort(key=lambda one: (one[0], one[1].path.name), reverse=True)
    return [one for _, one in found]


def names(folder: Path) -> list[str]:
    """Return the names of the sessions in a folder, which may be missing."""
    try:
        entries = sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
    except OSError:
        return []
    return [
        one.removesuffix(".sqlite3")
        for one in entries
        if one.endswith(".sqlite3") and _SESSION_FILE.fullmatch(one)
    ]


def _finish(sessions: Path, place: Path) -> None:
    """Put the rest of a session into quarantine, or nothing of it, if its database is not there yet."""
    match = _QUARANTINED.fullmatch(place.name)
    assert match is not None
    database = sessions / f"{match[1]}.sqlite3"
    held = lock(database.with_suffix(".lock"))
    try:
        if os.path.lexists(database):
            # The originals are all there still: what is here are copies, if anything.
            for file in files(place / database.name):
                file.unlink(missing_ok=True)
        else:
            rest = []
            for file in files(database)[1:]:
                if os.path.lexists(place / file.name):
                    file.unlink(missing_ok=True)
                else:
                    rest.append((file, place / file.name))
            move(rest)
        place.chmod(0o700)
    finally:
        os.close(held)


def _without_database(sessions: Path) -> list[Path]:
    """Return where databases are missing that have files beside them."""
    try:
        names = {path.name for path in sessions.iterdir()}
    except OSError:
        return []
    sides = {name.removesuffix(side) for name in names for side in SIDES if name.endswith(side)}
    return [sessions / name for name in sorted(sides - names) if _SESSION_FILE.fullmatch(name)]


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
    import logging  # only the service prunes, and a command that lists accounts is to be fast

    log = logging.getLogger(__name__)
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
        repaired.append(f"{path}: changed the mode from {before:04o} to {mode:04o}")
