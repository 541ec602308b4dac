"""Whether neonize's files are those of its package, by the checksums in RECORD, before any file is loaded.

A file that was damaged on the disk, exchanged, or put there by a program other than the installer is refused.
neonize is not imported here. Byte code in ``__pycache__`` has no checksum and is not looked at.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.machinery import all_suffixes
from pathlib import Path

from orchestrator.system.os_errors import shortage
from orchestrator.worker.library.package import LibraryAlteredError, LibraryChangedError, package, reinstall
from orchestrator.worker.seal import Seal

VARIABLE = "ORCHESTRATOR_LIBRARY_SHA256"
"""Names the SHA-256 of neonize's library where there is no RECORD: an operator vouches for the library."""
MAX_RECORD = 4 * 1024 * 1024
"""Bytes of a RECORD; that of neonize 0.5.2 has 27,000."""
MAX_FILE = 512 * 1024 * 1024
"""Bytes of one file; neonize's library has 19 million."""
MAX_FILES = 20_000
"""Files of a package; neonize 0.5.2 has 270."""
LIBRARY = "neonize-*.so"
_PIECE = 1024 * 1024
_ALGORITHMS = ("sha256", "sha384", "sha512")
_UPDATE = f"is neonize being updated? If not, install it again: {reinstall('neonize')}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file that RECORD names, with its checksum."""

    name: str
    algorithm: str
    digest: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a file must have.

    Attributes:
        algorithm: As `hashlib` names it.
        text: The digest, as RECORD writes it or in hexadecimal digits.
        size: Bytes of the file, None if that is not known.
    """

    algorithm: str
    text: str
    size: int | None

    def fits(self, pieces: Iterable[bytes]) -> bool:
        """Tell whether this is the checksum of what these pieces are together."""
        digest, size = hashlib.new(self.algorithm), 0
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
        texts = (_base64(digest.digest()), digest.hexdigest())
        same = [hmac.compare_digest(text.encode(), self.text.encode()) for text in texts]
        return any(same) and self.size in (None, size)


def look() -> Seal:
    """Return the seal of what is installed now; nothing is read but names and times.

    Raises:
        LibraryError: neonize, or its library, is not installed.
    """
    folder = package()
    files = []
    for path in _named(folder, "neonize-", ".so"):
        try:
            found = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        files.append(
            (path.name, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        )
    if not files:
        raise LibraryAlteredError(
            f"neonize in {folder} has no library for this machine: {_UPDATE}, on a system for which neonize"
            " has a wheel"
        )
    return Seal(version(), tuple(files))


def version() -> str:
    """Return neonize's version, as the installer has noted it; nothing if it has not.

    Raises:
        LibraryError: neonize is not installed, or twice.
    """
    info = _info(package())
    return info.name.removeprefix("neonize-").removesuffix(".dist-info") if info else ""


def check() -> Seal:
    """Compare every file of neonize with the checksums of its package.

    Returns:
        What `expect` compares with later.

    Raises:
        LibraryError: A file is not what the package has, or the package names no checksums.
    """
    seal, folder = look(), package()
    info = _info(folder)
    entries = None if info is None else _record(info)
    if entries is None:
        _check_by_variable(folder, seal)
    else:
        named = {entry.name for entry in entries}
        for name, *_ in seal.files:
            if f"neonize/{name}" not in named:
                raise _stray(folder / name)
        _compare(folder, entries)
    if look() != seal:
        raise LibraryChangedError(f"neonize has changed while its files were checked: {_UPDATE}")
    return seal


def library() -> tuple[Seal, Path, Checksum]:
    """Return which library is installed now, where, and what checksum it must have; it is not read.

    Raises:
        LibraryError: There is none, or more than one, or the package names no checksums.
    """
    seal, folder = look(), package()
    if len(seal.files) != 1:
        raise LibraryAlteredError(f"neonize in {folder} has {len(seal.files)} libraries: {_UPDATE}")
    name = seal.files[0][0]
    info = _info(folder)
    entries = None if info is None else _record(info)
    if entries is None:
        return seal, folder / name, Checksum("sha256", _wanted(folder, seal), None)
    for entry in entries:
        if entry.name == f"neonize/{name}":
            return seal, folder / name, Checksum(entry.algorithm, entry.digest, entry.size)
    raise _stray(folder / name)


def pieces(path: Path) -> Iterator[bytes]:
    """Yield what a file of the package has.

    Raises:
        LibraryError: It cannot be read, or is too long.
        OSError: The machine lacks something.
    """
    left = MAX_FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise altered(path)
            while piece := file.read(_PIECE):
                left -= len(piece)
                if left < 0:
                    raise altered(path)
                yield piece
    except OSError as error:
        raise _unreadable(path, error) from error


def check_sources() -> None:
    """Compare neonize's Python half with the checksums of its package, if the package names any.

    Raises:
        LibraryError: A file is not what the package has.
    """
    folder = package()
    info = _info(folder)
    entries = None if info is None else _record(info)
    if entries is not None:
        _compare(folder, [entry for entry in entries if not Path(entry.name).match(LIBRARY)])


def expect(seal: Seal | None) -> None:
    """See that the library which is about to be loaded was checked.

    Args:
        seal: What `check` has returned elsewhere. None: everything is checked here and now.

    Raises:
        LibraryError: It is another one.
    """
    if seal is None:
        check()
    elif look() != seal:
        raise unchecked()


def unchecked() -> LibraryChangedError:
    """Return the error that says that a library is another one than the service has checked."""
    return LibraryChangedError(
        "neonize's library is not the one that the service has checked: the service checks it again now"
    )


def _info(folder: Path) -> Path | None:
    """Return the folder of what the installer has noted of the package, None if there is none."""
    found = [path for path in _named(folder.parent, "neonize-", ".dist-info") if path.is_dir()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise LibraryAlteredError(f"two versions of neonize are installed, {names}: {_UPDATE}")
    return found[0] if found else None


def _named(folder: Path, first: str, last: str) -> list[Path]:
    """Return what of a folder begins and ends so, in order.

    Each child looks: a pattern for names would cost it more memory.
    """
    try:
        names = os.listdir(folder)  # noqa: PTH208 - most of site-packages needs no path
    except OSError:
        return []
    return [folder / name for name in sorted(names) if name.startswith(first) and name.endswith(last)]


def _record(info: Path) -> list[_Entry] | None:
    """Return what RECORD says of neonize's files, None if there is no RECORD."""
    path = info / "RECORD"
    try:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > MAX_RECORD:
        raise LibraryAlteredError(f"{path} is too long: {_UPDATE}")
    try:
        rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
        entries = [entry for row in rows if row for entry in _entry(row)]
    except (ValueError, csv.Error):
        raise LibraryAlteredError(f"{path} is damaged: {_UPDATE}") from None
    if not entries or len(entries) > MAX_FILES:
        raise LibraryAlteredError(f"{path} names {len(entries)} files of neonize: {_UPDATE}")
    return entries


def _entry(row: list[str]) -> Iterator[_Entry]:
    name, checksum, size = row
    first, *rest = name.split("/")
    if first != "neonize":
        return  # the commands that neonize brings along, and what the installer has noted
    if not rest or ".." in rest or "\0" in name:
        raise ValueError(name)
    if "__pycache__" in rest:
        return
    algorithm, _, digest = checksum.partition("=")
    if algorithm not in _ALGORITHMS or not re.fullmatch(r"[\w-]+", digest):
        raise ValueError(name)
    yield _Entry(name, algorithm, digest, int(size) if size else None)


def _compare(folder: Path, entries: list[_Entry]) -> None:
    for entry in entries:
        path = folder.parent / entry.name
        digest = _digest(path, entry.algorithm, entry.size)
        if digest is None or not hmac.compare_digest(_base64(digest), entry.digest):
            raise altered(path)
    named = {entry.name for entry in entries}
    for path in _modules(folder):
        if str(path.relative_to(folder.parent)) not in named and not path.match(LIBRARY):
            raise _stray(path)


def altered(path: Path) -> LibraryAlteredError:
    """Return the error that says that a file has another checksum than the package."""
    return LibraryAlteredError(
        f"{path} is not the file that neonize's package has (its checksum differs): {_UPDATE}"
    )


def _stray(path: Path) -> LibraryAlteredError:
    return LibraryAlteredError(
        f"{path} does not belong to neonize's package, and would be loaded: remove it, or install neonize"
        f" again: {reinstall('neonize')}"
    )


def _modules(folder: Path) -> Iterator[Path]:
    """Yield what Python could import from the folder."""
    suffixes, count = tuple(all_suffixes()), 0
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            count += 1
            if count > MAX_FILES:
                raise LibraryAlteredError(f"{folder} has too many files: {_UPDATE}")
            if name.endswith(suffixes):
                yield Path(place, name)


def _digest(path: Path, algorithm: str, size: int | None) -> bytes | None:
    """Return a file's digest, None if it is not of this size."""
    digest = hashlib.new(algorithm)
    left = MAX_FILE if size is None else size
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            about = os.fstat(descriptor)
            if not stat.S_ISREG(about.st_mode) or about.st_size > MAX_FILE:
                return None
            if size is not None and about.st_size != size:
                return None
            while piece := file.read(min(_PIECE, left + 1)):
                left -= len(piece)
                if left < 0:
                    return None
                digest.update(piece)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.digest() if size is None or left == 0 else None


def _unreadable(path: Path, error: OSError) -> Exception:
    if shortage(error) is not None:
        return error  # this machine lacks something, and the file may be as it should be
    return LibraryAlteredError(f"{path} is missing or cannot be read ({error.strerror}): {_UPDATE}")


def _base64(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _wanted(folder: Path, seal: Seal) -> str:
    """Return the checksum that an operator vouches for."""
    wanted = os.environ.get(VARIABLE, "").strip().lower()
    names = ", ".join(name for name, *_ in seal.files)
    if not wanted:
        raise LibraryAlteredError(
            f"neonize in {folder} has no RECORD with checksums, as pip writes it: install neonize with pip,"
            f" or set {VARIABLE} to the SHA-256 of {names} if you know that file to be right"
        )
    return wanted


def _check_by_variable(folder: Path, seal: Seal) -> None:
    wanted = _wanted(folder, seal)
    for name, *_, size, _, _ in seal.files:
        found = _digest(folder / name, "sha256", size)
        if found is None or not hmac.compare_digest(found.hex().encode(), wanted.encode()):
            raise LibraryAlteredError(f"{folder / name} does not have the SHA-256 that {VARIABLE} names")
