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


JID = "4915100000001:1@s.whatsapp.net"
"""The address of the device of `write_session`."""
_ADA, _NUMBER = "269139479534551", "4915100001234"
_TABLES = """
CREATE TABLE whatsmeow_message_secrets (
    our_jid TEXT, chat_jid TEXT, sender_jid TEXT, message_id TEXT, key bytea NOT NULL,
    PRIMARY KEY (our_jid, chat_jid, sender_jid, message_id)
);
CREATE TABLE whatsmeow_lid_map (lid TEXT PRIMARY KEY, pn TEXT UNIQUE NOT NULL);
"""


def write_session(folder: Path, secrets: int = 0) -> Path:
    """Write a session's file with what it has of messages; it knows one person by both addresses."""
    path = write_device(folder / "session.sqlite3")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_TABLES)
        connection.execute("UPDATE whatsmeow_device SET lid = '200000000000001:1@lid'")
        connection.execute("INSERT INTO whatsmeow_lid_map VALUES (?, ?)", (_ADA, _NUMBER))
    add_secrets(path, *(f"A{number}" for number in range(secrets)))
    return path


def add_secrets(
    path: Path,
    *ids: object,
    chat: object = f"{_ADA}@lid",
    sender: object = f"{_ADA}@lid",
    jid: str = JID,
    key: object = b"k" * 32,
) -> None:
    """Add secrets of messages to a session's file, as the library does when it has decrypted them."""
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = [(jid, chat, sender, one, key) for one in ids]
        connection.executemany("INSERT INTO whatsmeow_message_secrets VALUES (?, ?, ?, ?, ?)", rows)
