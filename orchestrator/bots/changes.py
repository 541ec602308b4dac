"""Notices that a bot's code has changed, by looking at its files now and then."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

POLL_SECONDS: Final = 0.5
"""How often somebody looks. A look takes 2 microseconds a file."""

Marks: TypeAlias = dict[Path, tuple[int, int] | None]
"""When each file was changed, in nanoseconds, and its size; None if it is not there."""


def loaded(folder: Path) -> frozenset[Path]:
    """Return the files of all modules in a folder that this process has imported."""
    found = set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and Path(file).is_relative_to(folder):
            found.add(Path(file))
    return frozenset(found)


def sources(folder: Path) -> frozenset[Path]:
    """Return the files of Python in a folder itself: one of them may be what cannot be imported."""
    try:
        return frozenset(folder.glob("*.py"))
    except OSError:
        return frozenset()


def mark(files: Iterable[Path]) -> Marks:
    """Look at files."""
    return {file: _look(file) for file in files}


def changed(before: Marks) -> Path | None:
    """Return a file that has changed since it was looked at, None if none has."""
    return next((file for file, was in sorted(before.items()) if _look(file) != was), None)


def _look(file: Path) -> tuple[int, int] | None:
    try:
        about = os.stat(file)  # noqa: PTH116 - Path's takes twice as long
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
