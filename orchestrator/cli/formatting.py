"""How commands write times, sizes and texts for people."""

from __future__ import annotations

import contextlib
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.accounts import moments
from orchestrator.accounts.durations import short
from orchestrator.accounts.moments import local as local  # whoever writes for people looks here
from orchestrator.cli.repeating import repeat
from orchestrator.cli.terminal import plain
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from orchestrator.cli.invocation import Places


def warn_of_sandbox(where: Places) -> None:
    """Say on stderr that this is the sandbox's environment, or a sandbox's state: it may be so by mistake.

    Args:
        where: Where the state folder is, which remembers to what its last service connected.
    """
    from orchestrator.store import realm  # only what a command needs is loaded with it

    said = realm.WARNING if realm.is_sandbox() else None
    with contextlib.suppress(OrchestratorError):  # the command says by itself what is wrong
        said = realm.about_world(where.state().world)
    if said:
        print(f"orchestrator: warning: {printable(said)}", file=sys.stderr)


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


def during(since: str) -> str:
    """Say that maintenance is on, since a time in ISO form."""
    return printable(
        f"maintenance is on since {local(since)}: no account starts by itself; `orchestrator maintenance off`"
        " ends it"
    )


def verbatim(text: str) -> str:
    """Return a text without control characters, in letters that the terminal can show."""
    return plain("".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text))


def printable(text: str) -> str:
    """Return a sentence likewise; commands that it names get the options with which this one was called."""
    return verbatim(repeat(text))


def printable_lines(text: str) -> str:
    """Return a text of several lines, likewise."""
    return "\n".join(map(printable, text.split("\n")))


def time_of_day(iso: str) -> str:
    """Write a time that is near as local time without its date: ``03:12:05``."""
    at = moments.moment(iso)
    return "-" if at is None else f"{at:%H:%M:%S}"


def clock(iso: str, now: float) -> str:
    """Write a time in ISO form as the hour and minute of today, or with its date; of no time, nothing."""
    at = unix(iso)
    if at is None:
        return "-"
    moment, today = (datetime.fromtimestamp(time, UTC).astimezone() for time in (at, now))
    return moment.strftime("%H:%M") if moment.date() == today.date() else local(iso)


def examples(*lines: str) -> str:
    """Return examples as the last part of a help text; the backspace keeps the line breaks."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
