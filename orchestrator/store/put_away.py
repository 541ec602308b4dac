"""What lies in quarantine: how old and how large it is, and its deletion at an operator's wish."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.errors import StateError
from orchestrator.store import moving, quarantine
from orchestrator.store.layout import StatePaths
from orchestrator.system.files import open_folder
from orchestrator.system.os_errors import trouble

DAY: Final = 86_400.0
_MOST_ENTRIES: Final = 100_000
"""How many files and folders in one folder are looked at; the account's process made them."""
_DEEPEST: Final = 16
"""How many folders may be in each other for their files to be counted; those of messages are three."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder in quarantine.

    Attributes:
        folder: The folder's name.
        name: The account it was of, empty if that cannot be told.
        reason: Why it was put there, empty if that cannot be told.
        at: When, in Unix seconds; None if that cannot be told. Then nothing deletes the folder by itself.
        size: Bytes of all files in it.
        session: Whether a session is in it.
        messages: Whether messages are in it.
    """

    folder: str
    name: str
    reason: str
    at: float | None
    size: int
    session: bool
    messages: bool

    @property
    def restorable(self) -> bool:
        """Whether somebody may want it back."""
        return (self.session or self.messages) and self.reason not in quarantine.BY_THE_WAY

    def until(self, days: float) -> float | None:
        """Return when the service deletes it, in Unix seconds; None if never.

        Args:
            days: How long sessions are kept.
        """
        return None if self.at is None else self.at + days * DAY


@dataclass(frozen=True, slots=True)
class Purged:
    """What became of folders that were to be deleted.

    Attributes:
        done: The names of those that are gone.
        size: Bytes of all files in them.
        kept: Those that stay, each with the reason, a sentence.
    """

    done: list[str]
    size: int
    kept: dict[str, str]


def entries(folder: Path) -> list[Entry]:
    """Return what lies in quarantine, the newest first.

    Folders with another name than the orchestrator gives are there only if a session is in them.

    Args:
        folder: The quarantine; it may be missing.

    Raises:
        OSError: It cannot be read, or is a symbolic link.
    """
    try:
        top = open_folder(folder)
    except FileNotFoundError:
        return []
    try:
        names = os.listdir(top)  # noqa: PTH208 - of a descriptor
        found = [one for name in names if (one := _entry(folder / name, top)) is not None]
    finally:
        os.close(top)
    return sorted(found, key=lambda one: (one.at or 0.0, one.folder), reverse=True)


def _entry(place: Path, top: int) -> Entry | None:
    """Return what a folder is, None if it is no folder, or none that has to do with a session."""
    if place.is_symlink() or not place.is_dir():
        return None
    parts, what = quarantine.parts_of(place.name), quarantine.find(place)
    if parts is None and what is None:
        return None
    name, at, reason = parts or ("", None, "")
    return Entry(
        place.name,
        name or (what.name if what else ""),
        reason,
        at,
        sum(_sizes(top, place.name)),
        what is not None and what.has_session,
        what is not None and what.messages is not None,
    )


def _sizes(top: int, name: str, deeper: int = _DEEPEST, left: Iterator[int] | None = None) -> Iterator[int]:
    """Yield the size of each file in a folder; no link is followed.

    The account's process may have dug folders without end into its own, so neither the stack nor the open
    descriptors grow with them: what is too deep, or too much, is not counted.

    Args:
        top: The open folder that it is in.
        name: Its name.
        deeper: How many folders further down are looked at.
        left: Runs out when enough entries were looked at.
    """
    left = iter(range(_MOST_ENTRIES)) if left is None else left
    with contextlib.suppress(OSError):
        folder = open_folder(name, dir_fd=top)
        try:
            with os.scandir(folder) as entries:
                for _, entry in zip(left, entries, strict=False):
                    if not entry.is_dir(follow_symlinks=False):
                        with contextlib.suppress(OSError):
                            yield entry.stat(follow_symlinks=False).st_size
                    elif deeper:
                        yield from _sizes(folder, entry.name, deeper - 1, left)
        finally:
            os.close(folder)


def purge(paths: StatePaths, folders: Iterable[str]) -> Purged:
    """Delete folders of the quarantine for good, each as a whole or not at all.

    Only folders with names that the orchestrator gives are deleted, and only if nothing but a session and
    messages is in them. Nothing is deleted that a restore or an unfinished move is about. No link is
    followed. Whoever calls this sees that nobody restores anything meanwhile.

    Args:
        paths: The state folder.
        folders: The names of the folders.

    Raises:
        StateError: It cannot be told what is being moved, or the quarantine cannot be opened.
    """
    task = moving.pending(paths)
    moved = task.folder if isinstance(task, moving.Restore) else None
    try:
        top = open_folder(paths.quarantine)
    except OSError as error:
        raise StateError(f"{paths.quarantine}: cannot be opened: {trouble(error)}") from None
    done: list[str] = []
    kept: dict[str, str] = {}
    size = 0
    try:
        for folder in dict.fromkeys(folders):
            try:
                size += _purge(top, folder, moved)
            except OSError as error:
                kept[folder] = trouble(error)
            else:
                done.append(folder)
    finally:
        os.close(top)
    return Purged(done, size, kept)


def _purge(top: int, folder: str, moved: str | None) -> int:
    """Delete one folder and return how many bytes its files had.

    Raises:
        OSError: It stays, and the error says why.
    """
    parts = quarantine.parts_of(folder)
    if parts is None:
        raise OSError(errno.EINVAL, "its name is none that the orchestrator gives: look at it, and delete it")
    about = os.stat(folder, dir_fd=top, follow_symlinks=False)
    if stat.S_ISLNK(about.st_mode):
        raise OSError(errno.ELOOP, "it is a symbolic link: remove it by hand")
    if folder == moved or about.st_mode & quarantine.UNFINISHED:
        raise OSError(errno.EBUSY, "it is being moved: restart the service, which ends that, and try again")
    place = open_folder(folder, dir_fd=top)
    try:
        strange = quarantine.strange_in(place, parts[0])
    finally:
        os.close(place)
    if strange is not None:
        raise OSError(
            errno.ENOTEMPTY,
            f"{strange!r} is in it and no part of a session: look at it, and move it away",
        )
    size = sum(_sizes(top, folder))
    quarantine.delete(top, folder)
    return size
