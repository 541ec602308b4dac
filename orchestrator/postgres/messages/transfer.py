"""Moves the messages of an account between files and the database, whole, while no service runs.

Numbers, what came before, what is to be sent and what is known of chats go along: whoever reads the account's
events goes on where they were. Attachments stay where they are: they are in files in both cases.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from orchestrator.errors import StateError
from orchestrator.messages.database import INBOX_FORM, Form, begin, readable
from orchestrator.messages.outbox_form import MEMORY, OUTBOX_FORM
from orchestrator.messages.outbox_notes import SALT
from orchestrator.postgres.messages import box
from orchestrator.postgres.messages.boxes import Boxes
from orchestrator.postgres.messages.outbox import OUTBOX_MEMORY, OUTBOX_SALT
from orchestrator.store import counted
from orchestrator.system.transactions import transaction

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection

_BATCH: Final = 500
_ENTRY: Final = "seq, source, chat, sender, id, extra, at, stored_at, raw, notes, media"
_ROW: Final = (
    "number, key, content, key_until, kind, chat, tag, body, file, state, created_at, expires_at, changed_at,"
    " message, pace, queued_until, code, why, secret"
)
_CONTACT: Final = "digest, heard_at, sent_at, found_at, missing_at, refused_at, noted_at"
_TABLES: Final = (
    (INBOX_FORM, "entries", "entry", _ENTRY),
    (INBOX_FORM, "seen", "seen", "key, at"),
    (INBOX_FORM, "meta", "meta", "key, value"),
    (INBOX_FORM, "sent", "sent", "digest, id, chat, at"),
    (OUTBOX_FORM, "rows", "outgoing", _ROW),
    (OUTBOX_FORM, "contacts", "contact", _CONTACT),
    (OUTBOX_FORM, "receipts", "receipt", "message, at"),
)
"""Of each table the kind of file, its name there, its name in the database, and its columns."""


class Moved(NamedTuple):
    """How much was moved.

    Attributes:
        entries: Entries of the inbox.
        rows: Rows of the outbox.
    """

    entries: int
    rows: int


def bring_in(connection: Connection, account: str, folder: Path) -> Moved:
    """Copy the messages in a folder into the database, within the caller's transaction.

    Args:
        connection: The database.
        account: The account's id.
        folder: The folder of the account's messages; nothing is changed there.

    Raises:
        StateError: The account has messages in the database, or the files cannot be read.
    """
    if Boxes().holds(connection, account):
        raise StateError("the account has messages in the database already: nothing was brought in")
    found = {form: _open(folder, form) for form in (INBOX_FORM, OUTBOX_FORM)}
    if not any(found.values()):
        return Moved(0, 0)
    connection.execute("DELETE FROM orchestrator_messages.box WHERE account = %s", [account])
    beginning = counted.begin(folder)
    at = int(
        box.one(
            connection,
            "INSERT INTO orchestrator_messages.box (account, began_seq, seq, began_number, number)"
            " VALUES (%s, 0, %s, 0, %s) RETURNING box",
            [
                account,
                max(beginning, _last(found[INBOX_FORM], "entries")),
                max(beginning, _last(found[OUTBOX_FORM], "rows")),
            ],
        )
    )
    try:
        moved = {
            theirs: _copy(connection, at, found[form], ours, theirs, columns)
            for form, ours, theirs, columns in _TABLES
        }
        _bring_notes(connection, at, found[OUTBOX_FORM])
    except sqlite3.Error as error:
        raise StateError(f"{folder}: the messages cannot be read: {error}") from None
    finally:
        for file in found.values():
            if file is not None:
                file.close()
    connection.execute(
        "UPDATE orchestrator_messages.box SET entries = %(entries)s,"
        " lost = (SELECT count(*) FROM orchestrator_messages.entry WHERE box = %(box)s AND source = 'lost'),"
        " last_message_at = (SELECT max(stored_at) FROM orchestrator_messages.entry"
        " WHERE box = %(box)s AND source = 'message'),"
        " last_sent_at = (SELECT max(changed_at) FROM orchestrator_messages.outgoing"
        " WHERE box = %(box)s AND state = 'sent' AND message IS NOT NULL) WHERE box = %(box)s",
        {"box": at, "entries": moved["entry"]},
    )
    return Moved(moved["entry"], moved["outgoing"])


def take_out(connection: Connection, account: str, folder: Path) -> Moved:
    """Copy the messages of an account in the database into a folder.

    Args:
        connection: The database; nothing is changed there.
        account: The account's id.
        folder: The folder of the account's messages, which has neither an inbox nor an outbox.

    Raises:
        StateError: There are messages in the folder.
        OSError, sqlite3.Error: They cannot be written.
    """
    of = box.find(connection, account)
    if of is None:
        return Moved(0, 0)
    for form in (INBOX_FORM, OUTBOX_FORM):
        if (folder / form.file).exists():
            raise StateError(f"{folder} has an {form.name} already: move it away")
    folder.mkdir(mode=0o700, exist_ok=True)
    numbers = connection.execute(
        "SELECT seq, number FROM orchestrator_messages.box WHERE box = %s", [of.number]
    ).fetchone()
    assert numbers is not None
    moved: dict[str, int] = {}
    for form, last in zip((INBOX_FORM, OUTBOX_FORM), numbers, strict=True):
        with closing(begin(folder, form, time.time)) as file, transaction(file):
            for kind, ours, theirs, columns in _TABLES:
                if kind is form:
                    moved[theirs] = _write(file, ours, columns, _rows(connection, of.number, theirs, columns))
            if form is OUTBOX_FORM:
                _take_notes(file, connection, of.number)
            file.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (last, form.counted))
    return Moved(moved["entry"], moved["outgoing"])


def _open(folder: Path, form: Form) -> sqlite3.Connection | None:
    path = folder / form.file
    if not path.exists():
        return None
    try:
        return readable(path, form)[0]
    except sqlite3.Error as error:
        raise StateError(f"{path} cannot be read: {error}") from None


def _last(file: sqlite3.Connection | None, table: str) -> int:
    if file is None:
        return 0
    row = file.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
    return int(row[0]) if row else 0


def _copy(
    connection: Connection, at: int, file: sqlite3.Connection | None, ours: str, theirs: str, columns: str
) -> int:
    if file is None:
        return 0
    count = 0
    order = "number" if ours == "receipts" else "rowid" if ours in ("entries", "rows") else "1"
    found = file.execute(f"SELECT {columns} FROM {ours} ORDER BY {order}")
    query = f"COPY orchestrator_messages.{theirs} (box, {columns}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        while batch := found.fetchmany(_BATCH):
            for row in batch:
                copy.write_row([at, *map(_fitting, row)])
            count += len(batch)
    return count


def _fitting(value: Any) -> Any:  # noqa: ANN401 - a value of SQLite
    return box.plain(value) if isinstance(value, str) else value


def _rows(connection: Connection, at: int, theirs: str, columns: str) -> Iterator[Sequence[Any]]:
    where = " AND key NOT IN (%(salt)s, %(memory)s)" if theirs == "meta" else ""
    order = " ORDER BY number" if theirs == "receipt" else ""
    with connection.cursor(name=f"take_{theirs}") as cursor:
        cursor.itersize = _BATCH
        yield from cursor.execute(
            f"SELECT {columns} FROM orchestrator_messages.{theirs} WHERE box = %(box)s{where}{order}",
            {"box": at, "salt": OUTBOX_SALT, "memory": OUTBOX_MEMORY},
        )


def _write(file: sqlite3.Connection, ours: str, columns: str, rows: Iterable[Sequence[Any]]) -> int:
    marks = ", ".join("?" * len(columns.split(", ")))
    count = 0
    for row in rows:
        file.execute(f"INSERT INTO {ours} ({columns}) VALUES ({marks})", row)
        count += 1
    return count


def _bring_notes(connection: Connection, at: int, file: sqlite3.Connection | None) -> None:
    """Bring in by what an outbox knows chats, and what the pacing remembers."""
    notes = dict(file.execute("SELECT key, value FROM meta")) if file is not None else {}
    salt, memory = notes.get(SALT), notes.get(MEMORY)
    wanted = {
        OUTBOX_SALT: salt.hex() if isinstance(salt, bytes) else None,
        OUTBOX_MEMORY: memory if isinstance(memory, str) else None,
    }
    for key, value in wanted.items():
        if value is not None:
            connection.execute(
                "INSERT INTO orchestrator_messages.meta VALUES (%s, %s, %s)", [at, key, box.plain(value)]
            )


def _take_notes(file: sqlite3.Connection, connection: Connection, at: int) -> None:
    rows = connection.execute(
        "SELECT key, value FROM orchestrator_messages.meta WHERE box = %s AND key IN (%s, %s)",
        [at, OUTBOX_SALT, OUTBOX_MEMORY],
    )
    for key, value in rows:
        note = (SALT, bytes.fromhex(value)) if key == OUTBOX_SALT else (MEMORY, value)
        file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", note)
