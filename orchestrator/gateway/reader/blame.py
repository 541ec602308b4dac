"""Whose inbox has made the reader fail, when it may be read again, and by which reader. Pure."""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 0.5
"""Seconds for which an account is left alone after its first failure. Each further one doubles them."""
LONGEST_SECONDS: Final = 60.0
SUSPECT_SECONDS: Final = 600.0
"""Seconds after the last failure for which an account is not read by the reader that all others share."""


class Blame:
    """The accounts whose inboxes could not be read."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, float, float]] = {}  # how many in a row, the last, until when

    def wait(self, account: str, now: float) -> float:
        """Return for how many seconds an account is still left alone; 0 if it may be read.

        Args:
            account: The account.
            now: Monotonic seconds.
        """
        _, _, until = self._failures.get(account, (0, now, now))
        return max(0.0, until - now)

    def suspects(self, account: str, now: float) -> bool:
        """Tell whether an account has lately made a reader fail, so that the others had to wait."""
        if account not in self._failures:
            return False
        _, at, _ = self._failures[account]
        if now - at <= SUSPECT_SECONDS:
            return True
        del self._failures[account]
        return False

    def failed(self, account: str, now: float) -> float:
        """Note that an account's inbox could not be read; return for how many seconds it is left alone."""
        count, _, _ = self._failures[account] if self.suspects(account, now) else (0, now, now)
        seconds = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(count, 30))
        self._failures[account] = (count + 1, now, now + seconds)
        return seconds

    def worked(self, account: str, now: float) -> bool:
        """Note that an account's inbox was read; return whether it had failed the time before."""
        if not self.suspects(account, now):
            return False
        count, at, _ = self._failures[account]
        self._failures[account] = (0, at, now)
        return count > 0

    def keep(self, accounts: frozenset[str]) -> None:
        """Forget all accounts but these."""
        self._failures = {name: one for name, one in self._failures.items() if name in accounts}
