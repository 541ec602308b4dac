"""What is known, before the library is loaded, of messages that an earlier process was sending."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

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


Look: TypeAlias = Callable[[Collection[bytes]], tuple[str | None, dict[bytes, str] | None]]
"""Looks into a session for what stands for secrets of messages.

It returns what stands for the linked device, None if there is none. And it returns identifiers of those
messages that may have left, by what stands for their secrets; None if nothing is certain.
"""


def in_file(database: Path) -> Look:
    """Return what looks into the file of a session that the library does not use yet."""

    def look_there(wanted: Collection[bytes]) -> tuple[str | None, dict[bytes, str] | None]:
        return session_secrets.device(database), session_secrets.sent(database, wanted)

    return look_there


def nowhere(_: Collection[bytes]) -> tuple[str | None, dict[bytes, str] | None]:
    """Look into no session: nothing is known."""
    return None, None


def look(session: Look, wanted: Collection[bytes], device: str) -> Past:
    """Look into a session that the library does not use yet.

    Args:
        session: Looks into it.
        wanted: What stands for the secrets of the messages.
        device: Stands for the device that was to send them.
    """
    if not wanted or not device:
        return Past()
    try:
        there, found = session(wanted)
    except sqlite3.Error as error:
        log.warning("the session cannot be read for what was being sent: %s", type(error).__name__)
        return Past(is_ours=True)
    if there != device:
        return Past()
    return Past(is_ours=True) if found is None else Past(found, is_certain=True, is_ours=True)
