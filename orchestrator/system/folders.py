"""Folders for secrets: made, opened and kept so that no other user can enter them."""

from __future__ import annotations

import errno
import os
import pwd
import stat
from pathlib import Path
from typing import Self

from orchestrator.errors import StateError
from orchestrator.system.files import is_temporary
from orchestrator.system.os_errors import FORBIDDEN, advice
from orchestrator.system.units import find_unit

UNMAPPED = 65534
"""The owner of a file whose real owner the user namespace does not know: overflowuid in proc_sys_kernel(5).
That is the id of the user nobody, who runs no services."""


class Folder:
    """An open folder. All work goes through its descriptor, so no one can swap the folder meanwhile.

    Attributes:
        path: The folder as messages name it.
    """

    def __init__(self, path: Path, descriptor: int, *, inside_ours: bool = False) -> None:
        self.path = path
        self._fd = descriptor
        self._inside_ours = inside_ours

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @classmethod
    def open(cls, path: Path) -> Folder:
        """Open a folder, and make it if need be.

        The folder may be a symbolic link that root or this user made. systemd's DynamicUser= makes such
        links, and so do operators.

        Raises:
            StateError: The folder cannot be used.
        """
        real = path
        try:
            if path.is_symlink():
                owner = path.lstat().st_uid
                if owner not in (0, os.geteuid()):
                    raise StateError(
                        f"{path}: is a symbolic link made by {user_name(owner)}: remove the link"
                    )
                real = path.resolve()
            make_folder(real)
            return cls(path, os.open(real, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
        except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle, until Python 3.13
            raise _trouble(path, error) from None

    def child(self, path: Path) -> Folder:
        """Open a folder inside this one, and make it if need be.

        Raises:
            StateError: The folder cannot be used, or is a symbolic link.
        """
        name = path.name
        inside_ours = os.fstat(self._fd).st_uid == os.geteuid()
        try:
            try:
                os.mkdir(name, 0o700, dir_fd=self._fd)
            except FileExistsError:
                if stat.S_ISLNK(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode):
                    raise StateError(
                        f"{path}: is a symbolic link, but a folder is needed: remove the link"
                    ) from None
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            return Folder(path, os.open(name, flags, dir_fd=self._fd), inside_ours=inside_ours)
        except OSError as error:
            raise _trouble(path, error, inside_ours=inside_ours) from None

    def close_to_others(self, *, tolerated: int = 0, known: frozenset[str] | None = None) -> list[str]:
        """Check that the folder belongs to this user, and let no other user enter it.

        Args:
            tolerated: Permissions that others may keep.
            known: Names of what may be in a folder that is to be closed. A folder with other things in it is
                probably used by others, and stays as it is. None: close the folder whatever is in it.

        Returns:
            What was repaired, a sentence each.

        Raises:
            StateError: The folder belongs to another user, others use it too, or it cannot be closed.
        """
        try:
            status = os.fstat(self._fd)
            if status.st_uid != os.geteuid():
                raise _belongs_to_another(self.path, status.st_uid, inside_ours=self._inside_ours)
            mode = stat.S_IMODE(status.st_mode)
            if mode & 0o700 == 0o700 and not mode & 0o077 & ~tolerated:
                return []
            # As root, a mistaken `state_dir: /tmp` would otherwise lock everybody out of /tmp.
            names = os.listdir(self._fd)  # noqa: PTH208 - of the descriptor, not of a path
            unknown = [name for name in names if known is not None and name not in known]
            if mode & stat.S_ISVTX or not all(map(is_temporary, unknown)):
                raise StateError(
                    f"{self.path}: contains other files, and other users can enter it (mode {mode:04o}):"
                    " choose a folder for the service alone, or close this one with `chmod 700`"
                )
            os.fchmod(self._fd, 0o700)
            if stat.S_IMODE(os.fstat(self._fd).st_mode) & 0o077:
                raise StateError(
                    f"{self.path}: stays open to other users after `chmod 700`: choose a folder on a file"
                    " system that supports modes"
                )
        except OSError as error:
            raise _trouble(self.path, error) from None
        return [f"{self.path}: changed the mode from {mode:04o} to 0700, so that no other user can enter"]


def make_folder(path: Path) -> None:
    """Make a folder and the folders above it, for this user alone, as the XDG rules say.

    Raises:
        StateError: A folder cannot be made.
    """
    wanted = path
    try:
        missing: list[Path] = []
        while not path.exists():
            missing.append(path)
            path = path.parent
        for folder in reversed(missing):
            try:
                folder.mkdir(0o700)
            except FileExistsError:
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise _trouble(wanted, error) from None


def advice_on_owner(owner: int, *, inside_ours: bool = False) -> str:
    """Say what to do about another user's folder. That user's service may need the folder.

    Args:
        owner: The user's id.
        inside_ours: The folder is inside a state folder of this user, so the service is this user's, too.
    """
    give = f"give the folder to {user_name(os.geteuid())} with `chown -R`"
    if inside_ours:
        return give
    if owner == 0:
        return f"use sudo if root runs the service, or {give}"
    if runs_services(owner):
        return f"run this as the folder's user: `sudo -u {user_name(owner)} orchestrator …`"
    return give


def _belongs_to_another(path: Path, owner: int, *, inside_ours: bool) -> StateError:
    steps = [advice_on_owner(owner, inside_ours=inside_ours)]
    if unit := find_unit(path):
        start = f"start the service with `systemctl start {unit}`"
        steps = [start, *steps] if runs_services(owner) else [start]
    whose = f"belongs to {user_name(owner)}, but this user is {user_name(os.geteuid())}"
    return StateError(f"{path}: {whose}: {', or '.join(steps)}")


def runs_services(uid: int) -> bool:
    """Tell whether an id may be a service's user: not root, not nobody, and not a user who was removed."""
    try:
        return uid not in (0, UNMAPPED) and bool(pwd.getpwuid(uid))
    except KeyError:
        return False


def _owner(path: Path) -> int:
    """Return the owner of a folder; this user if the owner is unknown."""
    try:
        return path.stat().st_uid
    except OSError:
        return os.geteuid()


def _trouble(path: Path, error: Exception, *, inside_ours: bool = False) -> StateError:
    """Say what is wrong with a folder and what to do about it."""
    if not isinstance(error, OSError):
        error = OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if error.errno in FORBIDDEN and (owner := _owner(path)) != os.geteuid():
        return _belongs_to_another(path, owner, inside_ours=inside_ours)
    return StateError(f"{path}: {advice(error, 'state folder', user=user_name(os.geteuid()))}")


def user_name(uid: int) -> str:
    """Return a user's name, or words for a user who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
