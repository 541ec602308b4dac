"""The inbox of one account: what WhatsApp has brought, in an SQLite file.

The account's process alone writes to the file, from the library's callbacks: an entry is on the disk when its
callback returns (``synchronous=FULL``). Everybody else opens the file to read. The file has the texts of
messages: nobody but the service's user may read it, and what is deleted is overwritten, in the write-ahead
log as well.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Self

from orchestrator.messages.bell import Bell
from orchestrator.messages.database import INBOX_FORM, PATIENCE, Still, begin
from orchestrator.messages.ends import ReadersEnd, WritersEnd, open_to_read
from orchestrator.messages.entry import Entry, Stored, UnfitError, check, dump_notes, load_notes
from orchestrator.messages.ledger import Ledger
from orchestrator.messages.retention import Retention

BATCH: Final = 200
"""Entries that are deleted at once. A callback waits for one batch at most: some milliseconds."""
_MAX_READ = 16 << 20  # bytes of messages that are read at once, and one more message
_LOOKED_AT: Final = 1000
"""Of so many of the last entries, one is a message, or it is not known when the last message was stored."""
_LAST: Final = "SELECT source, stored_at FROM entries ORDER BY stored_at DESC LIMIT ?"
_COLUMNS = "source, chat, sender, id, at, raw, notes, extra, seq, stored_at"


class Inbox(WritersEnd):
    """The writer's end. Its methods may be called from any thread, one after the other.

    Args:
        connection: The open database.
        wall: Returns Unix seconds.
        folder: The folder of the account's messages, where damage is noted.

    Attributes:
        count: Number of entries.
        lost: Number of entries about lost messages among them.
        last_message_at: When the last message was stored, in Unix seconds; None if none is known. Other
            entries than messages do not count.
        ledger: What the inbox knows besides.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        wall: Callable[[], float] = time.time,
        folder: Path | None = None,
    ) -> None:
        super().__init__(connection, INBOX_FORM, folder)
        self._wall = wall
        self._bell = None if folder is None else Bell(folder)
        self.ledger = Ledger(connection, self._lock)
        self.count = int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
        self.lost = int(
            connection.execute("SELECT count(*) FROM entries WHERE source = 'lost'").fetchone()[0]
        )
        last = connection.execute(_LAST, (_LOOKED_AT,))
        self.last_message_at: float | None = next((at for source, at in last if source == "message"), None)

    @classmethod
    def open(cls, folder: Path, wall: Callable[[], float] = time.time) -> Self:
        """Open the inbox of an account, and make it if there is none.

        A damaged inbox is put aside in the same folder, and a new one goes on counting after it.

        Args:
            folder: The folder of the account's messages.
            wall: Returns Unix seconds.

        Raises:
            InboxError: The inbox is of a later version, or something that is no file is in its place.
            OSError, sqlite3.Error: The folder or the disk cannot be used.
        """
        return cls(begin(folder, INBOX_FORM, wall), wall, folder)

    def append(self, entry: Entry) -> int | None:
        """Store an entry; return its number, or None if it came before.

        Raises:
            UnfitError: A reader would refuse the entry.
            sqlite3.Error: It cannot be stored, for want of room for instance.
        """
        check(entry)
        notes = dump_notes(entry.notes)
        now = self._wall()
        with self._lock:
            with self._transaction() as connection:
                new = connection.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (entry.key, now))
                if not new.rowcount:
                    return None
                added = connection.execute(
                    "INSERT INTO entries (source, chat, sender, id, at, raw, notes, extra, stored_at, media)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (entry.source, entry.chat, entry.sender, entry.id, entry.at, entry.raw, notes,
                     entry.extra, now, entry.notes.get("media")),
                )  # fmt: skip
            self._recount(1, int(entry.source == "lost"))
            if entry.source == "message":
                self.last_message_at = now
            if self._bell is not None:
                self._bell.ring()
            return added.lastrowid

    def meta(self, key: str) -> str | None:
        """Return what was written down under a word, None if nothing was."""
        with self._lock:
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, **values: str | None) -> None:
        """Write down values under words, all or none; None takes one away.

        Raises:
            sqlite3.Error: They cannot be written.
        """
        with self._lock, self._transaction() as connection:
            for key, value in values.items():
                if value is None:
                    connection.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def clear(
        self, keep: Retention, *, taken: int | None = None, pause: Callable[[], object] = lambda: None
    ) -> int:
        """Delete what was kept long enough; return how many entries that were.

        Args:
            keep: For how long what is kept.
            taken: The last number that every consumer has had; None: there are no consumers.
            pause: Called after each batch, outside of any lock.

        Raises:
            sqlite3.Error: The disk does not work.
        """
        deleted = 0
        while batch := self._clear_batch(keep, taken):
            deleted += batch
            pause()
        while self._forget_batch(keep.forget_before(self._wall())):
            pause()
        while self.ledger.forget_sent(keep.forget_before(self._wall()), BATCH):
            pause()
        self._wipe(pause)
        return deleted

    def close(self) -> None:
        """Write everything into the one file, and close it."""
        if self._bell is not None:
            with self._lock:
                self._bell.close()
        super().close()

    def _clear_batch(self, keep: Retention, taken: int | None) -> int:
        taken_before, any_before = keep.delete_before(self._wall())
        with self._lock:
            with self._transaction() as connection:
                rows = connection.execute(
                    "SELECT seq, source FROM entries WHERE stored_at < ? AND (stored_at < ? OR seq <= ?)"
                    " ORDER BY stored_at LIMIT ?",
                    (taken_before, any_before, 2**62 if taken is None else taken, BATCH),
                ).fetchall()
                connection.executemany("DELETE FROM entries WHERE seq = ?", [(seq,) for seq, _ in rows])
                self.is_clean = self.is_clean and not rows
            self._recount(-len(rows), -sum(source == "lost" for _, source in rows))
        return len(rows)

    def _recount(self, entries: int, lost: int) -> None:
        """Count what has changed, once the change is on the disk."""
        self.count += entries
        self.lost += lost

    def _forget_batch(self, before: float) -> int:
        with self._lock, self._transaction() as connection:
            found = connection.execute(
                "DELETE FROM seen WHERE key IN (SELECT key FROM seen WHERE at < ? LIMIT ?)", (before, BATCH)
            )
            return found.rowcount


class Reader(ReadersEnd):
    """The reader's end of an inbox, for other processes than the account's.

    Args:
        connection: The open database.
        skipped: Called with the number of an entry that is none, which is left out.
        path: The database's file.
        still: What the file has to be all the time, if it was opened as it is.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        skipped: Callable[[object], object] = lambda _: None,
        path: Path = Path(),
        still: Still | None = None,
    ) -> None:
        super().__init__(connection, INBOX_FORM, path, still)
        self._skipped = skipped

    @classmethod
    def open(
        cls,
        folder: Path,
        skipped: Callable[[object], object] = lambda _: None,
        patience: float = PATIENCE,
    ) -> Self:
        """Open the inbox of an account.

        Args:
            folder: The folder of the account's messages.
            skipped: Called with the number of an entry that is none, which is left out.
            patience: Seconds to wait for a writer that holds it.

        Raises:
            NoInbox: There is none.
            InboxError: It cannot be read.
        """
        connection, path, unchanged = open_to_read(folder, INBOX_FORM, patience)
        return cls(connection, skipped, path, unchanged)

    def after(
        self, seq: int, limit: int = 100, *, chat: str | None = None, size: int = _MAX_READ
    ) -> list[Stored]:
        """Return entries with a higher number, in order: one at least, fewer than there are of large ones.

        Args:
            seq: The number.
            limit: How many at most.
            chat: Only those of one chat.
            size: Bytes of messages after which there is enough.

        Raises:
            InboxError: The inbox cannot be read.
        """
        where, values = ("seq > ?", (seq,)) if chat is None else ("chat = ? AND seq > ?", (chat, seq))
        return self._read(where, values, limit, size)

    def before_last(self, count: int) -> tuple[int, bool]:
        """Return the number after which the last entries come, and whether there are so many.

        Raises:
            InboxError: The inbox cannot be read.
        """
        with self._words():
            first, found = self._connection.execute(
                "SELECT min(seq), count(*) FROM (SELECT seq FROM entries ORDER BY seq DESC LIMIT ?)", (count,)
            ).fetchone()
        return (0 if first is None else int(first) - 1), found == count

    def chats_of(self, message_id: str, limit: int = 1000) -> list[str]:
        """Return the chats of the entries with an identifier.

        Raises:
            InboxError: The inbox cannot be read.
        """
        query = "SELECT chat FROM entries WHERE id = ? GROUP BY chat ORDER BY min(seq) LIMIT ?"
        with self._words():
            return [str(chat) for (chat,) in self._connection.execute(query, (message_id, limit))]

    def message(self, chat: str, message_id: str) -> Stored | None:
        """Return the first message of a chat with an identifier, None without one.

        Raises:
            InboxError: The inbox cannot be read.
        """
        found = self._read("id = ? AND chat = ? AND source = 'message'", (message_id, chat), 1)
        return next(iter(found), None)

    def latest(self, chat: str) -> Stored | None:
        """Return the last message of a chat, None without one.

        Raises:
            InboxError: The inbox cannot be read.
        """
        last = "seq = (SELECT max(seq) FROM entries WHERE chat = ? AND source = 'message')"
        return next(iter(self._read(last, (chat,), 1)), None)

    def find(self, message_id: str, limit: int = 1000) -> list[Stored]:
        """Return the entries with an identifier, in order.

        Raises:
            InboxError: The inbox cannot be read.
        """
        return self._read("id = ?", (message_id,), limit)

    def find_media(self, media: str) -> Stored | None:
        """Return the entry that has an attachment of this identifier, None if there is none.

        Raises:
            InboxError: The inbox cannot be read.
        """
        return next(iter(self._read("media = ?", (media,), 1)), None)

    def with_media(self, seq: int, since: float = 0.0, limit: int = 100) -> list[tuple[int, str]]:
        """Return the numbers of later entries with attachments, and the attachments' identifiers, in order.

        Args:
            seq: The number of an entry.
            since: Unix seconds: entries that were stored before are left out.
            limit: How many are wanted.

        Raises:
            InboxError: The inbox cannot be read.
        """
        query = (
            "SELECT seq, media FROM entries WHERE seq > ? AND media IS NOT NULL AND stored_at >= ?"
            " ORDER BY seq LIMIT ?"
        )
        with self._words():
            return [(int(seq), str(one)) for seq, one in self._connection.execute(query, (seq, since, limit))]

    def newest(self) -> int:
        """Return the highest number that was given, 0 if none was.

        Raises:
            InboxError: The inbox cannot be read.
        """
        with self._words():
            row = self._connection.execute(
                "SELECT seq FROM sqlite_sequence WHERE name = 'entries'"
            ).fetchone()
        return int(row[0]) if row else 0

    def _read(
        self, where: str, values: tuple[object, ...], limit: int, size: int = _MAX_READ
    ) -> list[Stored]:
        found, read = [], 0
        with self._words():
            for one in _select(self._connection, where, values, limit, self._skipped):
                found.append(one)
                read += len(one.raw)
                if read > size:
                    break
        return found


def _select(
    connection: sqlite3.Connection,
    where: str,
    values: tuple[object, ...],
    limit: int = 1000,
    skipped: Callable[[object], object] = lambda _: None,
) -> Iterator[Stored]:
    query = f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY seq LIMIT ?"
    for source, chat, sender, id_, at, raw, notes, extra, seq, stored_at in connection.execute(
        query, (*values, limit)
    ):
        try:
            found = Stored(source, chat, sender, id_, at, raw, load_notes(notes), extra, seq, stored_at)
            check(found)
            yield found
        except (UnfitError, TypeError):
            skipped(seq)
