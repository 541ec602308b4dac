"""The fixed ids of accounts, by which the database knows everything that belongs to one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterable
from typing import Final

from orchestrator.postgres.database import Connection

ACCOUNT: Final = re.compile(r"a_[0-9a-f]{16}")
"""The form of an account's id, which is the name of its role and of its session's schema, too."""


def make() -> str:
    """Return an id that nobody has."""
    return f"a_{secrets.token_hex(8)}"


def of(connection: Connection, name: str) -> str:
    """Return the id of an account, which gets one if it has none."""
    while True:
        if (found := find(connection, name)) is not None:
            return found
        connection.execute(
            "INSERT INTO orchestrator.account (id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [make(), name],
        )


def make_known(connection: Connection, names: Iterable[str]) -> None:
    """Give ids to accounts that have none."""
    known = all_of(connection)
    for name in sorted(set(names) - known.keys()):
        of(connection, name)


def find(connection: Connection, name: str) -> str | None:
    """Return the id of an account; None if it has none."""
    row = connection.execute("SELECT id FROM orchestrator.account WHERE name = %s", [name]).fetchone()
    return None if row is None else str(row[0])


def all_of(connection: Connection) -> dict[str, str]:
    """Return the ids of all accounts, by name."""
    rows = connection.execute("SELECT name, id FROM orchestrator.account").fetchall()
    return {str(name): str(it) for name, it in rows}


def some_of(connection: Connection, names: Collection[str]) -> dict[str, str]:
    """Return the ids of those of some accounts that have one, by name."""
    rows = connection.execute(
        "SELECT name, id FROM orchestrator.account WHERE name = ANY (%s)", [sorted(names)]
    ).fetchall()
    return {str(name): str(it) for name, it in rows}


def rename(connection: Connection, old: str, new: str) -> bool:
    """Give an account another name; whatever has its id goes with it.

    Returns:
        Whether there was an account of the old name.
    """
    done = connection.execute("UPDATE orchestrator.account SET name = %s WHERE name = %s", [new, old])
    return done.rowcount == 1
