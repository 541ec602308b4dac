"""How much room the disk and the memory have, in figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from orchestrator.control.protocol import Json
from orchestrator.service import needs

SPACE_FAIL: Final = 50_000_000
"""Bytes free on the disk of the state folder: an account whose session cannot be written ends."""
SPACE_WARN: Final = 500_000_000
"""Bytes free below which an operator is warned: a session has about one million."""


def disk(folder: Path) -> Json:
    """Return the bytes of a folder's file system, ``free`` and ``total``, and whether they are ``low``.

    What cannot be found out is null.
    """
    try:
        found = os.statvfs(folder)
    except OSError:
        return {"free": None, "total": None, "low": False}
    free = found.f_bavail * found.f_frsize
    return {"free": free, "total": found.f_blocks * found.f_frsize, "low": free < SPACE_WARN}


def memory() -> Json:
    """Return the bytes of memory, ``free`` and ``total``, of this machine or of the service's control group.

    What cannot be found out is null.
    """
    return {"free": needs.memory_left()[0], "total": needs.room_for_memory()[0]}
