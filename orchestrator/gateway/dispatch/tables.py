"""The tables of what is kept of consumers."""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import time
from typing import Final

VERSION: Final = 1
"""The version of the tables. A program of an earlier version does not touch those of a later one."""
_PROGRESS_STEPS = 10_000
_SCHEMA = """
CREATE TABLE consumers (
  name TEXT PRIMARY KEY, kind TEXT NOT NULL, since REAL NOT NULL DEFAULT 0, paused INTEGER NOT NULL DEFAULT 0,
  disabled INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0,
  held_until REAL NOT NULL DEFAULT 0,
  why TEXT NOT NULL DEFAULT '', changed_at REAL NOT NULL DEFAULT 0, removed_at REAL, used_at REAL NOT NULL,
  maker TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE positions (
  consumer TEXT NOT NULL, account TEXT NOT NULL, stream TEXT NOT NULL, cursor INTEGER, since REAL NOT NULL,
  PRIMARY KEY (consumer, account, stream)
) WITHOUT ROWID;
CREATE TABLE lanes (
  consumer TEXT NOT NULL, account TEXT NOT NULL, stream TEXT NOT NULL, lane TEXT NOT NULL,
  done INTEGER NOT NULL, counted INTEGER NOT NULL, waiting INTEGER NOT NULL,
  seq INTEGER, id TEXT, type TEXT, at REAL,
  tries INTEGER NOT NULL, due REAL NOT NULL, why TEXT NOT NULL, body BLOB,
  UNIQUE (consumer, account, stream, lane)
);
CREATE INDEX lanes_by_seq ON lanes (account, stream, seq);
CREATE TABLE letters (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  consumer TEXT NOT NULL, account TEXT NOT NULL, stream TEXT NOT NULL, lane TEXT NOT NULL,
  seq INTEGER NOT NULL,
  id TEXT NOT NULL, type TEXT NOT NULL, at REAL NOT NULL, tries INTEGER NOT NULL, why TEXT NOT NULL,
  died_at REAL NOT NULL, due REAL, revived INTEGER NOT NULL DEFAULT 0, body BLOB NOT NULL,
  UNIQUE (consumer, account, stream, seq)
);
CREATE INDEX letters_by_seq ON letters (account, stream, seq);
CREATE INDEX letters_revived ON letters (consumer, account, stream, lane, seq) WHERE due IS NOT NULL;
CREATE TABLE pulls (
  consumer TEXT NOT NULL, scope TEXT NOT NULL, cursor TEXT NOT NULL, reach TEXT NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (consumer, scope)
) WITHOUT ROWID;
"""


def make(connection: sqlite3.Connection) -> None:
    """Make the tables."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, _SCHEMA.split(";")):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def check(connection: sqlite3.Connection) -> None:
    """See that all is as this program makes it, to the letter.

    Raises:
        sqlite3.DatabaseError: It is not, which counts as damage.
    """
    if _made(connection) != _ours():
        raise _damaged("the tables are others")


def check_pages(connection: sqlite3.Connection, seconds: float) -> None:
    """See that the file is whole, as far as the time allows.

    Raises:
        sqlite3.DatabaseError: It is not.
    """
    deadline = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
    try:
        for (finding,) in connection.execute("PRAGMA quick_check(1)"):
            if finding != "ok":
                raise _damaged("the check found a fault")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        connection.set_progress_handler(None, 0)


def _damaged(what: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(what)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def _made(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name LIMIT 100"
    return connection.execute(query).fetchall()


@functools.cache
def _ours() -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        make(connection)
        return _made(connection)
