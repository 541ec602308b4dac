"""Reads lengths of time and moments that are given as options: ``5m``, ``30d``, ``2026-12-24T08:00``.

Lengths of time are in the words of the configuration.
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator.config.types import Duration, Unfit, Where, explain
from orchestrator.config.yaml_tree import Scalar
from orchestrator.errors import OrchestratorError

DAY: Final = 86_400.0
"""Seconds."""
_DATE: Final = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?\s?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII | re.IGNORECASE
)


def seconds(option: str, text: str, least: float, most: float) -> float:
    """Return a length of time in seconds.

    Args:
        option: The name of the option.
        text: What was given, such as 90d.
        least: The shortest length, in seconds.
        most: The longest.

    Raises:
        OrchestratorError: It is none, or out of bounds.
    """
    value = Scalar(0, 0, 0, len(text), 0, text=text, type="text", plain=True)
    try:
        return Duration(least, most).read(value, Where(Path("/"), {}))
    except Unfit as unfit:
        raise OrchestratorError(f"{option}: {explain(unfit, value)}", key="bad_duration") from None


def past(option: str, text: str, now: float, *, most: float = 3650 * DAY) -> float:
    """Return a moment that has been, in Unix seconds.

    Args:
        option: The name of the option.
        text: What was given: how long ago, such as 12h or 30d, or a date, with or without a time. Without an
            offset, the time is this machine's local time; without a time, the day begins it.
        now: Unix time.
        most: How many seconds ago the moment may be at most.

    Raises:
        OrchestratorError: It is none, is too long ago, or is still to come.
    """
    at = _moment(option, text, now, -1, most)
    if at > now:
        raise _wrong(option, f"{text.strip()} is still to come", "past")
    if now - at > most:
        raise _wrong(option, f"{text.strip()} is too long ago", "past")
    return at


def future(option: str, text: str, now: float, *, most: float = 3650 * DAY) -> float:
    """Return a moment that is to come, likewise.

    Args:
        option: The name of the option.
        text: What was given: how long from now, or a date; see `past`.
        now: Unix time.
        most: How many seconds ahead the moment may be at most.

    Raises:
        OrchestratorError: It is none, is too far ahead, or has been.
    """
    at = _moment(option, text, now, 1, most)
    if at <= now:
        raise _wrong(option, f"{text.strip()} has passed", "future")
    if at - now > most:
        raise _wrong(option, f"{text.strip()} is too far ahead", "future")
    return at


def _moment(option: str, text: str, now: float, direction: int, most: float) -> float:
    """Return a moment in Unix seconds, on whichever side of the present."""
    if not re.match(r"\s*\d+-", text, re.ASCII):
        try:
            return now + direction * seconds(option, text, 1, most)
        except OrchestratorError as error:
            message = f"{error}; or expected a date, such as 2026-12-24 or 2026-12-24T08:00"
            raise OrchestratorError(message, key=error.key) from None
    given = text.strip()
    try:
        if not _DATE.fullmatch(given):
            raise ValueError
        # As times are shown to people, a blank stands before the offset.
        return datetime.fromisoformat(re.sub(r"\s(?=[Z+-])", "", given.upper())).timestamp()
    except (ValueError, OverflowError, OSError):
        raise _wrong(option, f"{_shown(given)} is no date", "past" if direction < 0 else "future") from None


def _wrong(option: str, what: str, side: str) -> OrchestratorError:
    return OrchestratorError(
        f"{option}: {what}; expected a moment in the {side}, such as 12h, 30d, 2026-12-24 or"
        " 2026-12-24T08:00",
        key="bad_duration",
    )


def _shown(text: str) -> str:
    from orchestrator.accounts.names import shorten  # only when something is wrong

    return shorten(text)
