"""Which service runs the accounts of a database: a row that its owner renews, by the clock of the database.

The lock of the state folder comes first. Whoever has it may take the row of a process that had the same lock
before: that process is gone. Any other owner is waited for until its row is over, if it does not renew it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.errors import AlreadyRunning, StateError, StoreAway, StoreUnusable
from orchestrator.postgres import ids, setup
from orchestrator.postgres.database import Connection, Database
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock
from orchestrator.system.clock import Reading

log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 12.0
"""How long a row counts since it was renewed."""
RENEW_SECONDS: Final = 2.0
"""How often it is renewed."""
_LOOK_SECONDS: Final = 1.0
"""How often somebody who waits looks whether the owner renews its row."""

_TAKE: Final = """
INSERT INTO orchestrator.owner AS mine (incarnation, place, host, pid, what, until)
SELECT %(incarnation)s, %(place)s, %(host)s, %(pid)s, %(what)s,
       clock_timestamp() + make_interval(secs => %(lease)s)
WHERE NOT EXISTS (SELECT FROM orchestrator.shard WHERE until > clock_timestamp())
ON CONFLICT (single) DO UPDATE SET incarnation = excluded.incarnation, place = excluded.place,
  host = excluded.host, pid = excluded.pid, what = excluded.what, until = excluded.until
WHERE mine.until <= clock_timestamp() OR mine.place = excluded.place
RETURNING true
"""
_RENEW: Final = """
UPDATE orchestrator.owner SET until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE incarnation = %(incarnation)s AND until > clock_timestamp() RETURNING true
"""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns the accounts.

    Attributes:
        host: Its machine.
        pid: Its process there.
        what: What that does.
        until: Until when its row counts, in seconds of the database's clock.
    """

    host: str
    pid: int
    what: str
    until: float


@dataclass(frozen=True, slots=True)
class Others:
    """The machines of a cluster that run the accounts.

    Attributes:
        names: Which, for people.
        until: Until when the longest lease counts, in seconds of the database's clock.
    """

    names: str
    until: float


class OwnerRow:
    """The right to run the accounts of a database.

    Args:
        database: The database.
        paths: The state folder of this machine, whose lock comes first.
        lost: Is called on a thread of its own if another service has taken the accounts: all children have to
            end at once.
        look: Is called in the transaction that takes the accounts, and raises if they may not be taken.
    """

    def __init__(
        self,
        database: Database,
        paths: StatePaths,
        lost: Callable[[], None] = lambda: None,
        look: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        self._database = database
        self._paths = paths
        self._lost = lost
        self._look = look
        self._incarnation: str | None = None

    def take(
        self, what: str, socket: Path | None = None, wait: Callable[[StoreAway], None] | None = None
    ) -> AbstractContextManager[object]:
        """See `Ownership.take`; waits for the row of an owner that was killed on another machine."""
        return self._taken(what, socket, wait)

    def check(self, connection: Connection) -> None:
        """See, within a transaction, that the accounts are owned here; nobody asks before `take`.

        Raises:
            StoreUnusable: They are not.
        """
        if self._incarnation is None:
            return
        row = connection.execute(
            "SELECT FROM orchestrator.owner WHERE incarnation = %s AND until > clock_timestamp()"
            " FOR KEY SHARE",  # who renews the row does not wait for that, and who takes it does
            [self._incarnation],
        ).fetchone()
        if row is None:
            raise StoreUnusable(f"{self._database.dsn}: the accounts are not owned here any more")

    def owns(self, connection: Connection, names: Collection[str]) -> dict[str, str]:
        """Return the ids of those accounts that are owned here until the transaction ends: all that have one.

        Raises:
            StoreUnusable: Nothing is owned here.
        """
        self.check(connection)
        return ids.some_of(connection, names)

    def admit(self, connection: Connection, account: str) -> None:
        """See, in the transaction that lets an account's process in, that the account may run here.

        Raises:
            StoreAway: It may not, or not yet: after the database was away for long, they are taken anew.
        """
        del account  # all of them are owned, or none
        try:
            self.check(connection)
        except StoreUnusable:
            raise StoreAway(f"{self._database.dsn}: this service has to take its accounts again") from None

    @contextlib.contextmanager
    def _taken(
        self, what: str, socket: Path | None, wait: Callable[[StoreAway], None] | None
    ) -> Iterator[object]:
        with InstanceLock(self._paths.lock, what=what, socket=socket):
            while True:
                try:
                    self._database.run(setup.check)
                    self._wait_and_take(what)
                    break
                except StoreAway as error:
                    if wait is None:
                        raise
                    wait(error)
            end = threading.Event()
            thread = threading.Thread(target=self._renew, args=(what, end), name="owner", daemon=True)
            thread.start()
            try:
                yield self
            finally:
                end.set()
                thread.join(RENEW_SECONDS)
                self._give_back()
                # One that still runs when the interpreter ends can take the process along.
                thread.join(RENEW_SECONDS)

    def _wait_and_take(self, what: str) -> None:
        until = time.monotonic() + LEASE_SECONDS + 2 * _LOOK_SECONDS
        first: Owner | None = None
        cluster: Others | None = None
        while not self._try(what):
            owner = self._database.run(_owner)
            if owner is not None and first is not None and owner.until > first.until:
                raise AlreadyRunning(self._sentence(owner))
            others = self._database.run(_others)
            is_over = time.monotonic() > until
            if others is not None and (is_over or (cluster is not None and others.until > cluster.until)):
                raise AlreadyRunning(
                    f"{self._database.dsn}: its accounts are run by the machines of a cluster"
                    f" ({others.names}), and this configuration has no `cluster:`: add it as on those"
                    " machines, or stop them first"
                )
            cluster = cluster or others
            if is_over:
                raise AlreadyRunning(self._sentence(owner or first))
            first = first or owner
            time.sleep(_LOOK_SECONDS)

    def _sentence(self, owner: Owner | None) -> str:
        who = f"process {owner.pid} on {owner.host} ({owner.what})" if owner else "another process"
        return (
            f"{self._database.dsn}: its accounts are run by {who}, and one service may run them at a time:"
            " end that one first"
        )

    def _try(self, what: str) -> bool:
        incarnation = secrets.token_hex(16)
        mine = {
            "incarnation": incarnation,
            "place": _place(self._paths.lock),
            "host": socket.gethostname()[:255],
            "pid": os.getpid(),
            "what": what,
            "lease": LEASE_SECONDS,
        }

        def work(connection: Connection) -> bool:
            # A shard that starts in the same instant looks whether we are there before this, or after it.
            connection.execute("SELECT orchestrator.lease_before_others()")
            self._look(connection)
            # What the owner before is writing at this moment is done first.
            connection.execute("SELECT FROM orchestrator.owner FOR UPDATE")
            return connection.execute(_TAKE, mine).fetchone() is not None

        if not self._database.run(work):
            return False
        self._incarnation = incarnation
        return True

    def _renew(self, what: str, end: threading.Event) -> None:
        while not end.wait(RENEW_SECONDS):
            values = {"incarnation": self._incarnation, "lease": LEASE_SECONDS}
            try:
                row = self._database.run(
                    lambda connection: connection.execute(_RENEW, values).fetchone(),  # noqa: B023
                    patience=RENEW_SECONDS,
                )
                # One that was over is never revived; nobody was there in between, if it can be taken anew.
                if row is not None or self._try(what):
                    continue
                owner = self._database.run(_owner)
            except StateError:
                continue  # children end by themselves while the store is away
            log.critical("%s", self._sentence(owner))
            self._lost()
            return

    def _give_back(self) -> None:
        with contextlib.suppress(StateError):
            self._database.run(
                lambda connection: connection.execute(
                    "DELETE FROM orchestrator.owner WHERE incarnation = %s", [self._incarnation]
                )
            )


def _owner(connection: Connection) -> Owner | None:
    row = connection.execute(
        "SELECT host, pid, what, extract(epoch FROM until)::float8 FROM orchestrator.owner"
    ).fetchone()
    return None if row is None else Owner(*row)


def _others(connection: Connection) -> Others | None:
    rows = connection.execute(
        "SELECT name, host, extract(epoch FROM until)::float8 FROM orchestrator.shard"
        " WHERE until > clock_timestamp() ORDER BY name"
    ).fetchall()
    if not rows:
        return None
    names = ", ".join(name if name == host else f"{name} on {host}" for name, host, _ in rows)
    return Others(names, max(until for *_, until in rows))


def _place(lock: Path) -> str:
    """Return what a lock is known by until the machine boots again: who holds it is the only one."""
    about = lock.stat()
    known = f"{Reading.take().boot}:{about.st_dev}:{about.st_ino}"
    return hashlib.sha256(known.encode()).hexdigest()
