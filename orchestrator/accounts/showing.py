"""What an operator gets who asks for an account's code: the code, a new round of codes, or a reason. Pure.

Asking for a code never touches a session, and ends neither a ban, nor an operator's stop, nor maintenance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.maintenance import REASON
from orchestrator.accounts.past import CAUSES
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError

_WANTS_CODE: Final = CAUSES | {Kind.PAIRING_EXPIRED}
"""The kinds of end after which an account that waits for its next try is about to show a code."""


def begins_round(account: Standing, *, maintenance: bool, has_session: Callable[[], bool]) -> bool:
    """Tell whether an account must start for its code to be shown; else the code is there, or on its way.

    Args:
        account: The account.
        maintenance: Whether maintenance is on.
        has_session: Tells whether the account may have a session. It is asked only where that matters.

    Raises:
        OrchestratorError: There is no code, and none can be had by asking; the message says what to do.
    """
    if account.stopping:
        return False
    match account.state:
        case State.FAILED if has_session():
            name = account.settings.name
            raise _no_code(
                account,
                f"it has a session, which stays as it is: `orchestrator explain {name}` says why it failed,"
                f" `orchestrator start {name}` tries again, `orchestrator repair {name}` pairs anew",
            )
        case State.FAILED:
            begins = True
        case State.BACKOFF:
            begins = not account.held and account.kind in _WANTS_CODE and not has_session()
        case State.STARTING | State.CONNECTING | State.PAIRING | State.RECONNECTING:
            return False
        case _:
            raise _refusal(account)
    if maintenance and (begins or account.held):
        name = account.settings.name
        raise _no_code(account, f"{REASON}; `orchestrator start {name}` starts this account all the same")
    return begins


def _refusal(account: Standing) -> OrchestratorError:
    """Return why an account shows no code that is at rest, and what to do."""
    name = account.settings.name
    match account.state:
        case State.CONNECTED:
            return OrchestratorError(
                f"{name} is connected: there is no code to scan", key="already_connected"
            )
        case State.DISABLED:
            return OrchestratorError(
                f"{name} is disabled: run `orchestrator enable {name}` first", key="account_disabled"
            )
        case State.STOPPED:
            return _no_code(
                account, f"`orchestrator start {name}` starts it, and if it has no session, it shows a code"
            )
        case State.BANNED if account.next_retry_at is not None:
            return _no_code(
                account,
                f"an earlier try makes a ban longer; `orchestrator explain {name}` says when it ends",
            )
        case State.BANNED:
            return _no_code(
                account,
                "open WhatsApp on the phone, which shows the reason; when the phone works again, run"
                f" `orchestrator repair {name}`",
            )
        case State.OUTDATED:
            return _no_code(
                account,
                "WhatsApp refuses this version of neonize: upgrade neonize, which the service then uses by"
                " itself",
            )
        case _:
            return _no_code(
                account,
                f"`orchestrator explain {name}` says why, `orchestrator repair {name}` pairs anew",
            )


def _no_code(account: Standing, why: str) -> OrchestratorError:
    name, state = account.settings.name, account.state
    return OrchestratorError(f"{name} is {state} and shows no code: {why}", key="no_code")
