"""What happened, in order, for whoever wants to wait for it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from itertools import islice
from typing import Any

KEPT = 20_000
"""How many events are kept; enough for an hour of a busy test at about 250 bytes each."""

_PEOPLE = ("phone", "to", "by")


def _shown(key: str, value: Any) -> Any:  # noqa: ANN401 - facts are JSON values
    """Write numbers of people as everywhere outside, with a plus."""
    return f"+{value}" if key in _PEOPLE and isinstance(value, str) and value.isdecimal() else value


class EventLog:
    """A numbered list of events that can be read from any number on, waiting for more."""

    def __init__(self, kept: int = KEPT) -> None:
        self._events: deque[dict[str, Any]] = deque(maxlen=kept)
        self._last = 0
        self._news = asyncio.Condition()
        self._wake: asyncio.Task[None] | None = None

    @property
    def last(self) -> int:
        """The number of the newest event, 0 before the first."""
        return self._last

    def add(self, event: str, **facts: Any) -> None:  # noqa: ANN401 - facts are JSON values
        """Append an event; facts that are None are left out."""
        self._last += 1
        known = {key: _shown(key, value) for key, value in facts.items() if value is not None}
        self._events.append({"seq": self._last, "at": round(time.time(), 3), "event": event, **known})
        if self._wake is None or self._wake.done():
            self._wake = asyncio.get_running_loop().create_task(self._notify())

    async def _notify(self) -> None:
        async with self._news:
            self._news.notify_all()

    def since(self, seq: int) -> list[dict[str, Any]]:
        """Return the events after that number which are still kept."""
        missing = self._last - max(seq, 0)
        return list(islice(self._events, max(0, len(self._events) - missing), None)) if missing > 0 else []

    async def wait(self, seq: int, seconds: float) -> list[dict[str, Any]]:
        """Return the events after that number, waiting so long for the first of them.

        A number that no event has had yet, as from before a restart, is answered at once.
        """
        if seq > self._last:
            return []
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: self._last > seq)
        except TimeoutError:
            pass
        return self.since(seq)
