"""The inbox of one account in Postgres, within the transaction of whoever calls.

Nothing here commits. An entry is safe when the caller's commit is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from orchestrator.errors import Disowned
from orchestrator.messages.entry import Entry, Stored, UnfitError, check, dump_notes, load_notes
from orchestrator.messages.retention import Retention
from orchestrator.postgres.messages.box import DISOWNED, Box, one, plain

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection

BATCH: Final = 200
"""Entries that are deleted at once."""
MOST: Final = 500
"""Rows that are answered at once."""
COLUMNS: Final = "source, chat, sender, id, at, raw, notes, extra, seq, stored_at"

APPEND: Final = """
WITH fresh AS (
  INSERT INTO orchestrator_messages.seen (box, key, at) VALUES (%(box)s, %(key)s, %(now)s)
  ON CONFLICT DO NOTHING RETURNING 1
), counted AS (
  UPDATE orchestrator_messages.box SET
    seq = seq + 1, entries = entries + 1, lost = lost + %(lost)s,
    last_message_at = CASE WHEN %(message)s THEN %(now)s ELSE last_message_at END
  WHERE box = %(box)s AND owner = %(owner)s AND EXISTS (SELECT FROM fresh)
  RETURNING seq
), added AS (
  INSERT INTO orchestrator_messages.entry
    (box, seq, source, chat, sender, id, extra, at, stored_at, raw, notes, media)
  SELECT %(box)s, seq, %(source)s, %(chat)s, %(sender)s, %(id)s, %(extra)s, %(at)s, %(now)s, %(raw)s,
    %(notes)s, %(media)s
  FROM counted RETURNING seq
)
SELECT (SELECT count(*) FROM fresh), (SELECT seq FROM added)
"""
"""Stores an entry. Returns 0 if it came before, or 1 and its number; without one, the box is another's."""


class Begun(NamedTuple):
    """What an account's process is to know of its inbox at the start.

    Attributes:
        entries: Number of entries.
        lost: Number of entries about lost messages.
        last_message_at: When the last message was stored.
    """

    entries: int
    lost: int
    last_message_at: float | None


def appending(box: Box, owner: UUID, entry: Entry, now: float) -> dict[str, object]:
    """Return the values of `APPEND` for an entry.

    Raises:
        UnfitError: A reader would refuse the entry.
    """
    check(entry)
    return {
        "box": box.number,
        "owner": owner,
        "key": entry.key,
        "now": now,
        "lost": int(entry.source == "lost"),
        "message": entry.source == "message",
        "source": entry.source,
        "chat": entry.chat,
        "sender": entry.sender,
        "id": entry.id,
        "extra": plain(entry.extra),
        "at": float(entry.at),
        "raw": entry.raw,
        "notes": dump_notes(entry.notes),
        "media": plain(entry.notes.get("media")),
    }


def appended(row: tuple[int, int | None]) -> int | None:
    """Return the number of an entry by what `APPEND` returns, None if the entry came before.

    Raises:
        Disowned: The box is another service's: nothing of the transaction may be committed.
    """
    is_fresh, seq = row
    if is_fresh and seq is None:
        raise Disowned(DISOWNED)
    return seq


class InboxTables:
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

    def begun(self) -> Begun:
        """Return what an account's process is to know at the start."""
        row = self._connection.execute(
            "SELECT entries, lost, last_message_at FROM orchestrator_messages.box WHERE box = %s",
            [self._box.number],
        ).fetchone()
        assert row is not None
        return Begun(*row)

    def meta(self, key: str) -> str | None:
        """Return what was written down under a word, None if nothing was."""
        row = self._connection.execute(
            "SELECT value FROM orchestrator_messages.meta WHERE box = %s AND key = %s",
            [self._box.number, key],
        ).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, values: Mapping[str, str | None]) -> None:
        """Write down values under words; None takes one away."""
        for key, value in values.items():
            if value is None:
                self._connection.execute(
                    "DELETE FROM orchestrator_messages.meta WHERE box = %s AND key = %s",
                    [self._box.number, key],
                )
            else:
                self._connection.execute(
                    "INSERT INTO orchestrator_messages.meta VALUES (%s, %s, %s)"
                    " ON CONFLICT (box, key) DO UPDATE SET value = excluded.value",
                    [self._box.number, key, plain(value)],
                )

    def clear_batch(self, keep: Retention, taken: int | None) -> tuple[int, int]:
        """Delete some of what was kept long enough.

        Returns:
            How many rows were deleted, 0 if nothing is left; and how many of them were entries.
        """
        taken_before, any_before = keep.delete_before(self._now)
        gone = self._connection.execute(
            "DELETE FROM orchestrator_messages.entry WHERE box = %(box)s AND seq IN ("
            " SELECT seq FROM orchestrator_messages.entry"
            " WHERE box = %(box)s AND stored_at < %(taken_before)s"
            " AND (stored_at < %(any_before)s OR seq <= %(taken)s) ORDER BY stored_at LIMIT %(batch)s)"
            " RETURNING source",
            {
                "box": self._box.number,
                "taken_before": taken_before,
                "any_before": any_before,
                "taken": 2**62 if taken is None else taken,
                "batch": BATCH,
            },
        ).fetchall()
        if gone:
            self._connection.execute(
                "UPDATE orchestrator_messages.box SET entries = entries - %s, lost = lost - %s"
                " WHERE box = %s",
                [len(gone), sum(source == "lost" for (source,) in gone), self._box.number],
            )
            return len(gone), len(gone)
        return self._forget("seen", "key", keep) or self._forget("sent", "digest", keep), 0

    def _forget(self, table: str, key: str, keep: Retention) -> int:
        return self._connection.execute(
            f"DELETE FROM orchestrator_messages.{table} WHERE box = %(box)s AND {key} IN ("
            f" SELECT {key} FROM orchestrator_messages.{table} WHERE box = %(box)s AND at < %(before)s"
            " LIMIT %(batch)s)",
            {"box": self._box.number, "before": keep.forget_before(self._now), "batch": BATCH},
        ).rowcount

    # The ledger

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """See `ledger.Ledger.known`."""
        rows = self._connection.execute(
            "SELECT key FROM orchestrator_messages.seen WHERE box = %s AND key = ANY(%s)",
            [self._box.number, list(keys)],
        )
        return {bytes(key) for (key,) in rows}

    def pass_over(self, keys: Iterable[bytes], now: float) -> None:
        """See `ledger.Ledger.pass_over`."""
        self._connection.execute(
            "INSERT INTO orchestrator_messages.seen (box, key, at) SELECT %s, unnest(%s::bytea[]), %s"
            " ON CONFLICT DO NOTHING",
            [self._box.number, list(keys), now],
        )

    def stored_since(self, at: float, limit: int = MOST) -> set[tuple[str, str, str]]:
        """See `ledger.Ledger.stored_since`."""
        rows = self._connection.execute(
            "SELECT chat, sender, id FROM orchestrator_messages.entry WHERE box = %s AND stored_at >= %s"
            " AND source = 'message' ORDER BY stored_at LIMIT %s",
            [self._box.number, at, limit],
        )
        return {(chat, sender, id_) for chat, sender, id_ in rows}

    def last_heard(self) -> dict[str, float]:
        """See `ledger.Ledger.last_heard`."""
        rows = self._connection.execute(
            "SELECT chat, max(at) FROM orchestrator_messages.entry"
            " WHERE box = %s AND source = 'message' AND sender = chat GROUP BY chat",
            [self._box.number],
        )
        return {str(chat): float(at) for chat, at in rows}

    def first_stored(self) -> float | None:
        """See `ledger.Ledger.first_stored`."""
        found = one(
            self._connection,
            "SELECT min(stored_at) FROM orchestrator_messages.entry WHERE box = %s",
            [self._box.number],
        )
        return None if found is None else float(found)

    def sending(self, digest: bytes, chat: str, now: float) -> None:
        """See `ledger.Ledger.sending`."""
        self._connection.execute(
            "INSERT INTO orchestrator_messages.sent (box, digest, id, chat, at) VALUES (%s, %s, NULL, %s, %s)"
            " ON CONFLICT (box, digest) DO UPDATE SET id = NULL, chat = excluded.chat, at = excluded.at",
            [self._box.number, digest, plain(chat), now],
        )

    def ledger_sent(self, digest: bytes, id_: str) -> None:
        """See `ledger.Ledger.sent`."""
        self._connection.execute(
            "UPDATE orchestrator_messages.sent SET id = %s WHERE box = %s AND digest = %s",
            [plain(id_), self._box.number, digest],
        )

    def sent_chats(self, ids: Iterable[str]) -> dict[str, str]:
        """See `ledger.Ledger.sent_chats`."""
        rows = self._connection.execute(
            "SELECT id, chat FROM orchestrator_messages.sent WHERE box = %s AND id = ANY(%s)",
            [self._box.number, list(ids)],
        )
        return {str(id_): str(chat) for id_, chat in rows}

    def sent_digests(self, *, settled: bool = True) -> set[bytes]:
        """See `ledger.Ledger.sent_digests`."""
        rows = self._connection.execute(
            "SELECT digest FROM orchestrator_messages.sent WHERE box = %s AND (%s OR id IS NULL)",
            [self._box.number, settled],
        )
        return {bytes(digest) for (digest,) in rows}


def stored(row: tuple[object, ...]) -> Stored:
    """Return an entry by the values of `COLUMNS`.

    Raises:
        UnfitError: An account's process cannot have written the entry in good faith.
    """
    source, chat, sender, id_, at, raw, notes, extra, seq, stored_at = row
    if not isinstance(notes, str) or not isinstance(raw, bytes):
        raise UnfitError("an entry without a message")
    found = Stored(source, chat, sender, id_, at, raw, load_notes(notes), extra, seq, stored_at)  # type: ignore[arg-type]
    check(found)
    return found
