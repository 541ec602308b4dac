"""Whether an account that is over its limit of memory gets a new process. Pure."""

from __future__ import annotations

from enum import Enum, auto

LEAST = 48 * 1024 * 1024
"""Bytes that a limit must allow. A single account that has just connected, and has nobody to share its pages
with, was measured to use 46.8 MiB (PSS, neonize 0.5.2). Among many accounts a process uses less than half."""
PAUSE = 3600.0
"""Seconds between two processes that are replaced because of their memory, at least: each costs a log-in."""


class Advice(Enum):
    """What is to be done."""

    NOTHING = auto()
    """The process is within its limit."""
    REPLACE = auto()
    """A new process may need less."""
    KEEP = auto()
    """It is over its limit, and a new process would not help, or would come too soon; `text` says so."""


class MemoryWatch:
    """Follows an account's use of memory from process to process.

    Attributes:
        text: What to tell an operator of a limit that cannot be kept to, None if there is nothing to tell.
    """

    def __init__(self) -> None:
        self.text: str | None = None
        self._too_small = False
        self._replaced_at: float | None = None
        self._is_new = False

    def look(self, used: int, limit: int | None, now: float) -> Advice:
        """Judge what a process uses that has been connected for long enough to be stable.

        Args:
            used: Bytes it uses.
            limit: Bytes it may use, None for as many as it likes.
            now: Monotonic seconds.
        """
        is_new, self._is_new = self._is_new, False
        if limit is None or used <= limit:
            self.text = None
            return Advice.NOTHING
        if is_new:
            self._too_small = True
        soon = self._replaced_at is not None and now < self._replaced_at + PAUSE
        if not (self._too_small or soon):
            self.text = None
            return Advice.REPLACE
        if self.text is None:
            why = (
                "as much as a new process does, so none is tried"
                if self._too_small
                else "and it was given a new process for that less than an hour ago"
            )
            self.text = f"its process uses {_mib(used)} of {_mib(limit)} allowed, {why}: raise `memory_limit`"
        return Advice.KEEP

    def replaced(self, now: float) -> None:
        """Note that a process was replaced because of its memory: the next look is at its successor.

        Args:
            now: Monotonic seconds.
        """
        self._replaced_at = now
        self._is_new = True

    def another_process(self) -> None:
        """Note that the process was replaced for another reason: it proves nothing about the limit."""
        self._is_new = False


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.0f}M"
