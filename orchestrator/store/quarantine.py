"""The quarantine: sessions that were put away, each in a folder of its own, and what is removed in the end.

A session is moved as a whole or not at all, by one rename of its folder where that is possible. Messages
that go along are moved into that folder first: whoever is killed before the one rename leaves them there, and
`undo` puts them back.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import shutil
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.store import inboxes, plain
from orchestrator.store.layout import DATABASE, LOCK, MESSAGES, REALM
from orchestrator.store.sessions import OLD_FILE, files, has_files, held, homes, kept, lock, repair_modes_of
from orchestrator.system.files import is_temporary, open_file, open_folder, remove, sync, sync_folder

_QUARANTINED = re.compile(rf"({NAME_PATTERN})-([0-9]{{8}}T[0-9]{{6}}Z)-([a-z0-9_]+)(?:-([0-9]+))?", re.ASCII)
_STAMP: Final = "%Y%m%dT%H%M%SZ"
UNFINISHED: Final = stat.S_ISVTX
"""The sticky bit, by which `tidy` knows a folder of the quarantine that a session was still moved to."""
_MOST_ENTRIES: Final = 1000
"""How many entries of a folder in quarantine are looked at."""


def put(home: Path, folder: Path, reason: str, now: float, *, messages: Path | None = None) -> Path | None:
    """Put a session away: its folder becomes the folder ``NAME-<UTC time>-<reason>`` of the quarantine.

    The process that used it must have ended. One rename does it, so there is no half of it. Only if the
    quarantine is on another file system are the files copied, written through to the disk, and then removed.

    Args:
        home: The account's folder. Its lock is held meanwhile.
        folder: The quarantine; made if it is missing.
        reason: A word for the folder's name.
        now: Unix seconds.
        messages: The folder of the account's messages, if they are to be put away as well.

    Returns:
        The new folder, or None if there was neither a session nor a message.

    Raises:
        BlockingIOError: A process uses the session.
        OSError: The session or the messages cannot be moved; all of them are where they were.
    """
    _refuse_link(home.parent)
    _refuse_link(home)
    if messages is not None:
        inboxes.refuse_link(messages.parent)
        inboxes.refuse_link(messages)
        if not inboxes.holds(messages):
            place = put_folder(home, folder, reason, now) if has_files(home) else None
            inboxes.drop_unused(messages)
            return place
    if messages is None:
        return put_folder(home, folder, reason, now) if has_files(home) else None
    home.parent.mkdir(mode=0o700, exist_ok=True)
    home.mkdir(mode=0o700, exist_ok=True)
    try:
        return put_folder(home, folder, reason, now, messages=messages)
    except BaseException:
        with contextlib.suppress(OSError):
            home.rmdir()  # if it was made here
        raise


def put_folder(home: Path, folder: Path, reason: str, now: float, *, messages: Path | None = None) -> Path:
    """Put an account's folder away, with whatever is in it; `put` says how, and which errors there are."""
    _open_to_ourselves(home)
    with held(home):
        _refuse_link(folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if messages is not None:
            inboxes.take_out(messages, home / MESSAGES)
        try:
            place = new_folder(folder, home.name, reason, now)
            try:
                move(home, place)
            except BaseException:
                with contextlib.suppress(OSError):
                    place.rmdir()  # fails if something is in it, as it should
                raise
        except BaseException:
            if messages is not None:
                with contextlib.suppress(OSError):
                    inboxes.put_in(home / MESSAGES, messages)
            raise
        return place


def undo(sessions: Path, messages: Path, folder: Path, now: float) -> list[str]:
    """Put messages back that were about to go into quarantine with a session which did not go.

    Whoever calls it holds the lock of the state folder, and no process may use a session.

    Args:
        sessions: The folder of sessions; it may be missing.
        messages: The folder of messages; it may be missing.
        folder: The quarantine; it may be missing.
        now: Unix seconds.

    Returns:
        What was done, a sentence each, for the log.
    """
    said: list[str] = []
    inboxes.tidy(messages)
    if any(one.is_symlink() for one in (sessions, messages, folder)):
        return said
    for home in homes(sessions):
        left, own = home / MESSAGES, messages / home.name
        if left.is_symlink() or not left.is_dir():
            continue
        try:
            if inboxes.holds(own):
                folder.mkdir(mode=0o700, exist_ok=True)
                place = new_folder(folder, home.name, "leftover", now)
                inboxes.move(left, place / MESSAGES)
                said.append(f"{home.name}: messages that were left in {home} are in {place} now")
                continue
            messages.mkdir(mode=0o700, exist_ok=True)
            inboxes.put_in(left, own)
            said.append(f"{home.name}: the messages are back, because the session was not put away")
            if not has_files(home):
                make_room(home)
        except OSError as error:
            said.append(f"{left}: cannot be moved back to {own}: {error.strerror}")
    return said


def _refuse_link(folder: Path) -> None:
    """See that a folder is none that leads elsewhere."""
    if folder.is_symlink():
        raise OSError(errno.ELOOP, "is a symbolic link, a folder is needed: remove it", str(folder))


def _open_to_ourselves(home: Path) -> None:
    """Let this user into a folder whose process has closed it; what fails then fails where it matters."""
    with contextlib.suppress(OSError):
        repair_modes_of(home, [])


def new_folder(folder: Path, name: str, reason: str, now: float) -> Path:
    """Make a folder in quarantine and return it: empty, and with a name that no other one has.

    Raises:
        OSError: It cannot be made.
    """
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


def make_room(home: Path) -> None:
    """Remove the folder of an account that has no session, so that another folder can take its place.

    Raises:
        OSError: It cannot be removed, or something else than a lock is in it.
    """
    if home.is_dir() and not home.is_symlink():
        for name in (LOCK, REALM):
            (home / name).unlink(missing_ok=True)
        home.rmdir()


def move(source: Path, target: Path) -> None:
    """Move a session with its folder, whole or not at all: by one rename, or to another disk by copies.

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
        with contextlib.suppress(FileExistsError):
            target.mkdir(0o700)
        target.chmod(0o700 | UNFINISHED)
        if _is_folder(source / MESSAGES):
            inboxes.move(source / MESSAGES, target / MESSAGES)
        _move_across([(file, target / file.name) for file in kept(source) if os.path.lexists(file)])
        _remove_emptied(source)
        target.chmod(0o700)


def _remove_emptied(home: Path) -> None:
    """Remove a folder whose session is elsewhere now; it stays if something else is in it."""
    with contextlib.suppress(OSError):
        (home / LOCK).unlink(missing_ok=True)
        home.rmdir()


def move_files(moves: list[tuple[Path, Path]]) -> None:
    """Move files, all or none: by rename, or to another file system by copies.

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


def tidy_quarantine(sessions: Path, folder: Path) -> list[str]:
    """End what was half done because whoever put sessions into quarantine was killed.

    Whoever calls it holds the lock of the state folder, and no process may use a session.

    Args:
        sessions: The folder of sessions; it may be missing.
        folder: The quarantine; it may be missing.

    Returns:
        What was done, a sentence each, for the log.
    """
    said: list[str] = []
    if folder.is_symlink() or sessions.is_symlink():
        return said
    for place in _folders(folder):
        try:
            if place.stat().st_mode & UNFINISHED:
                _finish(sessions, place)
                said.append(f"{place}: finished an interrupted move of a session")
            with contextlib.suppress(OSError):
                place.rmdir()  # an empty one
        except OSError as error:
            said.append(f"{place}: cannot be cleaned up: {error.strerror}")
    return said


def unfinished(folder: Path) -> set[str]:
    """Return the accounts of which a session is still half in quarantine.

    Args:
        folder: The quarantine; it may be missing.
    """
    found = set()
    for place in _folders(folder):
        with contextlib.suppress(OSError):
            if place.stat().st_mode & UNFINISHED and (match := _QUARANTINED.fullmatch(place.name)):
                found.add(match[1])
    return found


def tidy(sessions: Path, folder: Path, now: float) -> list[str]:
    """Put away what lies where a database is missing, because it would spoil the next session there.

    Whoever calls it holds the lock of the state folder, and no process may use a session.

    Args:
        sessions: The folder of sessions; it may be missing.
        folder: The quarantine; it may be missing.
        now: Unix seconds.

    Returns:
        What was done, a sentence each, for the log.
    """
    said: list[str] = []
    if folder.is_symlink() or sessions.is_symlink():
        return said
    for home in homes(sessions):
        if os.path.lexists(home / DATABASE) or not has_files(home):
            continue
        try:
            left = put(home, folder, "leftover", now)
        except OSError as error:
            why = error.strerror
            said.append(f"{home}: the files left without a session cannot be moved to quarantine: {why}")
        else:
            said.append(f"{home / DATABASE}: is missing; the files left beside it were moved to {left}")
    return said


def _folders(folder: Path) -> list[Path]:
    """Return the folders in quarantine that have names `put` gives."""
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
    """A session in quarantine, or messages, or both.

    Attributes:
        path: Its folder.
        name: The account it was of, empty if that cannot be told.
        reason: Why it was put there, empty if that cannot be told.
        database: Its database, which is missing if only messages are there.
        messages: The folder of the account's messages, if they are there.
    """

    path: Path
    name: str
    reason: str
    database: Path
    messages: Path | None = None

    @property
    def has_session(self) -> bool:
        """Whether there is a session, and not only messages."""
        return os.path.lexists(self.database)


def quarantined(folder: Path) -> list[Quarantined]:
    """Return the sessions in quarantine, the newest first, and those last whose folders have another name.

    Args:
        folder: The quarantine; it may be missing.
    """
    try:
        places = [one for one in folder.iterdir() if _is_folder(one)]
    except OSError:
        return []
    found = [one for one in map(find, places) if one is not None]
    found.sort(key=lambda one: (_age_of(one.path), one.path.name), reverse=True)
    return found


def _age_of(place: Path) -> tuple[str, int]:
    match = _QUARANTINED.fullmatch(place.name)
    return (match[2], int(match[4] or 1)) if match else ("", 0)


def find(place: Path) -> Quarantined | None:
    """Return what is in a folder of the quarantine, None if there is neither a session nor messages.

    Args:
        place: The folder.
    """
    match = _QUARANTINED.fullmatch(place.name)
    database = _database_in(place, match[1] if match else None)
    messages = place / MESSAGES if _is_folder(place / MESSAGES) else None
    if database is None and messages is not None and match:
        database = place / DATABASE
    if database is None:
        return None
    whose = match[1] if match else "" if database.name == DATABASE else database.stem
    return Quarantined(place, whose, match[3] if match else "", database, messages)


def _database_in(place: Path, name: str | None) -> Path | None:
    """Return the one database in a folder of the quarantine; 0.1 has named it after the account."""
    if os.path.lexists(place / DATABASE):
        return place / DATABASE
    try:
        with os.scandir(place) as entries:
            found = [entry.name for entry in itertools.islice(entries, _MOST_ENTRIES)]
    except OSError:
        return None
    old = [one for one in found if (match := OLD_FILE.fullmatch(one)) and one == f"{match[1]}.sqlite3"]
    if name is not None:
        old = [one for one in old if one == f"{name}.sqlite3"]
    return place / old[0] if len(old) == 1 else None


def _finish(sessions: Path, place: Path) -> None:
    """Put the rest of a session into quarantine, or nothing of it, if its database is not there yet."""
    match = _QUARANTINED.fullmatch(place.name)
    assert match is not None
    name = match[1]
    home = sessions / name
    # Version 0.1 moved files one by one, and under their own names.
    of_old = any(map(os.path.lexists, files(place / f"{name}.sqlite3")))
    sources = files(sessions / f"{name}.sqlite3") if of_old else kept(home)
    descriptor = lock(sessions / f"{name}.lock") if of_old else None
    with contextlib.ExitStack() as stack:
        if descriptor is None:
            stack.enter_context(held(home))
        else:
            stack.callback(os.close, descriptor)
        if _is_there(sources[0]):
            # The originals are all there still: what is here are copies, if anything.
            for file in sources:
                (place / file.name).unlink(missing_ok=True)
            if not of_old and _is_folder(place / MESSAGES) and not os.path.lexists(home / MESSAGES):
                inboxes.move(place / MESSAGES, home / MESSAGES)
        else:
            rest = []
            for file in sources[1:]:
                if not _is_there(file):
                    continue
                if os.path.lexists(place / file.name):
                    file.unlink()
                else:
                    rest.append((file, place / file.name))
            move_files(rest)
            if not of_old:
                _remove_emptied(home)
        place.chmod(0o700)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_there(path: Path) -> bool:
    """Tell whether a file is in a place: not a folder, which could be that of an account of such a name."""
    return os.path.lexists(path) and (path.is_symlink() or not path.is_dir())


def prune(folder: Path, days: float, now: float) -> list[str]:
    """Remove what has been in quarantine for longer than that; never raises.

    Only folders with names that `put` gives are looked at, the time in the name decides, and only
    session files and messages in them are removed: a folder that holds anything else stays, with that in it.
    Symbolic links are not followed.

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
        descriptor = open_folder(folder)
    except OSError:
        return []
    try:
        for entry in sorted(os.listdir(descriptor)):  # noqa: PTH208 - of a descriptor
            match = _QUARANTINED.fullmatch(entry)
            if match and _age(match[2], now) > days * 86_400:
                try:
                    delete(descriptor, entry)
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
    at = _time(stamp)
    return float("-inf") if at is None else now - at


def _time(stamp: str) -> float | None:
    try:
        return plain.unix_time(datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp())
    except ValueError:
        return None


def parts_of(folder: str) -> tuple[str, float | None, str] | None:
    """Return what the name of a folder says, None if the name is none that `put` gives.

    Args:
        folder: The name.

    Returns:
        The account, when it was put away, in Unix seconds or None if that is no time, and why.
    """
    match = _QUARANTINED.fullmatch(folder)
    return match and (match[1], _time(match[2]), match[3])


def _parts(name: str) -> list[str]:
    """Return the names of the files that a folder of an account in quarantine may have."""
    old = files(Path(f"{name}.sqlite3"))  # as version 0.1 has put them there
    return [file.name for file in (*kept(Path()), Path(LOCK), *old)]


def _are_messages(entry: str) -> bool:
    """Tell whether an entry of a folder in quarantine has messages, or is what is left of their removal."""
    return entry == MESSAGES or (is_temporary(entry) and entry.startswith(f".{MESSAGES}."))


def strange_in(place: int, name: str) -> str | None:
    """Return the name of something in an open folder of the quarantine that is no part of a session, or None.

    A symbolic link is strange, whatever its name: nothing of ours makes one.

    Args:
        place: The open folder.
        name: The account it was of.
    """
    known = set(_parts(name))
    for entry in sorted(os.listdir(place)):
        mode = os.stat(entry, dir_fd=place, follow_symlinks=False).st_mode
        if not (stat.S_ISREG(mode) and entry in known) and not (stat.S_ISDIR(mode) and _are_messages(entry)):
            return entry
    return None


def delete(folder: int, entry: str) -> None:
    """Delete a folder of the quarantine with its session and messages; with anything else in it, it stays.

    Args:
        folder: The open quarantine.
        entry: The folder's name, one that `put` gives.

    Raises:
        OSError: Something cannot be removed.
    """
    match = _QUARANTINED.fullmatch(entry)
    assert match is not None
    place = open_folder(entry, dir_fd=folder)
    try:
        for file in _parts(match[1]):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(file, dir_fd=place)
        for found in os.listdir(place):  # noqa: PTH208 - of a descriptor
            if _are_messages(found):
                remove(Path(f"/proc/self/fd/{place}") / found)
    finally:
        os.close(place)
    os.rmdir(entry, dir_fd=folder)
