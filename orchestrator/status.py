"""What is shown of an account, and what is kept of it on disk for when the service does not run."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.accounts.child import Parked
from orchestrator.accounts.states import State
from orchestrator.errors import StateError
from orchestrator.system.clock import Reading, utc, was_set
from orchestrator.system.files import read_file, replacing, sync
from orchestrator.system.masking import mask_number
from orchestrator.system.os_errors import trouble

if TYPE_CHECKING:
    # At run time, a command that only reads what was kept needs none of the account's machine.
    from orchestrator.accounts.events import Moment
    from orchestrator.accounts.machine import Account

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the kept file; 1,000 accounts need about 400,000."""


def iso(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC in ISO form, None for None."""
    return None if seconds is None else utc(seconds)


def describe(
    account: Account,
    now: Moment,
    *,
    qr_path: Path | None,
    note: str | None = None,
    code_expires_at: float | None,
    traceback: Path | None = None,
    reveal: bool = False,
) -> dict[str, Any]:
    """Return everything about an account, as ``list --json`` shows it.

    Args:
        account: The account.
        now: The present moment.
        qr_path: The picture of its code, if one is shown.
        note: What is wrong beside the account itself; it is shown as the reason.
        code_expires_at: Unix time at which the code expires.
        traceback: The file that says where its last process's threads were at the end, if there is one.
        reveal: Show the phone number unmasked.
    """
    retry = account.next_retry_at
    child = account.child
    connected = account.state is State.CONNECTED and account.connected_at is not None
    last_exit = account.last_exit
    phone = account.phone
    return {
        "name": account.settings.name,
        "state": account.state.value,
        "since": iso(account.since),
        "reason": note or account.reason,
        "kind": account.kind.value if account.kind else None,
        "phone": None if phone is None else f"+{phone}" if reveal else mask_number(phone),
        "pid": child.pid if child else None,
        "attempt": account.attempt,
        "next_retry_at": None if retry is None else iso(now.wall_at(retry)),
        "held": account.held,
        "restarts": account.restarts,
        "uptime_s": round(now.monotonic - (account.connected_at or 0), 1) if connected else None,
        "last_seen_at": iso(account.last_seen_at),
        "qr_path": str(qr_path) if qr_path else None,
        "qr_expires_at": iso(code_expires_at),
        "memory_bytes": account.memory_bytes,
        "last_exit": last_exit
        and {
            "at": iso(last_exit.at),
            "kind": last_exit.kind.value,
            "code": last_exit.code,
            "traceback": str(traceback) if traceback else None,
        },
    }


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an account.

    Attributes:
        stopped: An operator has stopped it.
        parked: The state it must stay in across a restart of the service, if it must.
        shown: What was last shown of it, masked.
    """

    stopped: bool = False
    parked: Parked | None = None
    shown: Mapping[str, Any] | None = None


def load(path: Path) -> dict[str, Kept]:
    """Read what was kept, by account; a file that is missing keeps nothing.

    Times to wait for are given by the present clock, if that was set since they were written down.

    Raises:
        StateError: The file is there and says nothing that can be understood.
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
            f"{path}: is damaged. It holds which accounts an operator has stopped; move it away to start "
            "with all accounts that the configuration enables"
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
    return Kept(kept.stopped, parked, shown)


def _read(entry: Mapping[str, Any], shift: float) -> Kept:
    parked = entry.get("parked")
    if parked is not None:
        until = parked["until"]
        until = None if until is None else float(until) + shift
        parked = Parked(State(parked["state"]), parked["reason"], until, int(parked.get("count", 0)))
    return Kept(bool(entry["stopped"]), parked, entry.get("shown"))


def save(path: Path, kept: Mapping[str, Kept]) -> None:
    """Write what is to be kept, atomically, readable only by the owner.

    Raises:
        OSError: The disk is full, the folder is read-only, …; what was kept before stays.
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
        }
        for name, entry in kept.items()
    }
    data = json.dumps({"clock": Reading.take().as_json(), "accounts": accounts}, indent=1).encode()
    with replacing(path) as file:
        file.write(data)
        sync(file)
