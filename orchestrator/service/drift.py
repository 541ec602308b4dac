"""Which of the numbers of an account that change all the time are worth telling. Pure.

A process says every 10 s what it uses and what became of messages. Whoever follows hundreds of accounts would
be told of dozens a second, most of which are as they were.
"""

from __future__ import annotations

from typing import Final

from orchestrator.accounts.machine import Account

MOST_SECONDS: Final = 60.0
"""How old may be what is told of the memory and the CPU time of a process."""
MEMORY_PART: Final = 0.1
"""By which part of itself memory must differ to be worth telling before that."""


class Drift:
    """What was told last of the numbers of an account."""

    def __init__(self) -> None:
        self._counts: object = None
        self._memory = 0
        self._at = float("-inf")

    def is_news(self, account: Account, waiting: int | None, now: float) -> bool:
        """Tell whether an account's numbers are to be told now; then they count as told.

        Args:
            account: The account, after its process has said how it is.
            waiting: How many events a consumer has not had.
            now: Monotonic seconds.
        """
        received = account.received
        counts = (
            *(received.stored, received.lost, received.refused, account.to_send, waiting),
            *(account.last_in_at, account.last_out_at),
        )
        memory = account.memory_bytes or 0
        is_old = now - self._at >= MOST_SECONDS
        if not is_old and counts == self._counts and abs(memory - self._memory) <= MEMORY_PART * self._memory:
            return False
        self._counts, self._memory, self._at = counts, memory, now
        return True
