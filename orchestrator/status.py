"""What is shown of an account, and what is kept of it on disk for when the service does not run."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrator.account import Account, Parked
from orchestrator.errors import StateError
from orchestrator.events import Moment
from orchestrator.redaction import mask_number
from orchestrator.states import State

MAX_SIZE = 16 * 1024 * 1024
"""Bytes of the kept file; 1,000 accounts need about 400,000."""


def iso(seconds: float | None) -> str | None:
    """Return Unix seconds as UTC in ISO form, None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def describe(
    account: Account,
    now: Moment,
    *,
    qr_path: Path | None,
    code_expires_at: float | None,
    reveal: bool = False,
) -> dict[str, Any]:
    """Return everything about an account, as ``list --json`` shows it.

    Args:
        account: The account.
        now: The present moment.
        qr_path: The picture of its code, if one is shown.
        code_expires_at: Unix time at which the code expires.
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
        "reason": account.reason,
        "kind": account.kind.value if account.kind else None,
        "phone": None if phone is None else f"+{phone}" if reveal else mask_number(phone),
        "pid": child.pid if child else None,
        "attempt": account.attempt,
        "next_retry_at": None if retry is None else iso(now.wall_at(retry)),
        "restarts": account.restarts,
        "uptime_s": round(now.monotonic - (account.connected_at or 0), 1) if connected else None,
        "last_seen_at": iso(account.last_seen_at),
        "qr_path": str(qr_path) if qr_path else None,
        "qr_expires_at": iso(code_expires_at),
        "memory_bytes": account.memory_bytes,
        "last_exit": last_exit
        and {"at": iso(last_exit.at), "kind": last_exit.kind.value, "code": last_exit.code},
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
    """Read what was kept, by account; a file that is missing or unreadable keeps nothing.

    Raises:
        StateError: The file is there and says nothing that can be understood.
    """
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_SIZE))
        return {name: _read(entry) for name, entry in document["accounts"].items()}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StateError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise StateError(
            f"{path}: is damaged. It holds which accounts an operator has stopped; move it away to start "
            "with all accounts that the configuration enables"
        ) from None


def _read(entry: Mapping[str, Any]) -> Kept:
    parked = entry.get("parked")
    if parked is not None:
        until = parked["until"]
        parked = Parked(State(parked["state"]), parked["reason"], None if until is None else float(until))
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
            and {"state": entry.parked.state, "reason": entry.parked.reason, "until": entry.parked.until},
            "shown": entry.shown,
        }
        for name, entry in kept.items()
    }
    data = json.dumps({"accounts": accounts}, indent=1).encode()
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
