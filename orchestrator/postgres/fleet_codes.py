"""The codes of a whole fleet, as the database has them, for those who mirror or list them.

A role may read them that can do nothing else: `docs/cluster.md` says which rights it needs.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from orchestrator.errors import StateError
from orchestrator.postgres import schema
from orchestrator.postgres.database import Connection, Database, Listener
from orchestrator.postgres.rows import CODES
from orchestrator.store.codes.mirror import Code, is_sound

MOST: Final = 5000
"""Codes that are read: more accounts than that are not linked at a time."""
_POLL: Final = 5.0
"""Seconds between two looks, if nobody gives a hint."""
_PAUSE: Final = 0.2
"""Seconds between two looks at least: any role may give hints."""
_HEAR: Final = 1.0
"""Seconds for which a hint is waited for before the end of the watch is looked at."""
_AGAIN: Final = 2.0
"""Seconds until the database is tried again."""

Heard: TypeAlias = list[Code] | Exception
"""All codes, or why nobody can tell: a `StateError`, after which the database is tried again, or a bug."""


def read(connection: Connection, now: Callable[[], float]) -> list[Code]:
    """Return the codes that hold, in the order of names; a row that is no code of an account's is left out.

    Args:
        connection: The database.
        now: The clock by which the codes end.
    """
    begun = now()
    rows = connection.execute(
        "SELECT a.name, c.png, extract(epoch FROM c.expires_at - clock_timestamp())::float8"
        " FROM orchestrator.code c JOIN orchestrator.account a ON a.id = c.account"
        " WHERE c.expires_at > clock_timestamp() ORDER BY a.name LIMIT %s",
        [MOST],
    ).fetchall()
    return [Code(name, png, begun + left) for name, png, left in rows if is_sound(name, png)]


def read_one(connection: Connection, name: str) -> tuple[bytes, float] | None:
    """Return the picture of an account's code, and for how many seconds it holds; None if there is none."""
    row = connection.execute(
        "SELECT c.png, extract(epoch FROM c.expires_at - clock_timestamp())::float8"
        " FROM orchestrator.code c JOIN orchestrator.account a ON a.id = c.account"
        " WHERE a.name = %s AND c.expires_at > clock_timestamp()",
        [name],
    ).fetchone()
    return None if row is None or not is_sound(name, row[0]) else (bytes(row[0]), float(row[1]))


def now() -> float:
    """Return the time, by a clock that goes on while the machine sleeps, as codes do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class CodeWatch:
    """Reads the codes on a thread of its own: when somebody hints at a change, and every few seconds.

    Args:
        database: The database.
        heard: Takes what was read, on that thread.
    """

    def __init__(self, database: Database, heard: Callable[[Heard], None]) -> None:
        self._database = database
        self._heard = heard
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="codes", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Read no more; takes a second, or less if the database does not answer."""
        self._closed.set()
        self._thread.join(2 * _HEAR)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with contextlib.closing(Listener(self._database, [CODES])) as listener:
                    self._database.run(schema.check)
                    self._listen(listener)
            except StateError as error:
                self._heard(error)
                self._closed.wait(_AGAIN)
            except Exception as error:  # noqa: BLE001 - whoever shows the codes must not go on as if all was well
                self._heard(error)
                return

    def _listen(self, listener: Listener) -> None:
        looked_at: float | None = None
        while not self._closed.is_set():
            # What was notified before this connection listened was not heard: the first look comes at once.
            if looked_at is None or listener.wait(_HEAR) or now() >= looked_at + _POLL:
                looked_at = now()
                self._heard(self._database.run(lambda connection: read(connection, now)))
                self._closed.wait(_PAUSE)
