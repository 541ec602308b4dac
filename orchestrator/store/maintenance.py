"""Whether maintenance is on: a file in the state folder, which is there as long as it is.

The file says since when. If the file cannot be understood, maintenance is on all the same, since the file was
written: an operator wanted that nothing starts by itself.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Final

from orchestrator.errors import StateError
from orchestrator.store import plain
from orchestrator.system.files import read_file, replacing, sync
from orchestrator.system.os_errors import trouble

_MAX_SIZE: Final = 4096


def load(path: Path) -> float | None:
    """Return since when maintenance is on, in Unix seconds; None if it is off.

    Raises:
        StateError: The file is there and cannot be read.
    """
    try:
        written_at = path.lstat().st_mtime
        since = _since(read_file(path, _MAX_SIZE))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {trouble(error)}") from None
    return since or written_at


def _since(data: bytes) -> float | None:
    """Return since when maintenance is on by what a file has, None if that cannot be understood."""
    try:
        found = plain.loads(data)
    except (ValueError, RecursionError):
        return None
    return plain.unix_time(found.get("since"), 0.0) if isinstance(found, dict) else None


def save(path: Path, since: float | None) -> None:
    """Write down since when maintenance is on, None if it is off.

    Raises:
        StateError: The file cannot be written, or removed; it stays as it was.
    """
    try:
        if since is None:
            with suppress(FileNotFoundError):
                path.unlink()
            return
        with replacing(path) as file:
            file.write(json.dumps({"since": since}).encode())
            sync(file)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {trouble(error)}") from None
