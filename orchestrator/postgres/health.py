"""What is to be known of a database server by those who run accounts on it; nothing is changed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from orchestrator.postgres import setup
from orchestrator.postgres.database import Connection, Database

AN_ACCOUNT: int = 2
"""Connections of an account: the library opens so many, and cannot be told otherwise."""
OUR_OWN: int = 10
"""Connections of the service, its gateway and a command."""


@dataclass(frozen=True, slots=True)
class Health:
    """What was found.

    Attributes:
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
    """

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


def examine(database: Database) -> Health:
    """Look at the server.

    Raises:
        StateError: It cannot be reached, or does not let us in.
    """
    return database.run(_examine)


def _examine(connection: Connection) -> Health:
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
            " ('fsync', 'synchronous_commit', 'full_page_writes', 'data_checksums')"
        ).fetchall()
    }
    return Health(
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
    )


def _one(connection: Connection, query: str) -> float:
    row = connection.execute(query).fetchone()
    assert row is not None
    return float(row[0])
