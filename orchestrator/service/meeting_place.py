"""The folder in which the fork server listens: one of our own, which nobody else cleans up or enters."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Sequence
from pathlib import Path

from orchestrator.system.os_errors import trouble

_DESCRIPTORS = "/proc/self/fd"


class MeetingPlace:
    """Keeps a private folder for sockets, and makes it again when somebody has removed it.

    A socket's path may have 107 bytes. The folder is therefore named through an open descriptor of this
    process, which is short wherever the folder is.

    Args:
        folders: Where the folder may be, the best place first.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(folders)
        self._folder: Path | None = None
        self._fd = -1
        self._swept = False

    def path(self) -> str:
        """Return the folder's path for sockets, valid in this process only; the folder is made if need be.

        Raises:
            OSError: No place can be used.
        """
        if self._is_sound():
            return f"{_DESCRIPTORS}/{self._fd}"
        self._let_go()
        first: OSError | None = None
        for folder in self._folders:
            try:
                self._fd = _open(folder)
            except OSError as error:
                why = trouble(error)
                first = first or OSError(error.errno, f"the folder {folder} cannot be used: {why}")
            else:
                self._folder = folder
                self._sweep()
                return f"{_DESCRIPTORS}/{self._fd}"
        assert first is not None, "there is at least one place"
        raise first

    def close(self) -> None:
        """Remove the folder and the sockets in it."""
        folder = self._folder
        self._let_go()
        if folder is not None:
            with contextlib.suppress(OSError):
                sweep(folder)
                folder.rmdir()

    def _is_sound(self) -> bool:
        """Tell whether the open folder is still the one at its place; its mode is mended."""
        if self._folder is None:
            return False
        try:
            there, ours = self._folder.lstat(), os.fstat(self._fd)
            if not os.path.samestat(there, ours):
                return False
            if stat.S_IMODE(ours.st_mode) != 0o700:
                Path(f"{_DESCRIPTORS}/{self._fd}").chmod(0o700)
        except OSError:
            return False
        return True

    def _sweep(self) -> None:
        """Remove what an earlier service has left behind, once: later, all in the folder is our own."""
        if not self._swept and self._folder is not None:
            self._swept = True
            with contextlib.suppress(OSError):
                sweep(self._folder)

    def _let_go(self) -> None:
        self._folder = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def sweep(folder: Path) -> None:
    """Remove the sockets on which nobody listens any more: a service that was killed leaves them behind.

    Raises:
        OSError: The folder cannot be read.
    """
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode) and not _is_heard(path):
                path.unlink()


def _open(folder: Path) -> int:
    """Make the folder if it is missing, close it to others, and return a descriptor of it.

    Raises:
        OSError: It cannot be used.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(0o700)
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if about.st_uid != os.geteuid():
            raise PermissionError(errno.EACCES, "belongs to another user: remove it", str(folder))
        through = f"{_DESCRIPTORS}/{descriptor}"
        if stat.S_IMODE(about.st_mode) != 0o700:
            Path(through).chmod(0o700)
        _try_socket(f"{through}/{secrets.token_hex(4)}")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _try_socket(path: str) -> None:
    """See that sockets can be made there: some file systems have none.

    Raises:
        OSError: They cannot.
    """
    with socket.socket(socket.AF_UNIX) as trial:
        trial.bind(path)
        Path(path).unlink()


def _is_heard(path: Path) -> bool:
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            return probe.connect_ex(f"{_DESCRIPTORS}/{descriptor}/{path.name}") != errno.ECONNREFUSED
    finally:
        os.close(descriptor)
