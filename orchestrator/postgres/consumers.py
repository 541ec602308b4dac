"""What is known of consumers, in tables: how each stands, and how far it is with each account.

The gateway has no way to the database: it tells the service what changes, which writes it here, as long as
the account is this machine's. See `consumers.followed`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.accounts.names import is_name
from orchestrator.consumers.followed import DeadLetter, Gone, Kind, Page, Row, Stand, What
from orchestrator.consumers.writes import Head, LaneRow, Moved, Place, Standing
from orchestrator.postgres.database import Connection, Database

KEPT_SECONDS: Final = 30 * 86_400.0
"""For how long is kept what is known of a consumer that no machine has in its configuration any more."""

_POSITION: Final = """
INSERT INTO orchestrator.consumer_position (account, consumer, stream, cursor, since)
VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (account, consumer, stream) DO UPDATE SET cursor = excluded.cursor, since = excluded.since
"""
_CHAT: Final = """
INSERT INTO orchestrator.consumer_chat (account, consumer, stream, lane, done, counted, waiting, seq, id,
  type, at, tries, due, why)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account, consumer, stream, lane) DO UPDATE SET done = excluded.done, counted = excluded.counted,
  waiting = excluded.waiting, seq = excluded.seq, id = excluded.id, type = excluded.type, at = excluded.at,
  tries = excluded.tries, due = excluded.due, why = excluded.why
"""
_LETTER: Final = """
INSERT INTO orchestrator.consumer_letter (account, consumer, stream, seq, lane, id, type, at, tries, why,
  died_at, due, revived)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (account, consumer, stream, seq) DO UPDATE SET lane = excluded.lane, id = excluded.id,
  type = excluded.type, at = excluded.at, tries = excluded.tries, why = excluded.why,
  died_at = excluded.died_at, due = excluded.due, revived = excluded.revived
"""
_FORGET: Final[Mapping[Kind, str]] = {
    "position": "DELETE FROM orchestrator.consumer_position"
    " WHERE account = %s AND consumer = %s AND stream = %s",
    "chat": "DELETE FROM orchestrator.consumer_chat"
    " WHERE account = %s AND consumer = %s AND stream = %s AND lane = %s",
    "letter": "DELETE FROM orchestrator.consumer_letter"
    " WHERE account = %s AND consumer = %s AND stream = %s AND seq = %s",
}
_STAND: Final = """
INSERT INTO orchestrator.consumer AS known (name, kind, since, paused, disabled, why, changed_at)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET kind = excluded.kind, since = least(known.since, excluded.since),
  paused = excluded.paused, disabled = excluded.disabled, why = excluded.why,
  changed_at = excluded.changed_at, revision = known.revision + 1, seen_at = clock_timestamp()
WHERE %s > 0
"""

Owns: TypeAlias = Callable[[Connection, Collection[str]], Mapping[str, str]]
"""Returns the ids of those of some accounts that this machine may write about, until the transaction ends."""


class ConsumerRows:
    """What is known of consumers; behind `store.protocols.ConsumerStore`.

    Args:
        database: Where that is.
        owns: Tells which accounts are this machine's.
    """

    def __init__(self, database: Database, owns: Owns) -> None:
        self._database = database
        self._owns = owns

    def read(self, account: str, after: int, most: int) -> Page:
        """See `ConsumerStore.read`."""
        return self._database.run(lambda connection: read(connection, account, after, most))

    def follow(self, rows: Sequence[Row]) -> frozenset[str]:
        """See `ConsumerStore.follow`."""
        names = {row.account for row in rows}

        def work(connection: Connection) -> frozenset[str]:
            ids = self._owns(connection, names)
            write(connection, [row for row in rows if row.account in ids], ids)
            return frozenset(names - ids.keys())

        return self._database.run(work)

    def standings(self) -> list[Stand]:
        """See `ConsumerStore.standings`."""
        return self._database.run(look)

    def stand(self, standings: Iterable[Stand], seen: Iterable[str]) -> list[Stand]:
        """See `ConsumerStore.stand`."""
        told, there = list(standings), sorted(seen)

        def work(connection: Connection) -> list[Stand]:
            for one in sorted(told, key=lambda one: one.name):
                how = one.standing
                connection.execute(
                    _STAND,
                    [
                        one.name,
                        one.kind,
                        how.since,
                        how.paused,
                        how.disabled,
                        how.why,
                        how.changed_at,
                        one.revision,
                    ],
                )
            if there:
                connection.execute(
                    "UPDATE orchestrator.consumer SET seen_at = clock_timestamp() WHERE name = ANY (%s)",
                    [there],
                )
                forget_unused(connection)
            names = {one.name for one in told}
            return [one for one in look(connection) if one.name in names]

        return self._database.run(work)


def look(connection: Connection) -> list[Stand]:
    """Return how all webhooks and bots stand."""
    rows = connection.execute(
        "SELECT name, kind, since, paused, disabled, why, changed_at, revision FROM orchestrator.consumer"
        " WHERE kind <> 'pull' ORDER BY name"
    ).fetchall()
    return [
        Stand(name, kind, Standing(since, paused, disabled, why=why, changed_at=at), revision)
        for name, kind, since, paused, disabled, why, at, revision in rows
        if is_name(name)
    ]


def forget_unused(connection: Connection) -> None:
    """Forget consumers that no machine has in its configuration, and pulls that nobody uses, for long."""
    gone = connection.execute(
        "DELETE FROM orchestrator.consumer WHERE seen_at < clock_timestamp() - make_interval(secs => %s)"
        " RETURNING name",
        [KEPT_SECONDS],
    ).fetchall()
    for (name,) in gone:
        forget(connection, name)


def forget(connection: Connection, consumer: str) -> None:
    """Forget how far a consumer is, everywhere."""
    for table in ("consumer_position", "consumer_chat", "consumer_letter"):
        connection.execute(f"DELETE FROM orchestrator.{table} WHERE consumer = %s", [consumer])


def read(connection: Connection, account: str, after: int, most: int) -> Page:
    """See `ConsumerRows.read`."""
    found = connection.execute(
        "SELECT id, EXISTS (SELECT FROM orchestrator.consumer_account k WHERE k.account = a.id)"
        " FROM orchestrator.account a WHERE name = %s",
        [account],
    ).fetchone()
    if found is None:
        return Page((), is_last=True, is_known=False)
    what, is_known = found
    rows: list[Row] = []
    left, skip = most + 1, after
    for table, make in _TABLES.items():
        columns, order = make.columns, make.order
        some = connection.execute(
            f"SELECT consumer, stream, {columns} FROM orchestrator.{table}"
            f" WHERE account = %s{make.only} ORDER BY consumer, stream{order} OFFSET %s LIMIT %s",
            [what, skip, left],
        ).fetchall()
        rows += [Row(consumer, make.row(Place(account, stream), *rest)) for consumer, stream, *rest in some]
        left -= len(some)
        if not left:
            break
        if skip:
            count = connection.execute(
                f"SELECT count(*) FROM orchestrator.{table} WHERE account = %s{make.only}",
                [what],
            ).fetchone()
            skip = max(0, skip - (count[0] if count else 0))
    return Page(tuple(rows[:most]), len(rows) <= most, bool(is_known))


def write(connection: Connection, rows: Iterable[Row], ids: Mapping[str, str]) -> None:
    """Write rows.

    Args:
        connection: The transaction.
        rows: The rows; all of accounts that have an id.
        ids: The ids of accounts by name.
    """
    values: dict[str, list[Sequence[Any]]] = {}
    moved: set[str] = set()
    for row in rows:
        account, what = ids[row.account], row.what
        if isinstance(what, Moved):
            moved.add(account)
        statement, rest = _statement(what)
        values.setdefault(statement, []).append([account, row.consumer, what.place.stream, *rest])
    with connection.cursor() as cursor:
        for statement, some in values.items():
            cursor.executemany(statement, some)
        cursor.executemany(
            "INSERT INTO orchestrator.consumer_account VALUES (%s) ON CONFLICT DO NOTHING",
            [[account] for account in sorted(moved)],
        )


def _statement(what: What) -> tuple[str, list[Any]]:
    match what:
        case Moved():
            return _POSITION, [what.cursor, what.since]
        case LaneRow(head=head):
            event = [None] * 4 if head is None else [head.seq, head.id, head.type, head.at]
            counts = [what.done, what.counted, what.waiting]
            return _CHAT, [what.lane, *counts, *event, what.tries, what.due, what.why]
        case DeadLetter(head=head):
            event = [what.lane, head.id, head.type, head.at]
            return _LETTER, [head.seq, *event, what.tries, what.why, what.died_at, what.due, what.revived]
        case Gone(kind="position"):
            return _FORGET["position"], []
        case Gone(kind=kind, key=key):
            return _FORGET[kind], [key]


@dataclass(frozen=True, slots=True)
class _Table:
    columns: str
    order: str
    row: Callable[..., Any]
    only: str = ""


def _chat(place: Place, *found: Any) -> LaneRow:  # noqa: ANN401 - as the columns are
    lane, done, counted, waiting, seq, id_, type_, at, tries, due, why = found
    head = None if seq is None else Head(id_, type_, seq, at)
    return LaneRow(place, lane, done, counted, waiting, head, tries, due, why)


def _letter(place: Place, *found: Any) -> DeadLetter:  # noqa: ANN401
    lane, seq, id_, type_, at, tries, why, died_at, due, revived = found
    return DeadLetter(place, lane, Head(id_, type_, seq, at), tries, why, died_at, due, revived)


_TABLES: Final[Mapping[str, _Table]] = {
    "consumer_position": _Table(
        "cursor, since", "", Moved,
        " AND consumer NOT IN (SELECT name FROM orchestrator.consumer WHERE kind = 'pull')",
    ),
    "consumer_chat": _Table(
        "lane, done, counted, waiting, seq, id, type, at, tries, due, why", ', lane COLLATE "C"', _chat
    ),
    "consumer_letter": _Table("lane, seq, id, type, at, tries, why, died_at, due, revived", ", seq", _letter),
}  # fmt: skip
"""What is read of an account, in order."""
