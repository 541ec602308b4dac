"""When waiting for an account makes sense."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.states import MAINTENANCE, SERVICE_STOPS, State
from orchestrator.control.view import AccountView
from orchestrator.control.waiting import counts, is_hopeless, missing

VIEWS = st.builds(
    AccountView,
    name=st.just("a"),
    state=st.sampled_from([str(state) for state in State]),
    reason=st.none() | st.just(f"{MAINTENANCE}: waits") | st.text(max_size=20),
    next_retry_at=st.none() | st.just("2026-11-30T00:00:00Z"),
    held=st.booleans(),
)
STATES = st.sampled_from(list(State))


@given(VIEWS, STATES)
def test_an_account_that_is_there_is_no_hopeless_case(view: AccountView, wanted: State) -> None:
    if view.state == wanted:
        assert not is_hopeless(view, wanted)


@given(VIEWS, STATES)
def test_only_what_an_operator_must_act_on_is_hopeless(view: AccountView, wanted: State) -> None:
    if not is_hopeless(view, wanted):
        return
    maintained = view.held and (view.reason or "").startswith(MAINTENANCE)
    assert view.state in {"disabled", "stopped", "failed", "banned", "replaced"} or maintained
    if view.state in {"banned", "replaced"} and not maintained:
        assert view.next_retry_at is None


@given(VIEWS.filter(lambda view: view.state in {"disabled", "stopped", "failed"}))
def test_who_waits_for_such_an_account_is_told_at_once(view: AccountView) -> None:
    assert is_hopeless(view, State.CONNECTED)
    assert "waiting does not help: `orchestrator explain a`" in missing(view, State.CONNECTED)


@given(VIEWS, STATES)
def test_an_account_of_a_service_that_stops_counts_where_all_are_waited_for(
    view: AccountView, wanted: State
) -> None:
    if view.state == wanted or view.state not in {"disabled", "stopped"}:
        assert counts(view, wanted)
    elif view.state == "stopped":
        assert counts(view._replace(reason=SERVICE_STOPS), wanted)
        assert not counts(view._replace(reason=STOPPED), wanted)
    else:
        assert not counts(view, wanted)


@given(VIEWS.filter(lambda view: view.state in {"pairing", "starting", "connecting", "reconnecting"}))
def test_a_code_that_waits_for_its_phone_is_waited_for(view: AccountView) -> None:
    if not view.held:
        assert not is_hopeless(view, State.CONNECTED)
        assert "waiting does not help" not in missing(view, State.CONNECTED)
