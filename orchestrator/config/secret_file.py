"""Files that hold one secret of the configuration, such as a proxy's URL with its password.

Kubernetes shows a Secret as a folder of links: ``NAME`` leads to ``..data/NAME``, and ``..data`` to the
folder of the newest version. The files there are root's, and the group of the pod (fsGroup) may read them.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from orchestrator.accounts import characters
from orchestrator.system import trust
from orchestrator.system.files import open_file
from orchestrator.system.folders import user_name
from orchestrator.system.os_errors import trouble

MAX_SIZE = 16 * 1024
"""Bytes of the file. The longest URL that a proxy can use has about 12,000."""
_VERSION = "..data"
"""The link of a Secret that leads to its newest version."""


def read_line(path: Path) -> str:
    """Return the one line of a file that only its owner and the service may read and write.

    Args:
        path: The file, absolute. A symbolic link in its place is refused.

    Raises:
        ValueError: The file cannot be used. The message says what is there instead, without any content.
    """
    return read_lines(path, most=1)[0]


def read_lines(path: Path, *, most: int) -> list[str]:
    """Return the lines of a file that only its owner and the service may read and write.

    The file belongs to root or to this user. Its group may read it only if its folder gives files to that
    group, as the folder in /etc of a service that systemd runs does, or if root has given it to a group in
    which is nobody but this user, as Kubernetes does.

    Args:
        path: The file, absolute. A symbolic link in its place is refused, but for that of a Secret.
        most: How many lines it may have. At least one has text.

    Raises:
        ValueError: The file cannot be used. The message says what is there instead, without any content.
    """
    try:
        with os.fdopen(open_file(_of_secret(path)), "rb") as file:
            _check(path, os.fstat(file.fileno()))
            data = file.read(MAX_SIZE + 1)
    except OSError as error:
        raise ValueError(f"{path}, which {_reason(error)}") from None
    if len(data) > MAX_SIZE:
        raise ValueError(f"{path}, which has more than {MAX_SIZE:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}, which is not text in UTF-8") from None
    if not text.strip():
        raise ValueError(f"{path}, which is empty")
    lines = text.removesuffix("\n").removesuffix("\r").splitlines()
    if len(lines) > most:
        raise ValueError(f"{path}, which has more than {'one line' if most == 1 else f'{most} lines'}")
    for line in lines:
        if (unseen := characters.find_unseen(line)) is not None:
            raise ValueError(f"{path}, which has {characters.at(line, unseen)}")
    return lines


def _check(path: Path, about: os.stat_result) -> None:
    mode = stat.S_IMODE(about.st_mode)
    if about.st_uid not in (0, os.geteuid()):
        owner, us = user_name(about.st_uid), user_name(os.geteuid())
        raise ValueError(f"{path}, which belongs to {owner}: only root or {us} may own it")
    open_to_group = mode & 0o070
    if open_to_group == 0o040 and (_is_for_us(about) or _gives_to_group(path.parent, about.st_gid)):
        open_to_group = 0
    if mode & 0o007 or open_to_group:
        raise ValueError(f"{path}, which other users may read or write: `chmod 600 {path}`")


def _of_secret(path: Path) -> Path:
    """Return where the file of a Secret is, if this is one; otherwise the path as it is.

    Raises:
        OSError: The link cannot be read.
    """
    if not path.is_symlink():
        return path
    target = path.readlink()
    if target.parts[:1] != (_VERSION,) or ".." in target.parts or trust.weak_for_us(trust.read_way(path)):
        return path
    return path.parent / target


def _is_for_us(about: os.stat_result) -> bool:
    """Tell whether root has given a file to a group in which is nobody but this user."""
    us = os.geteuid()
    return about.st_uid == 0 != us and about.st_gid in _groups() and trust.is_private(about.st_gid, {0, us})


def _groups() -> set[int]:
    return {os.getegid(), *os.getgroups()}


def _gives_to_group(folder: Path, group: int) -> bool:
    """Tell whether a folder is meant for a group: it gives its files to it, and only it may look inside."""
    about = folder.stat()
    wanted = stat.S_ISGID | stat.S_IRGRP | stat.S_IXGRP
    return about.st_gid == group and about.st_mode & wanted == wanted and not about.st_mode & 0o007


def _reason(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            return "does not exist"
        case errno.EINVAL | errno.ENXIO:
            return "is no regular file"
        case errno.ELOOP:
            return "is a symbolic link: name the file itself"
        case errno.EACCES | errno.EPERM:
            return "this user may not read"
        case errno.ENAMETOOLONG:
            return "has too long a name"
    return f"cannot be read: {trouble(error)}"
