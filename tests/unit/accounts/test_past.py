"""What an account remembers: why it has no session, and since when it is at rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import driving

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Quarantine
from orchestrator.accounts.events import (
    Begin,
    Exited,
    Found,
    LookedUp,
    Moment,
    Order,
    Ordered,
    Removed,
    Said,
    ShuttingDown,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, HAS_ENDED_SESSION, Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.past import CAUSES, RESTS, Cause, Past, Rest
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State

NUMBER = "4915100001"
CODE = pipe.Code("2@secret", b"png", 1000.0, 1060.0)


class Driver(driving.Driver):
    """An account with a clock. Its service can be replaced by another one."""

    def order(self, order: Order) -> None:
        self(Ordered(order))

    def begin(self, *, linked: bool) -> None:
        self(Begin())
        self(LookedUp(linked))  # which an account asks for that shows codes only on demand
        self.spawn(linked=linked)

    def spawn(self, *, linked: bool) -> None:
        self(TurnCame())
        self(Said(pipe.Connecting(linked)))
        self(Said(pipe.Connected(NUMBER) if linked else CODE))

    def next_try(self, *, linked: bool = False) -> None:
        due = self.account.next_retry_at
        assert due is not None
        self(Ticked(), due - self.now)
        self.spawn(linked=linked)

    def restart_service(self, *, killed: bool = False, away: float = 100.0) -> None:
        """Have another service take the account up, which has not begun with it yet."""
        if not killed:
            self(ShuttingDown(self.now + 10))
            if self.account.child is not None:
                self.end(Kind.STOPPED)
        parked, past = self.account.parked(Moment(self.now, self.now)), self.account.past
        self.now += away
        self.account = self.made(parked, past, stopped=self.account.stopped)

    def cause(self) -> Kind | None:
        found = self.account.past.cause
        return None if found is None else found.kind


def logged_out(**values: Any) -> Driver:  # noqa: ANN401
    driver = Driver(**values)
    driver.begin(linked=True)
    driver.end(Kind.LOGGED_OUT)
    assert driver.account.past.cause == Cause(Kind.LOGGED_OUT, "ended by logged_out", 1000.0)
    return driver


# Why it has no session


def test_the_cause_stays_while_the_account_pairs_and_after_its_rounds_and_ends_when_it_connects() -> None:
    driver = logged_out(pairing_rounds=1)
    driver.next_try()
    assert (driver.account.state, driver.cause()) == (State.PAIRING, Kind.LOGGED_OUT)
    driver.end(Kind.PAIRING_EXPIRED)
    assert (driver.account.state, driver.account.kind) == (State.FAILED, Kind.PAIRING_EXPIRED)
    assert driver.cause() is Kind.LOGGED_OUT
    driver.order(Order.START)
    driver.spawn(linked=False)
    driver(Said(pipe.Paired(NUMBER)))
    assert driver.cause() is Kind.LOGGED_OUT, "nobody knows yet whether that works"
    driver(Said(pipe.Connected(NUMBER)))
    assert driver.cause() is None


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_the_cause_outlasts_the_service(killed: bool) -> None:
    driver = logged_out(pairing_rounds=1)
    for _ in range(2):
        driver.restart_service(killed=killed)
        driver.begin(linked=False)
        assert (driver.account.state, driver.cause()) == (State.PAIRING, Kind.LOGGED_OUT)
    driver.end(Kind.PAIRING_EXPIRED)
    driver.restart_service(killed=killed)
    assert driver.account.past.cause == Cause(Kind.LOGGED_OUT, "ended by logged_out", 1000.0)


@pytest.mark.parametrize("order", [Order.STOP, Order.REPAIR, Order.RESTART, Order.START])
def test_the_cause_outlasts_what_operators_order(order: Order) -> None:
    driver = logged_out()
    driver.next_try()
    driver.order(order)
    if driver.account.stopping:
        driver.end(Kind.STOPPED)
    assert driver.cause() is Kind.LOGGED_OUT
    driver.order(Order.START)
    assert driver.cause() is Kind.LOGGED_OUT


def test_the_cause_comes_along_to_another_name() -> None:
    driver = logged_out()
    driver.next_try()
    former = driver.account
    driver(Removed(keep_session=True, why="renamed to help"))
    driver.end(Kind.STOPPED)
    after = Account(AccountSettings("help"), Moment(driver.now, driver.now), random=lambda: 0.5)
    after.take_over(former)
    assert after.past.cause == former.past.cause
    assert after.past.cause is not None


def test_the_cause_is_kept_while_nobody_looks_at_the_codes() -> None:
    driver = logged_out(pairing="on_demand")
    due = driver.account.next_retry_at
    assert due is not None
    driver(Ticked(), due - driver.now)
    assert driver.account.waits_for_look
    assert driver.cause() is Kind.LOGGED_OUT
    since = driver.account.since
    driver.restart_service()
    driver(Begin())
    driver(LookedUp(linked=False))
    assert driver.account.waits_for_look
    assert (driver.cause(), driver.account.since) == (Kind.LOGGED_OUT, since)


def test_a_session_that_is_there_again_ends_the_cause() -> None:
    driver = logged_out()
    driver(Found(NUMBER))
    assert driver.cause() is Kind.LOGGED_OUT
    driver(Found(NUMBER, restored=True))
    assert driver.cause() is None
    driver = logged_out()
    due = driver.account.next_retry_at
    assert due is not None
    driver(Ticked(), due - driver.now)
    driver(TurnCame())
    driver(Said(pipe.Connecting(True)))
    assert driver.cause() is None, "somebody has put one there"


@pytest.mark.parametrize("kind", sorted(HAS_ENDED_SESSION))
def test_a_session_that_never_worked_is_no_cause(kind: Kind) -> None:
    driver = Driver()
    driver.begin(linked=True)
    assert any(isinstance(action, Quarantine) for action in driver.end(kind))
    assert driver.cause() is (kind if kind in CAUSES else None)
    assert (kind is Kind.WRONG_PHONE) == (driver.cause() is None)


def test_a_log_out_during_a_repair_is_none() -> None:
    driver = Driver()
    driver.begin(linked=True)
    driver.order(Order.REPAIR)
    driver.end(Kind.LOGGED_OUT)
    assert driver.cause() is None


def test_a_log_out_while_it_stops_is_one() -> None:
    driver = Driver()
    driver.begin(linked=True)
    driver.order(Order.STOP)
    driver.end(Kind.LOGGED_OUT)
    assert (driver.account.state, driver.cause()) == (State.STOPPED, Kind.LOGGED_OUT)


# Since when it is at rest


def at_rest(state: State) -> Driver:
    """Return an account that came to a state a while after its service had started."""
    driver = Driver(max_retries=0) if state is State.FAILED else Driver()
    driver.begin(linked=True)
    driver.now += 50
    match state:
        case State.STOPPED:
            driver.order(Order.STOP)
            driver.end(Kind.STOPPED)
        case State.DISABLED:
            driver.configure(enabled=False)
            driver.end(Kind.STOPPED)
        case State.BANNED:
            driver(Said(pipe.Ended(Kind.TEMPORARY_BAN, "too much", None, 9000.0)))
            driver(Exited(EXIT_CODES[Kind.TEMPORARY_BAN]))
        case State.REPLACED:
            driver.end(Kind.REPLACED)
        case State.BACKOFF:
            driver.end(Kind.NETWORK)
        case State.OUTDATED:
            driver.end(Kind.OUTDATED)
        case State.FAILED:
            driver.end(Kind.CRASH)
    assert (driver.account.state, driver.account.since) == (state, driver.now)
    return driver


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
@pytest.mark.parametrize("state", [State.STOPPED, State.DISABLED, State.BANNED, State.REPLACED])
def test_what_stays_as_it_is_stays_since_the_same_time(state: State, killed: bool) -> None:
    driver = at_rest(state)
    since = driver.account.since
    for _ in range(2):
        driver.restart_service(killed=killed, away=10.0)
        driver(Begin())
        assert (driver.account.state, driver.account.since) == (state, since)
    driver.order(Order.STOP)
    driver.order(Order.START)
    assert driver.account.since == driver.now


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.BACKOFF, Kind.NETWORK),
        (State.OUTDATED, Kind.OUTDATED),
        (State.FAILED, Kind.CRASH),
    ],
)
def test_what_is_tried_again_and_fails_again_is_at_rest_since_the_same_time(state: State, kind: Kind) -> None:
    driver = at_rest(state)
    since = driver.account.since
    driver.restart_service()
    driver(Begin())
    driver(TurnCame())
    driver.restart_service(killed=True)  # before it has come anywhere
    driver(Begin())
    driver(TurnCame())
    driver.end(kind)
    assert (driver.account.state, driver.account.since) == (state, since)
    driver.order(Order.START)
    driver(TurnCame())
    driver.now += 7
    driver.end(kind)
    assert driver.account.since == driver.now, "within a service, each rest is one of its own"


def test_what_ends_in_another_way_or_worked_in_between_rests_anew() -> None:
    driver = at_rest(State.FAILED)
    driver.restart_service()
    driver.begin(linked=True)
    assert driver.account.past.rest is None
    driver.now += 5
    driver.end(Kind.CRASH)
    assert (driver.account.state, driver.account.since) == (State.FAILED, driver.now)
    driver.restart_service()
    driver(Begin())
    driver(TurnCame())
    driver.end(Kind.PASSKEY)
    assert (driver.account.state, driver.account.since) == (State.FAILED, driver.now)


def test_an_account_that_showed_its_code_when_the_service_stopped_waits_since_then() -> None:
    driver = Driver()
    driver.begin(linked=False)
    since = driver.account.since
    driver.restart_service()
    assert driver.account.past.rest == Rest(State.PAIRING, None, since), "and not since the service's end"
    driver.begin(linked=False)
    assert (driver.account.state, driver.account.since) == (State.PAIRING, since)


def test_nothing_rests_since_the_future() -> None:
    driver = Driver(stopped=True, past=Past(rest=Rest(State.STOPPED, None, 9e9)))
    driver(Begin())
    assert driver.account.since == driver.now


# Whatever happens

STEPS = st.one_of(
    st.sampled_from(sorted(Kind)),
    st.sampled_from(sorted(Order)),
    st.sampled_from(["spawn linked", "spawn", "paired", "connected", "tick", "restart", "kill", "disable"]),
)


@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_the_past_fits_the_present(steps: list[Kind | Order | str]) -> None:
    driver = Driver(pairing_rounds=1, max_retries=1)
    driver(Begin())
    for step in steps:
        driver.now += 1
        before, was_linked = driver.account.past.cause, driver.account.state is State.CONNECTED
        has_child = driver.account.child is not None
        match step:
            case Kind() if has_child:
                driver.end(step)
                if was_linked and step in CAUSES and not driver.account.stopping:
                    assert driver.account.past.cause is None or driver.account.past.cause.at == driver.now
            case Order():
                driver.order(step)
                assert driver.account.past.cause == before, "no order is a reason to forget"
            case "spawn" | "spawn linked" if driver.account.queued:
                driver.spawn(linked=step != "spawn")
            case "paired" if has_child:
                driver(Said(pipe.Paired(NUMBER)))
            case "connected" if has_child:
                driver(Said(pipe.Connected(NUMBER)))
            case "tick":
                due = driver.account.next_retry_at
                driver(Ticked(), 0.0 if due is None else max(0.0, due - driver.now))
            case "restart" | "kill":
                driver.restart_service(killed=step == "kill")
                assert driver.account.past.cause is None or driver.account.past.cause == before
                driver(Begin())
            case "disable":
                driver.configure(enabled=not driver.settings.enabled)
        account, past = driver.account, driver.account.past
        assert account.since <= driver.now
        if account.state is State.CONNECTED:
            assert past == Past()
        if account.state in RESTS and not account.stopping:
            assert past.rest is not None
            assert (past.rest.state, past.rest.since) == (account.state, account.since)
        assert past.cause is None or (past.cause.kind in CAUSES and past.cause.at <= driver.now)
