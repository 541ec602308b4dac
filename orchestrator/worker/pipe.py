"""The child's end of the pipe to its parent: never blocks, and notices when the parent is gone."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import deque
from typing import Protocol

from orchestrator.accounts import pipe
from orchestrator.accounts.pipe import FromChild, FromParent, MessageError

log = logging.getLogger(__name__)


class ParentGone(Exception):  # noqa: N818 - not an error of this process
    """Nobody is at the other end any more."""


class Connection(Protocol):
    """What is used of multiprocess's connection."""

    def fileno(self) -> int:
        """Return its descriptor."""

    def send_bytes(self, buf: bytes) -> None:
        """Send a message; may block."""

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Return the next message; blocks until it is there."""


class Link:
    """Sends and receives messages.

    What the parent does not take yet waits here, so that a parent that is slow holds up nobody. A socket that
    is writable has room for any message: three quarters of its 200 KiB are free then.

    Args:
        connection: The child's end of a duplex pipe.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outbox: deque[FromChild] = deque()
        self._lock = threading.Lock()  # what loads the library says so from a thread of its own

    def fileno(self) -> int:
        """Return the descriptor that is readable when the parent has said something, or is gone."""
        return self._connection.fileno()

    @property
    def has_more(self) -> bool:
        """Whether something waits to be sent."""
        return bool(self._outbox)

    def post(self, message: FromChild) -> None:
        """Send a message, now or as soon as the parent takes it.

        Raises:
            ParentGone: It will not.
        """
        with self._lock:
            if isinstance(message, pipe.Heartbeat):
                # Only the newest means anything.
                self._outbox = deque(one for one in self._outbox if not isinstance(one, pipe.Heartbeat))
            self._outbox.append(message)
        self.pump()

    def pump(self) -> None:
        """Send what waits, as far as the parent takes it.

        Raises:
            ParentGone: It will not.
        """
        with self._lock:
            while self._outbox and self._is_writable(0):
                data = pipe.encode(self._outbox.popleft())
                try:
                    self._connection.send_bytes(data)
                except OSError:
                    raise ParentGone from None

    def flush(self, seconds: float) -> bool:
        """Wait until everything is sent; return False if the time was not enough.

        Raises:
            ParentGone: The parent is.
        """
        deadline = time.monotonic() + seconds
        while self._outbox:
            if not self._is_writable(max(0.0, deadline - time.monotonic())):
                return False
            self.pump()
        return True

    def receive(self) -> list[FromParent]:
        """Return what the parent has said, oldest first; call it when `fileno` is readable.

        Raises:
            ParentGone: It is.
        """
        found: list[FromParent] = []
        while select.select([self], [], [], 0)[0]:
            try:
                data = self._connection.recv_bytes(pipe.MAX_MESSAGE)
            except (EOFError, OSError):
                raise ParentGone from None
            try:
                message = pipe.decode(data)
            except MessageError as error:
                log.error("the parent sent something that is no message: %s", error)
                continue
            if isinstance(message, FromParent):
                found.append(message)
        return found

    def _is_writable(self, seconds: float) -> bool:
        return bool(select.select([], [self], [], seconds)[1])
