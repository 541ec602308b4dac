"""Session files as the library makes them, as far as it matters which linked device they are of."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

SCHEMA = """
CREATE TABLE whatsmeow_device (
    jid TEXT PRIMARY KEY, lid TEXT, registration_id BIGINT NOT NULL,
    noise_key bytea NOT NULL, identity_key bytea NOT NULL
);
CREATE TABLE whatsmeow_pre_keys (key_id INTEGER PRIMARY KEY, key BLOB);
"""


def write_device(path: Path, number: str = "4915100000001", device: int = 1, *, wal: bool = False) -> Path:
    """Write the session's file of a device that was just linked; no two have the same keys."""
    with closing(sqlite3.connect(path)) as connection, connection:
        if wal:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(SCHEMA)
        connection.execute(
            "INSERT INTO whatsmeow_device VALUES (?, ?, ?, ?, ?)",
            (f"{number}:{device}@s.whatsapp.net", None, 4711, os.urandom(32), os.urandom(32)),
        )
    path.chmod(0o600)
    return path


def write_unlinked(path: Path) -> Path:
    """Write the file that the library makes before it shows a code."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
    path.chmod(0o600)
    return path
