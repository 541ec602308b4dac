"""How a consumer's deliveries went lately: how many a minute, how long they took, what failed last. Pure.

Nothing is kept of a single delivery: counts by tenths of minutes and by steps of time do.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

SLOT_SECONDS: Final = 6.0
"""Seconds of deliveries that are counted together."""
SLOTS: Final = 50
"""Slots that are remembered: five minutes."""
RATE_SLOTS: Final = 10
"""Whole slots from which the rate is taken: one minute."""
STEP: Final = 1.2
"""By which factor each step of time is longer than the one before: no percentile is off by more."""
_FIRST: Final = 0.001
_STEPS: Final = 101
"""Steps from a millisecond on: the last one begins at some 23 hours."""


@dataclass(slots=True)
class _Slot:
    """What happened within a few seconds: the number of the slot, and the deliveries by their step."""

    number: int
    counts: dict[int, int] = field(default_factory=dict)


class Recent:
    """The last minutes of one consumer.

    Attributes:
        error: What failed last, in words of ours; None if nothing did.
        error_at: When, in Unix seconds.
    """

    def __init__(self) -> None:
        self.error: str | None = None
        self.error_at: float | None = None
        self._slots: deque[_Slot] = deque(maxlen=SLOTS + 1)

    def delivered(self, seconds: float, now: float) -> None:
        """Take note of a delivery.

        Args:
            seconds: How long it took from the storing of the event to the end of its delivery.
            now: Seconds that never go back.
        """
        number = int(now // SLOT_SECONDS)
        if not self._slots or self._slots[-1].number < number:
            self._slots.append(_Slot(number))
        counts = self._slots[-1].counts
        step = _step(seconds)
        counts[step] = counts.get(step, 0) + 1

    def failed(self, why: str, at: float) -> None:
        """Take note of a try that failed.

        Args:
            why: In words of ours.
            at: When, in Unix seconds.
        """
        self.error, self.error_at = why, at

    def rate(self, now: float) -> int:
        """Return how many deliveries there were within the last minute, up to some seconds ago."""
        last = int(now // SLOT_SECONDS)
        return sum(sum(one.counts.values()) for one in self._slots if last - RATE_SLOTS <= one.number < last)

    def p95(self, now: float) -> float | None:
        """Return within how many seconds 95 of 100 deliveries of the last minutes were done.

        None if there were none.
        """
        first = int(now // SLOT_SECONDS) - SLOTS
        counts = [0] * _STEPS
        for one in self._slots:
            if one.number >= first:
                for step, count in one.counts.items():
                    counts[step] += count
        wanted = math.ceil(sum(counts) * 0.95)
        if not wanted:
            return None
        so_far = 0
        for step, count in enumerate(counts):
            so_far += count
            if so_far >= wanted:
                return _FIRST * STEP**step
        raise AssertionError("95 of 100 are less than all")


def _step(seconds: float) -> int:
    """Return the first step whose end is not before a time."""
    if seconds <= _FIRST:
        return 0
    return min(_STEPS - 1, math.ceil(math.log(seconds / _FIRST, STEP) - 1e-9))
