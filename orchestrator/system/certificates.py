"""Where Go finds the certificates that it trusts, and whether it has to look at each of them several times.

Go reads one file with all certificates, and then each file of some folders, too (crypto/x509). Debian, Red
Hat and others keep the same certificates in both, so Go parses each of them three times: a quarter of the CPU
that an account takes until it is connected. A variable tells Go to read another folder instead.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

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
"""Debian's name for a folder that nobody may make."""
_MOST_FILES: Final = 2000
_MOST_BYTES: Final = 8 * 1024 * 1024
_TOO_MUCH: Final = frozenset({b"too much"})
"""In the place of certificates that are not looked at, and equal to no other ones."""
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*)-----END CERTIFICATE-----")


def once(environ: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return the variables with which Go reads each certificate once, and trusts the same ones as before.

    There are none if a folder has a certificate that the file lacks, or has more than can be looked through.

    Args:
        environ: The environment that Go would have.
    """
    folders = environ[_FOLDER].split(":") if environ.get(_FOLDER) else _FOLDERS
    known = _of_file(environ.get(_FILE)) - _TOO_MUCH
    if not known or any(not found <= known for found in _of_folders(folders)):
        return {}
    return {_FOLDER.encode(): _NOWHERE.encode()}


def _of_file(named: str | None) -> frozenset[bytes]:
    for path in [named] if named else FILES:
        with contextlib.suppress(OSError):
            return _certificates(Path(path))
    return frozenset()


def _of_folders(folders: Iterable[str]) -> Iterator[frozenset[bytes]]:
    """Yield the certificates of each file."""
    for folder in map(Path, folders):
        try:
            paths = list(folder.iterdir())
        except OSError:
            continue
        if len(paths) > _MOST_FILES:
            yield _TOO_MUCH
            return
        # Most of a folder are links to its own files, by other names. Go passes them over, too.
        for path in map(Path, {os.path.realpath(path) for path in paths}):
            with contextlib.suppress(OSError):  # Go passes over what cannot be read
                if path.is_file():
                    yield _certificates(path)


def _certificates(path: Path) -> frozenset[bytes]:
    """Return a file's certificates, encoded as they stand there, but for blanks.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        return _TOO_MUCH
    return frozenset(b"".join(found.split()) for found in _CERTIFICATE.findall(data))
