"""The attachments of one account on the disk: a file each, named by its identifier and nothing else.

The account's process writes them. Nobody ever opens one to see what is in it: whoever asked for it does.
Everybody else goes through `open_file`, which follows no link, for the process handles what strangers send.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, NamedTuple

from orchestrator.accounts.attachments import PERMANENT, Fault, is_id
from orchestrator.messages.media import FOLDER

_UNFINISHED: Final = ".part"
_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_FAULTS: Final = frozenset(map(str, PERMANENT))


class Usage(NamedTuple):
    """How much there is: a number of files, and their bytes."""

    files: int
    size: int


class MediaFiles:
    """The attachments of an account, for its own process.

    Args:
        folder: The folder of the account's messages.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / FOLDER

    def make_folder(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            OSError: It is not possible.
        """
        self.folder.mkdir(mode=0o700, exist_ok=True)

    def clean(self) -> None:
        """Remove what a process left behind that was killed; call it before anything is fetched.

        Raises:
            OSError: It is not possible.
        """
        for entry in self._entries():
            if entry.name.endswith(_UNFINISHED):
                self._remove(entry.name)

    def path(self, media: str) -> Path:
        """Return where an attachment lies, or will lie."""
        return self.folder / _checked(media)

    def is_there(self, media: str) -> bool:
        """Tell whether an attachment is there, complete and checked."""
        return self.path(media).is_file()

    @contextlib.contextmanager
    def unfinished(self, media: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
        """Give two files to write: one for what comes, and one for what it turns out to be. They do not last.

        Raises:
            OSError: It is not possible.
        """
        names = [f"{_checked(media)}.{number}{_UNFINISHED}" for number in range(2)]
        try:
            with self._new(names[0]) as sealed, self._new(names[1]) as plain:
                yield sealed, plain
        finally:
            for name in names:
                self._remove(name)

    def finish(self, media: str, plain: IO[bytes]) -> None:
        """Give the second of the unfinished files its name, once it is on the disk for sure.

        Raises:
            OSError: It is not possible.
        """
        plain.flush()
        os.fsync(plain.fileno())
        self._new_name(f"{_checked(media)}.1{_UNFINISHED}", media)
        self._sync()
        self.forget_fault(media)

    def note_fault(self, media: str, fault: Fault) -> None:
        """Remember that an attachment cannot be had, so that it is not tried again and again.

        Raises:
            OSError: It is not possible.
        """
        self._new(f"{_checked(media)}.{fault}").close()

    def fault(self, media: str) -> Fault | None:
        """Return why an attachment cannot be had, None if that is not known."""
        for fault in PERMANENT:
            if (self.folder / f"{_checked(media)}.{fault}").exists():
                return fault
        return None

    def forget_fault(self, media: str) -> None:
        """Forget why an attachment could not be had."""
        for fault in PERMANENT:
            self._remove(f"{_checked(media)}.{fault}")

    def sweep(self, is_known: Callable[[str], bool], before: float) -> int:
        """Remove what no entry of the inbox names any more, and what is older than a time.

        Args:
            is_known: Tells whether an entry names an attachment.
            before: Unix seconds.

        Returns:
            How many attachments were removed.
        """
        removed = 0
        for entry in self._entries():
            media, _, rest = entry.name.partition(".")
            ours = is_id(media) and (not rest or rest in _FAULTS)
            with contextlib.suppress(FileNotFoundError):
                old = entry.stat(follow_symlinks=False).st_mtime < before
                if ours and ((old and not rest) or not is_known(media)):
                    self._remove(entry.name)
                    removed += not rest
        return removed

    def free(self) -> int:
        """Return the bytes that are free for this user.

        Raises:
            OSError: It cannot be told.
        """
        about = os.statvfs(self.folder)
        return about.f_bavail * about.f_frsize

    def _new(self, name: str) -> IO[bytes]:
        self._remove(name)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.folder / name, flags, 0o600), "w+b")

    def _new_name(self, before: str, name: str) -> None:
        (self.folder / before).replace(self.folder / name)

    def _sync(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            (self.folder / name).unlink()

    def _entries(self) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []


def open_file(messages: Path, media: str) -> IO[bytes]:
    """Open an attachment to read it as it is, for everybody but the account's process.

    Args:
        messages: The folder of the account's messages.
        media: The attachment's identifier.

    Raises:
        FileNotFoundError: It is not there.
        OSError: It cannot be opened, or something else is in its place: a link, or a file with two names.
    """
    folder = _open_folder(messages)
    try:
        descriptor = os.open(_checked(media), _FLAGS | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
        os.close(descriptor)
        raise OSError("it is not a file of the account's own")
    return os.fdopen(descriptor, "rb")


def is_there(messages: Path, media: str) -> bool:
    """Tell whether an attachment is there, for everybody but the account's process.

    Args:
        messages: The folder of the account's messages.
        media: The attachment's identifier.
    """
    try:
        open_file(messages, media).close()
    except OSError:
        return False
    return True


def usage(messages: Path) -> Usage:
    """Return how many attachments an account has and what they take, for everybody.

    Args:
        messages: The folder of the account's messages.
    """
    try:
        folder = _open_folder(messages)
    except OSError:
        return Usage(0, 0)
    sizes: list[int] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    sizes += [entry.stat(follow_symlinks=False).st_size] if is_id(entry.name) else []
    finally:
        os.close(folder)
    return Usage(len(sizes), sum(sizes))


def _open_folder(messages: Path) -> int:
    folder = os.open(messages, _FLAGS | os.O_DIRECTORY)
    try:
        return os.open(FOLDER, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
    finally:
        os.close(folder)


def _checked(media: str) -> str:
    if not is_id(media):
        raise ValueError("not the identifier of an attachment")
    return media
