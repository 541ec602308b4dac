"""How lengths of time are written for people. Pure."""

from __future__ import annotations

_UNITS = ((86400, "d", "d"), (3600, "h", "h"), (60, "m", "min"), (1, "s", "s"))
"""Seconds, and the unit in a table and in a sentence."""


def short(seconds: float) -> str:
    """Write a length of time for a table, in its two largest units, such as ``2h10m``."""
    return "".join(f"{count}{unit}" for count, unit, _ in _largest(int(seconds))) or "0s"


def words(seconds: float) -> str:
    """Write a length of time for a sentence, in its two largest units, such as ``2 h 10 min``."""
    return " ".join(f"{count} {unit}" for count, _, unit in _largest(round(seconds))) or "0 s"


def _largest(seconds: int) -> list[tuple[int, str, str]]:
    """Return the largest unit of a length of time and the one that follows, without a unit that counts 0."""
    left = max(0, seconds)
    parts: list[tuple[int, str, str]] = []
    for size, unit, word in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append((count, unit, word))
    return [part for part in parts[:2] if part[0]]
