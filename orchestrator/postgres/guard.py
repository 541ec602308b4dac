"""Gives up questions to a server that takes them and never answers.

The server's own limits bound what it works on. A server that is frozen, or whose machine is, enforces
nothing, and its kernel may go on acknowledging what is sent. So a thread hangs up on it: whoever waits for
the answer is told that the connection was lost.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg


class Guard:
    """Watches the questions that are under way."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, tuple[float, psycopg.Connection[Any]]] = {}
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def watch(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        """Hang up on the server if the context lasts for longer than that."""
        number, until = next(self._numbers), time.monotonic() + seconds
        with self._changed:
            self._waiting[number] = until, connection
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="database guard", daemon=True)
                self._thread.start()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._waiting.pop(number, None)

    def hang_up(self) -> None:
        """Hang up on whoever has not answered yet."""
        with self._changed:
            for number in list(self._waiting):
                self._give_up(number)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for number, (until, _) in list(self._waiting.items()):
                    if until <= now:
                        self._give_up(number)
                soonest = min((until for until, _ in self._waiting.values()), default=None)
                self._changed.wait(None if soonest is None else max(0.0, soonest - now))

    def _give_up(self, number: int) -> None:
        _, connection = self._waiting.pop(number)
        hang_up(connection)


def hang_up(connection: psycopg.Connection[Any]) -> None:
    """Have whoever waits at a connection learn that the connection was lost; from any thread."""
    # A copy of the descriptor: the driver closes its own when it likes.
    gone = contextlib.suppress(OSError, psycopg.Error)
    with gone, socket.socket(fileno=os.dup(connection.fileno())) as one:
        one.shutdown(socket.SHUT_RDWR)
