"""How far pulls are, in tables that all machines share; behind `store.protocols.PullRows`.

Nobody owns a pull: each step is one transaction, which holds the pull's row.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from orchestrator.consumers.pulling import Batch, Known, Reach
from orchestrator.consumers.writes import Place
from orchestrator.postgres import consumers, ids
from orchestrator.postgres.database import Connection, Database

_OUTSTANDING: Final = 64
"""Batches of one pull that are kept, by whose accounts they are of."""
_SET: Final = """
INSERT INTO orchestrator.consumer_position AS known (account, consumer, stream, cursor, since)
VALUES (%s, %s, %s, %s, 0)
ON CONFLICT (account, consumer, stream) DO UPDATE SET cursor = excluded.cursor
"""
_MOVE: Final = """
INSERT INTO orchestrator.consumer_position AS known (account, consumer, stream, cursor, since)
VALUES (%s, %s, %s, %s, 0)
ON CONFLICT (account, consumer, stream) DO UPDATE SET cursor = greatest(known.cursor, excluded.cursor)
"""


class PullRows:
    """How far pulls are.

    Args:
        database: Where that is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, accounts: Collection[str] | None) -> dict[str, Known]:
        """See `PullRows.known`."""
        return self._database.run(lambda connection: _known(connection, accounts))

    def use(self, name: str, maker: str, since: float) -> Known:
        """See `PullRows.use`."""

        def work(connection: Connection) -> Known:
            row = connection.execute(
                "INSERT INTO orchestrator.consumer AS known (name, kind, since, maker)"
                " VALUES (%s, 'pull', %s, %s) ON CONFLICT (name) DO UPDATE SET seen_at = clock_timestamp(),"
                " kind = 'pull' RETURNING maker, since",
                [name, since, maker],
            ).fetchone()
            assert row is not None
            return Known(str(row[0]), float(row[1]), {})

        return self._database.run(work)

    def begin(self, name: str, positions: Mapping[Place, int]) -> None:
        """See `PullRows.begin`."""

        def work(connection: Connection) -> None:
            if _lock(connection, name):
                _move(connection, name, positions, _MOVE)

        self._database.run(work)

    def outstanding(self, name: str, scope: str) -> Batch | None:
        """See `PullRows.outstanding`."""
        return self._database.run(lambda connection: _outstanding(connection, name, scope))

    def hand_out(self, name: str, scope: str, batch: Batch, instead: str | None) -> bool:
        """See `PullRows.hand_out`."""

        def work(connection: Connection) -> bool:
            if not _lock(connection, name):
                return False
            there = _outstanding(connection, name, scope)
            if (None if there is None else there.cursor) != instead:
                return False
            known = ids.some_of(connection, {place.account for place, _, _ in batch.reach})
            reach = [
                [known[place.account], place.stream, begin, end]
                for place, begin, end in batch.reach
                if place.account in known
            ]
            connection.execute(
                "INSERT INTO orchestrator.consumer_batch (consumer, scope, cursor, reach)"
                " VALUES (%s, %s, %s, %s::json) ON CONFLICT (consumer, scope)"
                " DO UPDATE SET cursor = excluded.cursor, reach = excluded.reach, at = excluded.at",
                [name, scope, batch.cursor, json.dumps(reach)],
            )
            connection.execute(
                "DELETE FROM orchestrator.consumer_batch WHERE consumer = %(name)s AND scope NOT IN ("
                "SELECT scope FROM orchestrator.consumer_batch WHERE consumer = %(name)s"
                " ORDER BY at DESC LIMIT %(most)s)",
                {"name": name, "most": _OUTSTANDING},
            )
            return True

        return self._database.run(work)

    def acknowledge(self, name: str, cursor: str) -> list[Reach] | None:
        """See `PullRows.acknowledge`."""

        def work(connection: Connection) -> list[Reach] | None:
            if not _lock(connection, name):
                return None
            row = connection.execute(
                "SELECT scope, reach FROM orchestrator.consumer_batch WHERE consumer = %s AND cursor = %s",
                [name, cursor],
            ).fetchone()
            if row is None:
                return None
            reach = _named(connection, row[1])
            _move(connection, name, {place: end for place, _, end in reach}, _MOVE)
            connection.execute(
                "UPDATE orchestrator.consumer_batch SET reach = '[]' WHERE consumer = %s AND scope = %s",
                [name, row[0]],
            )
            return reach

        return self._database.run(work)

    def reset(self, name: str, positions: Mapping[Place, int]) -> None:
        """See `PullRows.reset`."""

        def work(connection: Connection) -> None:
            if not _lock(connection, name):
                return
            _move(connection, name, positions, _SET)
            connection.execute("DELETE FROM orchestrator.consumer_batch WHERE consumer = %s", [name])

        self._database.run(work)

    def remove(self, name: str) -> None:
        """See `PullRows.remove`."""

        def work(connection: Connection) -> None:
            gone = connection.execute(
                "DELETE FROM orchestrator.consumer WHERE name = %s AND kind = 'pull'", [name]
            )
            if gone.rowcount:
                consumers.forget(connection, name)

        self._database.run(work)


def _lock(connection: Connection, name: str) -> bool:
    row = connection.execute(
        "SELECT FROM orchestrator.consumer WHERE name = %s AND kind = 'pull' FOR UPDATE", [name]
    ).fetchone()
    return row is not None


def _known(connection: Connection, accounts: Collection[str] | None) -> dict[str, Known]:
    rows = connection.execute(
        "SELECT name, maker, since FROM orchestrator.consumer WHERE kind = 'pull' ORDER BY name"
    ).fetchall()
    positions: dict[str, dict[Place, int]] = {str(name): {} for name, _, _ in rows}
    if accounts is None or accounts:
        for name, account, stream, cursor in connection.execute(
            "SELECT p.consumer, a.name, p.stream, p.cursor FROM orchestrator.consumer_position p"
            " JOIN orchestrator.account a ON a.id = p.account"
            " JOIN orchestrator.consumer c ON c.name = p.consumer AND c.kind = 'pull'"
            " WHERE p.cursor IS NOT NULL AND (%(all)s OR a.name = ANY (%(some)s))",
            {"all": accounts is None, "some": sorted(accounts or ())},
        ):
            positions[name][Place(account, stream)] = cursor
    return {str(name): Known(str(maker), float(since), positions[name]) for name, maker, since in rows}


def _outstanding(connection: Connection, name: str, scope: str) -> Batch | None:
    row = connection.execute(
        "SELECT cursor, reach FROM orchestrator.consumer_batch WHERE consumer = %s AND scope = %s",
        [name, scope],
    ).fetchone()
    if row is None or not row[1]:
        return None
    return Batch(str(row[0]), _named(connection, row[1]))


def _named(connection: Connection, reach: Iterable[list[Any]]) -> list[Reach]:
    """Return which events are in a batch, by the present names of the accounts."""
    found = list(reach)
    names: dict[str, str] = dict(
        connection.execute(
            "SELECT id, name FROM orchestrator.account WHERE id = ANY (%s)", [[one[0] for one in found]]
        ).fetchall()
    )
    return [(Place(names[it], stream), begin, end) for it, stream, begin, end in found if it in names]


def _move(connection: Connection, name: str, positions: Mapping[Place, int], statement: str) -> None:
    known = ids.some_of(connection, {place.account for place in positions})
    with connection.cursor() as cursor:
        cursor.executemany(
            statement,
            [
                (known[place.account], name, place.stream, at)
                for place, at in sorted(positions.items())
                if place.account in known
            ],
        )
