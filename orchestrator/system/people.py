"""Who a process belongs to: the user who had logged in, and the names of users."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_PASSWD: Final = Path("/etc/passwd")
_MOST: Final = 1024 * 1024
"""Bytes of the file of users that are read: some 15,000 users."""
_UNSET: Final = 2**32 - 1
"""What the kernel says of a process that no log-in has led to."""


def login_of(process: int, user: int, proc: Path = _PROC) -> int | None:
    """Return the user who had logged in before a process was started, also through sudo or su.

    The kernel keeps that number for each process and hands it down to its children. pam_loginuid sets it at
    a log-in. Only a process that has none, and one with CAP_AUDIT_CONTROL, can set it.

    Args:
        process: The process.
        user: The user whose rights it is known to have: another process may have got its number meanwhile.
        proc: Where the kernel tells of processes.

    Returns:
        The user; None if nobody knows, as in most containers.
    """
    try:
        folder = proc / str(process)
        login = int((folder / "loginuid").read_text(encoding="ascii"))
        status = (folder / "status").read_text(encoding="ascii", errors="replace")
        (ids,) = (line for line in status.splitlines() if line.startswith("Uid:"))
        effective = int(ids.split()[2])
    except (OSError, ValueError, IndexError):
        return None
    return login if effective == user and 0 <= login < _UNSET else None


def names(users: Iterable[int], file: Path = _PASSWD) -> dict[int, str]:
    """Return the names of users of this machine, as far as there are any.

    Directories of users elsewhere, such as LDAP, are not asked: a service must not wait for them.

    Args:
        users: The users.
        file: The file with the names.
    """
    wanted = {str(user): user for user in users}
    found: dict[int, str] = {}
    try:
        with file.open("rb") as passwd:
            text = passwd.read(_MOST)
    except OSError:
        return found
    for line in text.decode(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[0] and fields[2] in wanted:
            found.setdefault(wanted[fields[2]], fields[0])
    return found
