"""What has changed in the store of consumers, so that it follows into a database: see `consumers.followed`.

Triggers note which rows have changed, whoever changes them, and in the same transaction. They belong to the
connection, as their tables do: the file is the same with a database and without. Only accounts count that are
handed over here. Of others there may be rows from an earlier time, which nobody touches.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.consumers.followed import DeadLetter, Gone, Kind, Row
from orchestrator.consumers.writes import Head, LaneRow, Moved, Place
from orchestrator.system.transactions import transaction

HERE: Final = " AND (account = '' OR account IN (SELECT account FROM held))"
"""A condition for rows of accounts that are handed over here. What is of no account always is."""
_NO_PULL: Final = "{row}.consumer NOT IN (SELECT name FROM consumers WHERE kind = 'pull')"
"""A condition for rows of webhooks and bots: those of pulls are from before there was a database."""
_KEYS: Final[dict[str, tuple[Kind, str]]] = {
    "positions": ("position", "''"),
    "lanes": ("chat", "{row}.lane"),
    "letters": ("letter", "{row}.seq"),
}
"""The tables, with what a row of each is, and by what it is known beside consumer, account and stream."""
_NOTE: Final = """
CREATE TEMP TRIGGER {table}_{event} AFTER {event} ON main.{table}
WHEN EXISTS (SELECT 1 FROM held WHERE account = {row}.account) AND {pulls}
BEGIN
  INSERT OR REPLACE INTO changed (kind, consumer, account, stream, key)
  VALUES ('{kind}', {row}.consumer, {row}.account, {row}.stream, {key});
END
"""
_SELECT: Final[dict[Kind, str]] = {
    "position": "SELECT cursor, since FROM positions"
    " WHERE consumer = ? AND account = ? AND stream = ? AND ? = ''",
    "chat": "SELECT lane, done, counted, waiting, seq, id, type, at, tries, due, why FROM lanes"
    " WHERE consumer = ? AND account = ? AND stream = ? AND lane = ?",
    "letter": "SELECT lane, seq, id, type, at, tries, why, died_at, due, revived FROM letters"
    " WHERE consumer = ? AND account = ? AND stream = ? AND seq = ?",
}


@dataclass(frozen=True, slots=True)
class Changed:
    """Rows that have changed.

    Attributes:
        rows: How they are now.
        numbers: By what `Changes.followed` knows them.
        is_all: Whether there are no others. If there are, no position is among these.
    """

    rows: tuple[Row, ...]
    numbers: tuple[int, ...]
    is_all: bool


class Changes:
    """What has changed of the accounts that are handed over here.

    Args:
        connection: The store's, in which nothing is under way.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("CREATE TEMP TABLE held (account TEXT PRIMARY KEY) WITHOUT ROWID")
        connection.execute(
            "CREATE TEMP TABLE changed (number INTEGER PRIMARY KEY, kind TEXT NOT NULL,"
            " consumer TEXT NOT NULL, account TEXT NOT NULL, stream TEXT NOT NULL, key NOT NULL,"
            " UNIQUE (kind, consumer, account, stream, key))"
        )
        for table, (kind, key) in _KEYS.items():
            for event, row in (("INSERT", "NEW"), ("UPDATE", "NEW"), ("DELETE", "OLD")):
                key_of, pulls = key.format(row=row), _NO_PULL.format(row=row)
                connection.execute(
                    _NOTE.format(table=table, event=event, row=row, kind=kind, key=key_of, pulls=pulls)
                )

    def take_up(self, account: str, rows: Sequence[Row], *, newer: bool) -> None:
        """Begin to hand an account over here.

        Args:
            account: The account.
            rows: What the database has of it.
            newer: Whether what is here is newer than that: then it follows, and replaces the database's.
        """
        with transaction(self._connection) as connection:
            self._leave(account)
            if newer:
                self._mark_all(account, rows)
            else:
                replace(connection, account, rows)
            connection.execute("INSERT INTO held VALUES (?)", (account,))
            for name in {row.consumer for row in rows}:
                connection.execute(
                    "INSERT OR IGNORE INTO consumers (name, kind, used_at, removed_at)"
                    " SELECT ?, 'webhook', at, at FROM (SELECT CAST(strftime('%s') AS REAL) AS at)",
                    (name,),
                )

    def let_go(self, account: str, *, is_known: bool) -> None:
        """Hand an account over here no more, and forget what has changed.

        Args:
            account: The account.
            is_known: Whether all of it is in the database, so that it is deleted here.
        """
        with transaction(self._connection) as connection:
            self._leave(account)
            if is_known:
                replace(connection, account, ())

    def dead(self, account: str) -> dict[str, int]:
        """Return how many dead letters there are of an account, by consumer."""
        rows = self._connection.execute(
            "SELECT consumer, count(*) FROM letters WHERE account = ? GROUP BY consumer", (account,)
        )
        return {str(name): int(number) for name, number in rows}

    def pulls(self) -> dict[str, dict[Place, int]]:
        """Return how far each pull is that is in the file: it is from before there was a database."""
        rows = self._connection.execute(
            "SELECT name, account, stream, cursor FROM consumers LEFT JOIN positions ON consumer = name"
            " WHERE kind = 'pull'"
        )
        found: dict[str, dict[Place, int]] = {}
        for name, account, stream, cursor in rows:
            positions = found.setdefault(str(name), {})
            if account is not None:
                positions[Place(account, stream)] = cursor or 0
        return found

    def read(self, most: int) -> Changed:
        """Return rows that have changed and did not follow yet.

        Args:
            most: How many at the most. Positions are only among them if all others are.
        """
        with transaction(self._connection) as connection:  # one moment for all
            found = connection.execute(
                "SELECT number, kind, consumer, account, stream, key FROM changed"
                " ORDER BY kind = 'position', number LIMIT ?",
                (most + 1,),
            ).fetchall()
            is_all = len(found) <= most
            if not is_all:  # if there are only positions, each stands for itself
                found = [one for one in found[:most] if one[1] != "position"] or found[:most]
            rows = tuple(self._row(*one[1:]) for one in found)
        return Changed(rows, tuple(one[0] for one in found), is_all)

    def followed(self, numbers: Iterable[int]) -> None:
        """Note that rows are in the database as they were read; what has changed since counts as changed."""
        with transaction(self._connection) as connection:
            connection.executemany("DELETE FROM changed WHERE number = ?", [(one,) for one in numbers])

    def _mark_all(self, account: str, others: Sequence[Row]) -> None:
        """Note all rows of an account as changed: those that are here, and those that the database has."""
        for table, (kind, key) in _KEYS.items():
            self._connection.execute(
                "INSERT OR REPLACE INTO changed (kind, consumer, account, stream, key)"
                f" SELECT ?, consumer, account, stream, {key.format(row=table)} FROM {table}"
                f" WHERE account = ? AND {_NO_PULL.format(row=table)}",
                (kind, account),
            )
        self._connection.executemany(
            "INSERT OR REPLACE INTO changed (consumer, account, stream, kind, key) VALUES (?, ?, ?, ?, ?)",
            [(one.consumer, *one.what.place, *_key(one)) for one in others],
        )

    def _leave(self, account: str) -> None:
        self._connection.execute("DELETE FROM held WHERE account = ?", (account,))
        self._connection.execute("DELETE FROM changed WHERE account = ?", (account,))

    def _row(self, kind: Kind, consumer: str, account: str, stream: str, key: str | int) -> Row:
        place = Place(account, stream)
        row = self._connection.execute(_SELECT[kind], (consumer, account, stream, key)).fetchone()
        if row is None:
            return Row(consumer, Gone(kind, place, key))
        if kind == "position":
            return Row(consumer, Moved(place, *row))
        if kind == "letter":
            lane, seq, id_, type_, at, tries, why, died_at, due, revived = row
            head = Head(id_, type_, seq, at)
            return Row(consumer, DeadLetter(place, lane, head, tries, why, died_at, due, revived))
        lane, done, counted, waiting, seq, id_, type_, at, tries, due, why = row
        failed = None if seq is None else Head(id_, type_, seq, at)
        return Row(consumer, LaneRow(place, lane, done, counted, waiting, failed, tries, due, why))


def replace(connection: sqlite3.Connection, account: str, rows: Iterable[Row]) -> None:
    """Have rows of the database take the place of all that is here of an account.

    Events whose body is here keep it. The bodies of others are looked up in the inbox when they are sent.

    Args:
        connection: The store's, in a transaction. Nobody notes what changes.
        account: The account.
        rows: The rows.
    """
    bodies = {
        tuple(known): body
        for table in ("lanes", "letters")
        for *known, body in connection.execute(
            f"SELECT '{table}', consumer, stream, lane, seq, body FROM {table} WHERE account = ?", (account,)
        )
    }
    for table in _KEYS:
        connection.execute(f"DELETE FROM {table} WHERE account = ?", (account,))
    for row in rows:
        what, about = row.what, (row.consumer, *row.what.place)
        match what:
            case Moved():
                connection.execute(
                    "INSERT OR REPLACE INTO positions (consumer, account, stream, cursor, since)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (*about, what.cursor, what.since),
                )
            case LaneRow():
                head = what.head
                event = (None,) * 4 if head is None else (head.seq, head.id, head.type, head.at)
                body = bodies.get(("lanes", row.consumer, what.place.stream, what.lane, event[0]))
                connection.execute(
                    "INSERT OR REPLACE INTO lanes (consumer, account, stream, lane, done, counted, waiting,"
                    " seq, id, type, at, tries, due, why, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*about, what.lane, what.done, what.counted, what.waiting, *event, what.tries, what.due,
                     what.why, body),
                )  # fmt: skip
            case DeadLetter():
                head = what.head
                body = bodies.get(("letters", row.consumer, what.place.stream, what.lane, head.seq), b"")
                connection.execute(
                    "INSERT OR REPLACE INTO letters (consumer, account, stream, lane, seq, id, type, at,"
                    " tries, why, died_at, due, revived, body)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*about, what.lane, head.seq, head.id, head.type, head.at, what.tries, what.why,
                     what.died_at, what.due, what.revived, body),
                )  # fmt: skip


def gone(row: Row) -> tuple[Kind, Place, str | int]:
    """Return what a row is, where, and by what it is known there: see `Gone`."""
    kind, key = _key(row)
    return kind, row.what.place, key


def _key(row: Row) -> tuple[Kind, str | int]:
    match row.what:
        case Moved():
            return "position", ""
        case LaneRow(lane=lane):
            return "chat", lane
        case DeadLetter(head=head):
            return "letter", head.seq
        case Gone(kind=kind, key=key):
            return kind, key
