"""Makes the views of accounts from their machines."""

from __future__ import annotations

import logging
from pathlib import Path

from orchestrator.accounts import proxy
from orchestrator.accounts.events import Moment
from orchestrator.accounts.machine import Account
from orchestrator.accounts.moments import why_disabled
from orchestrator.accounts.pipe import Code
from orchestrator.accounts.states import State
from orchestrator.control.view import AccountView, Cause, LastExit
from orchestrator.service import isolation
from orchestrator.service.codes import Pictures
from orchestrator.service.roster import Managed, Roster
from orchestrator.service.timers import now
from orchestrator.system.clock import iso
from orchestrator.system.masking import mask_number

log = logging.getLogger(__name__)

SAME_PHONE = 8
"""Other accounts of its phone that are shown of an account; WhatsApp links four devices of one."""
BUG = "a bug in the service: the service's log has the details"
"""The reason shown for an account that has met one."""


class Views:
    """What others see of the accounts.

    Args:
        roster: The accounts.
        pictures: The pictures of their codes.
    """

    def __init__(self, roster: Roster, pictures: Pictures) -> None:
        self._roster = roster
        self._pictures = pictures

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        """Return what others see of an account. One that cannot be described keeps nobody from the others.

        Args:
            name: The account.
            reveal: Show the phone number unmasked.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        managed = self._roster.get(name)
        try:
            shown = self._describe(name, managed, reveal=reveal)
        except Exception:
            if not managed.unseen:
                log.exception("%s: a bug in the service: the account cannot be described", name)
            managed.unseen = True
            return _with_bug(AccountView(name, State.FAILED.value))
        managed.unseen = False
        return _with_bug(shown) if managed.bug else shown

    def _describe(self, name: str, managed: Managed, *, reveal: bool) -> AccountView:
        code = managed.code
        shown, note = self._pictures.about(name) if isinstance(code, Code) else (None, None)
        view = describe(
            managed.account,
            now(),
            qr_path=shown,
            note=note,
            code_expires_at=code.expires_at if code else None,
            traceback=managed.traceback,
            reveal=reveal,
        )
        waiting = managed.waiting if self._roster.settings.needs_gateway else None
        return view._replace(waiting=waiting, same_phone=self._roster.phones.others(name)[:SAME_PHONE])


def _with_bug(shown: AccountView) -> AccountView:
    """Return what others see of an account that has met a bug in the service."""
    return shown._replace(state=State.FAILED.value, reason=BUG, kind=None, next_retry_at=None)


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
    cause = account.past.cause
    phone = account.phone
    limits = account.limits.at(now.wall)
    settings = account.settings
    disabled_until = None if settings.enabled else settings.disabled_until
    disabled = account.state is State.DISABLED
    return AccountView(
        name=account.settings.name,
        state=account.state.value,
        since=iso(account.since),
        reason=why_disabled(disabled_until, settings.note) if disabled else note or account.reason,
        kind=account.kind.value if account.kind else None,
        phone=None if phone is None else f"+{phone}" if reveal else mask_number(phone),
        pid=child.pid if child else None,
        attempt=account.attempt,
        next_retry_at=None if retry is None else iso(now.wall_at(retry)),
        held=account.held,
        restarts=account.restarts,
        uptime_s=round(now.monotonic - (account.connected_at or 0), 1) if connected else None,
        last_seen_at=iso(account.last_seen_at),
        phone_seen_at=iso(account.watch.seen_at),
        phone_unlinks_at=iso(account.watch.unlinked_at),
        qr_path=str(qr_path) if qr_path else None,
        qr_expires_at=iso(code_expires_at),
        memory_bytes=account.memory_bytes,
        open_files=account.open_files,
        isolation=isolation.describe(child.missing) if child else None,
        stored=account.received.stored,
        refused=account.received.refused,
        lost=account.received.lost,
        queued=account.to_send,
        restricted=None if limits.text is None else limits.what.value,
        restricted_until=iso(limits.until),
        last_exit=None
        if end is None
        else LastExit(iso(end.at), end.kind.value, end.code, str(traceback) if traceback else None),
        tags=settings.tags,
        proxy=proxy.shown(settings.proxy),
        last_in_at=iso(account.last_in_at),
        last_out_at=iso(account.last_out_at),
        note=settings.note,
        disabled_until=iso(disabled_until),
        cause=None if cause is None else Cause(cause.kind.value, cause.reason, iso(cause.at)),
    )
