"""Makes the view of an account from the account's machine."""

from __future__ import annotations

from pathlib import Path

from orchestrator.accounts.events import Moment
from orchestrator.accounts.machine import Account
from orchestrator.accounts.states import State
from orchestrator.control.view import AccountView, LastExit
from orchestrator.service import isolation
from orchestrator.system.clock import iso
from orchestrator.system.masking import mask_number


def describe(
    account: Account,
    now: Moment,
    *,
    qr_path: Path | None,
    note: str | None = None,
    code_expires_at: float | None,
    traceback: Path | None = None,
    reveal: bool = False,
) -> AccountView:
    """Return what others see of an account; what its process uses is not read here.

    Args:
        account: The account.
        now: The present moment.
        qr_path: The picture of the code, if one is shown.
        note: A problem beside the account itself. It is shown as the reason.
        code_expires_at: Unix time at which the code expires.
        traceback: The file with the stack traces of the last process, if there is one.
        reveal: Show the phone number unmasked.
    """
    retry = account.next_retry_at
    child = account.child
    connected = account.state is State.CONNECTED and account.connected_at is not None
    end = account.last_exit
    phone = account.phone
    return AccountView(
        name=account.settings.name,
        state=account.state.value,
        since=iso(account.since),
        reason=note or account.reason,
        kind=account.kind.value if account.kind else None,
        phone=None if phone is None else f"+{phone}" if reveal else mask_number(phone),
        pid=child.pid if child else None,
        attempt=account.attempt,
        next_retry_at=None if retry is None else iso(now.wall_at(retry)),
        held=account.held,
        restarts=account.restarts,
        uptime_s=round(now.monotonic - (account.connected_at or 0), 1) if connected else None,
        last_seen_at=iso(account.last_seen_at),
        qr_path=str(qr_path) if qr_path else None,
        qr_expires_at=iso(code_expires_at),
        memory_bytes=account.memory_bytes,
        open_files=account.open_files,
        isolation=isolation.describe(child.missing) if child else None,
        last_exit=None
        if end is None
        else LastExit(iso(end.at), end.kind.value, end.code, str(traceback) if traceback else None),
    )
