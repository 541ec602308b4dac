"""Open files without following links, replace files as a whole, and find what keeps a user from a file."""

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
    """Open a regular file. The function follows no link in the file's place and waits for no pipe.

    Args:
        path: The file. The function follows links among the folders above the file.
        flags: The flags of `os.open`. With ``O_CREAT``, a missing file is made for this user alone (0600).
        dir_fd: The open folder that a relative path starts from.

    Returns:
        The descriptor, which the system closes on exec.

    Raises:
        OSError: The file cannot be opened. A symbolic link gives ``ELOOP``. A folder, a pipe or a device
            gives ``EINVAL``, unless the system refuses first.
    """
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a regular file", str(path))
    return descriptor


def open_folder(path: str | Path, *, dir_fd: int | None = None) -> int:
    """Open a folder, to reach the files in it by its descriptor. The function follows no link in its place.

    Args:
        path: The folder. The function follows links among the folders above it.
        dir_fd: The open folder that a relative path starts from.

    Returns:
        The descriptor, which the system closes on exec.

    Raises:
        OSError: The folder cannot be opened. A symbolic link or a file gives ``ENOTDIR``.
    """
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def read_file(path: str | Path, size: int, *, dir_fd: int | None = None) -> bytes:
    """Return the first bytes of a file, at most ``size``, and open the file as `open_file` does.

    Raises:
        OSError: The file cannot be opened or read.
    """
    with os.fdopen(open_file(path, dir_fd=dir_fd), "rb") as file:
        return file.read(size)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that takes the place of the file at a path, as a whole, when the context ends.

    The new file is for this user alone (0600). A caller who wants another mode or owner sets them before the
    first write. The new file also replaces a symbolic link. After an error, in the context or at its end, the
    file at the path is as before, and the new file is gone. Only a killed process leaves its new file, under
    a name that `is_temporary` knows.

    The function does not wait for the disk. A caller whose file must outlast a power failure calls `sync` at
    the end of the context.

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
    """Tell whether a name is one of those that unfinished files and sockets have.

    The names are ``.NAME.01234567.tmp`` for a file, and ``.01234567.s`` for a socket, whose path has a limit.
    """
    return _TEMPORARY.fullmatch(name) is not None


def temporary_name(name: str) -> str:
    """Return a name for the unfinished form of a file that will be called ``name``."""
    return f".{name}.{os.urandom(4).hex()}.tmp"


def finished_name(name: str) -> str | None:
    """Return the name that a file has when it is finished, or None if ``name`` is no temporary name."""
    match = _TEMPORARY.fullmatch(name)
    return match and match[1]


def temporary_socket_name() -> str:
    """Return a short name for an unfinished socket: the path of a socket has a limit."""
    return f".{os.urandom(4).hex()}.s"


def sweep(folder: Path, *, of: str | None = None) -> None:
    """Remove what killed processes have left in a folder under temporary names. The function never raises.

    The function removes files, sockets, links and empty folders. The caller holds a lock, so that nobody
    makes a file in the folder meanwhile.

    Args:
        folder: The folder, which may be missing.
        of: The finished name of the files to remove, or None for all.
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


def remove(path: Path) -> None:
    """Remove what is at a path, if there is something: a file, a link, or a folder with all that is in it.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, however deep the folders in it are. The function follows no link.

    Raises:
        OSError: Something cannot be removed, or the folder is missing.
    """
    top = _open_up(folder)
    try:
        while names := os.listdir(top):  # noqa: PTH208 - of a descriptor
            for name in names:
                _remove_entry(top, name)
    finally:
        os.close(top)
    folder.rmdir()


def _remove_entry(top: int, name: str) -> None:
    """Remove a file, or a folder whose own folders move up to the top first: so depth needs no stack."""
    if _unlink(name, top):
        return
    folder = _open_up(name, dir_fd=top)
    try:
        for entry in os.listdir(folder):  # noqa: PTH208 - of a descriptor
            if not _unlink(entry, folder):
                os.close(_open_up(entry, dir_fd=folder))  # or it could not be moved
                os.rename(entry, temporary_name("removed"), src_dir_fd=folder, dst_dir_fd=top)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)


def _unlink(name: str, folder: int) -> bool:
    """Remove an entry; return False if it is a folder."""
    try:
        os.unlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):  # Linux says the first, POSIX the second
            raise
        return False
    return True


def _open_up(path: str | Path, *, dir_fd: int | None = None) -> int:
    """Open a folder whose mode closes it to its owner as well."""
    closed = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.chmod(f"/proc/self/fd/{closed}", 0o700)  # noqa: PTH101 - fchmod() does not take O_PATH
    finally:
        os.close(closed)
    return open_folder(path, dir_fd=dir_fd)


def sync(file: BinaryIO) -> None:
    """Write a file through to the disk, so that the file outlasts a power failure.

    Raises:
        OSError: The file cannot be written.
    """
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Write the list of a folder's files through to the disk.

    Raises:
        OSError: The folder cannot be opened or written.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_closed(path: Path, uid: int, groups: Container[int]) -> tuple[Path, int] | None:
    """Find what keeps a user from reading a file or listing a folder: that path, or a folder above the path.

    The function judges by modes alone. Access control lists do not count.

    Args:
        path: The file or folder, absolute.
        uid: The user, or -1 for a user who owns no file.
        groups: The groups of the user.

    Returns:
        The first path from the root on that is closed to the user, and its mode. None if all are open.

    Raises:
        OSError: A path is missing or cannot be examined. ``filename`` names the path.
    """
    for place in (*reversed(path.parents), path):
        about = place.stat()
        wanted = 0o4 if not stat.S_ISDIR(about.st_mode) else 0o5 if place == path else 0o1
        shift = 6 if about.st_uid == uid else 3 if about.st_gid in groups else 0
        if about.st_mode >> shift & wanted != wanted:
            return place, stat.S_IMODE(about.st_mode)
    return None
