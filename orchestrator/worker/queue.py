"""Where everything that a child's threads observe comes together, for the one loop that acts on it."""

from __future__ import annotations

import os
from queue import Empty, SimpleQueue

from orchestrator.worker.events import Event


class Inbox:
    """A queue of events that a selector can wait for.

    `put` returns at once and may be called from any thread, from a callback of the library, and from a
    signal handler.
    """

    def __init__(self) -> None:
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def fileno(self) -> int:
        """Return the descriptor that is readable while there are events."""
        return self._wake

    def put(self, event: Event) -> None:
        """Hand an event over."""
        self._events.put(event)
        os.eventfd_write(self._wake, 1)

    def take(self) -> list[Event]:
        """Return the events that are there, oldest first."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return []
        found = []
        try:
            while True:
                found.append(self._events.get_nowait())
        except Empty:
            return found
