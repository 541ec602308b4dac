"""What has to be seen to before and after neonize is imported; it is not imported here."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NoReturn

_VERSION = re.compile(r'^__GONEONIZE_VERSION__\s*=\s*"([^"]+)"', re.MULTILINE)


class LibraryError(Exception):
    """neonize cannot be used; the message says what to do."""


class LibraryChangedError(LibraryError):
    """neonize is not the one that the service began with: it is being updated, and will work in a moment."""


def package() -> Path:
    """Return the folder that neonize is installed in, without importing it.

    Raises:
        LibraryError: It is not.
    """
    found = importlib.util.find_spec("neonize")
    if found is None or found.origin is None:
        raise LibraryError("neonize is not installed")
    return Path(found.origin).parent


def _uname(command: str) -> io.StringIO:
    if command != "uname -a":
        raise PermissionError(errno.EPERM, "a program must not be run while neonize is imported", command)
    return io.StringIO(f"{' '.join(os.uname())}\n")


@contextlib.contextmanager
def without_shell() -> Iterator[None]:
    """While neonize is imported: answer the one question for which it would start a shell (``uname -a``).

    A confined process starts no other program. The shell would be left for somebody to reap, besides, and its
    pipe would be inherited by every process that a fork server makes later.
    """
    real = os.popen
    os.popen = _uname  # type: ignore[assignment]
    try:
        yield
    finally:
        os.popen = real


def forbid_download() -> None:
    """Put something else in the place of the module that neonize downloads with, before neonize is imported.

    Every account's process would do it, at the same time, into the installed package, and past the account's
    proxy. Where that module does not look as expected, nothing is done.

    Raises:
        LibraryError: neonize is not installed.
    """
    folder = package()
    if "neonize" in sys.modules:
        return
    try:
        text = (folder / "download.py").read_text()
    except OSError:
        return
    if match := _VERSION.search(text):
        stand_in = ModuleType("neonize.download")
        stand_in.__dict__.update(__GONEONIZE_VERSION__=match[1], download=_refuse)
        sys.modules["neonize.download"] = stand_in


def _refuse() -> NoReturn:
    raise LibraryError("neonize's library is missing, or of another version: install neonize again")
