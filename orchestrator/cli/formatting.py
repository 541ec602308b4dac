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
    return "-" if iso is None else short(now - unix(iso))


def ahead(iso: str | None, now: float) -> str:
    """Say how far ahead a time is, such as ``in 2h10m``; a time that has passed is ``now``."""
    if iso is None:
        return "-"
    left = unix(iso) - now
    return f"in {short(left)}" if left > 0 else "now"


def cpu(seconds: float) -> str:
    """Write CPU time, such as ``1.9s`` or ``2h10m``."""
    return f"{seconds:.1f}s" if seconds < 60 else short(seconds)


def megabytes(size: int) -> str:
    """Write a number of bytes for people, such as ``21 MB``."""
    return f"{size / 1e6:.0f} MB"


def unix(iso: str) -> float:
    """Return the Unix seconds of a time in ISO form."""
    return datetime.fromisoformat(iso).timestamp()


def printable(text: str) -> str:
    """Return a text without control characters, in letters that the terminal can show."""
    return plain("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def local(iso: str) -> str:
    """Write a time in ISO form as local time."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def examples(*lines: str) -> str:
    """Return examples as the last part of a help text; the backspace keeps the line breaks."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
