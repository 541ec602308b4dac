"""Work at the database that the event loop wants: done by one thread, in the order of asking."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from orchestrator.errors import NotRunning
from orchestrator.postgres.database import PATIENCE, Connection, Database
from orchestrator.system import threads

T = TypeVar("T")


class Line:
    """A thread that works at a database, one thing after the other.

    Args:
        database: The database.
        name: How the thread's name begins.

    Raises:
        StateError: The system lets this process have no thread.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self._pool = threads.pool(1, name)

    async def run(self, work: Callable[[Connection], T], *, patience: float = PATIENCE) -> T:
        """Return what `Database.run` returns, after all that was asked for before; raise what it raises.

        Raises:
            NotRunning: This is closed.
        """
        return await asyncio.wrap_future(self.submit(work, patience=patience))

    def submit(self, work: Callable[[Connection], T], *, patience: float = PATIENCE) -> Future[T]:
        """Have something done for which nobody waits here; its future has what `Database.run` says.

        Raises:
            NotRunning: This is closed.
        """
        try:
            return self._pool.submit(self._database.run, work, patience=patience)
        except RuntimeError:
            raise NotRunning("the service has stopped") from None

    def close(self, *, wait: bool = False) -> None:
        """Take nothing on any more; what was asked for is done.

        Args:
            wait: Return only then.
        """
        self._pool.shutdown(wait=wait)
