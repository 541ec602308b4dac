"""Reads JSON that an earlier service has written, and that may hold what no service would write any more.

A number that no field needs becomes null: "not a number", what is infinite, and what has more digits than any
count or time. What is wrong with one account then keeps nobody from the others.
"""

from __future__ import annotations

import json
import math
from typing import Any

from orchestrator.accounts import bounds


def loads(text: bytes | str) -> Any:  # noqa: ANN401 - whatever is there
    """Return what JSON says, with null for numbers that no field needs.

    Raises:
        ValueError: The text is not JSON.
        RecursionError: It is nested too deeply.
    """
    return json.loads(text, parse_constant=lambda _: None, parse_int=_whole, parse_float=_fraction)


def unix_time(value: object, shift: float = 0.0) -> float | None:
    """Return a time in Unix seconds, None if it is none or before 1970 or after 2242.

    Args:
        value: What JSON has.
        shift: Seconds that are added.
    """
    if type(value) not in (int, float) or not isinstance(value, int | float):
        return None
    return value + shift if 0 <= value + shift <= bounds.LATEST else None


def count(value: object) -> int:
    """Return a count, 0 if it is none."""
    return value if type(value) is int and value >= 0 else 0


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= bounds.MOST_DIGITS else None


def _fraction(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None
