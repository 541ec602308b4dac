"""Which device of which phone a session's file is linked as, told by marks that hold no secret.

Nothing here writes, and nothing raises: a file that cannot be read is told by those who need to read it.
"""

from __future__ import annotations

import re
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

BUSY_SECONDS = 0.5
"""How long another program may hold the database; what it changes then is not what is read here."""
_KEYS = ("noise_key", "identity_key")


@dataclass(frozen=True, slots=True)
class Device:
    """What can be told of a session's file.

    Attributes:
        linked: Whether it is of a linked device; None if that cannot be told, False also if there is none.
        marks: Words without a secret. Two files with a mark in common are of one device.
        number: Digits of the number it is linked to; None if it is not, or that cannot be told.
    """

    linked: bool | None
    marks: frozenset[str] = field(default_factory=frozenset)
    number: str | None = field(default=None, repr=False)


def first_row(connection: sqlite3.Connection) -> dict[str, object] | None:
    """Return the row of the device that the library uses, which is the first as they lie there.

    Raises:
        sqlite3.Error: The database cannot be read.
    """
    found = connection.execute(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'whatsmeow_device'"
    ).fetchone()[0]
    if not found:
        return None
    cursor = connection.execute("SELECT * FROM whatsmeow_device ORDER BY rowid LIMIT 1")
    row = cursor.fetchone()
    return row and dict(zip((column[0] for column in cursor.description), row, strict=True))


def number_of(address: object) -> str | None:
    """Return the digits of a device's address, None if it is not one."""
    match = re.match(r"(\d{5,20})(?:[.:]\d+)*@s\.whatsapp\.net$", str(address), re.ASCII)
    return match[1] if match else None


def look(database: Path) -> Device:
    """Tell whom a session's file is of. Links are followed: what they lead to is what would be used."""
    try:
        about = database.stat()
    except FileNotFoundError:
        return Device(linked=False)
    except OSError:
        return Device(linked=None)
    if not stat.S_ISREG(about.st_mode):
        return Device(linked=None)
    # Of two names of one file, the second would write into what the first one uses, linked or not.
    file = f"file {about.st_dev}:{about.st_ino}"
    # A journal of an interrupted write keeps a database from being read; the row is there all the same.
    for option in ("mode=ro", "immutable=1"):
        try:
            row = _read(database, option)
        except (sqlite3.Error, OSError, ValueError):
            continue
        if row is None and option == "immutable=1":
            break  # it may be in the log that this leaves out
        if row is None:
            return Device(False, frozenset([file]))
        jid = row.get("jid")
        number = number_of(jid.decode(errors="replace")) if isinstance(jid, bytes) else None
        return Device(True, frozenset([file, _mark(row)]), number)
    return Device(None, frozenset([file]))


def _read(database: Path, option: str) -> dict[str, object] | None:
    address = f"file:{quote(str(database))}?{option}"
    with closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as connection:
        connection.text_factory = bytes
        return first_row(connection)


def _mark(row: dict[str, object]) -> str:
    """Return what tells devices apart; from a hash of 32 random bytes nobody gets back to them."""
    from hashlib import sha256  # children, which import this module too, do not need it

    parts = [value for key in ("jid", *_KEYS) if isinstance(value := row.get(key), bytes)]
    return f"device {sha256(b' '.join(part.hex().encode() for part in parts)).hexdigest()[:32]}"
