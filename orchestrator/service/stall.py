"""Notices when the service itself has stood still: what others should have said meanwhile is not their fault.

Stopped by a signal, in a container or a virtual machine that was paused, on a machine that did nothing but
swap: the clock has gone on, and every deadline may be over, though nobody has had the time to keep it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 1.0
"""Seconds from one beat to the next: 30 microseconds of work each."""
LATE_SECONDS = 5.0
"""A beat that is later than this is a stall; a busy machine is late by less."""


class Pulse:
    """Beats in the event loop as long as that runs.

    A late beat comes before all that has become due since the stall began: the loop calls in order of time.

    Args:
        stalled: Is told how many seconds the loop has stood still.
    """

    def __init__(self, stalled: Callable[[float], None]) -> None:
        self._stalled = stalled
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to beat."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(loop.time() + SECONDS, self._beat)

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        assert self._timer is not None
        late = asyncio.get_running_loop().time() - self._timer.when()
        self.start()
        if late > LATE_SECONDS:
            self._stalled(late)
