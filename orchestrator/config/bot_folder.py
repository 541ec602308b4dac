"""The folder of a bot's code: nobody else may change what is in it, and a change of the code is noticed.

Whoever may write there runs programs as the service's user, with what the bot may see and send.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from importlib.machinery import all_suffixes
from pathlib import Path

from orchestrator.system import trust
from orchestrator.system.trust import Way, Weak

MOST_FILES = 2_000
"""Files and folders that are looked at. A bot has some; the packages that it uses belong into the venv."""
DEEPEST = 8
"""Folders within each other that are looked at."""

_MODULES = frozenset(Path(f"x{suffix}").suffix for suffix in all_suffixes())


def look(folder: Path, *, owners: Collection[int] = (), aside: Collection[Path] = ()) -> str:
    """Return by what the code in a folder is known, and see that nobody else can change it.

    Args:
        folder: The folder, absolute.
        owners: Users who are trusted besides root and this user.
        aside: Folders that have no code, such as the state folder.

    Raises:
        ValueError: It is no folder, or others may change what is in it. The message says what is there.
    """
    way = trust.read_way(folder)
    if not way.whole or not folder.is_dir():
        raise ValueError(f"{folder}, which is no folder" if way.whole else f"{folder}, which does not exist")
    _check(trust.weak_for_us(way, *owners))
    digest = hashlib.sha256()
    for entry in _entries(folder, frozenset(aside)):
        try:
            if entry.is_symlink():
                _check(trust.weak_for_us(trust.read_way(entry), *owners))
            else:
                _check(trust.weak_for_us(Way((trust.look(entry),), whole=True), *owners))
            about = entry.stat()
        except FileNotFoundError:
            continue  # it was removed meanwhile, or is a link that leads nowhere
        except OSError as error:
            raise ValueError(
                f"{folder}, of which {entry.name} cannot be looked at: {error.strerror}"
            ) from None
        if entry.suffix == ".py":
            known = (os.fsencode(entry), about.st_ino, about.st_size, about.st_mtime_ns)
            digest.update(repr(known).encode())
    return digest.hexdigest()


def _entries(folder: Path, aside: frozenset[Path]) -> Iterator[Path]:
    """Yield the modules and packages that Python may load from a folder, in an order that stays."""
    left, seen = [(folder, 0)], 0
    while left:
        place, depth = left.pop()
        try:
            entries = sorted(place.iterdir())
        except OSError:
            continue  # gone, or closed to this user: Python cannot load from there
        for entry in entries:
            name, _, suffix = entry.name.partition(".")
            is_module = bool(suffix) and entry.suffix in _MODULES
            if not name.isidentifier() or (suffix and not is_module) or entry in aside:
                continue
            seen += 1
            if seen > MOST_FILES:
                return
            yield entry
            if depth < DEEPEST and not suffix and not entry.is_symlink() and entry.is_dir():
                left.append((entry, depth + 1))


def _check(weak: Weak | None) -> None:
    if weak is not None:
        raise ValueError(
            f"one where others may put a program of theirs: {weak.text}: {weak.advice(os.geteuid())}, or"
            " choose another folder"
        )
