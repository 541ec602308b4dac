"""A transaction of an SQLite database that its connection does not begin by itself."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Have all that is written inside happen, or nothing.

    Args:
        connection: The open database, with `isolation_level=None`; it is yielded.

    Raises:
        sqlite3.Error: It cannot be written, and nothing is changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # SQLite has undone it by itself, after a full disk
            connection.execute("ROLLBACK")
        raise
