"""The connections to the database.

A connection that is lost is noticed within 6 s (`_PROMPT`). `Database.run` does something in one transaction
on the calling thread, and the event loop never calls it: `line.Line` has a thread for that. `Listener` hears
what is notified.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, LiteralString, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from orchestrator.errors import StoreAway
from orchestrator.postgres.dsn import Dsn
from orchestrator.postgres.failing import explain
from orchestrator.postgres.guard import Guard, hang_up

T = TypeVar("T")

Connection = psycopg.Connection[tuple[Any, ...]]
"""What work is done with. It must neither commit nor roll back."""

_PROMPT: Final = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "3",
    "keepalives_interval": "2",
    "keepalives_count": "2",
    "tcp_user_timeout": "6000",
}
"""With the system's own values a lost server was still believed in after 25 s; with these, for 6.2 s."""

PATIENCE: Final = 8.0
"""Seconds for one statement, unless `Database.run` is told otherwise."""
_SLACK: Final = 6.0
"""Seconds after which a server that should have answered is taken for frozen."""
_LOCKS: Final = 4.0
"""Seconds to wait for somebody else's lock."""
_TRIES: Final = 5
"""How often work is done again because of others' work at the same rows (a deadlock, a conflict)."""
_AGAIN: Final = ("40001", "40P01")


class Database:
    """A few connections, each used by one thread at a time. None is opened before it is needed.

    Args:
        dsn: The database and the role.
        name: What the server shows of us in pg_stat_activity.
        size: How many connections there are at most; who finds all of them in use waits.
        first: Looks before anything is done there whether the database is as it should be; raises if not.
    """

    def __init__(
        self,
        dsn: Dsn,
        *,
        name: str = "orchestrator",
        size: int = 4,
        first: Callable[[Connection], None] | None = None,
    ) -> None:
        self._dsn = dsn
        self._first = first
        self._name = name
        self._free: list[Connection] = []
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(size)
        self._closed = False
        self._away: str | None = None
        self._guard = Guard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    @property
    def dsn(self) -> Dsn:
        """The database and the role."""
        return self._dsn

    def connect(self, *, autocommit: bool = False) -> Connection:
        """Return a connection of one's own, which the caller closes.

        Raises:
            StoreAway: The database cannot be reached.
            StoreUnusable: It does not let us in.
        """
        words = {**self._dsn.keywords(), **_PROMPT, "application_name": self._name, "options": _options()}
        try:
            connection = psycopg.connect(make_conninfo("", **words), autocommit=autocommit)
            if self._first is not None:
                self._look_first(connection, self._first)
            return connection
        except psycopg.Error as error:
            raise explain(error, self._dsn) from None

    def _look_first(self, connection: Connection, look: Callable[[Connection], None]) -> None:
        try:
            with connection.transaction():
                look(connection)
        except BaseException:
            connection.close()
            raise
        self._first = None

    def run(self, work: Callable[[Connection], T], *, patience: float = PATIENCE) -> T:
        """Do something in one transaction, and commit it.

        Work that meets others' at the same rows is done again from its beginning, so it has no effects but
        those in the database.

        Args:
            work: What is done, on this thread. Its own errors take everything back.
            patience: Seconds for each of its statements.

        Raises:
            StoreAway: The database cannot be reached. If it was lost at the commit, nobody knows whether the
                work was done.
            StoreUnusable: The database refuses the work.
        """
        if self._away is not None:
            raise StoreAway(self._away)
        if not self._slots.acquire(timeout=PATIENCE):
            raise StoreAway(f"{self._dsn} does not answer in time")
        try:
            for left in reversed(range(_TRIES)):
                try:
                    return self._once(work, patience)
                except psycopg.Error as error:
                    if not left or error.sqlstate not in _AGAIN:
                        raise explain(error, self._dsn) from None
                time.sleep(0.01 * (_TRIES - left))
            raise AssertionError("the last try returns or raises")
        finally:
            self._slots.release()

    def close(self) -> None:
        """Close the connections that nobody uses, and keep none of the others."""
        with self._lock:
            self._closed = True
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def watch(self) -> AbstractContextManager[Callable[[float], object]]:
        """See `Presence.watch`: a connection of its own asks."""
        return _watching(self)

    def stop_watching(self) -> None:
        """See `Presence.stop_watching`."""
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener.hang_up()

    @contextmanager
    def heeding(self, listener: Listener) -> Iterator[None]:
        """Have a listener hang up when `stop_watching` is called within the context."""
        with self._lock:
            self._listeners.append(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.remove(listener)

    def suspend(self, why: str | None) -> None:
        """See `Presence.suspend`: else each caller would wait for an answer that does not come."""
        self._away = why
        if why is None:
            return
        self._guard.hang_up()
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def _once(self, work: Callable[[Connection], T], patience: float) -> T:
        connection = self._begin()
        with self._guard.watch(connection, 2 * patience + _SLACK):
            return self._work(connection, work, patience)

    def _work(self, connection: Connection, work: Callable[[Connection], T], patience: float) -> T:
        try:
            if patience != PATIENCE:
                connection.execute(
                    "SELECT set_config('statement_timeout', %s, true)", [f"{int(patience * 1000)}ms"]
                )
            result = work(connection)
            connection.commit()
        except BaseException:
            self._take_back(connection)
            raise
        self._put_back(connection)
        return result

    def _begin(self) -> Connection:
        """Return a connection in a transaction; one that was lost while nobody used it is made anew."""
        while True:
            with self._lock:
                connection = self._free.pop() if self._free else None
            if connection is None:
                return self.connect()
            try:
                with self._guard.watch(connection, _SLACK):
                    connection.execute("SELECT 1")
            except psycopg.Error:
                connection.close()
            else:
                return connection

    def _take_back(self, connection: Connection) -> None:
        try:
            connection.rollback()
        except psycopg.Error:
            connection.close()
        else:
            self._put_back(connection)

    def _put_back(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed and connection.info.transaction_status is TransactionStatus.IDLE:
                self._free.append(connection)
                return
        connection.close()


@dataclass(frozen=True, slots=True)
class Heard:
    """A notification: a hint that there is something to read, never what it says."""

    channel: str
    payload: str


class Listener:
    """A connection that only listens. What is notified while it is away is not heard: look after connecting.

    Args:
        database: The database.
        channels: What to listen to.

    Raises:
        StoreAway: The database cannot be reached.
        StoreUnusable: It does not let us in.
    """

    def __init__(self, database: Database, channels: Iterable[str]) -> None:
        self._dsn = database.dsn
        self._guard = Guard()
        self._connection = database.connect(autocommit=True)
        try:
            for channel in channels:
                self._connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        except psycopg.Error as error:
            self._connection.close()
            raise explain(error, self._dsn) from None

    def wait(self, seconds: float) -> list[Heard]:
        """Return what was heard, after a time at the latest; then see that the server is still there.

        Raises:
            StoreAway: The connection was lost.
        """
        try:
            heard = [
                Heard(one.channel, one.payload)
                for one in self._connection.notifies(timeout=seconds, stop_after=1)
            ]
            if not heard:
                with self._guard.watch(self._connection, _SLACK):
                    self._connection.execute("SELECT 1")
        except psycopg.Error as error:
            raise explain(error, self._dsn) from None
        return heard

    def hang_up(self) -> None:
        """Have `wait` end at once, as if the connection was lost; from any thread."""
        hang_up(self._connection)

    def close(self) -> None:
        """Listen no more."""
        self._connection.close()


@contextmanager
def _watching(database: Database) -> Iterator[Callable[[float], object]]:
    with closing(Listener(database, ())) as listener, database.heeding(listener):
        yield listener.wait


def notify(connection: Connection, channel: LiteralString, payload: str = "") -> None:
    """Notify those who listen, when the transaction is committed."""
    connection.execute("SELECT pg_notify(%s, %s)", [channel, payload])


def _options() -> str:
    """Return how the server is to bound what we do there."""
    limits = {
        "statement_timeout": PATIENCE,
        "lock_timeout": _LOCKS,
        "idle_in_transaction_session_timeout": 2 * PATIENCE,
        "idle_session_timeout": 0,  # who watches or listens is idle, and is to hear that the server is gone
    }
    words = [f"-c {key}={int(value * 1000)}" for key, value in limits.items()]
    return " ".join([*words, "-c search_path=pg_catalog", "-c TimeZone=UTC"])
