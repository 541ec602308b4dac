"""On which day each token was used last: enough to find those that nobody needs any more.

The gateway writes the file, which is in its own folder; `orchestrator token list` reads it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from orchestrator.system.files import read_file, replacing

FILE: Final = "token-uses.json"
DAY: Final = 86_400
MAX_SIZE = 1 << 20
_LAST_DAY: Final = 2**33 // DAY
_MOST: Final = 10_000
"""Tokens that are remembered, with those that are gone."""


class Uses:
    """The days, for the gateway.

    Args:
        folder: The gateway's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._days = read(folder)
        self._changed = False

    def note(self, token_id: str, now: float) -> bool:
        """Note that a token is used.

        Args:
            token_id: The token's id.
            now: Unix seconds.

        Returns:
            Whether that is the first use on this day, so that `save` has something to write.
        """
        day = int(now // DAY)
        if self._days.get(token_id, -1) >= day:
            return False
        self._days[token_id] = day
        self._changed = True
        return True

    def save(self) -> None:
        """Write the days, if there are new ones.

        Raises:
            OSError: The file cannot be written. It is tried again at the next call.
        """
        if not self._changed:
            return
        newest = sorted(self._days.items(), key=lambda item: item[1], reverse=True)[:_MOST]
        with replacing(self._path) as file:
            file.write(json.dumps(dict(newest)).encode())
        self._changed = False


def read(folder: Path) -> dict[str, int]:
    """Return the day of each token's last use, as days since 1970; empty if that is not known.

    Args:
        folder: The gateway's folder.
    """
    try:
        found = json.loads(read_file(folder / FILE, MAX_SIZE))
        return {
            str(key)[:64]: day for key, day in found.items() if type(day) is int and 0 <= day <= _LAST_DAY
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
