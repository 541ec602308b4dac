"""QR codes to link an account with: as pictures in a folder that others watch, and as text for a terminal.

The pictures are drawn in the children, which have the libraries for it anyway; the parent, which has the
folder, gets them ready and imports neither qrcode nor Pillow by this module.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import re
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.accounts.characters import remark
from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.errors import StateError
from orchestrator.store.codes.draw import EXPIRES
from orchestrator.system import trust
from orchestrator.system.files import finished_name, open_file, read_file, sweep, temporary_name
from orchestrator.system.os_errors import FULL, NOT_KEPT, advice

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_MARK: Final = b"tEXt" + EXPIRES.encode() + b"\0"
_HEAD: Final = 512
"""Bytes of a picture within which the mark is: text comes before the pixels."""
_TICK: Final = 1_000_000_000
"""Nanoseconds; the times of files have steps of some milliseconds."""
_PICTURE = re.compile(rf"{NAME_PATTERN}\.png")


class _UnfitError(StateError):
    """A file cannot be made as it must be. The message says what to do, without the place."""

    key = "qr_dir_unusable"


@dataclass(slots=True)
class _Shown:
    """A picture as it was put into the folder.

    Attributes:
        png: Its content.
        identity: The device and the inode of its file.
        looked_at: When the file last changed by the time its content was found to be right, in nanoseconds.
    """

    png: bytes
    identity: tuple[int, int]
    looked_at: int = -1


class QrFolder:
    """The folder with a picture ``NAME.png`` for each account that waits to be linked.

    Whoever watches it sees complete pictures only: each is written under a hidden name that does not end in
    ``.png`` and then renamed. Whatever is found in the folder is never followed if it is a symbolic link. The
    folder itself may be one, if root or this user made it.

    Whoever scans a code links a phone to the account that shows the code, so nobody else may put pictures
    there: neither the folder nor one above it may be writable for others. The group reads, and no more.

    Args:
        path: Where it is, absolute.
        group: Name or number of the group that may read the pictures; None for nobody else.
    """

    def __init__(self, path: Path, group: str | None = None) -> None:
        self._folder = path
        self._group = group
        self._shown: dict[str, _Shown] = {}

    def path(self, name: str) -> Path:
        """Return where an account's picture is, or would be."""
        return self._folder / f"{name}.png"

    def prepare(self, names: Iterable[str] = ()) -> None:
        """Make the folder if it is missing, see that it can be used, and remove what is out of date.

        That is every picture that `render` has drawn, every file that `show` did not get done with, and for
        the accounts that are named their picture, whoever made it. Other files are let alone: the folder may
        be one that others use, too.

        Args:
            names: The accounts there are.

        Raises:
            StateError: The folder cannot be made or written to, others may put pictures there, or the group
                cannot be given access. That the disk is full is no error here.
        """
        ours = {f"{name}.png" for name in names}
        try:
            with self._open() as folder:
                sweep(self._folder.parent, of=self._folder.name)
                self._let_group_in(folder)
                self._probe(folder)
                for name in os.listdir(folder):  # noqa: PTH208 - of a descriptor
                    if name in ours or _is_unfinished(name) or _is_code(name, folder):
                        with contextlib.suppress(IsADirectoryError, FileNotFoundError):
                            os.unlink(name, dir_fd=folder)
        except OSError as error:
            raise StateError(f"{self._folder}: {advice(error, 'picture')}", key="qr_dir_unusable") from None
        except _UnfitError as error:
            raise StateError(f"{self._folder}: {error}", key="qr_dir_unusable") from None

    def show(self, name: str, png: bytes, issued_at: float) -> None:
        """Put an account's picture into the folder, in place of the one before.

        If that fails, the one before is removed all the same, as its code does not hold any more.

        Args:
            name: The account.
            png: The picture.
            issued_at: When the code was issued, in Unix seconds: the file's modification time.

        Raises:
            OSError: It could not be written; there is nothing left of it.
            StateError: There is no such group any more, or the file cannot be given to it, or others could
                read the file or put another in its place.
        """
        try:
            try:
                self._replace(name, png, issued_at)
            except FileNotFoundError:
                self._replace(name, png, issued_at)  # the folder was removed at that moment
        except (OSError, StateError):
            with contextlib.suppress(OSError):
                self.hide(name)
            raise

    def hide(self, name: str) -> None:
        """Remove an account's picture; no harm if there is none.

        Raises:
            OSError: It could not be removed.
        """
        self._shown.pop(name, None)
        with contextlib.suppress(FileNotFoundError), self._open(make=False) as folder:
            os.unlink(f"{name}.png", dir_fd=folder)

    def guard(self, name: str) -> bool:
        """Remove what is in the place of an account's picture, unless it is the picture that was shown last.

        Returns:
            Whether something else was there.

        Raises:
            OSError: It could not be removed, or not looked at.
        """
        file, shown = f"{name}.png", self._shown.get(name)
        with contextlib.suppress(FileNotFoundError), self._open(make=False) as folder:
            about = os.stat(file, dir_fd=folder, follow_symlinks=False)
            is_same = shown is not None and (about.st_dev, about.st_ino) == shown.identity
            # The inode of a file that was removed may soon be another file's.
            if shown is not None and is_same and stat.S_ISREG(about.st_mode):
                if about.st_ctime_ns == shown.looked_at:
                    return False
                if read_file(file, len(shown.png) + 1, dir_fd=folder) == shown.png:
                    # Another change may have the same time, until the clock has gone on.
                    if time.time_ns() - about.st_ctime_ns > _TICK:
                        shown.looked_at = about.st_ctime_ns
                    return False
            os.unlink(file, dir_fd=folder)
            return True
        return False

    def _replace(self, name: str, png: bytes, issued_at: float) -> None:
        with self._open() as folder, self._written(folder, name, png, issued_at) as temporary:
            about = os.stat(temporary, dir_fd=folder, follow_symlinks=False)
            os.rename(temporary, f"{name}.png", src_dir_fd=folder, dst_dir_fd=folder)
            self._shown[name] = _Shown(png, (about.st_dev, about.st_ino))

    @contextmanager
    def _written(self, folder: int, name: str, png: bytes, issued_at: float) -> Iterator[str]:
        """Write a file, complete in every respect, under a hidden name; it goes if it is not renamed."""
        temporary = temporary_name(f"{name}.png")
        descriptor = open_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(png)
                file.flush()  # writing would change the time
                self._give(descriptor, 0o600 if self._group is None else 0o640)
                moment = round(issued_at * 1e6) * 1000  # nanoseconds; a float is good for microseconds
                try:
                    os.utime(descriptor, ns=(moment, moment))
                except OSError as error:
                    if error.errno not in NOT_KEPT:  # else the time of writing does as well
                        raise
            yield temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)

    def _give(self, descriptor: int, mode: int) -> None:
        """Set the group, if there is one, and the mode of a file or folder.

        Raises:
            OSError: The disk is at fault.
            StateError: The group or the file system is.
        """
        group = self._group_id()
        if group is not None and os.fstat(descriptor).st_gid != group:
            try:
                os.fchown(descriptor, -1, group)
            except OSError as error:
                if error.errno in (*NOT_KEPT, errno.EACCES, errno.EINVAL):
                    raise _UnfitError(
                        f"the group {self._group} (qr_group) {advice(error, 'picture group')}"
                    ) from None
                raise
        try:
            os.fchmod(descriptor, mode)
        except OSError as error:
            # What cannot be set may be right already, as by a mount's options.
            has = os.fstat(descriptor).st_mode & 0o077
            if error.errno not in (*NOT_KEPT, errno.EACCES):
                raise
            if has & ~mode:
                raise _UnfitError(
                    "its file system keeps no modes (as FAT and many network shares do not) and lets others "
                    "read the codes: choose another folder with qr_dir, or mount it with umask=077"
                ) from None
            if has & 0o040 != mode & 0o040:
                raise _UnfitError(
                    f"its file system keeps no modes, and the group {self._group} cannot be let in: "
                    "choose another folder with qr_dir"
                ) from None

    def _probe(self, folder: int) -> None:
        """See that files can be made and given to the group, so that this is told at the start."""
        try:
            with self._written(folder, "probe", b"", 0):
                pass
        except OSError as error:
            # A full disk concerns those who wait for a code, and no account that is linked.
            if error.errno not in FULL:
                raise

    @contextmanager
    def _open(self, *, make: bool = True) -> Iterator[int]:
        """Open the folder, newly each time: it may have been removed and made again."""
        try:
            folder = self._descriptor()
        except FileNotFoundError:
            if not make:
                raise
            self._refuse_strangers()
            self._make()
            folder = self._descriptor()
        try:
            if make:
                self._refuse_strangers()
            yield folder
        finally:
            os.close(folder)

    def _descriptor(self) -> int:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return os.open(self._folder, flags | os.O_NOFOLLOW)
        except NotADirectoryError:
            about = self._folder.lstat()
            if not stat.S_ISLNK(about.st_mode) or about.st_uid not in (0, os.geteuid()):
                raise
            return os.open(self._folder, flags)

    def _make(self) -> None:
        """Make the folder under a hidden name first: once it can be seen, the group can enter it."""
        # Others may enter the folders above, so that the group reaches this one, but not write to them.
        for above in reversed(self._folder.parents):
            if not above.is_dir():
                above.mkdir(0o755, exist_ok=True)
        temporary = self._folder.with_name(temporary_name(self._folder.name))
        temporary.mkdir(0o700)
        try:
            folder = os.open(temporary, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                self._let_group_in(folder, made=True)
            finally:
                os.close(folder)
            temporary.rename(self._folder)
        except BaseException as error:
            temporary.rmdir()
            # Somebody else was quicker, and uses it already.
            if not isinstance(error, OSError) or error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise

    def _refuse_strangers(self) -> None:
        """See that nobody else can put pictures into the folder, or another folder in its place.

        Raises:
            StateError: Others can.
        """
        weak = trust.weak_for_us(trust.read_way(self._folder))
        if weak is not None:
            raise _UnfitError(
                f"{weak.text}, so others could put codes of their own there: {weak.advice(os.geteuid())}, or"
                " choose another folder with qr_dir"
            )

    def _let_group_in(self, folder: int, *, made: bool = False) -> None:
        """Open the folder to the group if nobody but this user can enter it.

        Args:
            folder: The open folder.
            made: Whether the folder was just made here. Another folder must be one for codes.

        Raises:
            StateError: The folder is no folder for codes.
        """
        group = self._group_id()
        about = os.fstat(folder)
        if group is None or about.st_uid != os.geteuid() or about.st_mode & 0o077:
            return
        if not made and (why := self._why_private(folder)):
            raise _UnfitError(
                f"{why}, and nobody else can enter it, so the group {self._group} (qr_group) is not let in:"
                " choose a folder for the codes alone with qr_dir, or let the group in with"
                f" `chgrp {self._group} {self._folder}`, `chmod 750 {self._folder}`"
            )
        self._give(folder, 0o750)

    def _why_private(self, folder: int) -> str | None:
        """Say why a closed folder that was found must stay closed; None if it is for codes alone."""
        names = os.listdir(folder)
        if strange := [name for name in names if not _is_unfinished(name) and not _is_code(name, folder)]:
            return f"holds {len(strange)} other files than codes"
        place = Path(os.path.realpath(self._folder))
        homes = {user.pw_dir for user in pwd.getpwall()} | {os.environ.get("HOME", "")}
        if place in {Path(os.path.realpath(home)) for home in homes if home}:
            return "is the home of a user"
        if len(place.parts) <= 2 or place.name.startswith("."):
            return "is a folder that belongs to the system or to another program"
        return None

    def _group_id(self) -> int | None:
        return None if self._group is None else group_id(self._group)


def group_id(group: str) -> int:
    """Return the number of a group that is given by its name, or by its number already.

    Raises:
        StateError: There is none of that name.
    """
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isdecimal():
            return int(group)
        raise StateError(
            f'there is no group "{group}"{remark(group)} on this machine: make the group, or change qr_group',
            key="qr_dir_unusable",
        ) from None


def _is_unfinished(name: str) -> bool:
    """Tell whether a file is a picture that was not finished because its maker was killed."""
    finished = finished_name(name)
    return finished is not None and _PICTURE.fullmatch(finished) is not None


def _is_code(name: str, folder: int) -> bool:
    """Tell whether a file is one that `render` has drawn: it has the mark, and is no link."""
    if not _PICTURE.fullmatch(name):
        return False
    try:
        head = read_file(name, _HEAD, dir_fd=folder)
    except OSError:
        return False
    return head.startswith(_PNG) and _MARK in head
