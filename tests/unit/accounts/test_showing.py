"""What an operator gets who asks for the code of an account: the code, a new round, or a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.accounts.child import Child
from orchestrator.accounts.events import Moment
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.maintenance import REASON
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.showing import begins_round
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError


def account(state: State, kind: Kind | None = None, *, held: bool = False, retry: bool = False) -> Standing:
    found = Standing(AccountSettings("support"), Moment(1000.0, 1000.0))
    found.state, found.kind, found.held = state, kind, held
    found.next_retry_at = 2000.0 if retry else None
    return found


def never() -> bool:
    raise AssertionError("nobody has to look at the session for that")


def ask(of: Standing, *, maintenance: bool = False, has_session: Callable[[], bool] = never) -> bool:
    return begins_round(of, maintenance=maintenance, has_session=has_session)


def refused(of: Standing, key: str, *, maintenance: bool = False, session: bool = False) -> str:
    with pytest.raises(OrchestratorError) as caught:
        ask(of, maintenance=maintenance, has_session=lambda: session)
    assert caught.value.key == key
    return str(caught.value)


@pytest.mark.parametrize("kind", [None, *Kind])
def test_an_account_that_was_given_up_and_has_no_session_begins_a_round(kind: Kind | None) -> None:
    assert ask(account(State.FAILED, kind), has_session=lambda: False)


@pytest.mark.parametrize("kind", [None, *Kind])
def test_no_session_is_touched(kind: Kind | None) -> None:
    said = refused(account(State.FAILED, kind), "no_code", session=True)
    assert "orchestrator start support" in said
    assert "orchestrator repair support" in said


@pytest.mark.parametrize("kind", Kind)
def test_who_waits_for_the_next_round_need_not_wait(kind: Kind) -> None:
    waits = account(State.BACKOFF, kind, retry=True)
    begins = kind in (Kind.PAIRING_EXPIRED, Kind.LOGGED_OUT, Kind.LOCKED, Kind.DAMAGED)
    assert ask(waits, has_session=lambda: False) is begins, "what waits for a network waits on"
    assert not ask(waits, has_session=lambda: True)


@pytest.mark.parametrize("state", [State.STARTING, State.CONNECTING, State.PAIRING, State.RECONNECTING])
@pytest.mark.parametrize("maintenance", [False, True])
def test_what_is_on_its_way_is_watched(state: State, maintenance: bool) -> None:
    assert not ask(account(state), maintenance=maintenance)


def test_an_account_that_waits_for_the_network_of_all_waits_on() -> None:
    assert not ask(account(State.BACKOFF, Kind.NETWORK, held=True, retry=True))


@pytest.mark.parametrize("state", State)
def test_a_process_that_stops_is_waited_for(state: State) -> None:
    found = account(state)
    found.child = Child(1000.0, None, purpose="stop")
    assert not ask(found, maintenance=True)


@pytest.mark.parametrize(
    "waiting",
    [
        account(State.FAILED, Kind.PAIRING_EXPIRED),
        account(State.BACKOFF, Kind.PAIRING_EXPIRED, retry=True),
        account(State.BACKOFF, held=True),
    ],
    ids=["failed", "between rounds", "waits for its end"],
)
def test_maintenance_is_respected_and_named(waiting: Standing) -> None:
    said = refused(waiting, "no_code", maintenance=True)
    assert REASON in said
    assert "orchestrator start support" in said


@pytest.mark.parametrize(
    ("at_rest", "key", "advice"),
    [
        (account(State.CONNECTED), "already_connected", "there is no code to scan"),
        (account(State.DISABLED), "account_disabled", "`orchestrator enable support`"),
        (account(State.STOPPED), "no_code", "`orchestrator start support`"),
        (account(State.BANNED, retry=True), "no_code", "longer"),
        (account(State.BANNED), "no_code", "`orchestrator repair support`"),
        (account(State.OUTDATED, held=True), "no_code", "upgrade neonize"),
        (account(State.OUTDATED), "no_code", "upgrade neonize"),
        (account(State.REPLACED), "no_code", "`orchestrator explain support`"),
    ],
    ids=["connected", "disabled", "stopped", "banned", "locked", "all outdated", "outdated", "replaced"],
)
@pytest.mark.parametrize("maintenance", [False, True])
def test_what_shows_no_code_says_what_to_do(
    at_rest: Standing, key: str, advice: str, maintenance: bool
) -> None:
    with pytest.raises(OrchestratorError, match=advice) as caught:
        ask(at_rest, maintenance=maintenance)
    assert caught.value.key == key
    assert "support" in str(caught.value)
