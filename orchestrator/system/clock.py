"""Times as text, and whether the clock on the wall was set, for what has to wait across a restart.

While the service runs, everything is measured by the monotonic clock. Between two of its lives there is only
the clock that people set; as long as the machine was not started anew, the time since its start shows by how
much that was.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_SLEWED = 2.0
"""Seconds that do not count: clocks are corrected by so much all the time."""


def utc(seconds: float, timespec: str = "seconds") -> str:
    """Return Unix seconds as UTC in ISO form, such as 2026-11-22T10:00:00Z.

    Args:
        seconds: The time.
        timespec: How exactly, as `datetime.isoformat` takes it.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def iso(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC in ISO form, None for None."""
    return None if seconds is None else utc(seconds)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clocks say.

    Attributes:
        wall: Unix seconds.
        uptime: Seconds since the machine's start, those in which it slept included.
        boot: Which start that was.
    """

    wall: float
    uptime: float
    boot: str

    @classmethod
    def take(cls) -> Self:
        """Read the clocks."""
        boot = ""
        with contextlib.suppress(OSError):
            boot = _BOOT_ID.read_text().strip()
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Make one of what `as_json` gave.

        Raises:
            KeyError, TypeError, ValueError: That is not what it was made of.
        """
        return cls(float(values["wall"]), float(values["uptime"]), str(values["boot"]))

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {"wall": self.wall, "uptime": self.uptime, "boot": self.boot}


def was_set(before: Reading, now: Reading) -> float:
    """Return by how many seconds the clock was set forward between two readings, negative for back.

    If the machine was started anew between them, all that can be told is that time does not run back.
    """
    elapsed = now.wall - before.wall
    if before.boot and before.boot == now.boot:
        by = elapsed - (now.uptime - before.uptime)
    else:
        by = min(0.0, elapsed)
    return by if abs(by) > _SLEWED else 0.0
