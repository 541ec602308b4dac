"""Until when this process may run the account, where another machine may get it.

The service says again and again that the account is still this machine's. If it says so no more, because it
hangs, is gone, or was frozen together with this process, another machine runs the account, and a second link
would throw that one's out. So the process ends without a word, and without closing anything in good order:
that would take too long.
"""

from __future__ import annotations

import os
import time
from typing import Final

from orchestrator.accounts.failure import EXIT_CODES, Kind

HOLD_SECONDS: Final = 10.0
"""For which a thread is held up at the most. The thread that decides takes milliseconds, or more on a busy
machine."""


class Tenure:
    """The time that is left.

    Args:
        until: When it is over, in seconds since the machine has booted; None: never.
    """

    def __init__(self, until: float | None) -> None:
        self._until = until

    def extend(self, until: float) -> None:
        """Let it last longer."""
        if self._until is not None:
            self._until = max(self._until, until)

    def limit(self, seconds: float) -> float:
        """Return how long to wait at most, of so many seconds."""
        return seconds if self._until is None else max(0.0, min(seconds, self._until - _now()))

    @property
    def is_over(self) -> bool:
        """Whether the process may run no more, as far as it has heard."""
        return self._until is not None and _now() >= self._until

    def check(self) -> None:
        """End the process if the time is over."""
        if self.is_over:
            os._exit(EXIT_CODES[Kind.DISOWNED])

    def hold(self) -> None:
        """Hold another thread up while the time is over: who calls `check` ends the process, or hears more.

        A library that was frozen with the process finds its link gone, and dials again within milliseconds.
        """
        begun = time.monotonic()
        while self.is_over and time.monotonic() < begun + HOLD_SECONDS:
            time.sleep(0.005)


def _now() -> float:
    """Return the time, which goes on while the process is stopped and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
