"""Whether waiting for an account's state makes sense, and what to say of one that is not there. Pure."""

from __future__ import annotations

from typing import Final

from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.states import MAINTENANCE, State
from orchestrator.control.view import AccountView

_UNTIL_SOMEBODY_ACTS: Final = frozenset({State.DISABLED, State.STOPPED, State.FAILED})
_UNTIL_ITS_TIME: Final = frozenset({State.BANNED, State.REPLACED})


def is_hopeless(view: AccountView, wanted: State) -> bool:
    """Tell whether an account stays as it is until an operator acts, although another state is wanted.

    A code that waits for a phone is no such case: that somebody scans it is what people wait for.

    Args:
        view: The account.
        wanted: The state that is waited for.
    """
    if view.state == wanted:
        return False
    if view.state in _UNTIL_SOMEBODY_ACTS:
        return True
    if view.held and (view.reason or "").startswith(MAINTENANCE):
        return True
    return view.state in _UNTIL_ITS_TIME and view.next_retry_at is None


def counts(view: AccountView, wanted: State) -> bool:
    """Tell whether an account counts where all accounts are waited for, and none is named.

    As in a check, an account that somebody disabled or stopped on purpose does not. Accounts that are stopped
    because the service ends do: whoever waits must not hear that all is well.

    Args:
        view: The account.
        wanted: The state that is waited for.
    """
    if view.state == wanted:
        return True
    return view.state != State.DISABLED and not (view.state == State.STOPPED and view.reason == STOPPED)


def missing(view: AccountView, wanted: State) -> str:
    """Say how an account is that is not in the wanted state, and what to do if waiting does not help."""
    said = f"{view.name} is {view.state}" + (f": {view.reason}" if view.reason else "")
    if is_hopeless(view, wanted):
        said += f"; waiting does not help: `orchestrator explain {view.name}` says what does"
    return said
