"""What is to be known of a database server by those who run accounts on it; nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, LiteralString

from orchestrator.postgres import setup
from orchestrator.postgres.database import Connection, Database

AN_ACCOUNT: int = 2
"""Connections of an account: the library opens so many, and cannot be told otherwise."""
OUR_OWN: int = 10
"""Connections of the service, its gateway and a command."""


_ACTORS: Final = """
SELECT rolname FROM pg_roles
WHERE rolname <> session_user AND NOT rolsuper AND pg_has_role(rolname, session_user::regrole::oid, 'MEMBER')
ORDER BY rolname
"""
_READERS: Final = """
SELECT DISTINCT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
  aclexplode(c.relacl) a
WHERE n.nspname IN ('orchestrator', 'orchestrator_messages') AND a.grantee = 0 ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Health:
    """What was found.

    Attributes:
        place: Which database it is, for people.
        problems: What keeps the service from working, or should be mended.
        version: Of the server, such as 15.
        room: Connections that it allows, without those for superusers.
        used: Connections that it has, of everybody.
        is_synchronous: Whether what was committed survives a crash of the server.
        is_encrypted: Whether the connection is.
        has_checksums: Whether it notices pages that the disk has changed.
        superusers: The roles that may do everything, and so read all sessions.
        clock: Seconds by which its clock is ahead of ours; the way there takes part of that.
        milliseconds: How long a question takes.
        shards: How many machines of a cluster run accounts; 0 without a cluster.
        limited: Connections that the database allows, None if it allows as many as the server.
        own_limit: Connections that our role may have, likewise.
        standbys: How many servers copy what this one writes.
        waits_for_standby: Whether a commit waits for one of those.
        actors: Roles that may act as ours, but for superusers.
        readers: Tables that every role may read.
    """

    place: str
    problems: tuple[setup.Problem, ...]
    version: int
    room: int
    used: int
    is_synchronous: bool
    is_encrypted: bool
    has_checksums: bool
    superusers: tuple[str, ...]
    clock: float
    milliseconds: float
    shards: int = 0
    limited: int | None = None
    own_limit: int | None = None
    standbys: int = 0
    waits_for_standby: bool = False
    actors: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()


def examine(database: Database) -> Health:
    """Look at the server.

    Raises:
        StateError: It cannot be reached, or does not let us in.
    """
    return database.run(lambda connection: _examine(connection, str(database.dsn)))


def _examine(connection: Connection, place: str) -> Health:
    found = tuple(setup.problems(connection))
    before, started = time.time(), time.monotonic()
    at = _one(connection, "SELECT extract(epoch FROM clock_timestamp())")
    took = time.monotonic() - started
    names = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin ORDER BY rolname"
    ).fetchall()
    room = _one(
        connection,
        "SELECT current_setting('max_connections')::int"
        " - current_setting('superuser_reserved_connections')::int",
    )
    used = _one(connection, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    encrypted = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    settings = {
        str(name): str(value)
        for name, value in connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name IN"
            " ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums',"
            " 'synchronous_standby_names')"
        ).fetchall()
    }
    limited = _one(connection, "SELECT datconnlimit FROM pg_database WHERE datname = current_database()")
    own_limit = _one(connection, "SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user")
    return Health(
        place=place,
        problems=found,
        version=connection.info.server_version // 10_000,
        room=int(room),
        used=int(used),
        is_synchronous=settings.get("fsync") == "on"
        and settings.get("full_page_writes") == "on"
        and settings.get("synchronous_commit") != "off",
        is_encrypted=encrypted == (True,),
        has_checksums=settings.get("data_checksums") == "on",
        superusers=tuple(str(name) for (name,) in names),
        clock=at - before - took / 2,
        milliseconds=took * 1000,
        shards=_shards(connection),
        limited=None if limited < 0 else int(limited),
        own_limit=None if own_limit < 0 else int(own_limit),
        standbys=int(_one(connection, "SELECT count(*) FROM pg_stat_replication")),
        waits_for_standby=bool(settings.get("synchronous_standby_names"))
        and settings.get("synchronous_commit") in ("on", "remote_apply"),
        actors=_names(connection, _ACTORS),
        readers=_names(connection, _READERS),
    )


def _shards(connection: Connection) -> int:
    """Return how many machines run accounts; tables of another version may not say."""
    if connection.execute("SELECT to_regclass('orchestrator.shard')").fetchone() == (None,):
        return 0
    return int(_one(connection, "SELECT count(*) FROM orchestrator.shard WHERE until > clock_timestamp()"))


def _names(connection: Connection, query: LiteralString) -> tuple[str, ...]:
    return tuple(str(name) for (name,) in connection.execute(query).fetchall())


def _one(connection: Connection, query: str) -> float:
    row = connection.execute(query).fetchone()
    assert row is not None
    return float(row[0])
