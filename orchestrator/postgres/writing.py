"""Writes what is to be written down, in order, on a thread of its own: nobody waits for the database.

What waits while the database is away is written when it is back; `flush` waits for that at the end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from orchestrator.errors import StateError
from orchestrator.postgres import rows
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.pending import Batch, Pending

log = logging.getLogger(__name__)

_AGAIN: Final = (0.2, 0.5, 1.0, 2.0)
"""Seconds before the next try, after the first and later failures in a row."""
_END: Final = 2.0
"""Seconds for the thread to end: one that runs when the interpreter ends can take the process along."""
_LOOK_SECONDS: Final = 5.0
"""How often codes that are over are looked for, as long as there is one."""


class Writer:
    """The thread, which begins with the first thing that is to be written.

    Args:
        database: Where it is written.
        check: Sees, in the transaction that writes, that this service may still write; raises if not.
        shared: Whether other machines write down other accounts.
    """

    def __init__(
        self,
        database: Database,
        check: Callable[[Connection], None] = lambda _: None,
        *,
        shared: bool = False,
    ) -> None:
        self._database = database
        self._check = check
        self._shared = shared
        self._pending = Pending(shared=shared)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._failures = 0
        self._trouble: StateError | None = None
        self._look_at: float | None = None
        self._hurries = False

    @property
    def trouble(self) -> StateError | None:
        """Why what waits could not be written when that was tried last; None if it could."""
        return self._trouble

    def put(self, change: Callable[[Pending], bool | None]) -> bool:
        """Have something be written; returns at once.

        Args:
            change: Adds it to what waits.

        Returns:
            What ``change`` returns; False once this is closed.
        """
        with self._changed:
            if self._closed:
                return False
            done = change(self._pending)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="record", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return done is not False

    def look(self, ask: Callable[[Pending], list[str]]) -> list[str]:
        """Return what is asked of what waits."""
        with self._changed:
            return ask(self._pending)

    def flush(self, seconds: float) -> bool:
        """Wait until all that waits is written.

        Args:
            seconds: How long.

        Returns:
            Whether it is written.
        """
        until = time.monotonic() + seconds
        with self._changed:
            self._hurries = True
            self._changed.notify_all()
            while not self._pending.is_empty:
                left = until - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self._changed.wait(left)
        return True

    def close(self, seconds: float = 0.0) -> bool:
        """Take nothing on any more, and end once all is written, or the time is over.

        Returns:
            Whether all is written.
        """
        done = self.flush(seconds)
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(0.2)
            if thread.is_alive():  # it waits for a database that does not answer
                self._database.suspend("the service ends")
                thread.join(_END)
        return done

    def _run(self) -> None:
        while True:
            with self._changed:
                batch = self._pending.take()
                while batch is None:
                    if self._closed:
                        return
                    self._changed.wait(None if self._look_at is None else self._until(self._look_at))
                    batch = self._pending.take()
                    if batch is None and self._look_at is not None and self._until(self._look_at) <= 0:
                        break
            if batch is None:
                self._expire_codes()
            elif not self._try(batch):
                self._wait()
                if self._closed:
                    return

    @staticmethod
    def _until(moment: float) -> float:
        return max(0.0, moment - time.monotonic())

    def _try(self, batch: Batch) -> bool:
        try:
            self._database.run(lambda connection: self._write(connection, batch))
        except StateError as error:
            self._failed(error)
            return False
        except Exception as error:
            # A bug: what waits is not thrown away, and whoever looks into the log sees why.
            if not self._failures:
                log.exception("a bug in the service: what is known of the accounts cannot be written")
            self._failed(StateError(f"{self._database.dsn}: {type(error).__name__}"))
            return False
        with self._changed:
            self._pending.done()
            if any(batch.codes.values()):
                self._look_at = time.monotonic() + _LOOK_SECONDS
            if lost := self._pending.lost:
                log.error("%d entries of timelines found no room while the store was away: lost", lost)
                self._pending.lost = 0
            self._failures, self._trouble = 0, None
            self._changed.notify_all()
        return True

    def _write(self, connection: Connection, batch: Batch) -> None:
        # What is of the fleet belongs to nobody, and a history to whoever has something to add.
        if not self._shared or batch.status or batch.codes:
            self._check(connection)
        rows.write(connection, batch)

    def _failed(self, error: StateError) -> None:
        """Take note of why what waits cannot be written. Whoever saves next says so."""
        with self._changed:
            self._pending.failed()
            self._failures += 1
            self._trouble = error
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait before the next try; who begins to flush, or closes this, ends the wait."""
        until = time.monotonic() + _AGAIN[min(self._failures, len(_AGAIN)) - 1]
        with self._changed:
            while not (self._closed or self._hurries) and (left := self._until(until)):
                self._changed.wait(left)
            self._hurries = False

    def _expire_codes(self) -> None:
        try:
            left = self._database.run(rows.expire_codes)
        except StateError:
            left = 1
        self._look_at = None if left is None else time.monotonic() + _LOOK_SECONDS
