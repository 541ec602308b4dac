"""The tables in the database: made and brought up to date, part by part.

A part is a file beside this one, with steps that are never changed once they are in a release:

    -- version 1
    CREATE TABLE ...
    -- version 2
    ALTER TABLE ...

What a part has reached stands in ``orchestrator.part``.
"""

from __future__ import annotations

import re
from importlib import resources
from typing import Final, LiteralString, cast

from orchestrator.errors import StoreUnusable
from orchestrator.postgres import rights
from orchestrator.postgres.database import Connection

PARTS: Final = ("control", "record", "messages", "leases", "orders", "consumers")
"""The parts, in the order in which they build on each other; each is a file of that name."""
_LOCK: Final = 0x0DC4_E571
"""The advisory lock of who makes tables. If an account's role takes it, only this waits."""
_STEP: Final = re.compile(r"^-- version (\d+)$", re.MULTILINE)


def prepare(connection: Connection) -> list[str]:
    """Make the tables, or bring them up to date; all or nothing, within the caller's transaction.

    Returns:
        What was done, a phrase for each step; nothing if the tables were up to date.

    Raises:
        StoreUnusable: The tables are of a later version of this program.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
    if not _exists(connection):
        connection.execute("CREATE SCHEMA IF NOT EXISTS orchestrator")
        connection.execute(
            "CREATE TABLE orchestrator.part (name text PRIMARY KEY, version int NOT NULL CHECK (version > 0))"
        )
    reached = versions(connection)
    _check(reached)
    done = []
    for part in PARTS:
        for number, text in enumerate(steps(part), start=1):
            if number > reached.get(part, 0):
                connection.execute(text)
                connection.execute(
                    "INSERT INTO orchestrator.part VALUES (%s, %s)"
                    " ON CONFLICT (name) DO UPDATE SET version = excluded.version",
                    [part, number],
                )
                done.append(f"tables of {part}, version {number}")
    return done


def check(connection: Connection) -> None:
    """See that the tables are those of this version, and that our role may not do more than it must.

    Raises:
        StoreUnusable: They are not there, or older, or later, or the role may do too much; the message says
            what to do.
    """
    rights.check(connection)
    reached = versions(connection) if _exists(connection) else {}
    _check(reached)
    if not reached:
        raise StoreUnusable("the database has no tables of the orchestrator yet: `orchestrator cluster init`")
    if any(len(steps(part)) > reached.get(part, 0) for part in PARTS):
        raise StoreUnusable("the database has tables of an earlier version: run `orchestrator cluster init`")


def versions(connection: Connection) -> dict[str, int]:
    """Return how far each part is."""
    rows = connection.execute("SELECT name, version FROM orchestrator.part").fetchall()
    return {str(name): int(version) for name, version in rows}


def steps(part: str) -> list[LiteralString]:
    """Return the steps of a part, first to last."""
    text = resources.files(__package__).joinpath(f"{part}.sql").read_text("utf-8")
    pieces = _STEP.split(text)[1:]
    numbers, bodies = pieces[::2], pieces[1::2]
    if numbers != [str(number) for number in range(1, len(numbers) + 1)]:
        raise AssertionError(f"the steps of {part}.sql are not numbered 1, 2, 3 ...")
    return [cast("LiteralString", body) for body in bodies]


def _exists(connection: Connection) -> bool:
    return connection.execute("SELECT to_regclass('orchestrator.part') IS NOT NULL").fetchone() == (True,)


def _check(reached: dict[str, int]) -> None:
    later = {part for part, version in reached.items() if part not in PARTS or version > len(steps(part))}
    if later:
        raise StoreUnusable(
            "the database has tables of a later version of the orchestrator"
            f" ({', '.join(sorted(later))}): install that version, and do not go back"
        )
