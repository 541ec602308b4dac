"""What an account's processes have said of messages: how many there are, and how many were not kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Received:
    """Counts of messages. What was stored outlasts a process, and what was refused is added up.

    Attributes:
        stored: Entries in the account's inbox; None if it has none, or no process has said so yet.
        lost: Entries about lost messages among them.
    """

    stored: int | None = None
    lost: int = 0
    _refused: int = 0
    _refused_before: int = 0

    @property
    def refused(self) -> int:
        """Messages that were not stored since the service started, because they are not allowed."""
        return self._refused_before + self._refused

    def heard(self, stored: int | None, lost: int, refused: int) -> None:
        """Take in what the present process says of itself."""
        self.stored, self.lost = stored, lost
        self._refused = max(self._refused, refused)

    def ended(self) -> None:
        """Take note that the next one who is heard is another process."""
        self._refused_before, self._refused = self.refused, 0
