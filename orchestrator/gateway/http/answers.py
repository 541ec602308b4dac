"""The answers to requests with a key, in an SQLite file of the gateway's own: they outlast the process.

An answer is kept like a text: for its time and no longer, and what is deleted is overwritten, in the
write-ahead log as well. Of requests there is a hash.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from orchestrator.errors import OrchestratorError
from orchestrator.gateway.http.idempotency import KEEP_SECONDS, MOST_OF_ONE, Decision, Go, Known, decide
from orchestrator.gateway.notebook import Notebook
from orchestrator.system.transactions import transaction

FILE: Final = "idempotency.sqlite3"
_BATCH: Final = 500
_TABLES: Final = """
CREATE TABLE answers (
    key BLOB PRIMARY KEY, asker BLOB NOT NULL, state TEXT NOT NULL, content BLOB NOT NULL,
    began REAL NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX answers_began ON answers (began);
CREATE INDEX answers_asker ON answers (asker);
"""


class Answers:
    """The answers. Its methods may be called from any task; the disk is used in threads.

    Args:
        folder: The gateway's folder.
        wall: Returns Unix seconds.
    """

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self._book = Notebook(
            folder / FILE,
            _TABLES,
            lost="a request that a client repeats is done again, if it was done before",
            on_open=_give_up_begun,
        )
        self._wall = wall
        self._counts: dict[bytes, int] = {}

    async def begin(self, asker: str, account: str, key: str, content: bytes) -> Decision:
        """Say what becomes of a request, and if it is new, remember that it is under way.

        Args:
            asker: Who asks: the id of the token, or what there is in its place.
            account: The account that it is about; empty if it is about none.
            key: The key.
            content: The hash of what is asked for.

        Raises:
            OrchestratorError: The token has used too many keys, or the file cannot be used.
        """
        return await self._book.run(lambda: self._begin(_id(asker), _id(asker, account, key), content))

    async def end(self, asker: str, account: str, key: str, status: int, body: bytes) -> None:
        """Remember the answer."""
        await self._book.run(lambda: self._set(_id(asker, account, key), "done", status, body))

    async def release(self, asker: str, account: str, key: str) -> None:
        """Forget a request that did nothing."""
        await self._book.run(lambda: self._delete(_id(asker), _id(asker, account, key)))

    async def lose(self, asker: str, account: str, key: str) -> None:
        """Remember that nobody knows how far a request came."""
        await self._book.run(lambda: self._set(_id(asker, account, key), "unknown", 0, b""))

    async def clear(self) -> int:
        """Delete what was kept long enough; return how much."""
        return await self._book.run(self._clear)

    async def close(self) -> None:
        """Close the file."""
        await self._book.close()

    # In a thread, with the lock

    def _begin(self, asker: bytes, key: bytes, content: bytes) -> Decision:
        now = self._wall()
        with transaction(self._book.connection()) as connection:
            row = connection.execute(
                "SELECT state, content, began, status, body FROM answers WHERE key = ?", (key,)
            ).fetchone()
            decision = decide(None if row is None else Known(*row), content, now)
            if not isinstance(decision, Go):
                return decision
            if row is None and self._count(connection, asker) >= MOST_OF_ONE:
                raise OrchestratorError("too many keys are in use", key="too_many_requests")
            connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, 'running', ?, ?, 0, x'')",
                (key, asker, content, now),
            )
        if row is None:
            self._counts[asker] += 1
        return decision

    def _set(self, key: bytes, state: str, status: int, body: bytes) -> None:
        with transaction(self._book.connection()) as connection:
            connection.execute(
                "UPDATE answers SET state = ?, status = ?, body = ? WHERE key = ?", (state, status, body, key)
            )

    def _delete(self, asker: bytes, key: bytes) -> None:
        with transaction(self._book.connection()) as connection:
            connection.execute("DELETE FROM answers WHERE key = ?", (key,))
        self._counts.pop(asker, None)

    def _clear(self) -> int:
        deleted = 0
        while True:
            with transaction(self._book.connection()) as connection:
                found = connection.execute(
                    "DELETE FROM answers WHERE key IN"
                    " (SELECT key FROM answers WHERE began <= ? OR began >= ? LIMIT ?)",
                    (self._wall() - KEEP_SECONDS, self._wall() + KEEP_SECONDS, _BATCH),
                ).rowcount
            deleted += found
            if found < _BATCH:
                break
        self._counts.clear()
        self._book.truncate()
        return deleted

    def _count(self, connection: sqlite3.Connection, asker: bytes) -> int:
        if asker not in self._counts:
            row = connection.execute("SELECT count(*) FROM answers WHERE asker = ?", (asker,)).fetchone()
            self._counts[asker] = int(row[0])
        return self._counts[asker]


def _give_up_begun(connection: sqlite3.Connection) -> None:
    """Note that nobody knows how far requests came whose process is gone."""
    connection.execute("UPDATE answers SET state = 'unknown' WHERE state = 'running'")


def _id(*parts: str) -> bytes:
    """Return a hash of words: keys are the client's own, and may say something."""
    return hashlib.sha256(b"".join(len(part.encode()).to_bytes(4) + part.encode() for part in parts)).digest()
