"""The files of inboxes and outboxes: how they are opened, checked, and put aside when they are damaged.

Both are SQLite databases in the folder of an account's messages, with texts of people in them. A `Form` says
what differs. `orchestrator.messages.outbox_tables` has the form of an outbox.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from orchestrator.accounts.deadlines import INBOX_SECONDS
from orchestrator.errors import StateError
from orchestrator.messages import ledger
from orchestrator.store import counted
from orchestrator.store.layout import INBOX
from orchestrator.system import sqlite_files
from orchestrator.system.files import open_folder

log = logging.getLogger(__name__)

DATABASE: Final = INBOX
"""The name of an inbox in the folder of its account's messages."""
PATIENCE: Final = 5.0
"""How long a writer or reader waits for the other; each needs the file for milliseconds only."""
CACHE_KIB: Final = 256
"""Kibibytes of a database that are kept in memory."""
ALONE_SECONDS: Final = 5.0
"""How long the service may be at work in a database that it opens in the place of an account's process."""
_CHECKED = 256 << 20
"""Bytes of the largest database that is checked at the start: before version 3.41, nothing interrupts SQLite
while it looks through the pages of a table. Of 574 MB, that takes 0.8 s where the file is in memory."""
_CHECK_SECONDS = 2.0  # of INBOX_SECONDS; the rest is for another program that holds the file
_PROGRESS_STEPS = 10_000
_MAX_CELL = 8 << 20  # bytes of one value: more than any entry has


_SCHEMA = (
    """
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  source TEXT NOT NULL, chat TEXT NOT NULL, sender TEXT NOT NULL, id TEXT NOT NULL, extra TEXT NOT NULL,
  at REAL NOT NULL, stored_at REAL NOT NULL, raw BLOB NOT NULL, notes TEXT NOT NULL,
  media TEXT
);
CREATE INDEX entries_by_id ON entries (id);
CREATE INDEX entries_by_chat ON entries (chat, seq);
CREATE INDEX entries_by_time ON entries (stored_at);
CREATE INDEX entries_by_media ON entries (media) WHERE media IS NOT NULL;
CREATE INDEX entries_with_media ON entries (seq, media, stored_at) WHERE media IS NOT NULL;
CREATE INDEX entries_lost ON entries (source) WHERE source = 'lost';
CREATE TABLE seen (key BLOB PRIMARY KEY, at REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX seen_by_time ON seen (at);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
    + ledger.SCHEMA
)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_FORBIDDEN = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)  # to make the files beside an inbox


class InboxError(StateError):
    """An inbox cannot be opened; the message says what to do."""

    key = "inbox_unusable"


class NoInbox(InboxError):  # noqa: N818 - named for what it says
    """The account has no inbox: nothing was ever stored."""

    key = "no_inbox"


class InboxStirred(InboxError):  # noqa: N818
    """Somebody writes again to an inbox that was read as nobody's: what was read may be of two moments."""

    key = "inbox_unusable"


@dataclass(frozen=True, slots=True)
class Form:
    """What one kind of database is.

    Attributes:
        name: What it is called in sentences.
        file: The name of its file, in the folder of its account's messages.
        aside: With what the names begin that damaged files get.
        version: The version of its tables.
        schema: The SQL that makes its tables.
        counted: The table whose rows are numbered: no number comes again under an account's name.
        unusable: What is raised when it cannot be opened or read.
        missing: What is raised when there is none to read.
        stirred: What is raised when somebody writes to one that was read as nobody's.
    """

    name: str
    file: str
    aside: str
    version: int
    schema: str
    counted: str
    unusable: type[StateError]
    missing: type[StateError]
    stirred: type[StateError]

    @property
    def damage(self) -> str:
        """The name of an empty file: the next to open the database puts it aside."""
        return f"{self.file}-damaged"


INBOX_FORM: Final = Form(
    "inbox", DATABASE, "damaged", 1, _SCHEMA, "entries", InboxError, NoInbox, InboxStirred
)
"""What an inbox is. A program of an earlier version does not touch the tables of a later one."""


class Still(NamedTuple):
    """A database that nobody has open: all that is in it is in one file.

    Attributes:
        device: Where the file is.
        inode: Which file it is.
        size: Its bytes.
        changed_at: When it was written last, in nanoseconds.
    """

    device: int
    inode: int
    size: int
    changed_at: int


def files(path: Path) -> list[Path]:
    """Return the files of a database, the database first; not all need be there."""
    return [path, *(path.with_name(path.name + side) for side in sqlite_files.SIDES)]


def readable(path: Path, form: Form, patience: float = PATIENCE) -> tuple[sqlite3.Connection, Still | None]:
    """Open the file to read.

    SQLite reads a database with what its writer has put into the files beside it. Where nobody has the
    database open, those are not there, and SQLite would make them. A process that may not, such as the
    gateway's reader, opens the one file as it is instead, and sees afterwards whether it was that file all
    the time: a writer makes the log before it writes to the file, and leaves the file with another time.

    Args:
        path: The database.
        form: What it is.
        patience: Seconds to wait for a writer that holds it.

    Returns:
        The connection, and, if the file was opened as it is, what it has to be until the end.

    Raises:
        StateError: It is of a later version, or its tables are not ours.
        sqlite3.Error: It is damaged or cannot be opened.
    """
    place = f"file:{quote(str(path))}?mode=ro"
    try:
        return _readable(place, path, form, patience), None
    except sqlite3.OperationalError as error:
        before = still(path)
        if before is None or error.sqlite_errorcode & 0xFF not in _FORBIDDEN:
            raise
    return _readable(f"{place}&immutable=1", path, form, patience), before


def _readable(place: str, path: Path, form: Form, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        place, uri=True, timeout=patience, isolation_level=None, check_same_thread=False
    )
    with closed_on_error(connection):
        settle(connection)
        connection.execute("PRAGMA query_only = ON")
        check_version(connection, path, form)
        check_tables(connection, path, form)
    return connection


def still(path: Path) -> Still | None:
    """Return what a database is that nobody has open, None if somebody has, or has left a log behind."""
    try:
        for beside in files(path)[1:]:
            with contextlib.suppress(FileNotFoundError):
                if not beside.name.endswith("-shm") and beside.lstat().st_size:
                    return None
        about = path.lstat()
    except OSError:
        return None
    return Still(about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)


def begin(folder: Path, form: Form, wall: Callable[[], float], *, alone: bool = False) -> sqlite3.Connection:
    """Open a database to write, and make it if there is none.

    A damaged one is put aside in the same folder, and a new one goes on counting after it.

    Args:
        folder: The folder of the account's messages.
        form: What the database is.
        wall: Returns Unix seconds.
        alone: Whether the service opens it in the place of an account's process; see `writable`.

    Raises:
        StateError: It is of a later version, or something that is no file is in its place.
        OSError, sqlite3.Error: The folder or the disk cannot be used, or somebody else has it open.
    """
    path = folder / form.file
    for file in files(path):
        check_file(file, form)
    if alone:
        _check_strange(path, form)
    try:
        if not os.path.lexists(folder / form.damage):
            return writable(path, form, alone=alone)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # What SQLite says of a damaged schema quotes a part of it, which need not be text.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
        if code & 0xFF not in DAMAGED:
            raise
    # First of all: whoever is killed before the end meets a damaged database again, or one that counts on.
    counted.write(folder, counted.beyond(folder, wall()))
    aside = put_aside(path, wall(), form.aside)
    log.error("the %s is damaged: it was put aside as %s, and a new one begins", form.name, aside.name)
    (folder / form.damage).unlink(missing_ok=True)
    return writable(path, form, alone=alone)


def writable(path: Path, form: Form, *, alone: bool = False) -> sqlite3.Connection:
    """Open the file to write, and make it if there is none.

    Args:
        path: The database.
        form: What it is.
        alone: Whether the service opens it while the account has no process. Then SQLite maps no file into
            memory that an account's process has made and could have made shorter, nobody else can open the
            database meanwhile, and all has an end.

    Raises:
        StateError: It is of a later version, or its tables are not ours.
        OSError, sqlite3.Error: It is damaged, or the folder or the disk cannot be used.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    patience = 1.0 if alone else INBOX_SECONDS - _CHECK_SECONDS
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    with closed_on_error(connection):
        if alone:
            stop_at(connection, time.monotonic() + ALONE_SECONDS)
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()  # before anything is read
        settle(connection)
        connection.execute("PRAGMA secure_delete = ON")
        if not connection.execute("PRAGMA page_count").fetchone()[0]:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL")
        check_version(connection, path, form)
        if not connection.execute("PRAGMA user_version").fetchone()[0]:
            _make_tables(connection, form, counted.begin(path.parent))
        check_tables(connection, path, form)
        if path.stat().st_size <= _CHECKED and not alone:
            _check_pages(connection)
        _count_on(connection, form, counted.begin(path.parent))
        connection.execute(f"PRAGMA busy_timeout = {round(PATIENCE * 1000)}").fetchall()
    return connection


def _check_strange(path: Path, form: Form) -> None:
    descriptor = open_folder(path.parent)
    try:
        sqlite_files.check(descriptor, path.name)
    except ValueError:
        raise form.unusable(
            f"the files beside {path} are not as those of an {form.name}: move them away"
        ) from None
    finally:
        os.close(descriptor)


def stop_at(connection: sqlite3.Connection, deadline: float) -> None:
    """Have everything that takes longer end with an error.

    Args:
        connection: The open database.
        deadline: Monotonic seconds.
    """
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)


def settle(connection: sqlite3.Connection) -> None:
    """Have a connection trust the file no further than needed, and take little memory."""
    # Where bytes are no text, Python's own error would quote them, and no later entry could be read.
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_CELL)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA cell_size_check = ON")


def _make_tables(connection: sqlite3.Connection, form: Form, begin: int) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in filter(str.strip, form.schema.split(";")):
        connection.execute(statement)
    connection.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (form.counted, begin))
    connection.execute(f"PRAGMA user_version = {form.version}")
    connection.execute("COMMIT")


def _count_on(connection: sqlite3.Connection, form: Form, begin: int) -> None:
    """Let no number come again: a database that was restored may be older than others of the same account."""
    behind = "SELECT 1 FROM sqlite_sequence WHERE name = ? AND seq < ?"
    if connection.execute(behind, (form.counted, begin)).fetchone():
        connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (begin, form.counted))


def check_version(connection: sqlite3.Connection, path: Path, form: Form) -> None:
    """See that this program knows the version of the tables.

    Raises:
        StateError: It is a later one.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > form.version:
        raise form.unusable(
            f"the {form.name} {path} is of version {version}, and this program knows version {form.version}:"
            " use the later version of the program again"
        )


def check_tables(connection: sqlite3.Connection, path: Path, form: Form) -> None:
    """See that all is as this program makes it, to the letter.

    What reads a view, a virtual table, a computed column or an index of expressions runs what the file says.

    Raises:
        StateError: It is not.
    """
    if _made(connection) != _ours(form):
        raise form.unusable(f"{path} is no {form.name}, because its tables are others: move the file away")


def _made(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name LIMIT 100"
    return connection.execute(query).fetchall()


@functools.cache
def _ours(form: Form) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _make_tables(connection, form, 0)
        return _made(connection)


def _check_pages(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _CHECK_SECONDS
    connection.set_progress_handler(lambda: time.monotonic() > deadline, _PROGRESS_STEPS)
    try:
        for (finding,) in connection.execute("PRAGMA quick_check(1)"):
            if finding != "ok":
                damaged = sqlite3.DatabaseError("the check found a fault")
                damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damaged
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
    finally:
        connection.set_progress_handler(None, 0)


@contextlib.contextmanager
def closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a connection if what is done with it fails."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def check_file(path: Path, form: Form | None = None) -> bool:
    """Tell whether there is a file.

    Args:
        path: Where.
        form: What the file is of.

    Raises:
        StateError: Something else is in its place.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(mode):
        raise (InboxError if form is None else form.unusable)(f"{path} is no file: move it away")
    return True


def put_aside(path: Path, wall: float, prefix: str = "damaged") -> Path:
    """Give a damaged database another name in its folder; return the name of its main file.

    Args:
        path: The database.
        wall: Unix seconds.
        prefix: With what the name begins.

    Raises:
        OSError: The folder cannot be written.
    """
    for number in itertools.count():
        name = f"{prefix}-{int(wall)}" + (f"-{number}" if number else "")
        aside = path.with_name(f"{name}.sqlite3")
        if not os.path.lexists(aside):
            break
    for file, target in zip(files(path), files(aside), strict=True):
        with contextlib.suppress(FileNotFoundError):
            file.rename(target)
    return aside
