"""The outbox of one account in Postgres, within the transaction of whoever calls.

Its rules are those of `messages.outbox_moves`. A check that refuses comes before anything is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from orchestrator.messages.entry import UnfitError
from orchestrator.messages.outbox_form import (
    COLUMNS,
    MAX_MEMORY,
    MAX_RECEIPTS,
    UNSETTLED,
    Added,
    New,
    NoRow,
    read,
)
from orchestrator.messages.outbox_moves import OutboxMoves, changed, check_room, is_same
from orchestrator.messages.outbox_notes import RECEIPT_SECONDS
from orchestrator.messages.retention import Retention
from orchestrator.postgres.messages.box import Box, one, plain
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import REPEATABLE
from orchestrator.sending.row import OVER, WAITING, Row, State

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection

BATCH: Final = 200
"""Rows that are deleted at once."""
CONTACT_SECONDS: Final = 400 * 86_400.0
"""As for files: `messages.outbox`."""
OUTBOX_SALT: Final = "outbox salt"
"""By which word it is kept what makes the digests of chats the account's own."""
OUTBOX_MEMORY: Final = "outbox memory"
"""By which word it is kept what the pacing remembers."""
_TIMES: Final = tuple(one.name for one in fields(Contact))
_WAITING: Final = sorted(map(str, WAITING))
_UNSETTLED: Final = sorted(map(str, UNSETTLED))
_SETTLED: Final = sorted(map(str, OVER | {State.UNKNOWN}))
_NOTE: Final = (
    f"INSERT INTO orchestrator_messages.contact AS known (box, digest, {', '.join(_TIMES)}, noted_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (box, digest) DO UPDATE SET "
    + ", ".join(f"{name} = greatest(known.{name}, excluded.{name})" for name in (*_TIMES, "noted_at"))
)


class OutboxTables(OutboxMoves):
    """The writer's end.

    Args:
        connection: The database, in a transaction.
        box: The account's box, locked.
        now: Unix seconds.
    """

    def __init__(self, connection: Connection, box: Box, now: float) -> None:
        self._connection = connection
        self._box = box
        self._now = now

    # Rows

    def begun(self) -> float | None:
        """Return when WhatsApp took a message last, None if none is known."""
        found = one(
            self._connection,
            "SELECT last_sent_at FROM orchestrator_messages.box WHERE box = %s",
            [self._box.number],
        )
        return None if found is None else float(found)

    def add(self, new: New) -> Added:
        """Write a message, unless there is one of the same key already: then return that one's row.

        Raises:
            KeyConflict: The key is that of another message.
            OutboxFull: As many rows wait as may.
        """
        before = self._connection.execute(
            f"SELECT content, key_until, {COLUMNS} FROM orchestrator_messages.outgoing"
            " WHERE box = %s AND key = %s",
            [self._box.number, new.key],
        ).fetchone()
        if before is not None:
            row = read(before[2:])
            if is_same(new.content, bytes(before[0]), before[1], row, self._now):
                return Added(row, again=True)
        check_room(self.count, new.most)
        if before is not None:
            self._connection.execute(
                "UPDATE orchestrator_messages.outgoing SET key = NULL WHERE box = %s AND key = %s",
                [self._box.number, new.key],
            )
        number = one(
            self._connection,
            "UPDATE orchestrator_messages.box SET number = number + 1 WHERE box = %s RETURNING number",
            [self._box.number],
        )
        outgoing = new.outgoing
        self._connection.execute(
            "INSERT INTO orchestrator_messages.outgoing (box, number, key, content, key_until, kind, chat,"
            " tag, body, file, state, created_at, expires_at, changed_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                self._box.number, number, new.key, new.content, max(new.key_until, new.expires_at),
                str(outgoing.kind), plain(outgoing.to), plain(outgoing.tag), plain(new.body), new.file,
                str(State.QUEUED), self._now, new.expires_at, self._now,
            ],
        )  # fmt: skip
        return Added(self.row(int(number)), again=False)

    def sent(self, number: int, message: str | None, at: float | None = None) -> Row:
        """See `messages.outbox.Outbox.sent`."""
        row = self.move(number, State.SENT, UNSETTLED, message=message)
        if row.to:
            self.note_contacts({row.to: Contact(sent_at=self._now if at is None else at)})
        if message is not None:
            self._connection.execute(
                "UPDATE orchestrator_messages.box SET last_sent_at = %s WHERE box = %s",
                [row.changed_at, self._box.number],
            )
        return row

    def move(self, number: int, state: State | None, origins: Iterable[State], **values: object) -> Row:
        """See `OutboxMoves.move`."""
        row = self.row(number)
        found = changed(row, state, origins, self._now, values)
        if found is None:
            return row
        columns = ", ".join(f"{name} = %s" for name in found)
        texts = [plain(str(value)) if isinstance(value, str) else value for value in found.values()]
        self._connection.execute(
            f"UPDATE orchestrator_messages.outgoing SET {columns} WHERE box = %s AND number = %s",
            [*texts, self._box.number, number],
        )
        if not UNSETTLED.isdisjoint({row.state, found["state"]}) and not any(self._doubt()):
            self._forget_receipts(self._now)
        return self.row(number)

    @property
    def count(self) -> int:
        """Number of rows that wait or are being sent; what has expired counts no more."""
        return int(
            one(
                self._connection,
                "SELECT count(*) FROM orchestrator_messages.outgoing"
                " WHERE box = %s AND ((state = %s AND expires_at >= %s) OR state = %s)",
                [self._box.number, str(State.QUEUED), self._now, str(State.SENDING)],
            )
        )

    def waiting(self) -> list[Row]:
        """Return the rows that are not over, in order."""
        return self._select("state = ANY(%s)", [_WAITING])

    def row(self, number: int) -> Row:
        """Return a row.

        Raises:
            NoRow: There is none.
        """
        found = self._select("number = %s", [number])
        if not found:
            raise NoRow("the outbox has no such row, or does not have it any more")
        return found[0]

    def by_message(self, message: str) -> Row | None:
        """Return the row whose message has an identifier, None if there is none."""
        return next(iter(self._select("message = %s", [message], 1)), None)

    def body(self, number: int) -> str:
        """Return the message of a row, by `sending.wire.as_text`.

        Raises:
            NoRow: There is none, or its text is deleted.
        """
        row = self._connection.execute(
            "SELECT body FROM orchestrator_messages.outgoing WHERE box = %s AND number = %s",
            [self._box.number, number],
        ).fetchone()
        if row is None or row[0] is None:
            raise NoRow("the outbox does not have the text of such a row, or does not have it any more")
        return str(row[0])

    def unsettled(self) -> dict[bytes, int]:
        """See `messages.outbox.Outbox.unsettled`."""
        rows = self._connection.execute(
            "SELECT secret, number FROM orchestrator_messages.outgoing WHERE box = %s AND state = ANY(%s)"
            " AND secret IS NOT NULL ORDER BY number",
            [self._box.number, _UNSETTLED],
        )
        return {bytes(secret): int(number) for secret, number in rows}

    def files(self) -> frozenset[str]:
        """Return the identifiers of the files that rows still need."""
        rows = self._connection.execute(
            "SELECT file FROM orchestrator_messages.outgoing WHERE box = %s AND file IS NOT NULL"
            " AND state = ANY(%s)",
            [self._box.number, _WAITING],
        )
        return frozenset(str(file) for (file,) in rows)

    def clear_batch(self, keep: Retention) -> tuple[int, list[str]]:
        """Delete some of what is over long enough; return how much that was, and which files may go."""
        rows = self._connection.execute(
            "SELECT number, file, key_until < %(now)s FROM orchestrator_messages.outgoing WHERE box = %(box)s"
            " AND changed_at < %(before)s AND state = ANY(%(settled)s)"
            " AND (body IS NOT NULL OR key_until < %(now)s) ORDER BY changed_at LIMIT %(batch)s",
            {
                "box": self._box.number,
                "now": self._now,
                "before": self._now - keep.keep,
                "settled": _SETTLED,
                "batch": BATCH,
            },
        ).fetchall()
        self._connection.execute(
            "DELETE FROM orchestrator_messages.outgoing WHERE box = %s AND number = ANY(%s)",
            [self._box.number, [number for number, _, gone in rows if gone]],
        )
        self._connection.execute(
            "UPDATE orchestrator_messages.outgoing SET body = NULL, file = NULL, chat = '', tag = NULL"
            " WHERE box = %s AND number = ANY(%s)",
            [self._box.number, [number for number, _, gone in rows if not gone]],
        )
        self._forget_receipts(self._now - RECEIPT_SECONDS if any(self._doubt()) else self._now)
        forgotten = self._connection.execute(
            "DELETE FROM orchestrator_messages.contact WHERE box = %(box)s AND digest IN"
            " (SELECT digest FROM orchestrator_messages.contact WHERE box = %(box)s AND noted_at < %(before)s"
            " LIMIT %(batch)s)",
            {"box": self._box.number, "before": self._now - CONTACT_SECONDS, "batch": BATCH},
        ).rowcount
        needed = self.files()
        gone = dict.fromkeys(str(file) for _, file, _ in rows if file is not None and file not in needed)
        return len(rows) + forgotten, list(gone)

    def _select(self, where: str, values: list[object], limit: int | None = None) -> list[Row]:
        return select(self._connection, self._box, where, values, limit)

    # Notes

    def contact(self, chat: str) -> Contact:
        """Return what is known of a chat."""
        found = self._connection.execute(
            f"SELECT {', '.join(_TIMES)} FROM orchestrator_messages.contact WHERE box = %s AND digest = %s",
            [self._box.number, self._digest(chat)],
        ).fetchone()
        return Contact() if found is None else Contact(*map(float, found))

    def note_contacts(self, found: Mapping[str, Contact]) -> None:
        """Note what is newly known of chats, together with what was known before."""
        for chat, contact in found.items():
            times = [getattr(contact, time) for time in _TIMES]
            self._connection.execute(_NOTE, [self._box.number, self._digest(chat), *times, self._now])

    def memory(self) -> str | None:
        """Return what `remember` wrote, None if nothing."""
        found = self._meta(OUTBOX_MEMORY)
        return found if found is not None and len(found) <= MAX_MEMORY else None

    def remember(self, text: str) -> None:
        """Write down what the pacing has to know after a restart."""
        self._set_meta(OUTBOX_MEMORY, text)

    def note_receipt(self, ids: Iterable[str]) -> None:
        """See `messages.outbox_notes.OutboxNotes.note_receipt`."""
        is_any, is_known = self._doubt()
        if not (is_any or is_known):
            return
        wanted = list(dict.fromkeys(ids))[-MAX_RECEIPTS:]
        states: dict[str, str] = dict(
            self._connection.execute(
                "SELECT message, state FROM orchestrator_messages.outgoing"
                " WHERE box = %s AND message = ANY(%s)",
                [self._box.number, wanted],
            ).fetchall()
        )
        found = [one for one in wanted if states.get(one) == State.UNKNOWN or (is_any and one not in states)]
        if found:
            self._connection.execute(
                "INSERT INTO orchestrator_messages.receipt (box, message, at)"
                " SELECT %s, unnest(%s::text[]), %s ON CONFLICT DO NOTHING",
                [self._box.number, found, self._now],
            )
            self._connection.execute(
                "DELETE FROM orchestrator_messages.receipt WHERE box = %(box)s AND number <= (SELECT number"
                " FROM orchestrator_messages.receipt WHERE box = %(box)s ORDER BY number DESC"
                " OFFSET %(most)s LIMIT 1)",
                {"box": self._box.number, "most": MAX_RECEIPTS},
            )

    def receipts(self) -> list[str]:
        """Return the messages that receipts have named while rows were in doubt, in order."""
        rows = self._connection.execute(
            "SELECT message FROM orchestrator_messages.receipt WHERE box = %s ORDER BY number",
            [self._box.number],
        )
        return [str(message) for (message,) in rows]

    def _forget_receipts(self, before: float) -> None:
        self._connection.execute(
            "DELETE FROM orchestrator_messages.receipt WHERE box = %s AND at <= %s",
            [self._box.number, before],
        )

    def _doubt(self) -> tuple[bool, bool]:
        """Tell whether a row may turn out to be any message, and whether one is a known message in doubt."""
        row = self._connection.execute(
            "SELECT bool_or(message IS NULL AND secret IS NOT NULL AND NOT kind = ANY(%s)),"
            " bool_or(message IS NOT NULL) FROM orchestrator_messages.outgoing"
            " WHERE box = %s AND state = ANY(%s)",
            [[str(kind) for kind in REPEATABLE], self._box.number, _UNSETTLED],
        ).fetchone()
        assert row is not None
        return bool(row[0]), bool(row[1])

    def _digest(self, chat: str) -> bytes:
        salt = self._meta(OUTBOX_SALT)
        if salt is None:
            salt = os.urandom(32).hex()
            self._set_meta(OUTBOX_SALT, salt)
        return hmac.digest(bytes.fromhex(salt), chat.encode(), hashlib.sha256)[:16]

    def _meta(self, key: str) -> str | None:
        row = self._connection.execute(
            "SELECT value FROM orchestrator_messages.meta WHERE box = %s AND key = %s",
            [self._box.number, key],
        ).fetchone()
        return None if row is None else str(row[0])

    def _set_meta(self, key: str, value: str) -> None:
        self._connection.execute(
            "INSERT INTO orchestrator_messages.meta VALUES (%s, %s, %s)"
            " ON CONFLICT (box, key) DO UPDATE SET value = excluded.value",
            [self._box.number, key, plain(value)],
        )


def select(
    connection: Connection,
    box: Box,
    where: str,
    values: list[Any],
    limit: int | None = None,
    order: str = "number",
) -> list[Row]:
    """Return rows of an outbox, without what is no row."""
    query = (
        f"SELECT {COLUMNS} FROM orchestrator_messages.outgoing WHERE box = %s AND {where} ORDER BY {order}"
    )
    if limit is not None:
        query += " LIMIT %s"
        values = [*values, limit]
    found: list[Row] = []
    for row in connection.execute(query, [box.number, *values]):
        with contextlib.suppress(UnfitError):
            found.append(read(row))
    return found
