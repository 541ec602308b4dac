"""What is known, before the library is loaded, of messages that an earlier process was sending."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.worker import session_secrets

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Past:
    """What the session says of messages that an earlier process has handed over.

    Attributes:
        found: The identifiers of those that may have left, by what stands for their secrets.
        is_certain: Whether all others have never left.
        is_ours: Whether the session is of the device that was to send them. If not, no answer about the
            session says anything about them.
    """

    found: dict[bytes, str] = field(default_factory=dict, repr=False)
    is_certain: bool = False
    is_ours: bool = False


def look(database: Path, wanted: Collection[bytes], device: str) -> Past:
    """Look into a session that the library does not use yet; never raises.

    Args:
        database: The session's file.
        wanted: What stands for the secrets of the messages.
        device: Stands for the device that was to send them.
    """
    if not wanted or not device:
        return Past()
    try:
        if session_secrets.device(database) != device:
            return Past()
        found = session_secrets.sent(database, wanted)
    except sqlite3.Error as error:
        log.warning("the session cannot be read for what was being sent: %s", type(error).__name__)
        return Past(is_ours=True)
    return Past(is_ours=True) if found is None else Past(found, is_certain=True, is_ours=True)
