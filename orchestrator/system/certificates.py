"""Where Go finds the certificates that it trusts, and whether it has to look at each of them several times.

Go reads one file with all certificates, and then each file of some folders, too (crypto/x509). Debian, Red
Hat and others keep the same certificates in both, so Go parses each of them three times: a quarter of the CPU
that an account takes until it is connected. A variable tells Go to read another folder instead.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

GO: Final = "1.26"
"""The version whose source says where Go looks (`root_unix.go` and `root_linux.go` of crypto/x509), and what
Go takes for a certificate (`pem.go` of encoding/pem)."""
FILES: Final = (
    # Where Go looks on Linux. Python's OpenSSL may have been built to look elsewhere.
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Go takes the first of these that can be read, unless a variable names another one."""
_FOLDERS: Final = ("/etc/ssl/certs", "/etc/pki/tls/certs")
"""Of these Go takes each file, unless a variable names others, with colons between."""
_FILE, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"
_NOWHERE: Final = "/nonexistent"
"""Debian's name for a folder that nobody may make. Go passes over folders that are not there."""
_MOST_FILES: Final = 2000
_MOST_BYTES: Final = 8 * 1024 * 1024
"""In all folders together, and in the file: some ten times what Debian 12 has. Go has to read it all."""
_PIECE: Final = 64 * 1024
"""Bytes that are read at a time: a buffer for the largest file would be 8 MB."""
_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.ENXIO)
"""Errors that mean the same to each process. With another error, Go may find what was not found here."""
_READ_BY_GO: Final = re.compile(
    rb"^-----BEGIN CERTIFICATE-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*)\n-----END CERTIFICATE-----[ \t]*\r?$",
    re.MULTILINE,
)
_PERHAPS_READ: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")


@dataclass(frozen=True, slots=True)
class Complete:
    """A file with all certificates that Go would find, in the file and in folders.

    Attributes:
        path: The file.
        identity: Device, inode, size and time of the last change.
        others: The folders, and the files that Go would take instead if they were there: see `_state`.
    """

    path: str
    identity: tuple[int, ...]
    others: tuple[tuple[str, tuple[int, ...] | None], ...] = ()

    def variables(self) -> dict[bytes, bytes]:
        """Return the variables with which Go reads this file alone.

        There are none if this process cannot read the file, or if the file has changed, or if files have come
        to a folder or gone. A file in a folder that was only written to is not noticed.
        """
        with contextlib.suppress(OSError), _opened(self.path) as (_, identity):
            if identity == self.identity and all(_state(path) == state for path, state in self.others):
                return {_FOLDER.encode(): _NOWHERE.encode()}
        return {}


class _TooMuchError(Exception):
    """There is more than is looked through."""


class _Room:
    """How much may still be looked through."""

    def __init__(self) -> None:
        self._files, self._bytes = _MOST_FILES, _MOST_BYTES

    def read(self, descriptor: int) -> bytes:
        """Read a file.

        Raises:
            _TooMuchError: There is no room for it.
            OSError: It cannot be read.
        """
        self._files -= 1
        pieces = []
        while self._bytes > 0 and self._files >= 0:
            pieces.append(os.read(descriptor, min(_PIECE, self._bytes)))
            if not pieces[-1]:
                return b"".join(pieces)
            self._bytes -= len(pieces[-1])
        raise _TooMuchError


def complete(environ: Mapping[str, str]) -> Complete | None:
    """Return the file that Go reads first, if no folder has a certificate that the file lacks.

    Args:
        environ: The environment that Go would have.

    Returns:
        None if there is no such file, or more than can be looked through.
    """
    folders = [*filter(None, environ[_FOLDER].split(":"))] if environ.get(_FOLDER) else list(_FOLDERS)
    files = [environ[_FILE]] if environ.get(_FILE) else FILES
    try:
        for count, path in enumerate(files):
            # Before anything is read, so that what changes meanwhile has changed.
            others = tuple((other, _state(other)) for other in [*files[:count], *folders])
            with _passing_over_what_is_not_there():  # Go takes the next one, too
                return _judged(path, folders, others)
    except (OSError, _TooMuchError):
        pass
    return None


def _judged(
    path: str, folders: Iterable[str], others: tuple[tuple[str, tuple[int, ...] | None], ...]
) -> Complete | None:
    """Return a file, if no folder has a certificate that the file lacks.

    Raises:
        OSError: The file or a folder cannot be read.
        _TooMuchError: There is more than is looked through.
    """
    with _opened(path) as (descriptor, identity):
        known = _certificates(_READ_BY_GO, _Room().read(descriptor))
    found = (_certificates(_PERHAPS_READ, data) for data in _contents(folders))
    return Complete(path, identity, others) if known and all(some <= known for some in found) else None


def _contents(folders: Iterable[str]) -> Iterator[bytes]:
    """Yield what stands in each file of folders, once; most files have several names there.

    Raises:
        OSError: Something cannot be read that is there.
        _TooMuchError: There is more than is looked through.
    """
    room, seen = _Room(), set[tuple[int, ...]]()
    for folder in folders:
        with _passing_over_what_is_not_there():
            for name in os.listdir(folder):  # noqa: PTH208 - a path object for each would take longer
                with (
                    _passing_over_what_is_not_there(),
                    _opened(f"{folder}/{name}") as (descriptor, identity),
                ):
                    if identity not in seen:
                        seen.add(identity)
                        yield room.read(descriptor)


@contextlib.contextmanager
def _passing_over_what_is_not_there() -> Iterator[None]:
    """Go on without a file or folder that nobody can read, as Go does."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise


def _state(path: str) -> tuple[int, ...] | None:
    """Return what is different once another file is there, or in the folder; None if nothing is there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a path object for each would take longer
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _certificates(pattern: re.Pattern[bytes], data: bytes) -> set[bytes]:
    """Return the certificates in a file, encoded as they stand there, but for blanks."""
    return {b"".join(found.split()) for found in pattern.findall(data)}


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Open a file; yield its descriptor and its identity.

    Raises:
        OSError: The file cannot be opened, or is a pipe, a folder or a device.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.ENXIO, "not a file")
        yield descriptor, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    finally:
        os.close(descriptor)
