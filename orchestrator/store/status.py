"""What is kept of the accounts on disk, for when the service does not run."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.accounts import characters
from orchestrator.accounts.child import Parked
from orchestrator.accounts.guard import Guard, is_number
from orchestrator.accounts.names import is_name
from orchestrator.accounts.states import State
from orchestrator.errors import StateError
from orchestrator.store import plain
from orchestrator.system.clock import Reading, was_set
from orchestrator.system.files import read_file, replacing, sync
from orchestrator.system.os_errors import trouble

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the kept file; 1,000 accounts need about 400,000."""
MAX_REASON = 1000
"""Characters of a reason that are read again."""


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
        document = plain.loads(read_file(path, MAX_SIZE))
        shift = _shift(document)
        accounts = document["accounts"].items()
        return {name: _read(entry, shift) for name, entry in accounts if is_name(name)}
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

    def reworded(reason: object) -> str | None:
        return re.sub(rf" {re.escape(old)}(?=[` ])", f" {new}", reason) if isinstance(reason, str) else None

    parked, shown = kept.parked, kept.shown
    if parked is not None:
        parked = replace(parked, reason=reworded(parked.reason))
    if shown is not None:
        shown = {**shown, "name": new, "reason": reworded(shown.get("reason"))}
    return replace(kept, parked=parked, shown=shown)


def _read(entry: Mapping[str, Any], shift: float) -> Kept:
    parked, shown = entry.get("parked"), entry.get("shown")
    if parked is not None:
        reason = parked["reason"]
        parked = Parked(
            State(parked["state"]),
            characters.one_line(reason, MAX_REASON) if isinstance(reason, str) else None,
            # Without a time that makes sense, it waits until an operator acts: a ban is never broken.
            plain.unix_time(parked["until"], shift),
            plain.count(parked.get("count")),
        )
    return Kept(bool(entry["stopped"]), parked, shown if isinstance(shown, Mapping) else None, _guard(entry))


def _guard(entry: Mapping[str, Any]) -> Guard:
    number = entry.get("linked_phone")  # versions before 0.2 did not write it
    return Guard(
        number if isinstance(number, str) and is_number(number) else None, entry.get("any_phone") is True
    )


def _shift(document: Mapping[str, Any]) -> float:
    """Return by how many seconds the clock was set since the document was written, if that is known."""
    try:
        return was_set(Reading.of(document["clock"]), Reading.take())
    except (KeyError, TypeError, ValueError):
        return 0.0


def save(path: Path, kept: Mapping[str, Kept]) -> None:
    """Write the file atomically, readable only by its owner.

    Raises:
        OSError: The disk is full, the folder is read-only, …; the file stays as it was.
    """
    accounts = {name: _written(entry) for name, entry in kept.items()}
    document = {"clock": Reading.take().as_json(), "accounts": accounts}
    try:
        text = json.dumps(document, indent=1, allow_nan=False)
    except (TypeError, ValueError):
        import logging  # commands that only look read this file, and log nothing

        # A bug, which is one account's: the others are kept, and of this one what an operator wishes.
        log = logging.getLogger(__name__)
        for name, entry in kept.items():
            if not _is_json(accounts[name]):
                log.error("%s: a bug in the service: what is known of the account cannot be written", name)
                accounts[name] = _written(Kept(entry.stopped, guard=entry.guard))
        text = json.dumps(document, indent=1, allow_nan=False)
    with replacing(path) as file:
        file.write(text.encode())
        sync(file)


def _written(entry: Kept) -> dict[str, Any]:
    """Return what is written of an account."""
    return {
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


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
