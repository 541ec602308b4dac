"""What the database itself writes down for a soak: who wrote to which session, and who owned it then.

Triggers of an administrator do so, in the transaction of each write, with the address of the client. In the
soak each shard has an address of its own. The product knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.cluster_soak.observed import Claim, Kept, Write

_SETUP: Final = """
CREATE SCHEMA IF NOT EXISTS soak;
CREATE TABLE IF NOT EXISTS soak.write (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL, account text NOT NULL,
  what text NOT NULL, address inet, connection text NOT NULL, owner text, epoch bigint
);

CREATE OR REPLACE FUNCTION soak.note_write() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO soak.write (at, account, what, address, connection, owner, epoch)
    SELECT clock_timestamp(), TG_TABLE_SCHEMA, TG_TABLE_NAME, inet_client_addr(),
      concat(host(inet_client_addr()), ':', inet_client_port(), '/', pg_backend_pid()), s.name, l.epoch
    FROM (SELECT) nothing
      LEFT JOIN orchestrator.lease l ON l.account = TG_TABLE_SCHEMA
      LEFT JOIN orchestrator.shard s USING (incarnation);
  RETURN NULL;
END $$;
"""
_TABLES: Final = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname ~ '^a_[0-9a-f]{16}$' AND c.relkind = 'r'
  AND NOT EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND t.tgname = 'soak_write')
"""
_NAMES: Final = "SELECT id, name FROM orchestrator.account"
_CLAIMS: Final = "SELECT extract(epoch FROM at)::float8, account, epoch, shard FROM rig.change ORDER BY n"
_WRITES: Final = """
SELECT extract(epoch FROM at)::float8, account, what, host(address), connection, owner, epoch
FROM soak.write ORDER BY n
"""
_ENTRIES: Final = """
SELECT a.name, e.source, e.id, count(*) FROM orchestrator_messages.entry e
  JOIN orchestrator_messages.box b USING (box) JOIN orchestrator.account a ON a.id = b.account
WHERE e.source IN ('message', 'lost') GROUP BY 1, 2, 3
"""
_ROWS: Final = """
SELECT a.name, o.number, o.state FROM orchestrator_messages.outgoing o
  JOIN orchestrator_messages.box b USING (box) JOIN orchestrator.account a ON a.id = b.account
"""

Connection = Any
"""A connection of psycopg as a superuser, with autocommit."""


def install(connection: Connection) -> int:
    """Have the database write down who writes to sessions; call it again when there are more tables.

    Returns:
        To how many tables of sessions a trigger was added.
    """
    from psycopg import sql

    connection.execute(_SETUP)
    tables = connection.execute(_TABLES).fetchall()
    for schema, table in tables:
        connection.execute(
            sql.SQL(
                "CREATE TRIGGER soak_write AFTER INSERT OR UPDATE OR DELETE ON {}.{}"
                " FOR EACH STATEMENT EXECUTE FUNCTION soak.note_write()"
            ).format(sql.Identifier(schema), sql.Identifier(table))
        )
    return len(tables)


def names(connection: Connection) -> dict[str, str]:
    """Return the names of the accounts by their ids."""
    return dict(connection.execute(_NAMES).fetchall())


def claims(connection: Connection) -> list[Claim]:
    """Return all changes of owners that the rig has had written down, oldest first."""
    return [Claim(*row) for row in connection.execute(_CLAIMS).fetchall()]


def writes(connection: Connection, shards: Mapping[str, str]) -> list[Write]:
    """Return all writes to sessions, oldest first.

    Args:
        connection: The database.
        shards: The name of each shard by its address.
    """
    called = names(connection)
    return [
        Write(at, called.get(account, account), table, shards.get(address or ""), by, owner, epoch or 0)
        for at, account, table, address, by, owner, epoch in connection.execute(_WRITES).fetchall()
    ]


def kept(connection: Connection) -> Kept:
    """Return what the database has of messages now."""
    found: Sequence[tuple[str, str, str, int]] = connection.execute(_ENTRIES).fetchall()
    return Kept(
        {(name, one): count for name, source, one, count in found if source == "message"},
        frozenset((name, one) for name, source, one, _ in found if source == "lost"),
        {(name, number): state for name, number, state in connection.execute(_ROWS).fetchall()},
    )
