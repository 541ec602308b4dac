"""Paces the starts of many accounts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Ramp:
    """The queue of accounts that want to start.

    Args:
        parallel: How many may be starting or connecting at once.
        spread: Seconds, the most by which a start follows the one before, at random.
        random: Returns numbers from 0 up to 1.
    """

    def __init__(self, parallel: int, spread: float, random: Callable[[], float]) -> None:
        self.parallel = parallel
        self.spread = spread
        self._random = random
        self._waiting: dict[str, None] = {}
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def queue(self, name: str) -> None:
        """Let an account wait for its turn; one that waits already keeps its place."""
        self._waiting.setdefault(name)

    def unqueue(self, name: str) -> None:
        """Let it wait no longer."""
        self._waiting.pop(name, None)

    def next(
        self, now: float, dialling: int, choose: Callable[[Iterable[str]], str | None] | None = None
    ) -> str | None:
        """Return whose turn it is, None if it is nobody's yet; that one waits no longer.

        Args:
            now: Monotonic seconds.
            dialling: How many accounts are starting or connecting.
            choose: Picks one of those that wait, or nobody; by default the first.
        """
        if not self._waiting or dialling >= self.parallel or now < self._not_before:
            return None
        name = choose(self._waiting) if choose else next(iter(self._waiting))
        if name is None:
            return None
        del self._waiting[name]
        self._not_before = now + self.spread * self._random()
        return name

    def wakes_at(
        self, dialling: int, choose: Callable[[Iterable[str]], str | None] | None = None
    ) -> float | None:
        """Return the monotonic time from which `next` may have somebody; None if not by time alone."""
        if not self._waiting or dialling >= self.parallel:
            return None
        return self._not_before if choose is None or choose(self._waiting) is not None else None
