"""The two ends of a database in the folder of an account's messages: who writes to it, and who reads it.

What inboxes and outboxes have in common. What is deleted is overwritten, in the write-ahead log as well.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from orchestrator.errors import StateError
from orchestrator.messages.database import (
    DAMAGED,
    PATIENCE,
    Form,
    Still,
    check_file,
    files,
    readable,
    still,
    stop_at,
)
from orchestrator.system.transactions import transaction

_TRIES: Final = 50
"""How often a moment is looked for in which nobody reads."""


class WritersEnd:
    """The writer's end. Its methods may be called from any thread, one after the other.

    Args:
        connection: The open database.
        form: What it is.
        folder: The folder of the account's messages, where damage is noted.

    Attributes:
        is_clean: Whether nothing is left in the file and its log of what was deleted.
    """

    def __init__(self, connection: sqlite3.Connection, form: Form, folder: Path | None = None) -> None:
        self._connection = connection
        self._form = form
        self._folder = folder
        self._lock = threading.Lock()
        self.is_clean = False

    def close(self) -> None:
        """Write everything into the one file, and close it."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.close()

    def _wipe(self, pause: Callable[[], object]) -> None:
        """Have the disk forget what was deleted, unless that is done or somebody reads all the time."""
        if self.is_clean:
            return
        with self._lock:
            self._connection.execute("PRAGMA incremental_vacuum(1000)").fetchall()
        for _ in range(_TRIES):
            if self._empty_log():
                break
            pause()

    def _empty_log(self) -> bool:
        """Write the log into the database and overwrite it: deleted texts would stay there otherwise.

        Returns:
            Whether that was possible. It is not while somebody reads, and nobody waits for that here: what
            is to be written would wait as well.
        """
        with self._lock:
            patience = self._connection.execute("PRAGMA busy_timeout").fetchone()[0]
            self._connection.execute("PRAGMA busy_timeout = 0").fetchall()
            try:
                row = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {patience}").fetchall()
            self.is_clean = not row[0]
            return self.is_clean

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            with transaction(self._connection) as connection:
                yield connection
        except BaseException as error:
            self._note_damage(error)
            raise

    def _note_damage(self, error: BaseException) -> None:
        """Have the next process put a damaged database aside: the check at the start may not see it."""
        if self._folder is not None and getattr(error, "sqlite_errorcode", 0) & 0xFF in DAMAGED:
            with contextlib.suppress(OSError):
                flags = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(self._folder / self._form.damage, flags, 0o600))


class ReadersEnd:
    """The reader's end, for other processes than the account's.

    Args:
        connection: The open database.
        form: What it is.
        path: The database's file.
        still: What the file has to be all the time, if it was opened as it is.
    """

    def __init__(
        self, connection: sqlite3.Connection, form: Form, path: Path = Path(), still: Still | None = None
    ) -> None:
        self._connection = connection
        self._form = form
        self._path = path
        self._still = still

    @property
    def is_current(self) -> bool:
        """Whether the file can be read on: one that was opened as it is cannot once somebody writes to it."""
        return self._still is None or still(self._path) == self._still

    def stop_at(self, deadline: float) -> None:
        """Have everything that takes longer end with an error.

        Args:
            deadline: Monotonic seconds.
        """
        stop_at(self._connection, deadline)

    def changed(self) -> int:
        """Return a number that is another one after every write.

        Raises:
            StateError: The database cannot be read.
        """
        with self._words():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextlib.contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except (UnicodeDecodeError, sqlite3.Error) as error:
            self._check_still()
            why = error if isinstance(error, sqlite3.Error) else "it is damaged"
            raise self._form.unusable(f"the {self._form.name} cannot be read: {why}") from None
        self._check_still()

    def _check_still(self) -> None:
        if not self.is_current:
            raise self._form.stirred(f"the {self._form.name} is written to at this moment: read it again")


def open_to_read(
    folder: Path, form: Form, patience: float = PATIENCE
) -> tuple[sqlite3.Connection, Path, Still | None]:
    """Open a database to read; return it, its file, and what the file has to be, if anything.

    Args:
        folder: The folder of the account's messages.
        form: What the database is.
        patience: Seconds to wait for a writer that holds it.

    Raises:
        StateError: There is none, or it cannot be read.
    """
    path = folder / form.file
    why: object
    try:
        if not all([check_file(file, form) for file in files(path)][:1]):
            raise form.missing(f"there is no {form.name} in {folder}: nothing was stored yet")
        connection, unchanged = readable(path, form, patience)
    except StateError:
        raise
    except UnicodeDecodeError:  # in what SQLite says of the schema
        why = "it is damaged"
    except sqlite3.Error as error:
        why = error
    except OSError as error:
        why = error.strerror or error
    else:
        return connection, path, unchanged
    raise form.unusable(f"the {form.name} {path} cannot be read: {why}") from None
