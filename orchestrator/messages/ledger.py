"""What an inbox knows besides its entries: what came before, what was passed over, and what was sent.

Part of the writer's end of an inbox: the account's process alone uses it.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterable
from typing import Final

SCHEMA: Final = """
CREATE TABLE sent (digest BLOB PRIMARY KEY, id TEXT, chat TEXT NOT NULL, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX sent_by_id ON sent (id);
CREATE INDEX sent_by_time ON sent (at);
"""
"""The table of what this service has sent: what stands for the message's secret, and, once WhatsApp has taken
the message, its identifier."""
BATCH: Final = 500
"""Rows that are read or written at once."""


class Ledger:
    """Reads and writes what an inbox knows; its methods may be called from any thread.

    Args:
        connection: The inbox's open database.
        lock: Held while the database is used.
    """

    def __init__(self, connection: sqlite3.Connection, lock: threading.Lock) -> None:
        self._connection = connection
        self._lock = lock

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those keys of entries that came before, or were passed over."""
        found: set[bytes] = set()
        rest = iter(keys)
        while batch := list(itertools.islice(rest, BATCH)):
            marks = ", ".join("?" * len(batch))
            with self._lock:
                rows = self._connection.execute(f"SELECT key FROM seen WHERE key IN ({marks})", batch)
                found.update(key for (key,) in rows)
        return found

    def pass_over(self, keys: Iterable[bytes], now: float) -> None:
        """Note keys of what came and is not stored.

        Raises:
            sqlite3.Error: They cannot be written.
        """
        with self._lock, self._connection:
            rows = [(key, now) for key in keys]
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", rows)

    def stored_since(self, at: float, limit: int = BATCH) -> set[tuple[str, str, str]]:
        """Return chat, sender and identifier of the first messages that were stored from a time on."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT chat, sender, id FROM entries WHERE stored_at >= ? AND source = 'message'"
                " ORDER BY stored_at LIMIT ?",
                (at, limit),
            ).fetchall()
        return set(rows)

    def last_heard(self) -> dict[str, float]:
        """Return the people who have written to the account, with the Unix times of their last messages."""
        query = "SELECT chat, max(at) FROM entries WHERE source = 'message' AND sender = chat GROUP BY chat"
        with self._lock:
            return dict(self._connection.execute(query))

    def first_stored(self) -> float | None:
        """Return when the oldest entry was stored, in Unix seconds; None if there is none."""
        with self._lock:
            found = self._connection.execute("SELECT min(stored_at) FROM entries").fetchone()[0]
        return found if isinstance(found, float) else None

    def sending(self, digest: bytes, chat: str, now: float) -> None:
        """Note that a message with that secret is about to be sent.

        Raises:
            sqlite3.Error: That cannot be written.
        """
        with self._lock:
            self._connection.execute(
                "INSERT OR REPLACE INTO sent VALUES (?, NULL, ?, ?)", (digest, chat, now)
            )

    def sent(self, digest: bytes, id_: str) -> None:
        """Note that WhatsApp has taken the message with that secret.

        Raises:
            sqlite3.Error: That cannot be written.
        """
        with self._lock:
            self._connection.execute("UPDATE sent SET id = ? WHERE digest = ?", (id_, digest))

    def sent_chats(self, ids: Iterable[str]) -> dict[str, str]:
        """Return of those messages that this service has sent their chats, by identifier."""
        found: dict[str, str] = {}
        rest = iter(ids)
        while batch := list(itertools.islice(rest, BATCH)):
            marks = ", ".join("?" * len(batch))
            with self._lock:
                found |= self._connection.execute(f"SELECT id, chat FROM sent WHERE id IN ({marks})", batch)
        return found

    def sent_digests(self, *, settled: bool = True) -> set[bytes]:
        """Return what stands for the secrets of what this service has sent.

        Args:
            settled: Whether those count, too, whose identifiers are known.
        """
        query = "SELECT digest FROM sent WHERE ? OR id IS NULL"
        with self._lock:
            return {digest for (digest,) in self._connection.execute(query, (settled,))}

    def forget_sent(self, before: float, limit: int) -> int:
        """Forget some of what was sent before a time; return how many messages that are.

        Raises:
            sqlite3.Error: The disk does not work.
        """
        with self._lock:
            return self._connection.execute(
                "DELETE FROM sent WHERE digest IN (SELECT digest FROM sent WHERE at < ? LIMIT ?)",
                (before, limit),
            ).rowcount
