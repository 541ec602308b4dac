"""Every state has an outlook, and what it advises exists."""

import re
from typing import Any

import pytest

from orchestrator.accounts.failure import Kind
from orchestrator.accounts.looking import UNSEEN
from orchestrator.accounts.phone_watch import PhoneWatch
from orchestrator.accounts.states import WAITS_FOR_TURN, State
from orchestrator.control.outlook import outlook, without_service
from orchestrator.control.view import AccountView

AT = "2026-11-22T10:00:00Z"


def account(state: State, **other: Any) -> AccountView:  # noqa: ANN401 - fields of several types
    return AccountView("a", state.value, **other)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", [None, *Kind])
@pytest.mark.parametrize("at", [None, AT])
def test_every_state_has_an_outlook_with_commands_that_exist(
    state: State, kind: Kind | None, at: str | None
) -> None:
    found = outlook(account(state, kind=kind, next_retry_at=at))
    assert found.next
    if state in (State.BACKOFF, State.BANNED, State.REPLACED):
        assert found.at == at
    for command in re.findall(r"`orchestrator (\w+)", " ".join(found.advice)):
        assert command in {"reload", "doctor", "run", "start", "repair", "qr", "enable", "cluster"}


def test_parked_accounts_say_whether_they_are_tried_again() -> None:
    assert "once" in outlook(account(State.BANNED, next_retry_at=AT)).next
    assert "operator" in outlook(account(State.BANNED)).next
    assert "once more" in outlook(account(State.REPLACED, next_retry_at=AT)).next
    assert "orchestrator start a" in " ".join(outlook(account(State.REPLACED)).advice)


def test_a_code_is_scanned_where_it_is_shown() -> None:
    found = outlook(account(State.PAIRING, pid=7, qr_path="/qr/a.png", qr_expires_at=AT))
    assert (found.at, "/qr/a.png" in found.advice[0]) == (AT, True)
    assert "orchestrator qr a" in outlook(account(State.PAIRING)).advice[0]


def test_a_code_that_nobody_looks_at_is_not_there_yet() -> None:
    found = outlook(account(State.PAIRING, reason=UNSEEN))
    assert "as soon as somebody looks" in found.next
    assert "`orchestrator qr a` shows the code" in found.advice[0]


@pytest.mark.parametrize("state", list(State))
def test_without_a_service_nothing_is_ahead_and_the_service_is_what_is_missing(state: State) -> None:
    found = without_service(account(state, next_retry_at=AT), "systemctl start orchestrator")
    assert found.next.startswith("nothing while the service is not running")
    assert (found.at == AT) == (state is State.BANNED)
    assert found.advice == ("start the service: `systemctl start orchestrator`",)


def test_a_phone_that_is_missing_is_to_be_opened() -> None:
    said = PhoneWatch(1.0, 1.0, 10).text
    found = outlook(account(State.CONNECTED, phone_unlinks_at=AT, reason=said))
    assert (found.at, "unlinks" in found.next) == (AT, True)
    assert len(found.advice) == 1
    assert "open WhatsApp on the phone" in found.advice[0]
    assert outlook(account(State.CONNECTED, phone_unlinks_at=AT, reason="other")).advice[1:] == ("other",)
    waits = f"{WAITS_FOR_TURN}: why"
    assert "process" in outlook(account(State.CONNECTED, phone_unlinks_at=AT, reason=waits)).next


def test_an_account_that_waits_for_the_network_of_all_says_so() -> None:
    found = outlook(account(State.BACKOFF, kind=Kind.NETWORK, next_retry_at=AT, held=True))
    assert "another account tests the network" in found.next
    assert found.at == AT
    assert "`orchestrator start a`" in found.advice[0]


@pytest.mark.parametrize("state", State)
def test_messages_that_nobody_keeps_are_told_with_what_to_do(state: State) -> None:
    found = outlook(account(state, refused=12))
    assert found.advice[-1].count("`allow:`") == 1
    assert found.advice[:-1] == outlook(account(state)).advice
    assert outlook(account(state, refused=12, stored=0)) == outlook(account(state)), "some people are allowed"
