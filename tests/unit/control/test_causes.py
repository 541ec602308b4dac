"""Why an account has no session, beside why it is in its present state."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.looking import UNSEEN
from orchestrator.accounts.past import CAUSES
from orchestrator.accounts.states import CODE_WAITS, State
from orchestrator.cli.formatting import clock
from orchestrator.control import causes
from orchestrator.control.attention import need
from orchestrator.control.view import AccountView, Cause

AT = "2026-11-30T03:12:05Z"
OUT = Cause(Kind.LOGGED_OUT, "WhatsApp logged the account out", AT)


def account(state: State, cause: Cause | None = OUT, **values: Any) -> AccountView:  # noqa: ANN401
    return AccountView("a", state.value, cause=cause, **values)


@pytest.mark.parametrize(
    ("view", "said"),
    [
        (account(State.PAIRING, reason=CODE_WAITS), "logged out by its phone 03:12; waits for a code"),
        (account(State.PAIRING, reason=UNSEEN), f"logged out by its phone 03:12; {UNSEEN}"),
        (
            account(State.FAILED, reason="nobody used a code in 3 rounds", kind=Kind.PAIRING_EXPIRED),
            "logged out by its phone 03:12; nobody used a code in 3 rounds",
        ),
        (account(State.BACKOFF, reason="no network", kind=Kind.NETWORK),
         "logged out by its phone 03:12; no network"),
        (account(State.STOPPED, reason="stopped by an operator"),
         "stopped by an operator; logged out by its phone 03:12"),
        (account(State.DISABLED), "logged out by its phone 03:12"),
        (account(State.PAIRING, Cause("damaged", None, None), reason=CODE_WAITS),
         "its session was damaged; waits for a code"),
        (account(State.PAIRING, Cause("locked", None, AT), reason=CODE_WAITS),
         "locked by WhatsApp 03:12; waits for a code"),
        # The reason says it already, there is none, or it is over.
        (account(State.BACKOFF, reason="logged out", kind=Kind.LOGGED_OUT), "logged out"),
        (account(State.FAILED, reason="logged out", kind=Kind.LOGGED_OUT), "logged out"),
        (account(State.PAIRING, None, reason=CODE_WAITS), CODE_WAITS),
        (account(State.PAIRING, Cause("a later word", None, AT), reason=CODE_WAITS), CODE_WAITS),
        (account(State.CONNECTING), None),
        (account(State.CONNECTED, reason="outgrown"), "outgrown"),
    ],
)  # fmt: skip
def test_the_cause_is_told_beside_the_reason(view: AccountView, said: str | None) -> None:
    assert causes.reason(view, lambda iso: iso[11:16]) == said


def test_the_time_can_be_left_out() -> None:
    said = causes.reason(account(State.PAIRING, reason=CODE_WAITS))
    assert said == "logged out by its phone; waits for a code"


@pytest.mark.parametrize("kind", sorted(CAUSES))
def test_there_are_words_for_each_cause(kind: Kind) -> None:
    assert causes.words(account(State.PAIRING, Cause(kind, None, AT)))


def test_a_time_of_another_day_has_its_date() -> None:
    noon = 1_800_000_000.0  # of some day, in most places
    assert len(clock("2027-01-15T08:00:00Z", noon)) == len("03:12")
    assert clock("2027-01-12T08:00:00Z", noon).startswith("2027-01-12 ")
    assert clock("nonsense", noon) == "-"


@pytest.mark.parametrize(
    ("cause", "kind"),
    [(OUT, "logged_out"), (None, "failed"), (Cause("damaged", None, AT), "failed"), (Cause(), "failed")],
)
def test_an_account_whose_rounds_ended_after_a_log_out_is_logged_out(cause: Cause | None, kind: str) -> None:
    found = need(account(State.FAILED, cause, kind=Kind.PAIRING_EXPIRED, reason="nobody used a code"))
    assert found is not None
    assert (found.kind, found.action, found.command) == (kind, "repair", "orchestrator qr a")


def test_the_cause_is_read_as_it_was_written() -> None:
    view = account(State.PAIRING)
    assert AccountView.from_json(view.as_json()) == view
    for strange in ("logged_out", 7, ["logged_out"], {"kind": 7, "at": ["x"], "reason": None, "more": 1}):
        found = AccountView.from_json({**view.as_json(), "cause": strange})
        assert found.cause in (None, Cause())
        assert causes.reason(found, lambda iso: iso) is None
