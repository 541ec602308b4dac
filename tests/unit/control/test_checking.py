"""Which accounts are down, and since when, however often they have tried meanwhile."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.states import State
from orchestrator.control.checking import NOT_DOWN, down_since, is_down
from orchestrator.control.view import AccountView
from orchestrator.system.clock import utc

STATES = st.sampled_from([*State, "a-word-of-tomorrow"])


def history(states: list[str]) -> list[dict[str, Any]]:
    """Return a timeline in which an account went through these states, one a second."""
    return [
        {"at": utc(second), "from": str(before), "to": str(after)}
        for second, (before, after) in enumerate(itertools.pairwise(states), 1)
    ]


def last(states: list[str]) -> AccountView:
    return AccountView("a", str(states[-1]), since=utc(len(states) - 1))


@given(STATES)
def test_what_somebody_wanted_is_not_down(state: str) -> None:
    assert is_down(AccountView("a", str(state))) is (state not in ("connected", "stopped", "disabled"))


@given(st.lists(STATES, min_size=1, max_size=30), STATES.filter(lambda one: one not in NOT_DOWN))
def test_an_account_is_down_since_it_was_connected_or_left_alone_last(before: list[str], now: str) -> None:
    states = [*before, now]
    up = [number for number, state in enumerate(states) if state in NOT_DOWN]
    found = down_since(last(states), history(states), whole=True)
    # Without any such state, the first entry is the first that is known of the account.
    assert found == utc(up[-1] + 1 if up else 1)


@given(st.lists(STATES.filter(lambda one: one not in NOT_DOWN), min_size=2, max_size=30))
def test_a_history_that_does_not_go_back_far_enough_says_nothing(states: list[str]) -> None:
    assert down_since(last(states), history(states), whole=False) is None


def test_what_has_happened_since_the_account_was_looked_at_counts() -> None:
    """The account has connected between the two questions: it is down for no time at all."""
    states = ["connected", "backoff", "connected"]
    looked_at = AccountView("a", "backoff", since=utc(90))
    assert down_since(looked_at, history(states), whole=True) == utc(90)


def test_a_remark_about_a_connected_account_begins_nothing() -> None:
    entries = history(["starting", "connected", "connected", "reconnecting", "backoff"])
    assert down_since(last(["", "", "", "", "backoff"]), entries, whole=True) == utc(3)
