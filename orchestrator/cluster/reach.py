"""Whether this shard alone cannot reach WhatsApp. Pure.

If no shard reaches WhatsApp, an account is nowhere better off, and the shard keeps it.
"""

from __future__ import annotations

from collections.abc import Collection

from orchestrator.cluster.board import REACHES, Condition
from orchestrator.cluster.deadlines import AWAY_SECONDS, PROBE_FIRST, PROBE_LAST


class Reach:
    """What a shard knows of its own way to WhatsApp.

    Attributes:
        is_doubtful: Whether no account of this shard reaches WhatsApp while others do: it takes no more.
        is_cut: Whether that lasts: this shard is cut off while others are not.
    """

    def __init__(self) -> None:
        self.is_doubtful = False
        self.is_cut = False
        self._lost_at: float | None = None
        self._wait = PROBE_FIRST
        self._probe_at: float | None = None

    def look(self, conditions: Collection[Condition], *, others: bool, now: float) -> None:
        """Take in how the accounts are.

        Args:
            conditions: Of all accounts that run here.
            others: Whether another shard has links.
            now: The time.
        """
        # The next try of an account that has lost WhatsApp shows nothing before it succeeds.
        tries = Condition.TRYING in conditions and self._lost_at is not None
        if any(condition in REACHES for condition in conditions):
            self.is_cut, self._lost_at, self._wait = False, None, PROBE_FIRST
        elif Condition.LOST in conditions or tries:
            self._lost_at = now if self._lost_at is None else self._lost_at
            if others and not self.is_cut and now >= self._lost_at + AWAY_SECONDS:
                self.is_cut, self._probe_at = True, now + self._wait
                self._wait = min(2 * self._wait, PROBE_LAST)
        elif not self.is_cut:
            self._lost_at = None
        self.is_doubtful = self.is_cut or (others and self._lost_at is not None)

    def asks(self, now: float) -> bool:
        """Tell whether to look now if WhatsApp can be reached; `told` has the answer."""
        if not self.is_cut or self._probe_at is None or now < self._probe_at:
            return False
        self._probe_at = None
        return True

    def told(self, *, reached: bool, now: float) -> None:
        """Note whether WhatsApp can be reached from here, without any account."""
        if reached:
            self.is_doubtful, self.is_cut, self._lost_at = False, False, None
        elif self.is_cut:
            self._probe_at = now + PROBE_FIRST
