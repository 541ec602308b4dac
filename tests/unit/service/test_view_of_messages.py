"""Whatever a process may say, its account can be described, recorded and shown."""

from __future__ import annotations

import json
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import found_in
from support.messages import FROM_CHILD

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Record
from orchestrator.accounts.conduct import Conduct
from orchestrator.accounts.events import (
    Begin,
    Broke,
    Exited,
    LeftOut,
    Moment,
    Said,
    Spawned,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.pipe import FromChild, MessageError
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.cli import inspect, table
from orchestrator.control.outlook import outlook
from orchestrator.control.view import AccountView
from orchestrator.service.view import describe
from orchestrator.store import status
from orchestrator.store.timeline import TimelineEntry

NOW = 1_800_000_000.0


class Driver:
    """An account with a process."""

    def __init__(self) -> None:
        self.time = 0.0
        self.records: list[Record] = []
        self.account = Account(AccountSettings("a"), self.now, random=lambda: 0.5)
        for event in (Begin(), TurnCame(), Spawned(1)):
            self(event)

    @property
    def now(self) -> Moment:
        return Moment(1000.0 + self.time, NOW + self.time)

    def __call__(self, event: object) -> None:
        actions = self.account.handle(event, self.now)  # type: ignore[arg-type]
        self.records += [action for action in actions if isinstance(action, Record)]

    def check(self) -> None:
        """Do with it what a service and its commands do with every account."""
        shown = describe(self.account, self.now, qr_path=None, code_expires_at=2.0**33)
        written = json.dumps(shown.as_json(), allow_nan=False)
        view = AccountView.from_json(json.loads(written))
        assert view == shown
        timeline = []
        for one in self.records:
            entry = TimelineEntry(
                NOW, one.before, one.after, one.kind, one.reason, one.code, one.attempt, one.delay
            )
            timeline.append(json.loads(json.dumps(entry.as_json(), allow_nan=False)))
        lines = inspect._explained(
            {"account": view.as_json(), "outlook": outlook(view).as_json(), "timeline": timeline}, NOW
        )
        assert not found_in("\n".join(lines))
        table.make([view], now=NOW)
        parked = self.account.parked(self.now)
        assert json.dumps(status._written(status.Kept(parked=parked, shown=shown.as_json())), allow_nan=False)
        if view.next_retry_at is not None:
            assert datetime.fromisoformat(view.next_retry_at).year < 2400
        wakes_at = self.account.wakes_at()
        assert wakes_at is None or 0 <= wakes_at < 2.0**34


@given(messages=st.lists(FROM_CHILD, max_size=8), begins=st.booleans())
def test_whatever_may_be_said(messages: list[FromChild], *, begins: bool) -> None:
    driver, conduct = Driver(), Conduct()
    if begins:
        messages = [pipe.Connecting(paired=True), *messages]
    for message in messages:
        driver.time += 1.0
        try:
            for heard in conduct.hear(pipe.decode(pipe.encode(message)), driver.time):  # type: ignore[arg-type]
                driver(Said(heard))
        except MessageError as error:
            driver(Broke(str(error)))
            driver.check()
            break
        driver.check()
        driver(Ticked())
    driver(Exited(-9))
    driver.check()
    assert driver.account.child is None


@pytest.mark.parametrize("before", [[], [pipe.Loading()], [pipe.Connecting(paired=True)]])
def test_a_breach_is_a_crash_that_says_so(before: list[FromChild]) -> None:
    driver = Driver()
    for message in before:
        driver(Said(message))
    driver(Broke("a Code whose png is wrong: of another form"))
    driver(Said(pipe.Ended(Kind.LOGGED_OUT, "gone")))
    driver(Said(pipe.Connected("4915100000001")))
    assert driver.account.state is not State.CONNECTED
    assert driver.account.wakes_at() is None
    driver(Exited(-9, out_of_memory=True))
    assert (driver.account.state, driver.account.kind) == (State.BACKOFF, Kind.CRASH)
    assert driver.account.reason is not None
    assert "broke the rules of its pipe (a Code whose png is wrong" in driver.account.reason


def test_changes_that_were_left_out_are_told() -> None:
    driver = Driver()
    driver(LeftOut(12))
    assert driver.records[-1].reason == "… 12 more changes of the link were left out"
    driver.check()
