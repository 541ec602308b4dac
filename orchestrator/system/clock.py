"""Times as text, and whether somebody has set the wall clock, for waits that last across a restart.

A running service measures everything by the monotonic clock. Between two runs of the service there is only
the wall clock, which people set. While the machine has not booted again, the time since its boot shows by how
much somebody has set the wall clock.
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
"""Seconds that do not count: time synchronization corrects clocks by that much all the time."""


def utc(seconds: float, timespec: str = "seconds") -> str:
    """Return Unix seconds as UTC in ISO form, such as 2026-11-22T10:00:00Z.

    Args:
        seconds: The time.
        timespec: The precision, as `datetime.isoformat` takes it.
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec=timespec).replace("+00:00", "Z")


def iso(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC in ISO form, or None for None."""
    return None if seconds is None else utc(seconds)


def unix(time_in_iso: str | None) -> float | None:
    """Return the Unix seconds of a time in ISO form, None if there is none or it is no time."""
    try:
        return None if time_in_iso is None else datetime.fromisoformat(time_in_iso).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


@dataclass(frozen=True, slots=True)
class Reading:
    """What the clocks say at one moment.

    Attributes:
        wall: Unix seconds.
        uptime: Seconds since the machine has booted, with the time that the machine was suspended.
        boot: The kernel's identifier of that boot, or empty if the kernel does not tell one.
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
        """Return the reading that `as_json` has written.

        Raises:
            KeyError, TypeError, ValueError: The values are not those of a reading.
        """
        return cls(float(values["wall"]), float(values["uptime"]), str(values["boot"]))

    def as_json(self) -> dict[str, Any]:
        """Return the reading as plain values."""
        return {"wall": self.wall, "uptime": self.uptime, "boot": self.boot}


def was_set(before: Reading, now: Reading) -> float:
    """Return by how many seconds somebody has set the wall clock forward between two readings.

    A negative number means back. If the machine has booted between the readings, only a wall clock that runs
    backward can be noticed.
    """
    elapsed = now.wall - before.wall
    if before.boot and before.boot == now.boot:
        by = elapsed - (now.uptime - before.uptime)
    else:
        by = min(0.0, elapsed)
    return by if abs(by) > _SLEWED else 0.0
