"""What is kept of the accounts on disk, for when the service does not run."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.accounts.child import Parked
from orchestrator.accounts.guard import Guard, is_number
from orchestrator.accounts.states import State
from orchestrator.errors import StateError
from orchestrator.system.clock import Reading, was_set
from orchestrator.system.files import read_file, replacing, sync
from orchestrator.system.os_errors import trouble

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the kept file; 1,000 accounts need about 400,000."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an account.

    Attributes:
        stopped: An operator has stopped it.
        parked: The state it must stay in across a restart of the service, if it must.
        shown: What was last shown of it, masked, in the JSON form of `control.view`.
        guard: Says which phone it may be linked to. The number is there in full, to be compared.
    """

    stopped: bool = False
    parked: Parked | None = None
    shown: Mapping[str, Any] | None = None
    guard: Guard = field(default_factory=Guard)


def load(path: Path) -> dict[str, Kept]:
    """Read what was kept, by account. A missing file means that nothing was kept.

    If the clock was set since the times were written, they are corrected.

    Raises:
        StateError: The file cannot be read, or is damaged.
    """
    try:
        document = json.loads(read_file(path, MAX_SIZE))
        shift = was_set(Reading.of(document["clock"]), Reading.take()) if "clock" in document else 0.0
        return {name: _read(entry, shift) for name, entry in document["accounts"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        advice = ": move it away" if error.errno == errno.EINVAL else ""  # it is not a regular file
        raise StateError(f"{path}: cannot be read: {trouble(error)}{advice}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StateError(
            f"{path}: is damaged. The file records which accounts an operator stopped; move the file away to "
            "start with all accounts that the configuration enables"
        ) from None


def renamed(kept: Kept, old: str, new: str) -> Kept:
    """Return what was kept of an account under its new name, which the commands in its reasons get, too."""

    def reworded(reason: str | None) -> str | None:
        return reason and re.sub(rf" {re.escape(old)}(?=[` ])", f" {new}", reason)

    parked, shown = kept.parked, kept.shown
    if parked is not None:
        parked = replace(parked, reason=reworded(parked.reason))
    if shown is not None:
        shown = {**shown, "name": new, "reason": reworded(shown.get("reason"))}
    return replace(kept, parked=parked, shown=shown)


def _read(entry: Mapping[str, Any], shift: float) -> Kept:
    parked = entry.get("parked")
    if parked is not None:
        until = parked["until"]
        until = None if until is None else float(until) + shift
        parked = Parked(State(parked["state"]), parked["reason"], until, int(parked.get("count", 0)))
    return Kept(bool(entry["stopped"]), parked, entry.get("shown"), _guard(entry))


def _guard(entry: Mapping[str, Any]) -> Guard:
    number = entry.get("linked_phone")  # versions before 0.2 did not write it
    if number is not None and not is_number(number):
        raise ValueError("no number")
    return Guard(number, bool(entry.get("any_phone", False)))


def save(path: Path, kept: Mapping[str, Kept]) -> None:
    """Write the file atomically, readable only by its owner.

    Raises:
        OSError: The disk is full, the folder is read-only, …; the file stays as it was.
    """
    accounts = {
        name: {
            "stopped": entry.stopped,
            "parked": entry.parked
            and {
                "state": entry.parked.state,
                "reason": entry.parked.reason,
                "until": entry.parked.until,
                "count": entry.parked.count,
            },
            "shown": entry.shown,
            "linked_phone": entry.guard.number,
            "any_phone": entry.guard.any_phone,
        }
        for name, entry in kept.items()
    }
    data = json.dumps({"clock": Reading.take().as_json(), "accounts": accounts}, indent=1).encode()
    with replacing(path) as file:
        file.write(data)
        sync(file)
