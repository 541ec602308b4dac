"""Says of an account why it has no session any more, beside why it is in its present state. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.states import CODE_WAITS, State
from orchestrator.control.view import AccountView

_WORDS: Final[Mapping[str | None, str]] = {
    Kind.LOGGED_OUT: "logged out by its phone",
    Kind.LOCKED: "locked by WhatsApp",
    Kind.DAMAGED: "its session was damaged",
}
_SAYS_SO: Final = frozenset({State.BACKOFF, State.FAILED, State.BANNED})
"""States whose reason is the cause itself, if the same kind has led to them."""
_OVER: Final = frozenset({State.CONNECTED, State.CONNECTING, State.RECONNECTING})
"""States in which a code was used, or was not needed."""


def words(view: AccountView) -> str | None:
    """Return why an account has no session, in a few words; None if it has one, or that is not known."""
    return None if view.cause is None else _WORDS.get(view.cause.kind)


def reason(view: AccountView, clock: Callable[[str], str] | None = None) -> str | None:
    """Return why an account is not connected, for people: with why it has no session, which may be long ago.

    Args:
        view: The account.
        clock: Writes a time in ISO form for people; None leaves the time out.
    """
    cause, known = view.cause, words(view)
    told = view.state in _SAYS_SO and cause is not None and view.kind == cause.kind
    if cause is None or known is None or told or view.state in _OVER:
        return view.reason
    since = f"{known} {clock(cause.at)}" if clock is not None and cause.at else known
    if not view.reason:
        return since
    if view.state in (State.STOPPED, State.DISABLED):
        return f"{view.reason}; {since}"
    return f"{since}; {'waits for a code' if view.reason == CODE_WAITS else view.reason}"
