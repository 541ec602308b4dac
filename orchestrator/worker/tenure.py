"""Until when this process may run the account, where another machine may get it.

The service says again and again that the account is still this machine's. If it says so no more, because it
hangs, is gone, or was frozen together with this process, another machine runs the account, and a second link
would throw that one's out. So the process ends without a word, and without closing anything in good order:
that would take too long.
"""

from __future__ import annotations

import os
import time

from orchestrator.accounts.failure import EXIT_CODES, Kind


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

    def check(self) -> None:
        """End the process if the time is over."""
        if self._until is not None and _now() >= self._until:
            os._exit(EXIT_CODES[Kind.DISOWNED])


def _now() -> float:
    """Return the time, which goes on while the process is stopped and while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
