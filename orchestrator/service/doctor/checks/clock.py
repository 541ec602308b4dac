"""Whether the clock is right."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator

from orchestrator.service.doctor.check import Check, Finding, fail, ok, warn
from orchestrator.service.doctor.context import Context

RELEASED = 1_763_164_800.0
"""Unix time of 15 November 2025, before the release of neonize 0.5.2: no clock that is right shows less."""
_TIME_ERROR = 5
"""What adjtimex(2) returns when nothing sets the clock."""


def find(_: Context) -> Iterator[Finding]:
    """Look at the time, and whether something keeps it right."""
    yield judge(time.time(), is_kept=_adjtimex() != _TIME_ERROR)


def judge(now: float, *, is_kept: bool) -> Finding:
    """Judge a clock.

    Args:
        now: The Unix time that it shows.
        is_kept: Whether something synchronizes it.
    """
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < RELEASED:
        return fail(f"{shown} is in the past", "set the clock: no certificate is valid at a wrong time")
    if not is_kept:
        return warn(
            f"{shown}; as far as this system knows, nothing synchronizes the clock",
            "turn on time synchronization, such as with `timedatectl set-ntp true`",
        )
    return ok(shown)


def _adjtimex() -> int:
    # Room for struct timex on any system; no modes are set in it, so this only reads.
    try:
        return int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512)))
    except (OSError, AttributeError):
        return 0


CHECK = Check("clock", "clock", "Whether the clock is right.", find)
