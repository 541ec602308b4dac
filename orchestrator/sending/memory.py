"""What outlasts a restart of an account besides the rows of its outbox. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Memory:
    """What outlasts a restart besides the rows.

    Attributes:
        device: Stands for the linked device that has sent last, empty for none.
        number: Stands for the number of the account's phone, empty if none was ever seen.
        before: The last row that was to be sent from another number than this; 0 for none.
        desk: What the desk remembers, None for nothing.
    """

    device: str = ""
    number: str = ""
    before: int = 0
    desk: str | None = None

    def dump(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def load(cls, text: str | None) -> Memory:
        """Return what `dump` wrote, an empty one if the text is something else."""
        try:
            found: Any = json.loads(text or "{}")
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(found, dict):
            return cls()
        device, number, before, desk = (found.get(one) for one in ("device", "number", "before", "desk"))
        return cls(
            device if isinstance(device, str) else "",
            number if isinstance(number, str) else "",
            before if type(before) is int else 0,
            desk if isinstance(desk, str) else None,
        )
