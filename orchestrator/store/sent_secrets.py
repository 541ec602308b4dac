"""Finds in a session which messages of the account have left, by what stands for their secrets.

Before the library sends a message, it writes down the secret of the message with the identifier that it has
chosen. So a message whose secret is not in the session was never sent, and one whose secret is there has that
identifier.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from typing import Final

from orchestrator.store import device

MAX_ID: Final = 128
"""Characters of a message's identifier."""
SECRET_BYTES: Final = 32
"""Bytes of a message's secret."""

_IS_TABLE = (
    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'whatsmeow_message_secrets'"
    " AND sql LIKE 'CREATE TABLE %'"
)
_OWN = (
    "SELECT message_id, key FROM whatsmeow_message_secrets"
    " WHERE +our_jid = ? AND substr(sender_jid, 1, ?) = ? OR +our_jid = ? AND substr(sender_jid, 1, ?) = ?"
    " ORDER BY rowid DESC"
)
"""What the account itself has sent, the last first. The plus keeps SQLite from sorting what an index has."""


def find(
    connection: sqlite3.Connection, wanted: Collection[bytes], digest: Callable[[bytes], bytes]
) -> dict[bytes, str] | None:
    """Return the identifiers of those messages whose secrets are there.

    Args:
        connection: The open session, within `device.careful`.
        wanted: What stands for the secrets.
        digest: Returns what stands for a secret.

    Returns:
        Identifiers by what stands for the secrets. Of the others it is certain that they are not there. None
        if nothing is certain, because the session is of no linked device, or not as the library makes it.

    Raises:
        sqlite3.Error: The session cannot be read, or not in time: then nothing is certain, either.
    """
    row = device.first_row(connection)
    jid = _text((row or {}).get("jid"))
    if not jid or connection.execute(_IS_TABLE).fetchone()[0] != 1:
        return None
    users = [_user(one) for one in (jid, _text((row or {}).get("lid")) or jid)]
    arguments = [value for user in users for value in (jid, len(user), user)]
    missing, found = set(wanted), dict[bytes, str]()
    for id_, key in connection.execute(_OWN, arguments):
        if not missing:
            break
        if not isinstance(key, bytes) or len(key) != SECRET_BYTES or (sign := digest(key)) not in missing:
            continue
        name = _text(id_)
        if not _is_id(name):
            return None  # it is there, and nobody can say what it is called
        missing.discard(sign)
        found[sign] = name
    return found


def _user(address: str) -> str:
    """Return an address up to the device: what the library writes of a sender may have one or not."""
    return address.partition("@")[0].partition(":")[0].partition(".")[0]


def _is_id(name: str) -> bool:
    return 0 < len(name) <= MAX_ID and all("!" <= character <= "~" for character in name)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else ""
