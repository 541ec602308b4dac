"""What a session's file tells of the messages that the library has decrypted; see `messages.loss`.

The file is read before the library is loaded: two copies of SQLite that have one file open in one process
undo each other's locks. A write that a kill has interrupted is undone here, as the library would undo it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from orchestrator.accounts.deadlines import SECRETS_SECONDS
from orchestrator.messages.loss import (
    Mark,
    Secret,
    Session,
    bare,
    device_of,
    digest,
    other_address,
    secret,
    stands_for,
)
from orchestrator.store import device as device_rows
from orchestrator.store import sent_secrets

MOST: Final = 10_000
"""Secrets that are looked at: of a kill, only the last hundred or so matter."""

_TABLES = ("whatsmeow_message_secrets", "whatsmeow_lid_map")
_IS_TABLE = (
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN (?, ?) AND sql LIKE 'CREATE TABLE %'"
)
_LAST = "SELECT rowid, our_jid, chat_jid, sender_jid, message_id FROM whatsmeow_message_secrets"
_SECRETS = (
    "SELECT rowid, chat_jid, sender_jid, message_id, key FROM whatsmeow_message_secrets"
    " WHERE +our_jid = ? AND rowid > ? ORDER BY rowid DESC LIMIT ?"
)
"""The plus keeps SQLite from going by the index of all addresses, and sorting what it finds: of a million
secrets, that takes 0.6 s instead of 3 ms."""
_NUMBER = "SELECT lid, pn FROM whatsmeow_lid_map WHERE lid = ?"
_HIDDEN = "SELECT lid, pn FROM whatsmeow_lid_map WHERE pn = ?"


def read(database: Path, mark: Mark | None) -> Session | None:
    """Return what a session tells, None if it is of no linked device.

    Args:
        database: The session's file.
        mark: How far it was looked at; without one, the place of the last secret is all that is read. So it
            is if the mark is of another device or another file.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    if not database.exists():
        return None
    with _open(database) as connection:
        return _read(connection, mark)


def sent(database: Path, wanted: Collection[bytes]) -> dict[bytes, str] | None:
    """Return which messages an earlier process has handed over that have left; see `sent_secrets.find`.

    Args:
        database: The session's file.
        wanted: What stands for the secrets of the messages; see `loss.digest`.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    if not wanted or not database.exists():
        return None
    with _open(database) as connection:
        return sent_secrets.find(connection, wanted, digest)


def device(database: Path) -> str | None:
    """Return what stands for the linked device of a session, None if it is of none.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    if not database.exists():
        return None
    with _open(database) as connection:
        jid = (device_rows.first_row(connection) or {}).get("jid")
    return device_of(jid) if isinstance(jid, str) and jid else None


@contextmanager
def _open(database: Path) -> Iterator[sqlite3.Connection]:
    address = f"file:{quote(str(database))}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=SECRETS_SECONDS / 2)) as connection:
        connection.text_factory = lambda data: data.decode(errors="replace")
        with device_rows.careful(connection, time.monotonic() + SECRETS_SECONDS / 2):
            yield connection


def number_of(address: str) -> str:
    """Return what stands for the number of a linked device, whichever of its phone's devices it is."""
    return stands_for("number", bare(address))


def _read(connection: sqlite3.Connection, mark: Mark | None) -> Session | None:
    row = device_rows.first_row(connection)
    jid, lid = (row or {}).get("jid"), (row or {}).get("lid")
    if not isinstance(jid, str) or connection.execute(_IS_TABLE, _TABLES).fetchone()[0] != len(_TABLES):
        return None
    own = frozenset(bare(one) for one in (jid, lid) if isinstance(one, str) and one)
    last = connection.execute(f"{_LAST} ORDER BY rowid DESC LIMIT 1").fetchone()
    at, print_ = (int(last[0]), _print(last)) if last else (0, "")
    if mark is None or mark.device != device_of(jid) or not _is_there(connection, mark):
        return Session(device_of(jid), own, at, print_)
    rows = connection.execute(_SECRETS, (jid, mark.row, MOST)).fetchall()
    secrets = tuple(filter(None, map(_secret, reversed(rows))))
    people = _people(connection, (one.suspect.chat for one in secrets))
    people |= _people(connection, (one.suspect.sender for one in secrets))
    return Session(device_of(jid), own, at, print_, secrets, people)


def _is_there(connection: sqlite3.Connection, mark: Mark) -> bool:
    """Tell whether the place that a mark names is still what it was."""
    if mark.row == 0:
        return True
    row = connection.execute(f"{_LAST} WHERE rowid = ?", (mark.row,)).fetchone()
    return row is not None and _print(row) == mark.print


def _print(row: tuple[object, ...]) -> str:
    return stands_for(*map(str, row))


def _secret(row: tuple[object, ...]) -> Secret | None:
    place, chat, sender, id_, key = row
    if not (isinstance(place, int) and isinstance(key, bytes)):
        return None
    return secret(place, str(chat), str(sender), str(id_), digest(key))


def _people(connection: sqlite3.Connection, addresses: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in set(addresses):
        user, _, server = one.rpartition("@")
        query = {"lid": _NUMBER, "s.whatsapp.net": _HIDDEN}.get(server)
        row = connection.execute(query, (user,)).fetchone() if query else None
        if row is not None and all(isinstance(value, str) for value in row):
            found |= other_address(*row)
    return found
