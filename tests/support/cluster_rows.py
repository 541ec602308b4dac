"""Rows of a cluster, as a machine would have made them."""

from __future__ import annotations

from support.postgres import FreshDatabase

from orchestrator.postgres import ids
from orchestrator.postgres.database import Connection, Database


def own(connection: Connection, name: str, shard: str, *, ends_in: float = 10.0) -> None:
    """Have a new machine own an account.

    Args:
        connection: The transaction.
        name: The account.
        shard: The machine.
        ends_in: Seconds until its lease ends.
    """
    connection.execute(
        "WITH made AS (INSERT INTO orchestrator.shard"
        " (name, incarnation, login, host, version, capacity, until, made_at)"
        " VALUES (%s, gen_random_uuid(), session_user, 'host', '1', 9,"
        " clock_timestamp() + make_interval(secs => %s), clock_timestamp()) RETURNING incarnation)"
        " UPDATE orchestrator.lease SET incarnation = made.incarnation FROM made"
        " WHERE account = (SELECT id FROM orchestrator.account WHERE name = %s)",
        [shard, ends_in, name],
    )


def owned_database(fresh: FreshDatabase, anna: str, bert: str) -> Database:
    """Return a database with three accounts, of which `cora` has no machine.

    Args:
        fresh: Where it is made.
        anna: The machine of that account.
        bert: Likewise.
    """
    database = fresh.prepared()

    def prepare(connection: Connection) -> None:
        for name in ("anna", "bert", "cora"):
            ids.of(connection, name)
        own(connection, "anna", anna, ends_in=3600)
        own(connection, "bert", bert, ends_in=3600)

    database.run(prepare)
    return database
