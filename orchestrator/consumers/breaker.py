"""Spares a consumer that takes nothing: one probe at a time in the place of everything that waits. Pure."""

from __future__ import annotations

from typing import Final

OPENS_AFTER: Final = 5
"""Failures in a row, of whichever events. The contract on messages, 4.1."""
PROBE_SECONDS: Final = 600.0
"""Where many chats wait and none of them is to be tried sooner, an event that was not tried yet is the probe.
So a consumer that is back gets new messages within this time, and not only after the longest delay."""


class Breaker:
    """Counts the failures in a row.

    Args:
        failures: How many there were, as far as it counts.

    Attributes:
        failures: The same.
        tried_at: When the last try began.
    """

    def __init__(self, failures: int = 0) -> None:
        self.failures = min(max(0, failures), OPENS_AFTER)
        self.tried_at = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether there is one probe at a time."""
        return self.failures >= OPENS_AFTER

    def note(self, *, took: bool) -> bool:
        """Count how a try ended; return whether that opened or closed the breaker."""
        before = self.is_open
        self.failures = 0 if took else min(self.failures + 1, OPENS_AFTER)
        return self.is_open != before

    def next_new(self) -> float:
        """Return when an event that was not tried yet may be the probe, although others wait."""
        return self.tried_at + PROBE_SECONDS
