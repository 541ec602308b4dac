"""How commands write times, sizes and texts for people."""

from __future__ import annotations

import sys
from datetime import datetime

from orchestrator.accounts.durations import short
from orchestrator.cli.terminal import plain


def warn_of_sandbox() -> None:
    """Say on stderr that this is the sandbox's environment, if it is: it may have been left by mistake."""
    from orchestrator.store import realm  # only what a command needs is loaded with it

    if realm.is_sandbox():
        print(f"orchestrator: warning: {realm.WARNING}", file=sys.stderr)


def ago(iso: str | None, now: float) -> str:
    """Say how long ago a time was, such as ``2h10m``."""
    at = unix(iso)
    return "-" if at is None else short(now - at)


def ahead(iso: str | None, now: float) -> str:
    """Say how far ahead a time is, such as ``in 2h10m``; a time that has passed is ``now``."""
    at = unix(iso)
    if at is None:
        return "-"
    left = at - now
    return f"in {short(left)}" if left > 0 else "now"


def cpu(seconds: float) -> str:
    """Write CPU time, such as ``1.9s`` or ``2h10m``."""
    return f"{seconds:.1f}s" if seconds < 60 else short(seconds)


def megabytes(size: int) -> str:
    """Write a number of bytes for people, such as ``21 MB``."""
    return f"{size / 1e6:.0f} MB"


def unix(iso: str | None) -> float | None:
    """Return the Unix seconds of a time in ISO form, None if there is none or it is no time."""
    try:
        return None if iso is None else datetime.fromisoformat(iso).timestamp()
    except (ValueError, OverflowError):
        return None


def printable(text: str) -> str:
    """Return a text without control characters, in letters that the terminal can show."""
    return plain("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def printable_lines(text: str) -> str:
    """Return a text of several lines, likewise."""
    return "\n".join(map(printable, text.split("\n")))


def local(iso: str) -> str:
    """Write a time in ISO form as local time; of what is no time, nothing is shown."""
    try:
        return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return "-"


def examples(*lines: str) -> str:
    """Return examples as the last part of a help text; the backspace keeps the line breaks."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
