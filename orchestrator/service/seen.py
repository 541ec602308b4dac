"""What is shown of an account that this machine does not run. Pure.

Its owner writes down how it is, within a second of each change. Without an owner, or without the database,
what was written last is true no more: then this says what is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.accounts import characters
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.moments import why_disabled
from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.states import WAITS_FOR_SHARD, State
from orchestrator.control.view import AccountView, Cause
from orchestrator.store.owned import Owned
from orchestrator.store.summary import Summary
from orchestrator.system.clock import iso
from orchestrator.system.masking import mask_number

WAITS: Final = f"{WAITS_FOR_SHARD}: no machine that runs has the account in its configuration and has room"
"""The reason of an account that no machine of the cluster runs."""
STRANGE: Final = "the machine is of another version, and calls its state {state}"
"""The reason of an account in a state that this version does not know."""
COMES: Final = "a machine has just taken the account over, and has not said yet how it is"
"""The reason of an account that has an owner who has written nothing down of it."""
_LONGEST: Final = 1000
"""Characters of a text that another machine has written."""
_LONGEST_WORD: Final = 20


def describe(
    name: str,
    configured: Summary | None,
    owned: Owned,
    now: float,
    away: str | None = None,
    *,
    reveal: bool = False,
) -> AccountView:
    """Return what is shown of an account.

    Args:
        name: The account.
        configured: What the configuration of this machine says, None if it does not have the account.
        owned: What the database says, or has said last.
        now: Unix seconds.
        away: Why the database cannot be asked; None if it can.
        reveal: Show the phone number unmasked, if it is known.
    """
    last = _last(name, owned.kept.shown)
    if configured is not None:
        phone = configured.phone if configured.phone is not None else last.phone
        last = last._replace(phone=phone, tags=configured.tags, proxy=configured.proxy, note=configured.note)
    number = owned.kept.guard.number
    if reveal and number is not None and last.phone == mask_number(number):
        last = last._replace(phone=f"+{number}")
    if away is None:
        last = last._replace(shard=owned.shard, lease_age_s=_rounded(owned.lease_age))
        if owned.shard is not None and not owned.is_new and last.state:
            up = last.uptime_s
            if last.state not in {*State}:
                why = STRANGE.format(state=characters.one_line(last.state, _LONGEST_WORD))
                last = last._replace(state=State.BACKOFF.value, reason=why)
            return last._replace(uptime_s=None if up is None else round(up + owned.age, 1))
    return _without_word(last, configured, owned, now, away)


def _without_word(
    last: AccountView, configured: Summary | None, owned: Owned, now: float, away: str | None
) -> AccountView:
    """Return what is shown of an account whose owner does not say how it is."""
    kept = owned.kept
    cause = kept.past.cause
    last = last._replace(
        kind=None,
        since=None,
        attempt=0,
        next_retry_at=None,
        held=False,
        uptime_s=None,
        pid=None,
        qr_expires_at=None,
        memory_bytes=None,
        open_files=None,
        threads=None,
        isolation=None,
        cause=None if cause is None else Cause(cause.kind.value, cause.reason, iso(cause.at)),
    )

    if configured is not None and not configured.runs_at(now):
        why = why_disabled(configured.disabled_until, configured.note)
        return last._replace(state=State.DISABLED.value, reason=why)
    if kept.stopped:
        return last._replace(state=State.STOPPED.value, reason=STOPPED)
    if kept.parked is not None:
        parked = kept.parked
        return last._replace(state=parked.state.value, reason=parked.reason, next_retry_at=iso(parked.until))
    if away is not None:
        return last._replace(state=State.BACKOFF.value, reason=away, kind=Kind.STORE.value, held=True)
    if last.state == State.FAILED:
        return last
    if owned.shard is None:
        return last._replace(state=State.BACKOFF.value, reason=WAITS, since=iso(now - owned.waiting))
    return last._replace(state=State.STARTING.value, reason=COMES)


def _last(name: str, shown: Mapping[str, Any] | None) -> AccountView:
    """Return what the owner has written down; a service of another version may have done so.

    Paths are of the other machine, where nobody looks for them.
    """
    values = {key: _short(value) for key, value in (shown or {}).items()}
    state = values.get("state")
    last = AccountView.from_json({**values, "state": state if isinstance(state, str) else "", "name": name})
    end = last.last_exit
    return last._replace(
        qr_path=None,
        cpu_s=None,
        last_exit=None if end is None else end._replace(traceback=None),
        shard=None,
        lease_age_s=None,
    )


def _short(value: object) -> object:
    if isinstance(value, str):
        return characters.one_line(value, _LONGEST)
    if isinstance(value, Mapping):
        return {key: _short(one) for key, one in [*value.items()][:20]}
    if isinstance(value, list):
        return [_short(one) for one in value[:100]]
    return value


def word(state: object) -> str:
    """Return the word of a state, wherever it comes from, for a sentence."""
    return state if isinstance(state, str) and state in {*State} else "seen"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(max(0.0, seconds), 1)
