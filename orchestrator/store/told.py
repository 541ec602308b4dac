"""What the program of ``on_change`` was told of accounts, and how its last call ended: a file of the state.

A file that is damaged counts as none: then a trouble that was told is told once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator.accounts import characters
from orchestrator.accounts.names import is_name
from orchestrator.errors import StateError
from orchestrator.store import plain
from orchestrator.system.files import read_file, replacing, sync
from orchestrator.system.os_errors import trouble

LONGEST: Final = 500
"""Characters of how the last call ended."""
_MAX_SIZE: Final = 8 << 20
_MOST_WORDS: Final = 8
_LONGEST_WORD: Final = 40


@dataclass(frozen=True, slots=True)
class Last:
    """How the last call ended.

    Attributes:
        at: When, in Unix seconds.
        program: The program.
        problem: What went wrong, for people; None if nothing did.
        failures: How many calls in a row have failed.
    """

    at: float
    program: str
    problem: str | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """What outlives the service.

    Attributes:
        told: What was told of accounts: by name, the value of each aspect; see `control.changes`.
        left_out: How many changes were left out since the last call that worked.
        last: How the last call ended, None if there was none.
    """

    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    left_out: int = 0
    last: Last | None = None


def load(path: Path) -> Kept:
    """Return what is kept; nothing if the file is missing or damaged.

    Raises:
        StateError: The file cannot be read.
    """
    try:
        found = plain.loads(read_file(path, _MAX_SIZE))
    except FileNotFoundError:
        return Kept()
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {trouble(error)}") from None
    except (ValueError, RecursionError):
        return Kept()
    return of_values(found)


def of_values(found: object) -> Kept:
    """Return what `as_values` has written; nothing of what makes no sense."""
    if not isinstance(found, Mapping):
        return Kept()
    told = found.get("told")
    accounts = told.items() if isinstance(told, Mapping) else ()
    return Kept(
        {name: _words(values) for name, values in accounts if is_name(name) and isinstance(values, Mapping)},
        plain.count(found.get("left_out")),
        _last(found.get("last")),
    )


def as_values(kept: Kept) -> dict[str, Any]:
    """Return what is written, as plain values."""
    last = kept.last
    return {
        "told": {name: {**words} for name, words in kept.told.items()},
        "left_out": kept.left_out,
        "last": last
        and {"at": last.at, "program": last.program, "problem": last.problem, "failures": last.failures},
    }


def save(path: Path, kept: Kept) -> None:
    """Write the file atomically, readable only by its owner.

    Raises:
        StateError: The file cannot be written; it stays as it was.
    """
    try:
        with replacing(path) as file:
            file.write(json.dumps(as_values(kept), indent=1, allow_nan=False).encode())
            sync(file)
    except OSError as error:
        raise StateError(f"{path}: cannot be written: {trouble(error)}") from None


def _words(values: Mapping[str, Any]) -> dict[str, str]:
    known = [(key, one) for key, one in values.items() if isinstance(one, str) and len(one) <= _LONGEST_WORD]
    return dict(known[:_MOST_WORDS])


def _last(values: object) -> Last | None:
    if not isinstance(values, Mapping):
        return None
    at, program, problem = plain.unix_time(values.get("at")), values.get("program"), values.get("problem")
    if at is None or not isinstance(program, str):
        return None
    said = characters.one_line(problem, LONGEST) if isinstance(problem, str) else None
    return Last(at, program, said, plain.count(values.get("failures")))
