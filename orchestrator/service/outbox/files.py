"""Brings a file that is to be sent into the folder of its account: copied, bounded, and known by its hash.

Whoever wants to send has opened the file, and hands over the descriptor: nothing here opens what a client
names. The account's process may write in the folder, so no link in there is followed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from orchestrator.accounts import attachments
from orchestrator.errors import OrchestratorError
from orchestrator.sending.media_types import HEAD_BYTES
from orchestrator.store.layout import OUTGOING
from orchestrator.system.files import open_file, open_folder, temporary_name

SPARE_BYTES: Final = 64 << 20
"""Bytes that a file leaves free on the disk: sessions and messages need room."""
MOST_BYTES: Final = 4 << 30
"""Bytes of all files of one account that wait to be sent. One upload can be sent any number of times."""
MOST_FILES: Final = 20_000
"""Files in the folder of one account; an honest process has deleted those that nobody waits for."""
_BLOCK: Final = 1 << 20
_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(slots=True)
class Incoming:
    """A file on its way into an account's folder. Nothing in here may be used by two threads at once.

    Attributes:
        id: What it will be called: 63 random bits in decimal digits.
        sha256: Its hash, in hexadecimal digits.
        size: Its bytes.
        head: Its first bytes.
    """

    id: str
    _folder: int
    _written: str
    sha256: str = ""
    size: int = 0
    head: bytes = field(default=b"", repr=False)

    @classmethod
    def begin(cls, folder: Path) -> Self:
        """Begin with a file; make the folders if they are missing.

        Args:
            folder: The folder of an account's messages.

        Raises:
            OrchestratorError: The folder cannot be used.
        """
        id_ = str(secrets.randbelow(attachments.MOST) + 1)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            above = open_folder(folder)
            try:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(OUTGOING, 0o700, dir_fd=above)
                return cls(id_, open_folder(OUTGOING, dir_fd=above), temporary_name(id_))
            finally:
                os.close(above)
        except OSError as error:
            raise no_room(error) from None

    def copy(self, source: int, refusal: Callable[[bytes, int], OrchestratorError | None]) -> None:
        """Copy a file, from its first byte on.

        Args:
            source: Its descriptor.
            refusal: Says why a file of these first bytes and of this size at least is not wanted. It is asked
                at the first block, at each further one, and at the end.

        Raises:
            OrchestratorError: The file is not wanted or cannot be read, or there is no room for it.
        """
        about = _looked_at(source)
        if wrong := refusal(_read(source, HEAD_BYTES, 0), about.st_size):
            raise wrong
        digest = hashlib.sha256()
        at = 0
        try:
            with os.fdopen(self._new(self._written), "wb") as file:
                self._check_room(about.st_size)
                while block := _read(source, _BLOCK, at):
                    if at == 0:
                        self.head = block[:HEAD_BYTES]
                    at += len(block)
                    if wrong := refusal(self.head, at):
                        raise wrong
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise no_room(error) from None
        self.sha256, self.size = digest.hexdigest(), at
        if wrong := refusal(self.head, at):
            raise wrong

    def replace(self, data: bytes) -> None:
        """Put other bytes in place of those that were copied.

        Raises:
            OrchestratorError: There is no room for them.
        """
        try:
            flags = os.O_WRONLY | os.O_TRUNC
            with os.fdopen(open_file(self._written, flags, dir_fd=self._folder), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise no_room(error) from None
        self.sha256, self.size, self.head = hashlib.sha256(data).hexdigest(), len(data), data[:HEAD_BYTES]

    def open(self) -> int:
        """Return a descriptor that reads the copy; the caller closes it.

        Raises:
            OrchestratorError: The copy is gone.
        """
        try:
            return open_file(self._written, dir_fd=self._folder)
        except OSError as error:
            raise no_room(error) from None

    def finish(self) -> None:
        """Give the copy its name, and see that both are on the disk.

        Raises:
            OrchestratorError: That is not possible.
        """
        try:
            os.rename(self._written, self.id, src_dir_fd=self._folder, dst_dir_fd=self._folder)
            os.fsync(self._folder)
        except OSError as error:
            raise no_room(error) from None
        self._written = self.id

    def close(self, *, keep: bool) -> None:
        """End it, with the file or without; never raises."""
        if not keep:
            with contextlib.suppress(OSError):
                os.unlink(self._written, dir_fd=self._folder)
        os.close(self._folder)

    def _new(self, name: str) -> int:
        return open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, dir_fd=self._folder)

    def _check_room(self, size: int) -> None:
        if self._waiting() + size > MOST_BYTES:
            raise OrchestratorError(
                "the files that wait to be sent are as many bytes as may: try again once some are sent",
                key="outbox_full",
            )
        room = os.fstatvfs(self._folder)
        if room.f_bavail * room.f_frsize < size + SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _waiting(self) -> int:
        """Return the bytes of all files in the folder."""
        size = 0
        with os.scandir(self._folder) as entries:
            for count, entry in enumerate(entries, 1):
                size += entry.stat(follow_symlinks=False).st_size if count <= MOST_FILES else MOST_BYTES
                if size > MOST_BYTES:
                    break
        return size


def _looked_at(source: int) -> os.stat_result:
    about = os.fstat(source)
    if not stat.S_ISREG(about.st_mode):
        raise OrchestratorError("only a regular file can be sent", key="file_unfit")
    return about


def _read(source: int, size: int, at: int) -> bytes:
    try:
        return os.pread(source, size, at)
    except OSError as error:
        raise OrchestratorError(
            f"the file cannot be read: {error.strerror or error}", key="file_unfit"
        ) from None


def no_room(error: OSError) -> OrchestratorError:
    """Return what is said where a file cannot be kept."""
    if error.errno in _NO_ROOM:
        words = "there is no room for the file: look whether the disk of the state folder is full"
    else:
        words = f"the file cannot be kept in the account's folder: {error.strerror or error}"
    return OrchestratorError(words, key="media_no_room")
