"""This machine as one of several that run accounts of one database: its place in the cluster.

Which accounts it runs is decided by leases, see `leases`. Here is only who may take part.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from orchestrator.errors import AlreadyRunning, StoreAway
from orchestrator.postgres import ids, leases, setup
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.leases import Leases
from orchestrator.postgres.ownership import OwnerRow
from orchestrator.store.layout import StatePaths
from orchestrator.store.lock import InstanceLock


class Membership:
    """The right to run accounts beside other machines; see `Ownership`.

    Args:
        database: The database.
        paths: The state folder of this machine, whose lock comes first.
        leases: The leases, for this machine.
        alone: Whether what is done needs all machines to stand still, as commands without a service do.
    """

    def __init__(self, database: Database, paths: StatePaths, leases: Leases, *, alone: bool) -> None:
        self.database = database
        self.leases = leases
        self._paths = paths
        self._alone = alone

    def take(
        self, what: str, socket: Path | None = None, wait: Callable[[StoreAway], None] | None = None
    ) -> AbstractContextManager[object]:
        """See `Ownership.take`."""
        return self._taken(what, socket, wait)

    def check(self, connection: Connection) -> None:
        """See, in the transaction that writes something down, that this machine may.

        Raises:
            StoreUnusable: It may not.
        """
        if not self._alone:
            self.leases.check(connection)

    def owns(self, connection: Connection, names: Collection[str]) -> dict[str, str]:
        """Return the ids of those accounts that are this machine's until the transaction ends.

        Raises:
            StoreUnusable: This machine has no lease.
        """
        known = ids.some_of(connection, names)
        return known if self._alone else self.leases.owned(connection, known)

    def admit(self, connection: Connection, account: str) -> None:
        """See, in the transaction that lets an account's process in, that the account may run here.

        Raises:
            StoreUnusable: It may not.
        """
        if not self._alone:
            self.leases.admit(connection, account)

    @contextlib.contextmanager
    def _taken(
        self, what: str, socket: Path | None, wait: Callable[[StoreAway], None] | None
    ) -> Iterator[object]:
        if self._alone:
            # A shard that starts meanwhile finds the row, and waits until the command has ended.
            owner = OwnerRow(self.database, self._paths, look=self._refuse)
            with owner.take(what, socket, wait):
                yield self
            return
        with InstanceLock(self._paths.lock, what=what, socket=socket):
            while True:
                try:
                    self.database.run(setup.check)
                    break
                except StoreAway as error:
                    if wait is None:
                        raise
                    wait(error)
            yield self

    def _refuse(self, connection: Connection) -> None:
        running = [f"{one.peer.name} on {one.host}" for one in leases.look(connection).shards]
        if running:
            raise AlreadyRunning(
                f"{self.database.dsn}: its accounts are run by {', '.join(running)}: run this command on the"
                " machine that has the account, or stop all of them first"
            )
