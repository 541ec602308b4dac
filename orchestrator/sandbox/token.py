"""The secret that the sandbox's control interface asks for: only who may read its file can use the sandbox.

The file is in the sandbox's state folder, with mode 0600. A program without the secret is told where it is.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from pathlib import Path

from orchestrator.system.files import open_file, replacing

NAME = "control.token"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_LONGEST = 100


def load_or_make(folder: Path) -> str:
    """Return the secret of a sandbox; one that others may have read is replaced.

    Args:
        folder: The sandbox's state folder.

    Raises:
        OSError: The file cannot be written.
    """
    path = folder / NAME
    with contextlib.suppress(OSError, ValueError):
        return _read(path, os.geteuid())
    import secrets  # commands only read the file, and are to start quickly

    token = secrets.token_urlsafe(32)
    with replacing(path) as file:
        file.write(f"{token}\n".encode())
    return token


def read(path: Path) -> str:
    """Return the secret in a file that a sandbox has named.

    Whoever listens on the port chooses the path. So only what looks like a sandbox's secret is read.

    Raises:
        ValueError: This is no such file.
        OSError: It cannot be read.
    """
    if path.name != NAME or not path.is_absolute():
        raise ValueError(f"{path} is no file with a sandbox's secret")
    return _read(path, None)


def owner(path: Path) -> str | None:
    """Return whose sandbox a file with a secret belongs to, None if that cannot be told."""
    for place in (path, path.parent):
        with contextlib.suppress(OSError, KeyError):
            return pwd.getpwuid(place.stat().st_uid).pw_name
    return None


def _read(path: Path, uid: int | None) -> str:
    with os.fdopen(open_file(path), "rb") as file:
        about = os.fstat(file.fileno())
        if about.st_mode & 0o077 or (uid is not None and about.st_uid != uid):
            raise ValueError(f"{path} can be read by others")
        text = file.read(_LONGEST).decode(errors="replace").strip()
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{path} holds no secret of a sandbox")
    return text
