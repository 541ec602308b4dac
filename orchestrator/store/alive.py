"""When a service was there last: a file in the state folder, written about every minute.

A service that is killed, or whose machine loses power, writes down no end of what it did. The next one knows
by this file until when the accounts were looked after.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from orchestrator.store import plain
from orchestrator.system.files import read_file, replacing

_MAX_SIZE: Final = 4096


def load(path: Path) -> float | None:
    """Return when a service was there last, in Unix seconds; None if nobody knows. Never raises."""
    try:
        found = plain.loads(read_file(path, _MAX_SIZE))
    except (OSError, ValueError, RecursionError):
        return None
    return plain.unix_time(found.get("at")) if isinstance(found, dict) else None


def save(path: Path, at: float) -> None:
    """Write down that a service is there. Nothing waits for the disk: after a power failure, nobody may know.

    Raises:
        OSError: The file cannot be written.
    """
    with replacing(path) as file:
        file.write(json.dumps({"at": round(at, 3)}).encode())
