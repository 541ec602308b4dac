"""What is shown of an account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.accounts.states import State
from orchestrator.system.clock import iso
from orchestrator.system.masking import mask_number

if TYPE_CHECKING:
    # At run time, a command that only reads what was kept needs none of the account's machine.
    from orchestrator.accounts.events import Moment
    from orchestrator.accounts.machine import Account


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
