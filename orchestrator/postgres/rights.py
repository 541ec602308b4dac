"""What the service's role must not be allowed: else it is as mighty as an administrator of the server."""

from __future__ import annotations

from typing import Final

from orchestrator.errors import StoreUnusable
from orchestrator.postgres.database import Connection

TOO_MUCH: Final = "give the service a role of its own, as docs/postgres.md says"
"""What to do about such a role."""
_STRONG: Final = (
    "pg_execute_server_program",
    "pg_read_server_files",
    "pg_write_server_files",
    "pg_signal_backend",
    "pg_read_all_data",
    "pg_write_all_data",
)


def check(connection: Connection) -> None:
    """See that the role that we are may not do too much.

    Raises:
        StoreUnusable: It may; the message says what to do.
    """
    row = connection.execute("SELECT session_user").fetchone()
    assert row is not None
    for text in problems(connection, str(row[0])):
        raise StoreUnusable(text)


def problems(connection: Connection, role: str) -> list[str]:
    """Return what a role may do that it must not, as sentences that say what to do."""
    row = connection.execute(
        "SELECT rolsuper, rolcreaterole, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = %s",
        [role],
    ).fetchone()
    assert row is not None
    words = ("SUPERUSER", "CREATEROLE", "REPLICATION", "BYPASSRLS")
    has = [word for word, it in zip(words, row, strict=True) if it]
    if has == ["CREATEROLE"]:
        # Before 16 such a role can make itself a member of pg_execute_server_program.
        text = "the role of store.dsn_file may make roles (CREATEROLE), and so take over the whole server"
        return [f"{text}: ALTER ROLE ... NOCREATEROLE, or {TOO_MUCH}"]
    if has:
        return [f"the role of store.dsn_file is {', '.join(has)}: {TOO_MUCH}"]
    strong = connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND pg_has_role(%s, oid, 'MEMBER')",
        [list(_STRONG), role],
    ).fetchall()
    names = ", ".join(name for (name,) in strong)
    return [f"the role of store.dsn_file is a member of {names}: {TOO_MUCH}"] if names else []
