"""How long what is kept of messages. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from orchestrator.accounts.settings import Messages

SEEN_SECONDS: Final = 45 * 86_400.0
"""For how long an inbox knows what it had: WhatsApp keeps what was not delivered for 30 days, and would
deliver it again."""
INTERVAL: Final = 3600.0
"""Seconds between two clearings, at most."""
LEAST_INTERVAL: Final = 10.0
"""Seconds between two clearings, at least."""


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long what is kept.

    Attributes:
        keep: Seconds for what every consumer has had.
        keep_at_most: Seconds for everything.
    """

    keep: float
    keep_at_most: float

    @classmethod
    def of(cls, settings: Messages) -> Retention:
        """Return what the settings of an account say."""
        return cls(min(settings.keep, settings.keep_at_most), settings.keep_at_most)

    @property
    def interval(self) -> float:
        """Seconds between two clearings: short enough that nothing is kept much longer than was said."""
        return min(INTERVAL, max(LEAST_INTERVAL, self.keep / 10))

    def delete_before(self, now: float) -> tuple[float, float]:
        """Return before which times of storing an entry goes: one that all have had, and any.

        Args:
            now: Unix seconds.
        """
        return now - self.keep, now - self.keep_at_most

    def forget_before(self, now: float) -> float:
        """Return before which time of storing it is forgotten that an entry was there."""
        return now - max(SEEN_SECONDS, self.keep_at_most)
