"""How often somebody may present a wrong token, and how much may be under way for one who asks. Pure.

A wrong token counts for the address that it came from, and for the token that it pretends to be. A right one
is never held up by the wrong ones of others, who may be behind the same proxy: nobody can lock anybody out.
"""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from typing import Final

TRIES: Final = 10
"""Wrong tokens that are answered as such at once. Then they are told to wait."""
SECONDS_A_TRY: Final = 6.0
"""After how long there is one more."""
_REMEMBERED: Final = 4096
"""Addresses and tokens that are remembered; then the oldest is forgotten."""
MOST_OF_ONE: Final = 64
"""Requests of one token that may be under way at once, those that wait for events among them."""
MOST_ACTS: Final = 16
"""Messages and the like that may be under way to one account at once, whoever sends them."""


class Attempts:
    """Counts wrong tokens."""

    def __init__(self) -> None:
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wrong(self, peer: str, token_id: str | None, now: float) -> int | None:
        """Count a wrong token.

        Args:
            peer: Where it came from.
            token_id: The id in it, None if it has none.
            now: The present moment, in seconds.

        Returns:
            After how many seconds another try makes sense, if there were too many; else None.
        """
        waits = [self._take(f"peer {peer}", now)]
        if token_id is not None:
            waits.append(self._take(f"token {token_id}", now))
        wait = max(waits)
        return math.ceil(wait) if wait > 0 else None

    def _take(self, key: str, now: float) -> float:
        """Return how long there is to wait, 0 for not at all."""
        used, at = self._used.pop(key, (0.0, now))
        used = max(0.0, used - (now - at) / SECONDS_A_TRY)
        too_many = used + 1 > TRIES
        # Whoever goes on does not push the end of the wait away for ever.
        used = min(used + 1, TRIES)
        self._used[key] = (used, now)
        if len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)
        return SECONDS_A_TRY if too_many else 0.0


class UnderWay:
    """Counts what is under way, by who asks or by what is asked for.

    Args:
        most: How much may be under way of one.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[str, int] = defaultdict(int)

    def begin(self, key: str) -> bool:
        """Count one more; return whether there is room for it. Without room nothing is counted."""
        if self._counts[key] >= self._most:
            return False
        self._counts[key] += 1
        return True

    def end(self, key: str) -> None:
        """Count one less."""
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]
