"""The end of a connection that loses nothing: close it, then take what the library still holds.

The library tells WhatsApp that a message has arrived before it hands the message over: up to 100 wait in a
channel of its own, and WhatsApp never sends them again. neonize's stop() throws them away. Its disconnect()
closes the link and goes on to hand them over, one after the other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from orchestrator.worker.library.callbacks import Callbacks

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.3
"""Seconds without a call from the library after which it holds nothing any more. Between two calls it takes
microseconds, and milliseconds for a message that it has just begun to decrypt, if the session is in a file.
To decrypt with a database takes several questions, and each takes as long as the way and the database do."""
TALK_SECONDS = 1.0
"""The same without a word to or from the database, which may be far away, or slow."""
_NAP_SECONDS = 0.05
_NAPS = round(IDLE_SECONDS / _NAP_SECONDS)


class Farewell:
    """Closes one link, once, and waits until the library has handed everything over.

    Args:
        disconnect: Closes the link. It waits up to 5 s for a WhatsApp that does not answer, and until dialing
            has ended.
        callbacks: The library's calls.
        is_there: Tells whether there is a link that can be closed; before that nothing may be called.
        silence: Returns for how many seconds the library has said nothing to the database, and heard nothing;
            None where the session is in a file.
    """

    def __init__(
        self,
        disconnect: Callable[[], None],
        callbacks: Callbacks,
        is_there: Callable[[], bool],
        silence: Callable[[], float] | None = None,
    ) -> None:
        self._disconnect = disconnect
        self._callbacks = callbacks
        self._is_there = is_there
        self._silence = silence
        self._lock = threading.Lock()
        self._begun = False
        self._closed = threading.Event()
        self._until = float("inf")
        self._done = False

    def begin(self) -> None:
        """Close the link, if there is one and nobody has done that; return at once."""
        with self._lock:
            if self._begun or not self._is_there():
                return
            self._begun = True
        try:
            threading.Thread(target=self._close, name="disconnect", daemon=True).start()
        except RuntimeError:  # there is no thread to be had, and what is waited for will not come
            self._closed.set()

    def drain(self, until: float, *, closes: bool) -> bool:
        """Wait until the library has handed over what it holds.

        Args:
            until: The monotonic time at which nothing is waited for any more. The earliest that was given
                counts.
            closes: Whether the link's end is waited for, too: as long as it is up, more may come. While the
                library dials there is none, and the end would not come.

        Returns:
            Whether that was so in time.
        """
        self._until = min(self._until, until)
        naps, count = 0, -1
        # Naps are counted, not seconds: a process that stood still, and its library with it, has not waited.
        while not self._done and naps < _NAPS:
            if time.monotonic() >= self._until:
                return False
            self.begin()  # a link that has come about meanwhile
            time.sleep(_NAP_SECONDS)
            is_open = closes and self._begun and not self._closed.is_set()
            is_quiet = count == self._callbacks.count and self._callbacks.oldest is None
            if self._silence is not None and self._silence() < TALK_SECONDS:
                is_quiet = False
            naps, count = (naps + 1 if is_quiet and not is_open else 0), self._callbacks.count
        self._done = True
        return True

    def _close(self) -> None:
        try:
            self._disconnect()
        except Exception:
            log.exception("the link could not be closed")
        finally:
            self._closed.set()
