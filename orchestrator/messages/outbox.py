"""The outbox of one account: what it is to send, and what became of it, in an SQLite file.

The account's process alone writes to the file while it runs. While the account has no process, the service
does, with the file for itself (`alone`). A row is on the disk when a call returns (``synchronous=FULL``): who
sent it may rely on it then. Everybody else opens the file to read.

The file has the texts of messages until some time after they are over. Of the chats that something was sent
to, it has digests only.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, Self

from orchestrator.messages.database import begin
from orchestrator.messages.entry import UnfitError
from orchestrator.messages.outbox_form import (
    COLUMNS,
    OUTBOX_FORM,
    UNSETTLED,
    Added,
    KeyConflict,
    New,
    NoOutbox,
    NoRow,
    NotWaiting,
    OutboxBusy,
    OutboxError,
    OutboxFull,
    OutboxStirred,
    read,
)
from orchestrator.messages.outbox_moves import OutboxMoves, changed, check_room, is_same
from orchestrator.messages.outbox_notes import OutboxNotes
from orchestrator.messages.outbox_reader import OutboxReader, marks, select, stored_outgoing
from orchestrator.messages.retention import Retention
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import OVER, WAITING, Row, State

__all__ = [
    "Added", "KeyConflict", "New", "NoOutbox", "NoRow", "NotWaiting", "Outbox", "OutboxBusy", "OutboxError",
    "OutboxFull", "OutboxReader", "OutboxStirred", "alone",
]  # fmt: skip

BATCH: Final = 200
"""Rows that are deleted at once."""
_LOOKED_AT: Final = 1000
"""Of so many of the rows that changed last, one was sent, or it is not known when one was."""
_LAST: Final = "SELECT state, message, changed_at FROM rows ORDER BY changed_at DESC LIMIT ?"
CONTACT_SECONDS: Final = 400 * 86_400.0
"""For how long is kept what is known of a chat, after something was heard of it or sent there last."""


class Outbox(OutboxMoves, OutboxNotes):
    """The writer's end. Its methods may be called from any thread, one after the other.

    Each method that changes a row returns the row as it is then. `NoRow` is raised where there is none of
    that number, `NotWaiting` where the row is in a state from which it cannot get there, and `sqlite3.Error`
    where the disk does not take it: nothing has changed then.

    Args:
        connection: The open database.
        wall: Returns Unix seconds.
        folder: The folder of the account's messages, where damage is noted.

    Attributes:
        last_sent_at: When WhatsApp took a message last, in Unix seconds; None if none is known.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        wall: Callable[[], float] = time.time,
        folder: Path | None = None,
    ) -> None:
        super().__init__(connection, wall, folder)
        last = connection.execute(_LAST, (_LOOKED_AT,))
        self.last_sent_at: float | None = next(
            (at for state, message, at in last if state == State.SENT and message is not None), None
        )

    @classmethod
    def open(cls, folder: Path, wall: Callable[[], float] = time.time, *, exclusive: bool = False) -> Self:
        """Open the outbox of an account, and make it if there is none.

        A damaged outbox is put aside in the same folder, and a new one goes on counting after it.

        Args:
            folder: The folder of the account's messages, which is there.
            wall: Returns Unix seconds.
            exclusive: Whether nobody else may have it open; see `alone`.

        Raises:
            OutboxBusy: Somebody has it open who may not.
            OutboxError: It is of a later version, or something that is no file is in its place.
            OSError, sqlite3.Error: The folder or the disk cannot be used.
        """
        try:
            return cls(begin(folder, OUTBOX_FORM, wall, alone=exclusive), wall, folder)
        except sqlite3.OperationalError as error:
            if exclusive and error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise OutboxBusy("somebody else uses the outbox at this moment: try again") from None
            raise

    # What comes in

    def add(self, new: New) -> Added:
        """Write a message, unless there is one of the same key already: then return that one's row.

        Raises:
            KeyConflict: The key is that of another message.
            OutboxFull: As many rows wait as may.
            sqlite3.Error: It cannot be written, for want of room for instance.
        """
        now, content = self._wall(), new.content
        outgoing = new.outgoing
        with self._lock, self._transaction() as connection:
            before = connection.execute(
                f"SELECT content, key_until, {COLUMNS} FROM rows WHERE key = ?", (new.key,)
            ).fetchone()
            if before is not None:
                row = read(before[2:])
                if is_same(content, before[0], before[1], row, now):
                    return Added(row, again=True)
                connection.execute("UPDATE rows SET key = NULL WHERE number = ?", (row.number,))
            check_room(self._waiting(), new.most)
            number = connection.execute(
                "INSERT INTO rows (key, content, key_until, kind, chat, tag, body, file, state, created_at,"
                " expires_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (new.key, content, max(new.key_until, new.expires_at), outgoing.kind, outgoing.to,
                 outgoing.tag, new.body, new.file, State.QUEUED, now, new.expires_at, now),
            ).lastrowid  # fmt: skip
            return Added(self._find("number = ?", number), again=False)

    # What becomes of it

    def sent(self, number: int, message: str | None, at: float | None = None) -> Row:
        """Note that WhatsApp has taken a row's message; that it was sent to the chat is noted, too.

        Args:
            number: The row.
            message: WhatsApp's identifier; None of read marks, which are no message.
            at: When, in Unix seconds; None: now.
        """
        now = self._wall()
        with self._lock, self._transaction() as connection:
            row = self._change(number, State.SENT, UNSETTLED, {"message": message})
            if row.to:
                self._note(connection, {row.to: Contact(sent_at=now if at is None else at)}, now)
        if message is not None:
            self.last_sent_at = row.changed_at
        return row

    def move(self, number: int, state: State | None, origins: Iterable[State], **values: object) -> Row:
        """See `OutboxMoves.move`."""
        with self._lock, self._transaction():
            return self._change(number, state, origins, values)

    # What is known

    @property
    def count(self) -> int:
        """Number of rows that wait or are being sent."""
        with self._lock:
            return self._waiting()

    def waiting(self) -> list[Row]:
        """Return the rows that are not over, in order: those of an unknown fate, too."""
        with self._lock:
            return select(self._connection, f"state IN {marks(WAITING)}", sorted(WAITING), -1)

    def row(self, number: int) -> Row:
        """Return a row."""
        with self._lock:
            return self._find("number = ?", number)

    def by_message(self, message: str) -> Row | None:
        """Return the row whose message has an identifier, None if there is none."""
        with self._lock:
            return next(iter(select(self._connection, "message = ?", [message], 1)), None)

    def outgoing(self, number: int) -> Outgoing:
        """Return the message of a row.

        Raises:
            NoRow: There is none, or its text is deleted.
        """
        with self._lock:
            return stored_outgoing(self._connection, number)

    def unsettled(self) -> dict[bytes, int]:
        """Return of the rows that were handed over what stands for their secrets, with their numbers."""
        with self._lock:
            return dict(
                self._connection.execute(
                    f"SELECT secret, number FROM rows WHERE state IN {marks(UNSETTLED)}"
                    " AND secret IS NOT NULL ORDER BY number",
                    sorted(UNSETTLED),
                )
            )

    def files(self) -> frozenset[str]:
        """Return the identifiers of the files that rows still need."""
        with self._lock:
            return frozenset(
                str(file)
                for (file,) in self._connection.execute(
                    f"SELECT file FROM rows WHERE file IS NOT NULL AND state IN {marks(WAITING)}",
                    sorted(WAITING),
                )
            )

    # What goes

    def clear(self, keep: Retention, *, pause: Callable[[], object] = lambda: None) -> list[str]:
        """Delete the texts of what is over long enough, and rows whose keys are over, too.

        Args:
            keep: For how long texts are kept.
            pause: Called after each batch, outside of any lock.

        Returns:
            The identifiers of files that no row needs any more.

        Raises:
            sqlite3.Error: The disk does not work.
        """
        files: list[str] = []
        now = self._wall()
        while batch := self._clear_batch(now - keep.keep, now):
            files += [file for file in batch if file is not None]
            pause()
        while self._forget_batch(now - CONTACT_SECONDS):
            pause()
        self._clear_receipts(now)
        self._wipe(pause)
        needed = self.files()
        return [file for file in dict.fromkeys(files) if file not in needed]

    def _clear_batch(self, before: float, now: float) -> list[str | None]:
        settled = sorted(OVER | {State.UNKNOWN})
        where = f"changed_at < ? AND state IN {marks(settled)} AND (body IS NOT NULL OR key_until < ?)"
        with self._lock, self._transaction() as connection:
            rows = connection.execute(
                f"SELECT number, file, key_until < ? FROM rows WHERE {where} ORDER BY changed_at LIMIT ?",
                (now, before, *settled, now, BATCH),
            ).fetchall()
            connection.executemany(
                "DELETE FROM rows WHERE number = ?", [(one,) for one, _, gone in rows if gone]
            )
            connection.executemany(
                "UPDATE rows SET body = NULL, file = NULL, chat = '', tag = NULL WHERE number = ?",
                [(one,) for one, _, gone in rows if not gone],
            )
            self.is_clean = self.is_clean and not rows
        return [file for _, file, _ in rows]

    def _forget_batch(self, before: float) -> int:
        with self._lock, self._transaction() as connection:
            return connection.execute(
                "DELETE FROM contacts WHERE digest IN"
                " (SELECT digest FROM contacts WHERE noted_at < ? LIMIT ?)",
                (before, BATCH),
            ).rowcount

    # Parts

    def _change(
        self, number: int, state: State | None, origins: Iterable[State], values: Mapping[str, object]
    ) -> Row:
        """Change a row within a transaction; one that is over and where it should get stays as it is."""
        row = self._find("number = ?", number)
        found = changed(row, state, origins, self._wall(), values)
        if found is None:
            return row
        columns = ", ".join(f"{name} = ?" for name in found)
        self._connection.execute(f"UPDATE rows SET {columns} WHERE number = ?", (*found.values(), number))
        if not UNSETTLED.isdisjoint({row.state, found["state"]}):
            self._moved()
        return self._find("number = ?", number)

    def _find(self, where: str, *values: object) -> Row:
        found = select(self._connection, where, values, 1)
        if not found:
            raise NoRow("the outbox has no such row, or does not have it any more")
        return found[0]

    def _waiting(self) -> int:
        """Count what waits. What has expired counts no more, also if no process has come up to say so."""
        query = (
            "SELECT (SELECT count(*) FROM rows WHERE state = ? AND expires_at >= ?)"
            " + (SELECT count(*) FROM rows WHERE state = ?)"
        )
        values = (State.QUEUED, self._wall(), State.SENDING)
        return int(self._connection.execute(query, values).fetchone()[0])


@contextlib.contextmanager
def alone(folder: Path, wall: Callable[[], float] = time.time) -> Iterator[Outbox]:
    """Open the outbox of an account that has no process, for the service; make its folder if there is none.

    Nobody else can open it meanwhile, no file that an account's process has made is mapped into memory, and
    all has an end.

    Args:
        folder: The folder of the account's messages.
        wall: Returns Unix seconds.

    Raises:
        OutboxBusy: Somebody has it open: a process of the account has come up, or somebody reads.
        OutboxError: It cannot be used, for whatever reason.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.closing(Outbox.open(folder, wall, exclusive=True)) as outbox:
            yield outbox
    except (sqlite3.Error, UnicodeDecodeError, UnfitError) as error:
        raise OutboxError(f"the outbox in {folder} cannot be used: {type(error).__name__}") from None
    except OSError as error:
        raise OutboxError(f"the outbox in {folder} cannot be used: {error.strerror or error}") from None
