"""Moments in words, and why an account that is disabled is so."""

from __future__ import annotations

from datetime import datetime


def say_time(seconds: float) -> str:
    """Write Unix seconds as local time with its offset, such as 2026-12-24 08:00 +01:00."""
    at = datetime.fromtimestamp(seconds).astimezone()
    clock = "%H:%M:%S" if at.second else "%H:%M"
    return f"{at.strftime(f'%Y-%m-%d {clock}')} {offset(at)}"


def local(iso: str) -> str:
    """Write a time in ISO form as local time with its offset, such as ``2026-11-30 03:12:05 +01:00``.

    Of what is no time, nothing is shown.
    """
    at = moment(iso)
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S} {offset(at)}"


def moment(iso: str) -> datetime | None:
    """Return a time in ISO form as local time; None if it is no time."""
    try:
        return datetime.fromisoformat(iso).astimezone()
    except (ValueError, OverflowError):
        return None


def offset(at: datetime) -> str:
    """Write by how much a local time is ahead of UTC, such as ``+01:00``."""
    text = f"{at:%z}"
    return f"{text[:3]}:{text[3:5]}"


def why_disabled(until: float | None, note: str | None) -> str | None:
    """Return what a list says of an account that is disabled: until when, and its note.

    Args:
        until: Unix time at which it is enabled by itself, None if it is not.
        note: Its note, None without one.
    """
    parts = [] if until is None else [f"disabled until {say_time(until)}"]
    return ": ".join([*parts, *([note] if note else [])]) or None
