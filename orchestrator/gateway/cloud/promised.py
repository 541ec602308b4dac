"""Messages that clients of the Cloud API know by their rows: the client was answered before they were sent.

Meta's API names a message at once, and WhatsApp names it only when it is sent. So a client whose message has
to wait gets the row's name, and later statuses, answers and reactions have to use that name. It is kept in an
SQLite file of the gateway's own: a row, and later WhatsApp's identifier, and nothing of what was sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from orchestrator.gateway.cloud import ids
from orchestrator.gateway.notebook import Notebook
from orchestrator.system.transactions import transaction

FILE: Final = "cloud.sqlite3"
KEEP_SECONDS: Final = 40 * 86_400.0
"""How long a name is kept: WhatsApp gives up a message that nobody fetches after 30 days."""
MOST: Final = 50_000
"""Names that are kept. The oldest go first; then statuses have WhatsApp's own identifiers."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS promised (
    account TEXT NOT NULL, row INTEGER NOT NULL, message TEXT, at REAL NOT NULL, PRIMARY KEY (account, row)
) STRICT;
CREATE INDEX IF NOT EXISTS promised_message ON promised (account, message);
CREATE INDEX IF NOT EXISTS promised_at ON promised (at);
"""


class Promised:
    """The names. Its methods may be called from any task; the disk is used in threads.

    Args:
        folder: The gateway's folder.
        wall: Returns Unix seconds.
    """

    def __init__(self, folder: Path, wall: Callable[[], float] = time.time) -> None:
        self._book = Notebook(
            folder / FILE, _TABLES, lost="statuses of earlier messages name them as WhatsApp does"
        )
        self._wall = wall

    async def note(self, account: str, row: int) -> None:
        """Remember that a client knows a message by its row.

        Raises:
            OrchestratorError: The file cannot be used (`state_unusable`).
        """
        await self._book.run(lambda: self._note(account, row))

    async def message(self, account: str, row: int) -> str | None:
        """Return WhatsApp's identifier of a message by its row, None if no status has told it yet.

        Raises:
            OrchestratorError: The file cannot be used (`state_unusable`).
        """
        return await self._book.run(lambda: self._message(account, row))

    async def names(self, event: Mapping[str, Any]) -> Mapping[str, str]:
        """Return what a client calls messages that an event names, by WhatsApp's identifiers.

        Those that it calls as WhatsApp does are left out.

        Args:
            event: The event.

        Raises:
            OrchestratorError: The file cannot be used (`state_unusable`).
        """
        account, data = event["account"], event["data"]
        row, message = data.get("row"), data.get("id")
        about = [(data.get("reply_to") or {}).get("id"), (data.get("reaction") or {}).get("message_id")]
        named = [one for one in about if one is not None]
        if not named and (row is None or message is None):
            return {}
        return await self._book.run(lambda: self._names(account, row, message, named))

    async def close(self) -> None:
        """Close the file."""
        await self._book.close()

    # In a thread, with the lock

    def _note(self, account: str, row: int) -> None:
        now = self._wall()
        with transaction(self._book.connection()) as connection:
            connection.execute("INSERT OR REPLACE INTO promised VALUES (?, ?, NULL, ?)", (account, row, now))
            connection.execute("DELETE FROM promised WHERE at <= ?", (now - KEEP_SECONDS,))
            connection.execute(
                "DELETE FROM promised WHERE rowid IN"
                " (SELECT rowid FROM promised ORDER BY at DESC LIMIT -1 OFFSET ?)",
                (MOST,),
            )

    def _message(self, account: str, row: int) -> str | None:
        if not self._book.exists():
            return None  # nobody was ever answered so
        query = "SELECT message FROM promised WHERE account = ? AND row = ?"
        found = self._book.connection().execute(query, (account, row)).fetchone()
        return None if found is None or found[0] is None else str(found[0])

    def _names(self, account: str, row: int | None, message: str | None, named: list[str]) -> dict[str, str]:
        if not self._book.exists():
            return {}  # nobody was ever answered so
        found: dict[str, str] = {}
        connection = self._book.connection()
        if row is not None and message is not None:
            known = connection.execute(
                "SELECT message FROM promised WHERE account = ? AND row = ?", (account, row)
            ).fetchone()
            if known is not None:
                found[message] = ids.of_row(row)
            if known is not None and known[0] != message:
                with transaction(self._book.connection()):
                    connection.execute(
                        "UPDATE promised SET message = ? WHERE account = ? AND row = ?",
                        (message, account, row),
                    )
        for one in named:
            known = connection.execute(
                "SELECT row FROM promised WHERE account = ? AND message = ?", (account, one)
            ).fetchone()
            if known is not None:
                found[one] = ids.of_row(known[0])
        return found
