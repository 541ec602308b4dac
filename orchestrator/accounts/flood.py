"""How much of one thing may happen in a time: what is above is left out, and counted. Pure.

The moments are monotonic seconds, and come from the caller.
"""

from __future__ import annotations

_WHOLE = 1 - 1e-9
"""One, as far as sums of fractions can tell."""


class Meter:
    """Lets through so many a second on average, and a few more at once.

    Args:
        rate: How many a second.
        burst: How many at once, after a quiet time.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.left_out = 0
        self._rate = rate
        self._burst = self._tokens = burst
        self._at: float | None = None

    def admit(self, now: float) -> bool:
        """Tell whether one more may pass at this moment; one that may not is counted in `left_out`."""
        self._refill(now)
        if self._tokens < _WHOLE:
            self.left_out += 1
            return False
        self._tokens -= 1
        return True

    def spend(self, amount: float, now: float) -> None:
        """Let much through at once, whether there is room for it or not; later ones wait for it."""
        self._refill(now)
        self._tokens -= amount

    def free_at(self, now: float) -> float:
        """Return the moment from which one more may pass."""
        self._refill(now)
        return now if self._tokens >= _WHOLE else now + (1 - self._tokens) / self._rate

    def take_count(self) -> int:
        """Return how many were left out since this was asked last."""
        count, self.left_out = self.left_out, 0
        return count

    def _refill(self, now: float) -> None:
        elapsed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._tokens = min(self._burst, self._tokens + elapsed * self._rate)


def more(count: int, one: str, many: str) -> str:
    """Say how many were left out, such as ``… 12 more lines were left out``."""
    return f"… 1 more {one} was left out" if count == 1 else f"… {count} more {many} were left out"
