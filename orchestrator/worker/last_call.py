"""What a process that hangs does before it is killed: it closes its link and takes what the library holds.

    SIGNAL ──► the kernel ──► Python's handler in C ──► a pipe ──► the thread that reads the output

The main thread may hang in a lock, in Python code, or in a call into C, while Go's threads still hand
messages over. A handler in Python would run in the main thread. The byte that CPython itself writes to a pipe
comes from whatever thread the signal reaches, without the GIL. The thread that is there to read the output
hears it, so all this costs two descriptors and no thread of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable

from orchestrator.accounts.deadlines import LAST_CALL
from orchestrator.store import tracebacks
from orchestrator.worker.spec import LAST_CALL_SIGNAL

log = logging.getLogger(__name__)


class LastCall:
    """Hears the signal, once. Make it in the main thread, while there is no other.

    Args:
        end: Ends this process; by default as a signal does that writes where all threads are first.
    """

    def __init__(self, end: Callable[[], None] = lambda: signal.raise_signal(tracebacks.SIGNAL)) -> None:
        self._end = end
        self._read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._leave: Callable[[float], object] | None = None
        self._heard = False
        # Without a handler of Python's nothing is written.
        signal.signal(LAST_CALL_SIGNAL, lambda *_: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something for `hear`."""
        return self._read

    def arm(self, leave: Callable[[float], object]) -> None:
        """Say what is done before the end, in a thread of its own; it is given the seconds that it has."""
        self._leave = leave

    def hear(self) -> None:
        """Take in what signals came; returns at once."""
        came = b""
        with contextlib.suppress(BlockingIOError):
            came = os.read(self._read, 4096)
        if LAST_CALL_SIGNAL not in came or self._heard:
            return
        self._heard = True
        try:
            threading.Thread(target=self._obey, name="last-call", daemon=True).start()
        except RuntimeError:  # there is no thread to be had
            self._end()

    def _obey(self) -> None:
        try:
            if self._leave is not None:
                self._leave(LAST_CALL.inner)
        except Exception:
            log.exception("an error at the last call")
        finally:
            self._end()
