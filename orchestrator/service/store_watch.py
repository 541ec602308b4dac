"""Watches a store that is not on this machine: without it, nobody stays linked.

A connection of its own asks every two seconds. When the store is away, each process is told to end at
once, and nobody is started until the store is back.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Final

from orchestrator.accounts.events import StoreGone
from orchestrator.errors import StateError
from orchestrator.service.machines import Machines
from orchestrator.store.protocols import Presence

log = logging.getLogger(__name__)

EVERY: Final = 2.0
"""Seconds between two looks."""
_END: Final = 3.0
"""Seconds for the thread to end, which may just be connecting."""
_BUG: Final = "nobody knows whether the store is there"


class StoreWatch:
    """Tells the accounts when the store goes and comes.

    Args:
        presence: Asks the store.
        machines: The accounts' machines.
    """

    def __init__(self, presence: Presence, machines: Machines) -> None:
        self._presence = presence
        self._machines = machines
        self._ends = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch, from the event loop's thread."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._watch, args=(loop,), name="store watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; what is told later is not heard.

        The thread is waited for: one that still runs when the interpreter ends can take the process along.
        """
        self._ends.set()
        self._presence.suspend(None)
        if self._thread is not None:
            self._presence.stop_watching()
            self._thread.join(_END)

    # In the thread

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        said: str | None = None
        while not self._ends.is_set():
            try:
                with self._presence.watch() as look:
                    look(0)
                    if said is not None:
                        said = None
                        self._tell(loop, None)
                    while not self._ends.is_set():
                        look(EVERY)
            except StateError as error:
                why = str(error)
            except Exception:
                log.exception("a bug in the service: %s", _BUG)
                why = _BUG
            else:
                continue
            if why != said:
                said = why
                self._tell(loop, why)
            self._ends.wait(EVERY)

    def _tell(self, loop: asyncio.AbstractEventLoop, why: str | None) -> None:
        if self._ends.is_set():
            return
        self._presence.suspend(why)
        try:
            loop.call_soon_threadsafe(self._heard, why)
        except RuntimeError:  # the loop is closed: the service has stopped
            self._ends.set()

    # In the event loop

    def _heard(self, why: str | None) -> None:
        if self._ends.is_set():
            return
        store = self._machines.fleet.store
        if why is None:
            log.warning("the store is back: the accounts start in their turn")
            store.since = None
        else:
            log.error("the store is away, and no account is linked until it is back: %s", why)
            store.went(time.time())
            self._machines.handle_all(StoreGone())
        self._machines.dispatch()
