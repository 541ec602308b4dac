"""What the operating system's errors mean and what to do about them: one table for all places.

The same number asks for something else in the folder of codes than in the configuration file. So the table
has a part for each place. A place without words for a number says what the machine lacks, or quotes the
system.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from typing import Final, Literal

At = Literal["machine", "state folder", "picture", "picture group", "read config", "write config"]
"""Where an error happened."""

DISK_FULL: Final = "the disk is full: make room"
NO_MEMORY: Final = "no memory is left: end other programs"
DISK_BROKEN: Final = "the disk does not work: see the system log"
TOO_MANY_FILES: Final = "too many open files: raise the limit (`ulimit -n`, or LimitNOFILE=)"
FORBIDDEN: Final = (errno.EACCES, errno.EPERM)
"""The user may not do this."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT)
"""There is no room left for this user."""
NO_FOLDER: Final = "a file is where a folder is needed: move it away"
NOT_KEPT: Final = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
"""How a file system refuses what it has no room for, such as modes, groups or times."""

_OTHER: Final = 0
"""Stands for all numbers that a place has no words for."""
_OR_ANOTHER: Final = "or choose another folder with qr_dir"

_TABLE: Final[Mapping[At, Mapping[int | tuple[int, ...], str]]] = {
    "machine": {
        errno.ENOSPC: DISK_FULL,
        errno.EDQUOT: "this user's disk quota is used up: make room",
        errno.EROFS: "the disk is read-only, which may mean that it is broken: see the system log",
        errno.EIO: DISK_BROKEN,
        errno.EMFILE: TOO_MANY_FILES,
        errno.ENFILE: "too many open files on this machine: end other programs",
        errno.EAGAIN: "no further process is allowed: raise the limit (`ulimit -u`, or TasksMax=)",
        (errno.ENOMEM, errno.ENOBUFS): NO_MEMORY,
    },
    "state folder": {
        (errno.EEXIST, errno.ENOTDIR): f"{NO_FOLDER}, or choose another folder",
        FORBIDDEN: "{user} may not use this folder: give it to {user}, or choose another with --state-dir",
        errno.EROFS: "is on a read-only file system: choose another folder with --state-dir",
        FULL: DISK_FULL,
        errno.ELOOP: "its symbolic links lead in a circle: remove them",
        errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
        _OTHER: "cannot be used: {why}",
    },
    "picture": {
        FULL: f"{DISK_FULL}, {_OR_ANOTHER}",
        errno.EROFS: "is on a read-only file system: choose another folder with qr_dir",
        errno.EACCES: f"this user may not write there: change the owner of the folder, {_OR_ANOTHER}",
        errno.EPERM: "is protected from changes: run `chattr -i -a` if `lsattr -d` shows i or a, or remove"
        f" the files of other users there, {_OR_ANOTHER}",
        (errno.ENOTDIR, errno.EEXIST, errno.ELOOP): "is not a folder, or is a symbolic link of another user:"
        " remove it",
        (errno.EISDIR, errno.ENOTEMPTY): "a folder is in the picture's place: remove it",
        (errno.EBUSY, errno.EXDEV): f"something is mounted in the picture's place: unmount it, {_OR_ANOTHER}",
        errno.ENOENT: f"was removed, or is a link to nothing: make the folder, {_OR_ANOTHER}",
        errno.ENAMETOOLONG: "its path is too long: choose another folder with qr_dir",
        errno.EFBIG: "a picture is larger than files may be: raise the limit (`ulimit -f`, or LimitFSIZE=)",
        (
            errno.ESTALE,
            errno.ENOTCONN,
            errno.ETIMEDOUT,
            errno.EHOSTDOWN,
            errno.ENXIO,
            errno.ENODEV,
        ): f"its file system is gone or does not answer: mount it again, {_OR_ANOTHER}",
        errno.EAGAIN: f"another program holds the files there: end it, {_OR_ANOTHER}",
        _OTHER: "cannot be used for QR codes: {why}",
    },
    "picture group": {
        errno.EINVAL: "does not exist inside this container: map it, or change qr_group",
        (errno.EOPNOTSUPP, errno.ENOSYS): "cannot own files there, because the file system keeps no groups:"
        " choose another folder with qr_dir",
        _OTHER: "cannot be given files by this user: make the user a member of the group, or choose another"
        " folder with qr_dir if this one is on FAT or a network share",
    },
    "read config": {
        errno.ENOENT: "there is no such file; make one with `orchestrator add NAME`, or name another with"
        " --config",
        FORBIDDEN: "this user may not read it; start as the user it belongs to, or let this one read it",
        errno.EISDIR: "expected a file, found a folder",
        errno.ENXIO: "expected a file, found a pipe, socket or device",
        errno.ELOOP: "its symbolic links lead in a circle",
        errno.ENOTDIR: "a part of this path is a file, not a folder; name another with --config",
        _OTHER: "cannot be read: {why}",
    },
    "write config": {
        FORBIDDEN: "this user may not write in {folder}: start as the user it belongs to, or with sudo",
        errno.EROFS: "{folder} is on a read-only file system: edit the file where it comes from",
        (errno.EBUSY, errno.EXDEV): "the file is mounted by itself and cannot be replaced: mount its folder"
        " instead",
        (*FULL, errno.EFBIG): DISK_FULL,
        (errno.ENOENT, errno.ENOTDIR, errno.EEXIST): "{folder} is no folder",
        _OTHER: "it cannot be written: {why}",
    },
}
_WORDS: Final = {
    "cannot allocate memory": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,
    "can't start new thread": errno.EAGAIN,
}
"""How the loader of libraries and Python say it, where there is no number."""


def _words(at: At, number: int) -> str | None:
    for numbers, text in _TABLE[at].items():
        if number == numbers or (isinstance(numbers, tuple) and number in numbers):
            return text
    return None


def shortage(error: BaseException) -> str | None:
    """Say what the machine lacks, and what to do; None if an error is about something else."""
    if isinstance(error, MemoryError):
        return NO_MEMORY
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        text = str(error).lower()
        number = next((number for words, number in _WORDS.items() if words in text), None)
    return _words("machine", number) if number else None


def trouble(error: OSError) -> str:
    """Say what is wrong with a file, with what to do where that is known."""
    if error.errno == errno.ELOOP and error.strerror == os.strerror(errno.ELOOP):
        return "is a symbolic link: remove it"  # which is never followed here
    if error.errno == errno.ENOTDIR and error.strerror == os.strerror(errno.ENOTDIR):
        return NO_FOLDER
    return shortage(error) or error.strerror or str(error) or os.strerror(error.errno or 0)


def advice(error: OSError, at: At, **names: object) -> str:
    """Say what is wrong in a place, and what to do.

    Args:
        error: What the operating system said.
        at: The place.
        names: What the words of that place name: ``user`` of a state folder, ``folder`` of a configuration
            that is written.
    """
    text = _words(at, error.errno or 0) or _words(at, _OTHER) or "{why}"
    return text.format(why=trouble(error), **names)
