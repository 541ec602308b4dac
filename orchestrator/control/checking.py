"""Says whether an account is down, and since when: what a monitor asks. Pure.

An account is down if nobody wanted it to be: what an operator stopped or disabled is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from orchestrator.accounts.states import State
from orchestrator.control.view import AccountView

NOT_DOWN: Final = frozenset((State.CONNECTED, State.STOPPED, State.DISABLED))
"""The states in which an account is connected, or is not because somebody wanted that."""


def is_down(view: AccountView) -> bool:
    """Tell whether an account should be connected, and is not."""
    return view.state not in NOT_DOWN


def down_since(view: AccountView, timeline: Sequence[Mapping[str, Any]], *, whole: bool) -> str | None:
    """Return since when an account is down without a break, in ISO form; None if longer than anybody knows.

    The state alone does not tell: an account that tries again and again changes its state all the time.

    Args:
        view: The account, which is down.
        timeline: Its entries, the oldest first.
        whole: There are no older entries than these.
    """
    begin = view.since
    for entry in reversed(timeline):
        if entry["to"] in NOT_DOWN:
            return begin
        begin = str(entry["at"])
        if entry.get("from") in NOT_DOWN:
            return begin
    return begin if whole else None
