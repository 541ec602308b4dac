"""A second, small note of where the consumers are, for the day on which the store is damaged.

It is some seconds old, and leaves dead letters out: whoever begins there gets some events again, and misses
none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.accounts.names import is_name
from orchestrator.consumers.writes import Place
from orchestrator.system.files import read_file, replacing

FILE: Final = "positions.json"
SECONDS: Final = 30.0
"""How old it is, at most, while the gateway runs and the disk works."""
_MAX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted of a consumer.

    Attributes:
        is_stopped: Whether it was paused or disabled.
        positions: Where to begin again, so that it misses nothing.
    """

    is_stopped: bool
    positions: Mapping[Place, int]


def save(folder: Path, consumers: Mapping[str, Noted]) -> None:
    """Write the note.

    Raises:
        OSError: It cannot be written.
    """
    plain = {
        name: {
            "stopped": noted.is_stopped,
            "positions": [[*place, cursor] for place, cursor in noted.positions.items()],
        }
        for name, noted in consumers.items()
    }
    with replacing(folder / FILE) as file:
        file.write(json.dumps({"version": 1, "consumers": plain}).encode())


def load(folder: Path) -> dict[str, Noted]:
    """Read the note; there is none if it cannot be read or is not as it is written here."""
    try:
        plain = json.loads(read_file(folder / FILE, _MAX_BYTES))
        return {str(name): _noted(one) for name, one in plain["consumers"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _noted(one: Any) -> Noted:  # noqa: ANN401 - it is checked here
    positions = {}
    for account, stream, cursor in one["positions"]:
        if not is_name(account) or stream not in ("messages", "account") or not 0 <= int(cursor) < 2**62:
            raise ValueError("no position")
        positions[Place(account, stream)] = int(cursor)
    return Noted(bool(one["stopped"]), positions)
