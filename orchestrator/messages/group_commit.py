"""What goes into one transaction, of what many accounts want to be stored. Pure.

    a question comes ─► waits ─► in a group ─► committed: answered
                          ▲          ├─ refused, with others: each alone, so that one harms no other
                          │          ├─ refused, alone: answered so
                          └──────────┴─ the store is away, or nobody knows: once more, for a while

A transaction costs a write to the disk, whatever is in it: so a group is all that has come while the one
before was written. An account has one question at a time, so its own order is kept by itself. A question that
may have been stored already is asked again as it is: the store knows it again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MOST: Final = 200
"""Questions of one group."""
MOST_BYTES: Final = 8 << 20
"""Bytes of the questions of one group, and one more question."""
RETRY_SECONDS: Final = 0.25
"""Seconds between two tries while the store is away."""
PATIENCE: Final = 10.0
"""Seconds for which questions wait once the store is away. For as long, an account's process that hangs up
waits for what its library holds; what is not stored by then, WhatsApp may take for delivered."""

W = TypeVar("W", bound=Hashable)
Q = TypeVar("Q")


@dataclass(slots=True)
class _Waiting(Generic[Q]):
    question: Q
    size: int
    alone: bool = False
    in_doubt: bool = False


class Groups(Generic[W, Q]):
    """The questions that wait, by who asks.

    Args:
        patience: Seconds for which questions wait once the store is away.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._waiting: dict[W, _Waiting[Q]] = {}
        self._retry_at: float | None = None
        self._away_since: float | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, who: W, question: Q, size: int) -> None:
        """Let a question wait; who asks has no other.

        Args:
            who: Who asks.
            question: The question.
            size: Its bytes.

        Raises:
            ValueError: Who asks has another question.
        """
        if who in self._waiting:
            raise ValueError("a question before the answer to the one before")
        self._waiting[who] = _Waiting(question, size)

    def drop(self, who: W) -> None:
        """Forget the question of somebody who is gone."""
        self._waiting.pop(who, None)

    def due(self) -> float | None:
        """Return from when on a group may be taken, in monotonic seconds; None if nothing waits."""
        if not self._waiting:
            return None
        return self._retry_at or 0.0

    def take(self, now: float) -> list[tuple[W, Q]]:
        """Return the next group, in the order in which its questions came; its questions still wait.

        Args:
            now: Monotonic seconds.
        """
        if self._retry_at is not None and now < self._retry_at:
            return []
        group: list[tuple[W, Q]] = []
        size = 0
        for who, one in self._waiting.items():
            if one.alone:
                if not group:
                    return [(who, one.question)]
                continue
            group.append((who, one.question))
            size += one.size
            if len(group) >= MOST or size >= MOST_BYTES:
                break
        return group

    def done(self, group: Iterable[W]) -> None:
        """Take note that questions were answered, because the store has taken them or will not."""
        self._retry_at = self._away_since = None
        for who in group:
            self._waiting.pop(who, None)

    def is_in_doubt(self, who: W) -> bool:
        """Tell whether the store may have taken the question that somebody waits for, at an earlier try."""
        one = self._waiting.get(who)
        return one is not None and one.in_doubt

    def refused(self, group: Iterable[W]) -> bool:
        """Take note that the store took none of a group; return whether it was one question.

        If it was one, it is to be answered so. If not, each is asked alone.
        """
        asked = [who for who in group if who in self._waiting]
        self._retry_at = self._away_since = None
        if len(asked) <= 1:
            return True
        for who in asked:
            self._waiting[who].alone = True
        return False

    def away(self, now: float, in_doubt: Iterable[W] = ()) -> dict[W, bool]:
        """Take note that the store cannot be reached, or that nobody knows whether it took a group.

        Args:
            now: Monotonic seconds.
            in_doubt: Whose questions it may have taken.

        Returns:
            Who is to be told so, because the store is away for too long, and of each whether the store may
            have taken the question. Nobody waits any more then.
        """
        for who in in_doubt:
            if who in self._waiting:
                self._waiting[who].in_doubt = True
        self._retry_at = now + RETRY_SECONDS
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < self._patience:
            return {}
        told = {who: one.in_doubt for who, one in self._waiting.items()}
        self._waiting = {}
        return told
