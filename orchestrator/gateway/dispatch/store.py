"""What is kept of consumers, in an SQLite file that only the gateway uses: where they are, and what failed.

What was committed survives the end of the process, however sudden: the kernel has it. Only checkpoints wait
for the disk, one every few seconds. So a power failure costs what was written since the last one: what was
delivered in that time is delivered again, and what failed in that time is tried as if it had not been.

The file has the bodies of events, which are texts of people. What is deleted is overwritten, in the log as
well.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from orchestrator.consumers.pulling import Reach
from orchestrator.consumers.writes import (
    Buried,
    Died,
    Head,
    Hurried,
    Kept,
    LaneGone,
    LaneRow,
    Letter,
    Moved,
    Place,
    Revived,
    Standing,
    Waiting,
    Write,
)
from orchestrator.errors import StateError
from orchestrator.gateway.dispatch import tables
from orchestrator.gateway.dispatch.changes import HERE, Changes
from orchestrator.messages.database import DAMAGED, check_file, closed_on_error, files, put_aside, settle
from orchestrator.messages.retention import Retention
from orchestrator.system.transactions import transaction

log = logging.getLogger(__name__)
Json: TypeAlias = dict[str, Any]

DATABASE: Final = "consumers.sqlite3"
REMOVED_SECONDS: Final = 30 * 86_400.0
"""For how long is kept what is known of a consumer that was removed, or of a pull that nobody uses."""
_CHECKED = 256 << 20  # bytes of the largest file that is checked at the start: see `messages.database`
_CHECK_SECONDS = 2.0
_THE_LANE = "consumer = ? AND account = ? AND stream = ? AND lane = ?"
_MAX_OUTSTANDING = 64  # batches of one pull that are not acknowledged, by whose accounts they are of


@dataclass(frozen=True, slots=True)
class Known:
    """A consumer that something is kept of.

    Attributes:
        kind: What it is.
        removed_at: Since when it is not configured any more, None if it is.
        used_at: When a pull was used last.
        maker: Who made it, if it is a pull.
    """

    kind: str
    removed_at: float | None
    used_at: float
    maker: str = ""


class Store:
    """The file. Its methods block: they are called from one thread of their own, one after the other.

    Args:
        connection: The open database.
        folder: The gateway's folder.
        follows: Whether what changes follows into a database: then only accounts count that are held.

    Attributes:
        was_damaged: Whether a damaged file was put aside, so that this one is new.
        changes: What changes and follows into a database; None if it does not.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Path,
        *,
        was_damaged: bool = False,
        follows: bool = False,
    ) -> None:
        self._connection = connection
        self._folder = folder
        self.was_damaged = was_damaged
        self.changes = Changes(connection) if follows else None
        self._here = HERE if follows else ""

    @classmethod
    def open(cls, folder: Path, *, follows: bool = False) -> Self:
        """Open the file, and make it if there is none. A damaged one is put aside.

        Args:
            folder: The gateway's folder.
            follows: See the class.

        Raises:
            StateError: It is of a later version, or something that is no file is in its place.
            OSError, sqlite3.Error: The folder or the disk cannot be used.
        """
        path = folder / DATABASE
        for file in files(path):
            check_file(file)
        try:
            return cls(_writable(path), folder, follows=follows)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if not is_damage(error, sqlite3.SQLITE_CORRUPT):
                raise
        aside = put_aside(path, time.time())
        log.error("what was kept of consumers is damaged: it was put aside as %s", aside.name)
        return cls(_writable(path), folder, was_damaged=True, follows=follows)

    def close(self) -> None:
        """Write everything into the one file, and close it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    # Consumers

    def known(self) -> dict[str, Known]:
        """Return the consumers that something is kept of."""
        rows = self._connection.execute("SELECT name, kind, removed_at, used_at, maker FROM consumers")
        return {str(name): Known(str(kind), at, float(used), str(by)) for name, kind, at, used, by in rows}

    def declare(self, name: str, kind: str, now: float, maker: str = "") -> None:
        """Note that a consumer is configured, or that a pull is used; and who made it, if it is new."""
        with transaction(self._connection) as connection:
            _declare(connection, name, kind, now, maker)

    def begin(self, kinds: Mapping[str, str], writes: Mapping[str, Iterable[Write]], now: float) -> None:
        """Note consumers with where they begin: all of it or nothing.

        Args:
            kinds: What each is.
            writes: Where each begins.
            now: Unix seconds.
        """
        with transaction(self._connection) as connection:
            for name, kind in kinds.items():
                _declare(connection, name, kind, now)
                for write in writes[name]:
                    _apply(connection, name, write)

    def remove(self, name: str, now: float) -> None:
        """Note that a consumer is not configured any more."""
        with transaction(self._connection) as connection:
            connection.execute(
                "UPDATE consumers SET removed_at = ? WHERE name = ? AND removed_at IS NULL", (now, name)
            )

    def accounts(self) -> frozenset[str]:
        """Return the accounts that something is kept of."""
        return frozenset(
            str(account) for (account,) in self._connection.execute("SELECT DISTINCT account FROM positions")
        )

    def forget(self, name: str) -> None:
        """Forget a consumer with everything that is kept of it."""
        with transaction(self._connection) as connection:
            _forget(connection, name)

    def load(self, name: str, account: str | None = None) -> Kept:
        """Return what is kept of a consumer, and of one account alone if that is named."""
        one = self._connection.execute
        some, of = (self._here, (name,)) if account is None else (" AND account = ?", (name, account))
        row = one(
            "SELECT since, paused, disabled, failures, held_until, why, changed_at FROM consumers"
            " WHERE name = ?",
            (name,),
        ).fetchone()
        standing = Standing() if row is None else Standing(
            float(row[0]), bool(row[1]), bool(row[2]), int(row[3]), float(row[4]), str(row[5]), float(row[6])
        )  # fmt: skip
        positions = {
            (place := Place(account, stream)): Moved(place, cursor, since)
            for account, stream, cursor, since in one(
                f"SELECT account, stream, cursor, since FROM positions WHERE consumer = ?{some}", of
            )
        }
        lanes = tuple(
            LaneRow(
                Place(account, stream), lane, done, counted, waiting,
                None if seq is None else Head(id_, type_, seq, at), tries, due, why,
            )
            for account, stream, lane, done, counted, waiting, seq, id_, type_, at, tries, due, why in one(
                "SELECT account, stream, lane, done, counted, waiting, seq, id, type, at, tries, due, why"
                f" FROM lanes WHERE consumer = ?{some} ORDER BY due, seq",
                of,
            )
        )  # fmt: skip
        dead, reviving = one(
            f"SELECT count(*), count(due) FROM letters WHERE consumer = ?{some}", of
        ).fetchone()
        return Kept(standing, positions, lanes, int(dead), bool(reviving))

    def apply(self, writes: Mapping[str, Iterable[Write]]) -> None:
        """Write down what the machines ask for, by consumer: all of it or nothing.

        Raises:
            sqlite3.Error: It cannot be written, for want of room for instance.
        """
        with transaction(self._connection) as connection:
            for name, some in writes.items():
                for write in some:
                    _apply(connection, name, write)

    def body(self, name: str, place: Place, lane: str, seq: int) -> bytes | None:
        """Return what was sent of an event that is tried again, None if that is not kept."""
        return _body(self._connection, name, place, lane, seq)

    # Dead letters

    def next_letter(self, name: str, now: float) -> tuple[Letter | None, float | None]:
        """Return the next dead letter that is to be delivered again; or None, and when there is one.

        Those of a chat are delivered in order.
        """
        row = self._connection.execute(
            "SELECT number, account, stream, seq, id, type, at, revived, due, body FROM letters AS one"
            f" WHERE consumer = ? AND due IS NOT NULL{self._here} AND NOT EXISTS"
            " (SELECT 1 FROM letters AS other WHERE other.consumer = one.consumer"
            " AND other.account = one.account AND other.stream = one.stream AND other.lane = one.lane"
            " AND other.due IS NOT NULL AND other.seq < one.seq)"
            " ORDER BY due, seq LIMIT 1",
            (name,),
        ).fetchone()
        if row is None:
            return None, None
        number, account, stream, seq, id_, type_, at, tries, due, body = row
        if due > now:
            return None, float(due)
        return Letter(number, Place(account, stream), Head(id_, type_, seq, at), tries, bytes(body)), None

    def revive(self, name: str, event: str | None, now: float) -> int:
        """Have dead letters delivered again; return how many.

        Args:
            name: The consumer.
            event: The id of one, None for all.
            now: Unix seconds.
        """
        with transaction(self._connection) as connection:
            return connection.execute(
                "UPDATE letters SET due = :now, revived = 0 WHERE consumer = :name AND due IS NULL"
                f" AND (:event IS NULL OR id = :event){self._here}",
                {"now": now, "name": name, "event": event},
            ).rowcount

    def has_letter(self, name: str, event: str) -> bool:
        """Tell whether an event is a dead letter of a consumer, also while it is delivered again."""
        rows = self._connection.execute(
            "SELECT 1 FROM letters WHERE consumer = ? AND id = ? LIMIT 1", (name, event)
        )
        return rows.fetchone() is not None

    def letters(self, name: str, limit: int, after: int) -> list[Json]:
        """Return dead letters in order, without their bodies."""
        rows = self._connection.execute(
            "SELECT number, id, type, account, stream, seq, at, died_at, tries, why, due FROM letters"
            f" WHERE consumer = ? AND number > ?{self._here} ORDER BY number LIMIT ?",
            (name, after, limit),
        )
        keys = ("number", "event", "type", "account", "stream", "seq", "at", "died_at", "tries", "why")
        return [dict(zip(keys, row, strict=False)) | {"replaying": row[-1] is not None} for row in rows]

    def fates(self, place: Place, seq: int) -> dict[str, Json]:
        """Return what is written down of an event, by consumer."""
        found: dict[str, Json] = {}
        for name, tries, why, due in self._connection.execute(
            "SELECT consumer, tries, why, due FROM lanes WHERE account = ? AND stream = ? AND seq = ?",
            (*place, seq),
        ):
            found[name] = {"state": "retrying", "tries": tries, "why": why, "due": due}
        for name, tries, why, due in self._connection.execute(
            "SELECT consumer, tries + revived, why, due FROM letters"
            " WHERE account = ? AND stream = ? AND seq = ?",
            (*place, seq),
        ):
            state = "dead" if due is None else "replaying"
            found[name] = {"state": state, "tries": tries, "why": why, "due": due}
        return found

    # Pulls

    def outstanding(self, name: str, scope: str) -> tuple[str, list[Reach]] | None:
        """Return the batch of a pull that is not acknowledged: its cursor, and what is in it."""
        row = self._connection.execute(
            "SELECT cursor, reach FROM pulls WHERE consumer = ? AND scope = ? AND reach != ''", (name, scope)
        ).fetchone()
        return None if row is None else (str(row[0]), _load_reach(row[1]))

    def hand_out(self, name: str, scope: str, cursor: str, reach: Iterable[Reach], now: float) -> None:
        """Note a batch of a pull."""
        with transaction(self._connection) as connection:
            connection.execute(
                "INSERT OR REPLACE INTO pulls (consumer, scope, cursor, reach, at) VALUES (?, ?, ?, ?, ?)",
                (name, scope, cursor, json.dumps([[*place, begin, end] for place, begin, end in reach]), now),
            )
            connection.execute(
                "DELETE FROM pulls WHERE consumer = ? AND scope NOT IN"
                " (SELECT scope FROM pulls WHERE consumer = ? ORDER BY at DESC LIMIT ?)",
                (name, name, _MAX_OUTSTANDING),
            )

    def acknowledge(self, name: str, cursor: str) -> list[tuple[Place, int]] | None:
        """Move the positions of a pull behind a batch.

        Returns:
            The positions; none if the batch was acknowledged before. None if there is no such batch.
        """
        with transaction(self._connection) as connection:
            row = connection.execute(
                "SELECT scope, reach FROM pulls WHERE consumer = ? AND cursor = ?", (name, cursor)
            ).fetchone()
            if row is None:
                return None
            reach = _load_reach(row[1]) if row[1] else []
            for place, _, seq in reach:
                connection.execute(
                    "UPDATE positions SET cursor = max(coalesce(cursor, 0), ?) WHERE consumer = ?"
                    " AND account = ? AND stream = ?",
                    (seq, name, *place),
                )
            connection.execute("UPDATE pulls SET reach = '' WHERE consumer = ? AND scope = ?", (name, row[0]))
            return [(place, seq) for place, _, seq in reach]

    def forget_batches(self, name: str) -> None:
        """Forget the batches of a pull that are not acknowledged."""
        with transaction(self._connection) as connection:
            connection.execute("DELETE FROM pulls WHERE consumer = ?", (name,))

    # Retention

    def clear(self, keep: Mapping[str, Retention], other: Retention, now: float) -> dict[str, int]:
        """Delete what was kept long enough.

        The body of an event that is still tried again goes with `keep_at_most`, a dead letter also `keep`
        after it died. A damaged file that was put aside has bodies, too.

        Args:
            keep: For how long what is kept, by account.
            other: The same for all others.
            now: Unix seconds.

        Returns:
            How many dead letters were deleted, by consumer.
        """
        deleted: dict[str, int] = {}
        for aside in self._folder.glob("damaged-*.sqlite3*"):
            with contextlib.suppress(OSError):
                if aside.lstat().st_mtime < now - other.keep:
                    aside.unlink()
        with transaction(self._connection) as connection:
            accounts = connection.execute(
                "SELECT account FROM lanes UNION SELECT account FROM letters"
            ).fetchall()
            changed = 0
            for (account,) in accounts:
                before, any_before = keep.get(account, other).delete_before(now)
                changed += connection.execute(
                    "UPDATE lanes SET body = NULL WHERE account = ? AND at < ? AND body IS NOT NULL",
                    (account, any_before),
                ).rowcount
                rows = connection.execute(
                    "DELETE FROM letters WHERE account = ? AND (died_at < ? OR at < ?) RETURNING consumer",
                    (account, before, any_before),
                ).fetchall()
                for (name,) in rows:
                    deleted[name] = deleted.get(name, 0) + 1
            gone = connection.execute(
                "SELECT name FROM consumers WHERE removed_at < :before"
                " OR (kind = 'pull' AND used_at < :before)",
                {"before": now - REMOVED_SECONDS},
            ).fetchall()
            for (name,) in gone:
                _forget(connection, name)
        if changed or deleted or gone:
            self._connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return deleted

    def forget_account(self, account: str) -> dict[str, int]:
        """Delete the bodies of an account's events, as its messages are deleted.

        Returns:
            How many dead letters were deleted, by consumer.
        """
        with transaction(self._connection) as connection:
            emptied = connection.execute(
                "UPDATE lanes SET body = NULL WHERE account = ? AND body IS NOT NULL", (account,)
            ).rowcount
            deleted = connection.execute(
                "DELETE FROM letters WHERE account = ? RETURNING consumer", (account,)
            ).fetchall()
        if emptied or deleted:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return Counter(str(name) for (name,) in deleted)

    def rename(self, account: str, new: str) -> None:
        """Move everything to the new name of an account, whose numbers go on."""
        with transaction(self._connection) as connection:
            for table in ("positions", "lanes", "letters"):
                connection.execute(f"DELETE FROM {table} WHERE account = ?", (new,))
                connection.execute(f"UPDATE {table} SET account = ? WHERE account = ?", (new, account))
            connection.execute("DELETE FROM pulls")

    def sync(self) -> None:
        """Have the disk have what was committed."""
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def is_damage(error: BaseException, without_code: int = 0) -> bool:
    """Tell whether an error of SQLite's says that the file is damaged.

    Args:
        error: The error.
        without_code: What to take an error for that has no code.
    """
    return getattr(error, "sqlite_errorcode", without_code) & 0xFF in DAMAGED


def _apply(connection: sqlite3.Connection, name: str, write: Write) -> None:
    match write:
        case Moved(place, cursor, since):
            connection.execute(
                "INSERT OR REPLACE INTO positions (consumer, account, stream, cursor, since)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, *place, cursor, since),
            )
        case LaneRow(place, lane):
            head = write.head
            about = (None, None, None, None) if head is None else (head.seq, head.id, head.type, head.at)
            body = write.body
            if body is None and head is not None:
                body = _body(connection, name, place, lane, head.seq)  # which could not be looked up
            connection.execute(
                "INSERT OR REPLACE INTO lanes (consumer, account, stream, lane, done, counted, waiting, seq,"
                " id, type, at, tries, due, why, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, *place, lane, write.done, write.counted, write.waiting, *about, write.tries, write.due,
                 write.why, body),
            )  # fmt: skip
        case Waiting(place, lane, counted, waiting):
            connection.execute(
                f"UPDATE lanes SET counted = ?, waiting = ? WHERE {_THE_LANE}",
                (counted, waiting, name, *place, lane),
            )
        case LaneGone(place, lane):
            connection.execute(
                f"DELETE FROM lanes WHERE {_THE_LANE}",
                (name, *place, lane),
            )
        case Died(place, lane, head, tries, why, died_at, body):
            if body is None:
                body = _body(connection, name, place, lane, head.seq)
            connection.execute(
                "INSERT OR REPLACE INTO letters (consumer, account, stream, lane, seq, id, type, at, tries,"
                " why, died_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (name, *place, lane, head.seq, head.id, head.type, head.at, tries, why, died_at, body or b""),
            )
        case Revived(number, due, tries, why, died_at):
            connection.execute(
                "UPDATE letters SET due = ?, revived = ?, why = ?, died_at = ?"
                " WHERE consumer = ? AND number = ?",
                (due, tries, why, died_at, name, number),
            )
        case Buried(number):
            connection.execute("DELETE FROM letters WHERE consumer = ? AND number = ?", (name, number))
        case Hurried(now):
            connection.execute("UPDATE lanes SET due = min(due, ?) WHERE consumer = ?", (now, name))
            connection.execute("UPDATE letters SET due = min(due, ?) WHERE consumer = ?", (now, name))
        case Standing():
            connection.execute(
                "UPDATE consumers SET since = ?, paused = ?, disabled = ?, failures = ?, held_until = ?,"
                " why = ?, changed_at = ? WHERE name = ?",
                (write.since, write.paused, write.disabled, write.failures, write.held_until, write.why,
                 write.changed_at, name),
            )  # fmt: skip


def _body(connection: sqlite3.Connection, name: str, place: Place, lane: str, seq: int) -> bytes | None:
    row = connection.execute(
        f"SELECT body FROM lanes WHERE {_THE_LANE} AND seq = ?", (name, *place, lane, seq)
    ).fetchone()
    return None if row is None or row[0] is None else bytes(row[0])


def _declare(connection: sqlite3.Connection, name: str, kind: str, now: float, maker: str = "") -> None:
    connection.execute(
        "INSERT INTO consumers (name, kind, used_at, maker) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO"
        " UPDATE SET kind = excluded.kind, removed_at = NULL, used_at = excluded.used_at",
        (name, kind, now, maker),
    )


def _forget(connection: sqlite3.Connection, name: str) -> None:
    for table in ("positions", "lanes", "letters", "pulls"):
        connection.execute(f"DELETE FROM {table} WHERE consumer = ?", (name,))
    connection.execute("DELETE FROM consumers WHERE name = ?", (name,))  # last: `changes` looks at its kind


def _load_reach(text: str) -> list[Reach]:
    return [
        (Place(str(account), str(stream)), int(begin), int(end))
        for account, stream, begin, end in json.loads(text)
    ]


def _writable(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    with closed_on_error(connection):
        settle(connection)
        connection.execute("PRAGMA secure_delete = ON")
        if not connection.execute("PRAGMA page_count").fetchone()[0]:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = NORMAL")
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > tables.VERSION:
            raise StateError(
                f"{path} is of version {version}, and this program knows version {tables.VERSION}: use the"
                " later version of the program again"
            )
        if not version:
            tables.make(connection)
        tables.check(connection)
        if path.stat().st_size <= _CHECKED:
            tables.check_pages(connection, _CHECK_SECONDS)
    return connection
