"""What has to be seen to before and after neonize is imported; it is not imported here."""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib.util
import io
import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

UPDATE = "is it being updated? If not, install it again"
"""What is said of a library that does not fit."""
_VERSION = "__GONEONIZE_VERSION__"
_MAX_SOURCE = 1024 * 1024
_TO_OTHERS = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg"}
)
"""What Python is about to do where a program of it speaks to another machine."""
_NETWORKS = (socket.AF_INET, socket.AF_INET6)


class LibraryError(Exception):
    """neonize cannot be used; the message says what to do."""


class LibraryChangedError(LibraryError):
    """neonize is not the one that the service began with: it is being updated, and will work in a moment."""


class LibraryAlteredError(LibraryError):
    """neonize's files are not those of its package, or cannot be told to be."""


def reinstall(*packages: str) -> str:
    """Return the command that reinstalls packages."""
    return f"`pip install --force-reinstall --no-cache-dir {' '.join(packages)}`"


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

    Every account's process would do it, at the same time, into the installed package, past the account's
    proxy, and without a look at what has come.

    Raises:
        LibraryError: neonize is not installed, its module for downloads has an unknown form, or neonize was
            imported before.
    """
    folder = package()
    if "neonize" in sys.modules:
        if getattr(sys.modules.get("neonize.download"), "download", None) is not _refuse:
            raise LibraryAlteredError(
                "something has imported neonize before this program could forbid its downloads: look for a"
                " sitecustomize.py, a .pth file or a PYTHONPATH that does"
            )
        return
    stand_in = ModuleType("neonize.download")
    stand_in.__dict__.update({_VERSION: _version_of(folder / "download.py"), "download": _refuse})
    sys.modules["neonize.download"] = stand_in


def _version_of(path: Path) -> str:
    """Return which version of the library neonize's module for downloads names."""
    try:
        with path.open("rb") as file:
            tree = ast.parse(file.read(_MAX_SOURCE))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        tree = ast.Module(body=[], type_ignores=[])
    for node in tree.body:
        if not isinstance(node, ast.Assign | ast.AnnAssign):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        if [target.id for target in targets if isinstance(target, ast.Name)] == [_VERSION]:
            if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                return node.value.value
            break
    raise LibraryAlteredError(
        f"{path} does not say which version of its library neonize needs, so neonize could download one that"
        " nobody has checked: install a version of neonize that this program knows, with"
        " `pip install --force-reinstall 'neonize>=0.5.2,<0.6'`"
    )


def forbid_connections() -> None:
    """Keep Python in this process from reaching other machines, for good; Go's half is not concerned.

    What neonize's Python half fetches by itself, such as libraries, pictures and previews of links, would go
    past the account's proxy. What of ours fetches attachments says so; see `connections_of_ours`.
    """
    if not _Ban.is_there:
        _Ban.is_there = True
        sys.addaudithook(_refuse_connection)


@contextlib.contextmanager
def connections_of_ours() -> Iterator[None]:
    """Let this thread reach other machines meanwhile; all other threads still may not."""
    _Ban.lifted.here = True
    try:
        yield
    finally:
        _Ban.lifted.here = False


class _Ban:
    """Whether connections are forbidden already, and for which thread not; a hook cannot be taken away."""

    is_there = False
    lifted = threading.local()


def _refuse_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _TO_OTHERS or getattr(_Ban.lifted, "here", False):
        return
    if event.startswith("socket.get") or getattr(arguments[0], "family", None) in _NETWORKS:
        raise LibraryError("Python may not reach other machines from this process")


def _refuse() -> NoReturn:
    raise LibraryError("neonize's library is missing, or of another version: install neonize again")
