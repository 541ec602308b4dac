"""A small SQLite file of the gateway's own, which any task may use while the disk is used in threads.

What is deleted in it is overwritten, in the write-ahead log as well once `truncate` was called.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from orchestrator.errors import OrchestratorError
from orchestrator.system import files
from orchestrator.system.sqlite_files import SIDES

log = logging.getLogger(__name__)

T = TypeVar("T")

_VERSION: Final = 1


class Notebook:
    """The file. It is made when it is first opened, and begins anew if it is damaged.

    Args:
        path: The file. Its folder exists.
        tables: The SQL that makes its tables, which may be there already.
        lost: What follows for people if the file is damaged and begins anew, for the log.
        on_open: Is called with a connection that was just opened.
    """

    def __init__(
        self,
        path: Path,
        tables: str,
        *,
        lost: str,
        on_open: Callable[[sqlite3.Connection], None] | None = None,
    ) -> None:
        self._path = path
        self._tables = tables
        self._lost = lost
        self._on_open = on_open
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    async def run(self, do: Callable[[], T]) -> T:
        """Do something in a thread, one after the other. It may use `connection`.

        Raises:
            OrchestratorError: The file or the disk cannot be used (`state_unusable`).
        """

        def locked() -> T:
            with self._lock:
                return do()

        try:
            return await in_thread(locked)
        except (sqlite3.Error, OSError) as error:
            raise self.unusable(error) from None

    def unusable(self, error: Exception) -> OrchestratorError:
        """Return what clients are told if the disk cannot be used."""
        return OrchestratorError(
            f"the gateway's file {self._path.name} cannot be used: {type(error).__name__}",
            key="state_unusable",
        )

    async def close(self) -> None:
        """Close the file; it may be used again."""
        await asyncio.to_thread(self._close)

    # Inside of what `run` does

    def exists(self) -> bool:
        """Tell whether the file was ever made."""
        return self._path.exists()

    def connection(self) -> sqlite3.Connection:
        """Return the open file.

        Raises:
            sqlite3.Error: It cannot be used.
            OSError: Likewise.
        """
        if self._connection is None:
            try:
                self._connection = self._open()
            except sqlite3.OperationalError:  # of the disk, or of rights: no harm was done
                raise
            except sqlite3.DatabaseError:
                log.error("%s is damaged and begins anew: %s", self._path, self._lost)
                for side in ("", *SIDES):
                    Path(f"{self._path}{side}").unlink(missing_ok=True)
                self._connection = self._open()
        return self._connection

    def truncate(self) -> None:
        """Take what was deleted out of the write-ahead log, too."""
        self.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _open(self) -> sqlite3.Connection:
        # SQLite gives its other files the mode of this one.
        os.close(files.open_file(self._path, os.O_RDWR | os.O_CREAT))
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON",
                           "temp_store = MEMORY"):  # fmt: skip
                connection.execute(f"PRAGMA {pragma}").fetchall()
            if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                connection.executescript(f"BEGIN; {self._tables} PRAGMA user_version = {_VERSION}; COMMIT;")
            if self._on_open is not None:
                self._on_open(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


async def in_thread(do: Callable[[], T]) -> T:
    """Do something in a thread. What was begun is finished, whatever becomes of whoever waits for it."""
    task = asyncio.get_running_loop().run_in_executor(None, do)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # A file is closed after this: not under the thread's hands.
        with contextlib.suppress(Exception):
            await task
        raise
