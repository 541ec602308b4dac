"""What an outbox has besides rows: chats by digests, what the pacing remembers, and early receipts.

A receipt may name a message before anybody knows whose row that is. WhatsApp gives a receipt once. So as long
as a row is in doubt, what receipts name is on the disk before WhatsApp hears that they have come.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from orchestrator.messages.ends import WritersEnd
from orchestrator.messages.outbox_form import MAX_MEMORY, MAX_RECEIPTS, MEMORY, OUTBOX_FORM, UNSETTLED
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import REPEATABLE
from orchestrator.sending.row import State

RECEIPT_SECONDS: Final = 7 * 86_400.0
"""For how long is kept which message a receipt has named."""
_BATCH: Final = 200
SALT: Final = "salt"
"""By which name it is kept what makes the digests of chats the account's own."""
_TIMES: Final = tuple(one.name for one in fields(Contact))


class OutboxNotes(WritersEnd):
    """The writer's end, as far as it is not about rows.

    Args:
        connection: The open database.
        wall: Returns Unix seconds.
        folder: The folder of the account's messages, where damage is noted.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        wall: Callable[[], float] = time.time,
        folder: Path | None = None,
    ) -> None:
        super().__init__(connection, OUTBOX_FORM, folder)
        self._wall = wall
        with self._transaction():
            connection.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (SALT, os.urandom(32)))
        salt = self._meta(SALT)
        self._salt = salt if isinstance(salt, bytes) else b""
        self._doubt: tuple[bool, bool] | None = None
        """Whether a row may turn out to be any message, and whether one is a known message and in doubt;
        None if that is to be found out."""

    def contact(self, chat: str) -> Contact:
        """Return what is known of a chat."""
        with self._lock:
            found = self._connection.execute(
                f"SELECT {', '.join(_TIMES)} FROM contacts WHERE digest = ?", (self._digest(chat),)
            ).fetchone()
        return Contact() if found is None else Contact(*map(float, found))

    def note_contacts(self, found: Mapping[str, Contact]) -> None:
        """Note what is newly known of chats, together with what was known before.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        now = self._wall()
        with self._lock, self._transaction() as connection:
            self._note(connection, found, now)

    def _note(self, connection: sqlite3.Connection, found: Mapping[str, Contact], now: float) -> None:
        rows = [
            (self._digest(chat), *(getattr(one, time_) for time_ in _TIMES), now)
            for chat, one in found.items()
        ]
        connection.executemany(_NOTE, rows)

    def memory(self) -> str | None:
        """Return what `remember` wrote, None if nothing."""
        with self._lock:
            found = self._meta(MEMORY)
        return found if isinstance(found, str) and len(found) <= MAX_MEMORY else None

    def remember(self, text: str) -> None:
        """Write down what the pacing has to know after a restart.

        Raises:
            ValueError: It is longer than `MAX_MEMORY`.
            sqlite3.Error: It cannot be written.
        """
        if len(text) > MAX_MEMORY:
            raise ValueError(f"{len(text):,} characters to be remembered")
        with self._lock, self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (MEMORY, text))

    # What receipts have named

    def note_receipt(self, ids: Iterable[str]) -> None:
        """Write down which messages a receipt names, as far as a row in doubt is one of them or may be.

        It is on the disk when the call returns. Without a row in doubt, nothing is read, and nobody waited
        for. Otherwise it takes as long as one write does, and at most `database.PATIENCE` if another program
        holds the file.

        Args:
            ids: WhatsApp's identifiers.

        Raises:
            sqlite3.Error: They cannot be written.
        """
        if self._doubt == (False, False):
            return
        now = self._wall()
        with self._lock:
            if self._doubt is None:
                self._doubt = self._find_doubt()
            found = [(one, now) for one in self._doubted(ids, *self._doubt)]
            if not found:
                return
            with self._transaction() as connection:
                connection.executemany(
                    "INSERT OR IGNORE INTO receipts (message, at) VALUES (?, ?)", found[-MAX_RECEIPTS:]
                )
                connection.execute(
                    "DELETE FROM receipts WHERE number <= (SELECT max(number) FROM receipts) - ?",
                    (MAX_RECEIPTS,),
                )

    def receipts(self) -> list[str]:
        """Return the messages that receipts have named while rows were in doubt, in order."""
        with self._lock:
            rows = self._connection.execute("SELECT message FROM receipts ORDER BY number").fetchall()
        return [message for (message,) in rows if isinstance(message, str)]

    def _moved(self) -> None:
        """Take note, within a transaction, that a row is in doubt from now on, or is not any more.

        What receipts have named goes with the last doubt.
        """
        self._doubt = None  # what is found now may be undone
        if not any(self._find_doubt()):
            self._forget_receipts(self._wall())

    def _forget_receipts(self, before: float) -> None:
        """Forget, within a transaction, what receipts have named until a time."""
        if self._connection.execute("DELETE FROM receipts WHERE at <= ?", (before,)).rowcount:
            self.is_clean = False

    def _clear_receipts(self, now: float) -> None:
        """Forget what receipts have named long ago, or all if no row is in doubt any more."""
        with self._lock, self._transaction():
            self._moved()
            self._forget_receipts(now - RECEIPT_SECONDS)

    def _find_doubt(self) -> tuple[bool, bool]:
        found = self._connection.execute(_DOUBT, (*_REPEATABLE, *_UNSETTLED)).fetchone()
        return bool(found[0]), bool(found[1])

    def _doubted(self, ids: Iterable[str], is_any: bool, is_known: bool) -> Iterator[str]:
        """Yield of some messages those that a row in doubt is or may be; those of settled rows are none."""
        if not (is_any or is_known):
            return
        rest = iter(ids)
        while batch := list(itertools.islice(rest, _BATCH)):
            marks = ", ".join("?" * len(batch))
            states = dict(
                self._connection.execute(f"SELECT message, state FROM rows WHERE message IN ({marks})", batch)
            )
            for one in batch:
                if states.get(one) == State.UNKNOWN or (is_any and one not in states):
                    yield one

    def _meta(self, key: str) -> object:
        found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else found[0]

    def _digest(self, chat: str) -> bytes:
        return hmac.digest(self._salt, chat.encode(), hashlib.sha256)[:16]


_UNSETTLED: Final = sorted(UNSETTLED)
_REPEATABLE: Final = sorted(REPEATABLE)
_DOUBT: Final = (
    "SELECT max(message IS NULL AND secret IS NOT NULL AND kind NOT IN"
    f" ({', '.join('?' * len(_REPEATABLE))})), max(message IS NOT NULL)"
    f" FROM rows WHERE state IN ({', '.join('?' * len(_UNSETTLED))})"
)
"""Whether there is a row whose message may be any, and one whose message is known; see `_doubt`."""
_LATER: Final = ", ".join(f"{name} = max({name}, excluded.{name})" for name in (*_TIMES, "noted_at"))
_NOTE: Final = (
    f"INSERT INTO contacts (digest, {', '.join(_TIMES)}, noted_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
    f" ON CONFLICT (digest) DO UPDATE SET {_LATER}"
)
