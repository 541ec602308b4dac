"""Watches the database that has the accounts' sessions: without it, nobody stays linked.

A connection of its own asks every two seconds. When the database is away, each account's process is told to
end at once, and nobody is started until the database is back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from orchestrator.accounts.events import StoreGone
from orchestrator.errors import StateError
from orchestrator.service.machines import Machines

if TYPE_CHECKING:
    from orchestrator.postgres.database import Database, Listener

log = logging.getLogger(__name__)

EVERY: Final = 2.0
"""Seconds between two looks."""


class StoreWatch:
    """Tells the accounts when the database goes and comes.

    Args:
        database: The database.
        listen: Opens a connection that only listens.
        machines: The accounts' machines.
    """

    def __init__(
        self, database: Database, listen: Callable[[Database], Listener], machines: Machines
    ) -> None:
        self._database = database
        self._listen = listen
        self._machines = machines
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_away(self) -> bool:
        """Whether the database is away, as far as is known."""
        return self._machines.fleet.store.is_away

    def start(self) -> None:
        """Begin to watch, from the event loop's thread. Until the first look, the database counts as away."""
        self._machines.fleet.store.since = time.time()
        self._thread = threading.Thread(
            target=self._watch, args=(asyncio.get_running_loop(),), name="store watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; what is told later is not heard."""
        self._ends.set()

    # In the thread

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        said: str | None = None
        while not self._ends.is_set():
            listener: Listener | None = None
            try:
                listener = self._listen(self._database)
                said = None
                self._tell(loop, None)
                while not self._ends.is_set():
                    listener.wait(EVERY)
            except StateError as error:
                self._database.forget()  # none of its connections is of use, and each would be tried in turn
                if str(error) != said:
                    said = str(error)
                    self._tell(loop, said)
                self._ends.wait(EVERY)
            except Exception:
                log.exception("a bug in the service: nobody knows whether the database is there")
                self._tell(loop, "nobody knows whether the database is there")
                self._ends.wait(EVERY)
            finally:
                if listener is not None:
                    listener.close()

    def _tell(self, loop: asyncio.AbstractEventLoop, why: str | None) -> None:
        if not self._ends.is_set():
            try:
                loop.call_soon_threadsafe(self._heard, why)
            except RuntimeError:  # the loop is closed: the service has stopped
                self._ends.set()

    # In the event loop

    def _heard(self, why: str | None) -> None:
        if self._ends.is_set():
            return
        store = self._machines.fleet.store
        if why is not None:
            log.error("%s: no account is linked until it is back", why)
            if store.since is None:
                store.since = time.time()
            # Also those that were about to be started when it went.
            self._machines.handle_all(StoreGone())
        elif store.since is not None:
            log.warning("%s is there: the accounts start in their turn", self._database.dsn)
            store.since = None
        self._machines.dispatch()
