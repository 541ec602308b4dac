"""What is to be done later, each thing planned once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from orchestrator.accounts.events import Moment


def now() -> Moment:
    """Return the present moment."""
    return Moment(time.monotonic(), time.time())


class Timers:
    """Calls that wait for their time, by name."""

    def __init__(self) -> None:
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def later(self, what: str, seconds: float, call: Callable[[], object]) -> None:
        """Call something once, after a while. A call of that name that is planned already keeps its time."""
        timer = self._timers.get(what)
        if timer is not None and not timer.cancelled() and timer.when() > time.monotonic():
            return
        self._timers[what] = asyncio.get_running_loop().call_later(seconds, call)

    def cancel(self, what: str) -> None:
        """Forget the planned call of that name, if there is one."""
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()

    def due(self, what: str) -> float | None:
        """Return the monotonic time of the call that was last planned under that name, done or not."""
        timer = self._timers.get(what)
        return None if timer is None else timer.when()

    def stop(self) -> None:
        """Forget every planned call."""
        for timer in self._timers.values():
            timer.cancel()
