"""A session as a SQLite file and as a schema: the library's tables are the same in both.

What is in either was written by a process that parses what strangers send. So a file is read as
`store.device` reads it, from a copy in memory. What a file says of its tables is carried out by the account's
own role, which can do nothing elsewhere, and only if it has the form that the library gives to it.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from orchestrator.errors import StateError
from orchestrator.postgres.database import Connection
from orchestrator.store import device
from orchestrator.system.files import open_file, open_folder
from orchestrator.system.os_errors import trouble

MAX_SIZE: Final = device.MAX_SIZE
_SECONDS: Final = 60.0
_MAX_VALUE: Final = 16 << 20
_TABLE: Final = re.compile(
    r"CREATE TABLE (?:IF NOT EXISTS )?\"?(whatsmeow_[a-z_]{1,40})\"? \([^;$\\%]{1,8000}\)"
)
_INDEX: Final = re.compile(r"CREATE INDEX [a-z_]{1,63}\s+ON whatsmeow_[a-z_]{1,40} \([a-z_, \"]{1,200}\)")
_NAME: Final = re.compile(r"[a-z_]{1,63}")
_CAST: Final = re.compile(r"'([^']*)'::(text|bigint|integer)")

Value = object
Row = Sequence[Value]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a session.

    Attributes:
        name: Its name.
        made: How it is made.
        columns: The names of its columns.
        rows: What is in it.
    """

    name: str
    made: str
    columns: tuple[str, ...]
    rows: list[Row]


@dataclass(frozen=True, slots=True)
class Session:
    """A whole session, in the order in which its tables are made, with its indexes."""

    tables: tuple[Table, ...]
    indexes: tuple[str, ...]


def read_file(database: Path) -> Session:
    """Read a session's file and its log.

    Raises:
        StateError: It cannot be read, or is none that the library has made.
    """
    try:
        folder = open_folder(database.parent)
    except OSError as error:
        raise StateError(f"{database}: {trouble(error)}") from None
    try:
        with os.fdopen(open_file(database.name, dir_fd=folder), "rb") as file:
            image = device.image(file.read(MAX_SIZE + 1), folder, database.name)
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(image)
            with device.careful(connection, time.monotonic() + _SECONDS):
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
                return _read(connection)
    except OSError as error:
        raise StateError(f"{database}: {trouble(error)}") from None
    except (sqlite3.Error, ValueError) as error:
        raise StateError(f"{database}: is no session that can be moved: {error}") from None
    finally:
        os.close(folder)


def _read(connection: sqlite3.Connection) -> Session:
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
    ).fetchall()
    tables, indexes = [], []
    for kind, name, text in made:
        if kind == "index" and _INDEX.fullmatch(text):
            indexes.append(text)
        elif kind == "table" and (match := _TABLE.fullmatch(text)) and match[1] == name:
            tables.append(_read_table(connection, name, text))
        else:
            raise ValueError(f"{kind} {str(name)[:40]!r} is not the library's")
    return Session(tuple(tables), tuple(indexes))


def _read_table(connection: sqlite3.Connection, name: str, made: str) -> Table:
    about = connection.execute(f"PRAGMA table_xinfo({name})").fetchall()
    if any(column[6] for column in about) or not all(_NAME.fullmatch(column[1]) for column in about):
        raise ValueError(f"the columns of {name} are not the library's")
    columns = tuple(column[1] for column in about)
    yes_or_no = [column[2].upper() == "BOOLEAN" for column in about]
    listed = ", ".join(f'"{column}"' for column in columns)
    rows: list[Row] = [
        [_as_postgres(value, flag=flag) for flag, value in zip(yes_or_no, row, strict=True)]
        for row in connection.execute(f"SELECT {listed} FROM {name} ORDER BY rowid")
    ]
    return Table(name, made, columns, rows)


def _as_postgres(value: object, *, flag: bool) -> object:
    return bool(value) if flag and value is not None else value


def write_schema(connection: Connection, session: Session) -> None:
    """Write a session into an empty schema; the caller commits.

    Args:
        connection: One of the account's own role.
        session: What is written.

    Raises:
        StateError: The database refuses it.
    """
    try:
        for table in session.tables:
            connection.execute(table.made)
            columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
            places = sql.SQL(", ").join([sql.Placeholder()] * len(table.columns))
            insert = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                sql.Identifier(table.name), columns, places
            )
            with connection.cursor() as cursor:
                cursor.executemany(insert, table.rows)
        for index in session.indexes:
            connection.execute(index)
    except psycopg.Error as error:
        raise StateError(f"the database does not take the session ({error.sqlstate})") from None


def read_schema(connection: Connection) -> Session:
    """Read a session from the schema of the account whose role this connection has.

    Raises:
        StateError: Something is there that the library has not made.
    """
    names = [
        str(name)
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind = 'r' ORDER BY oid"
        ).fetchall()
    ]
    if not all(_NAME.fullmatch(name) and name.startswith("whatsmeow_") for name in names):
        raise StateError("the schema has tables that are not the library's")
    indexes = [
        _plain(str(text))
        for (text,) in connection.execute(
            "SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
            " WHERE c.relnamespace = current_schema()::regnamespace AND NOT i.indisunique"
            " ORDER BY i.indexrelid"
        ).fetchall()
    ]
    return Session(tuple(_table_of(connection, name) for name in names), tuple(indexes))


def _table_of(connection: Connection, name: str) -> Table:
    about = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
        " pg_get_expr(d.adbin, d.adrelid) FROM pg_attribute a LEFT JOIN pg_attrdef d"
        " ON d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = %s::regclass"
        " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        [name],
    ).fetchall()
    # Since Postgres 18, NOT NULL of a column is among the rules, too.
    rules = connection.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND contype <> 'n'"
        " ORDER BY contype DESC, oid",
        [name],
    ).fetchall()
    parts = [
        f'"{column}" {kind}{" NOT NULL" * needed}{f" DEFAULT {_plain(default)}" if default else ""}'
        for column, kind, needed, default in about
    ]
    parts += [_plain(str(rule)) for (rule,) in rules]
    columns = tuple(str(column) for column, *_ in about)
    select = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), sql.Identifier(name)
    )
    kinds = [str(kind) for _, kind, *_ in about]
    rows: list[Row] = [
        [_as_sqlite(value, kind) for value, kind in zip(row, kinds, strict=True)]
        for row in connection.execute(select)
    ]
    return Table(name, f"CREATE TABLE {name} ({', '.join(parts)})", columns, rows)


def _as_sqlite(value: object, kind: str) -> object:
    if value is None or kind not in ("boolean", "uuid"):
        return value
    return int(bool(value)) if kind == "boolean" else str(value)


def _plain(text: str) -> str:
    """Return what Postgres says of a rule as SQLite takes it."""
    found = _CAST.sub(lambda match: match[1] if match[2] != "text" else f"'{match[1]}'", text)
    return re.sub(r" USING btree", "", re.sub(r"\b[aq]_[0-9a-f]{16}\.", "", found))


def write_file(database: Path, session: Session) -> None:
    """Write a session as a file that only this user may read, whole or not at all.

    Raises:
        StateError: It cannot be written, or is there.
    """
    draft = database.with_name(f".{database.name}.new")
    draft.unlink(missing_ok=True)
    try:
        os.close(open_file(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        with closing(sqlite3.connect(draft)) as connection, connection:
            connection.execute("PRAGMA synchronous = FULL")
            for table in session.tables:
                connection.execute(table.made)
                _insert(connection, table.name, table.columns, table.rows)
            for index in session.indexes:
                connection.execute(index)
        os.link(draft, database)
    except FileExistsError:
        raise StateError(f"{database}: is there already: move it away") from None
    except OSError as error:
        raise StateError(f"{database}: cannot be written: {trouble(error)}") from None
    except sqlite3.Error as error:
        raise StateError(f"{database}: SQLite does not take the session: {error}") from None
    finally:
        draft.unlink(missing_ok=True)


def _insert(connection: sqlite3.Connection, name: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    listed = ", ".join(f'"{column}"' for column in columns)
    places = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {name} ({listed}) VALUES ({places})", rows)


def fill(dsn: str, session: Session) -> None:
    """Write a session into the schema of an account, whole or not at all.

    Args:
        dsn: The database as the account, with a password.
        session: What is written.

    Raises:
        StateError: The database refuses it, or cannot be reached.
    """
    try:
        with psycopg.connect(dsn) as connection:
            write_schema(connection, session)
    except psycopg.Error as error:
        raise StateError(f"the database does not take the session ({error.sqlstate})") from None


def drain(dsn: str) -> Session:
    """Read the session of an account; `fill` says how."""
    try:
        with psycopg.connect(dsn) as connection:
            return read_schema(connection)
    except psycopg.Error as error:
        raise StateError(f"the database does not give the session ({error.sqlstate})") from None
