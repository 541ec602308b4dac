"""Files that are opened without following a link and replaced as a whole, and what keeps others from one."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp|\.[0-9a-f]{8}\.s")


def open_file(path: str | Path, flags: int = os.O_RDONLY, *, dir_fd: int | None = None) -> int:
    """Open a regular file; of what else is in its place no link is followed and no pipe waited for.

    Args:
        path: The file. Links among the folders above it are followed.
        flags: What for; with ``O_CREAT`` it is made if need be, for this user alone (0600).
        dir_fd: The open folder that a relative path starts from.

    Returns:
        The descriptor, which is closed on exec.

    Raises:
        OSError: It cannot be opened: for a symbolic link with ``ELOOP``, for a folder, a pipe or a device
            with ``EINVAL`` unless the system has refused it before.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return descriptor


def read_file(path: str | Path, size: int, *, dir_fd: int | None = None) -> bytes:
    """Return what is in a file that `open_file` opens, at most ``size`` bytes from its start.

    Raises:
        OSError: It cannot be opened or read.
    """
    with os.fdopen(open_file(path, dir_fd=dir_fd), "rb") as file:
        return file.read(size)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of the one at a path, whole, when the context ends.

    It is for this user alone (0600) until it is given another mode or owner, which is best done before it is
    written. A symbolic link at the path is replaced, too. After an error, in the context or at its end, what
    was at the path is as before, and nothing is left of the new file; only a process that is killed leaves
    one, under a name that `is_temporary` knows.

    Nothing waits for the disk: what is to outlast a power failure needs `sync` at the end of the context.

    Raises:
        OSError: The file cannot be made, written or put in its place.
    """
    temporary = path.with_name(temporary_name(path.name))
    descriptor = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def is_temporary(name: str) -> bool:
    """Tell whether a name is one that `replacing` and others give to what they make until it is done.

    That is ``.NAME.01234567.tmp``, or for a socket, whose path has a limit, ``.01234567.s``.
    """
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name(name: str) -> str:
    """Return a name under which to make what is to be called ``name`` once it is done."""
    return f".{name}.{os.urandom(4).hex()}.tmp"


def finished_name(name: str) -> str | None:
    """Return what is to be called otherwise once it is done; None if a name is no `temporary_name`."""
    match = _TEMPORARY.fullmatch(name)
    return match and match[1]


def temporary_socket_name() -> str:
    """Return a name under which to make a socket, whose path has a limit."""
    return f".{os.urandom(4).hex()}.s"


def sweep(folder: Path, *, of: str | None = None) -> None:
    """Remove what was left in a folder under temporary names because its maker was killed; never raises.

    Only a file, a socket, a link or an empty folder is removed. Nobody may be making something in there
    meanwhile, which a lock sees to.

    Args:
        folder: The folder; it may be missing.
        of: Only what was to be called that.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    except OSError:
        return
    for name in names:
        match = _TEMPORARY.fullmatch(name)
        if match and of in (None, match[1]):
            path = folder / name
            with suppress(OSError):
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()


def sync(file: BinaryIO) -> None:
    """Write a file through to the disk, so that a power failure does not take it back.

    Raises:
        OSError: It cannot be written.
    """
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write through to the disk which files a folder has.

    Raises:
        OSError: It cannot be opened or written.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_closed(path: Path, uid: int, groups: Container[int]) -> tuple[Path, int] | None:
    """Find what keeps somebody from reading a file, or from listing a folder: it, or a folder above it.

    Modes decide; access lists are not looked at.

    Args:
        path: The file or folder, absolute.
        uid: Whose files are theirs, -1 for nobody's.
        groups: The groups they are in.

    Returns:
        The first place from the root on that is closed to them, and its mode; None if none is.

    Raises:
        OSError: A place is missing or cannot be looked at; ``filename`` says which.
    """
    for place in (*reversed(path.parents), path):
        about = place.stat()
        wanted = 0o4 if not stat.S_ISDIR(about.st_mode) else 0o5 if place == path else 0o1
        shift = 6 if about.st_uid == uid else 3 if about.st_gid in groups else 0
        if about.st_mode >> shift & wanted != wanted:
            return place, stat.S_IMODE(about.st_mode)
    return None
