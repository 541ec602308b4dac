"""The machine of an account under everything that can happen, in any order: what must never be."""

from __future__ import annotations

import itertools
import random as randomness
import signal
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from support import driving

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import (
    Action,
    CallOff,
    Forget,
    HideCode,
    Kill,
    LookUp,
    Quarantine,
    Queue,
    Record,
    RenewMaker,
    ShowCode,
    Spawn,
    TellStop,
    TellUnlink,
    Unqueue,
)
from orchestrator.accounts.child import HEARTBEAT_DEADLINE, Parked
from orchestrator.accounts.events import (
    Begin,
    CalledOff,
    Configured,
    Event,
    Exited,
    Held,
    Looked,
    LookedUp,
    Moment,
    Order,
    Ordered,
    Released,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    SpawnFailed,
    Stalled,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, HAS_ENDED_SESSION, Kind
from orchestrator.accounts.looking import LOOK_SECONDS
from orchestrator.accounts.machine import Account
from orchestrator.accounts.memory_limit import PAUSE, Advice, MemoryWatch
from orchestrator.accounts.running import STARTING_DEADLINE
from orchestrator.accounts.settings import AccountSettings, Backoff, Messages, ShowCodes
from orchestrator.accounts.states import State

RUNNING = {State.STARTING, State.CONNECTING, State.PAIRING, State.CONNECTED, State.RECONNECTING}
"""The states of an account that has a process, or is about to."""

NUMBER = "4915100001"
WHEN: st.SearchStrategy[ShowCodes] = st.sampled_from(["always", "on_demand"])
KINDS = st.sampled_from(list(Kind))
RESTING = [state for state in State if state not in RUNNING]


class World(RuleBasedStateMachine):
    """Whoever carries out the machine's actions, in a world without time or processes of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.random = randomness.Random(1)
        self.alive = False
        self.killed = False
        self.queued = False
        self.code_shown = False
        self.forgotten = False
        self.closing = False
        self.logged_in = False
        self.may_quarantine = False
        self.may_forget_attempts = False
        self.looks_up = False
        self.looked_until = 0.0
        self.asked = False
        self.attempts: dict[Kind, int] = {}

    @initialize(
        stopped=st.booleans(),
        enabled=st.booleans(),
        parked=st.sampled_from(
            [
                None,
                Parked(State.BANNED, "banned", None),
                Parked(State.BANNED, "banned", 5000.0),
                Parked(State.REPLACED, "replaced", 500.0),
            ]
        ),
        retries=st.integers(0, 3),
        pairing=WHEN,
    )
    def set_up(
        self, stopped: bool, enabled: bool, parked: Parked | None, retries: int, pairing: ShowCodes
    ) -> None:
        self.settings = AccountSettings(
            "support",
            enabled=enabled,
            max_retries=retries,
            pairing=pairing,
            pairing_rounds=2,
            backoff=Backoff(max=60.0),
        )
        self.account = Account(
            self.settings, self.moment, random=self.random.random, stopped=stopped, parked=parked
        )
        self.happens(Begin())

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.now)

    @property
    def on_demand(self) -> bool:
        return self.account.settings.pairing == "on_demand"

    @property
    def somebody_looks(self) -> bool:
        return self.asked or self.now < self.looked_until

    def happens(self, event: Event) -> None:
        stopped_before = self.account.stopped
        if isinstance(event, Exited) and self.account.child is not None:
            outcome = self.account.child.outcome_of(event)
            if outcome.kind is Kind.PAIRING_EXPIRED and self.account.child.purpose is None:
                self.asked = False
        for action in self.account.handle(event, self.moment):
            self.carry_out(action)
        self.may_quarantine = False
        if isinstance(event, Ordered | Configured | Removed):
            self.may_forget_attempts = True
        if isinstance(event, Ordered) and event.order is Order.STOP:
            assert self.account.stopped
        elif not isinstance(event, Ordered):
            assert self.account.stopped == stopped_before, "only an operator changes the wish"

    def carry_out(self, action: Action) -> None:
        assert not self.forgotten, f"{action} for an account that is gone"
        match action:
            case Queue():
                assert not self.queued
                assert not self.alive or self.account.state is State.CONNECTED, (
                    "it is no loss to stop at once"
                )
                assert not self.account.stopped, "a stopped account wants to start"
                assert not self.closing
                self.queued = True
            case Unqueue():
                assert self.queued
                self.queued = False
            case Spawn():
                assert not self.alive, "two processes on one session"
                assert not self.account.stopped, "a stopped account starts"
                assert not self.closing, "a start while the service stops"
                assert self.account.settings.enabled
                if self.on_demand and not self.somebody_looks:
                    assert self.account.linked, "a process for a code that nobody sees"
                self.alive, self.killed, self.logged_in = True, False, False
            case LookUp():
                assert not self.alive, "a session is looked at while a process uses it"
                assert self.on_demand
                self.looks_up = True
            case TellUnlink():
                assert self.alive
                assert self.account.state is State.CONNECTED, "WhatsApp cannot be asked"
                assert not self.closing, "one that the service stops is not to lose its device"
            case TellStop() | Kill():
                assert self.alive
                assert not (self.killed and isinstance(action, Kill)), "killed twice"
                self.killed = self.killed or isinstance(action, Kill)
            case Quarantine():
                assert not self.alive, "a session taken from a running process"
                assert self.may_quarantine, "a session put away without a log-out or an operator's word"
            case ShowCode():
                assert self.alive
                self.code_shown = True
            case HideCode():
                self.code_shown = False
            case Record(delay=delay, after=after):
                assert after is self.account.state or action.before is not after
                if after is State.BACKOFF and delay is not None and not self.account.held:
                    assert 0 <= delay <= self.account.settings.backoff.max
            case Forget():
                assert not self.alive
                self.forgotten = True

    # What operators do

    @precondition(lambda self: not self.forgotten)
    @rule(order=st.sampled_from(list(Order)), pairing=st.sampled_from(["qr", "code"]))
    def order(self, order: Order, pairing: pipe.Pairing) -> None:
        # A disabled account takes from an order only whether it is to run once it is enabled.
        repairs = order is Order.REPAIR and self.account.settings.enabled and not self.closing
        self.may_quarantine = repairs
        self.asked = (self.asked or repairs) and order is not Order.STOP
        self.happens(Ordered(order, pairing))

    @precondition(lambda self: not self.forgotten)
    @rule(enabled=st.booleans(), proxy=st.sampled_from([None, "http://127.0.0.1:1"]), pairing=WHEN)
    def configure(self, enabled: bool, proxy: str | None, pairing: ShowCodes) -> None:
        self.settings = AccountSettings(
            "support",
            enabled=enabled,
            proxy=proxy,
            max_retries=2,
            pairing=pairing,
            pairing_rounds=2,
            backoff=Backoff(max=60.0),
        )
        self.happens(Configured(self.settings))

    @precondition(lambda self: not self.forgotten and not self.closing)
    @rule(keep=st.booleans(), unlink=st.booleans())
    def remove(self, keep: bool, unlink: bool) -> None:
        self.may_quarantine = not keep
        self.happens(Removed(keep, unlink=unlink))
        self.closing = True

    @precondition(lambda self: not self.forgotten)
    @rule()
    def somebody_looks_at_its_code(self) -> None:
        self.looked_until = max(self.looked_until, self.now + LOOK_SECONDS)
        self.happens(Looked())

    @precondition(lambda self: self.looks_up)
    @rule(linked=st.booleans())
    def is_looked_up(self, linked: bool) -> None:
        self.looks_up = False
        if not self.forgotten:
            self.happens(LookedUp(linked))

    @precondition(lambda self: not self.forgotten)
    @rule()
    def shut_down(self) -> None:
        self.happens(ShuttingDown(self.now + 15))
        self.closing = True

    # What processes do

    @precondition(lambda self: self.queued)
    @rule()
    def turn_comes(self) -> None:
        self.queued = False
        self.happens(TurnCame())

    @precondition(lambda self: self.alive and self.account.child is not None)
    @rule(works=st.booleans())
    def spawned(self, works: bool) -> None:
        child = self.account.child
        assert child is not None
        if works:
            self.happens(Spawned(4711))
        elif child.pid is None and child.heard_at is None:
            self.alive = False
            self.expect_quarantine()
            self.happens(SpawnFailed("no memory"))

    @precondition(lambda self: self.alive)
    @rule(
        message=st.sampled_from(
            [
                pipe.Connecting(True),
                pipe.Connecting(False),
                pipe.Code("2@secret", b"png", 1000.0, 1060.0),
                pipe.LinkCode("ABCDEFGH", 1060.0),
                pipe.Paired(NUMBER),
                pipe.Connected(NUMBER),
                pipe.LinkLost("reset"),
                pipe.Heartbeat(1000.0, 20_000_000),
                pipe.PhoneSeen(900.0),
            ]
        )
    )
    def says(self, message: pipe.FromChild) -> None:
        self.logged_in = self.logged_in or isinstance(message, pipe.Connected)
        self.happens(Said(message))
        if self.account.linked:
            self.asked = False  # there is a session, so there is no code to ask for

    @precondition(lambda self: self.alive)
    @rule(kind=KINDS, expire=st.sampled_from([None, 0.0, 100.0]))
    def ends(self, kind: Kind, expire: float | None) -> None:
        self.happens(Said(pipe.Ended(kind, f"ended by {kind}", 401, expire)))

    @precondition(lambda self: self.alive)
    @rule(status=st.sampled_from([None, 0, 1, 2, -6, -9, -11, 255, *EXIT_CODES.values()]))
    def exits(self, status: int | None) -> None:
        self.alive = False
        self.expect_quarantine()
        self.happens(Exited(status))

    def expect_quarantine(self) -> None:
        """Say whether an exit may lead to a quarantine: after a confirmed log-out or an operator's word."""
        child = self.account.child
        assert child is not None
        said = child.outcome.kind if child.outcome else None
        self.may_quarantine = child.purpose in ("repair", "remove") or said in HAS_ENDED_SESSION

    # What time and the fleet do

    @precondition(lambda self: not self.forgotten)
    @rule(seconds=st.sampled_from([0.1, 5.0, 31.0, 61.0, 200.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if self.account.state is State.CONNECTED:
            self.may_forget_attempts = True
        self.happens(Ticked())

    @precondition(lambda self: not self.forgotten)
    @rule(
        event=st.sampled_from(
            [
                Held(Kind.OUTDATED, "outdated"),
                Held(Kind.NETWORK, "no network"),
                Held(Kind.NETWORK, "no network", 1500.0),
                Released(),
                Stalled(60.0),
            ]
        )
    )
    def fleet(self, event: Event) -> None:
        if isinstance(event, Stalled):
            self.looked_until += event.seconds
        self.happens(event)

    @precondition(lambda self: self.forgotten)
    @rule(
        event=st.sampled_from(
            [Ticked(), Exited(-9), Exited(-9, True), Spawned(1), TurnCame(), Said(pipe.Connecting(True))]
        )
    )
    def late_word(self, event: Event) -> None:
        self.happens(event)

    # What must always be

    @invariant()
    def nobody_is_stuck(self) -> None:
        if hasattr(self, "account") and self.account.child is not None and not self.killed:
            waits_for_nothing = self.account.wakes_at() is None
            assert not waits_for_nothing, f"{self.account.state} has no deadline"

    @invariant()
    def the_states_are_true(self) -> None:
        if not hasattr(self, "account") or self.forgotten:
            return
        account = self.account
        assert (account.child is not None) == self.alive
        assert account.queued == self.queued
        if account.state is State.CONNECTED:
            assert self.alive, "connected without a process"
            assert self.logged_in, "connected without WhatsApp's word"
        if account.state in RESTING:
            assert not self.alive, f"{account.state} with a process"
        if self.code_shown:
            assert account.state is State.PAIRING, f"a code is shown while {account.state}"
        if account.state is State.BACKOFF and not self.closing:
            assert account.next_retry_at is not None or account.held
        if account.held:
            assert account.state in (State.BACKOFF, State.OUTDATED)
            assert not account.queued
        if account.state is State.FAILED:
            assert account.reason
        if account.state is State.PAIRING and not self.alive and not self.closing:
            assert account.waits_for_look
            assert self.on_demand
            assert not self.somebody_looks, "somebody looks, and no code comes"
            assert not account.held
            assert account.next_retry_at is None
        if account.state is State.STARTING and not self.alive and not account.queued and not self.closing:
            assert self.looks_up, "it waits for its turn, and is in no queue"

    @invariant()
    def nobody_sees_codes_for_nothing(self) -> None:
        """Whoever has a process that shows codes, or is about to, ends it as soon as nobody looks."""
        if not hasattr(self, "account") or self.account.child is None or not self.on_demand:
            return
        child = self.account.child
        if child.may_hold_messages:
            return  # what it says of a code is not true, and its deadline ends it: `nobody_is_stuck`
        if self.code_shown or child.paired is False:
            wakes_at = self.account.wakes_at()
            going = child.purpose is not None or child.ends
            assert going or self.asked or (self.somebody_looks and wakes_at is not None)
            if not going and not self.asked:
                assert wakes_at is not None
                assert wakes_at <= self.looked_until

    @invariant()
    def attempts_fall_only_after_a_stable_connection(self) -> None:
        if not hasattr(self, "account"):
            return
        now: dict[Kind, int] = dict(self.account.attempts)
        fell = [kind for kind, count in self.attempts.items() if now.get(kind, 0) < count]
        if self.account.waits_for_look or self.account.state is State.STARTING:
            fell = [kind for kind in fell if kind is not Kind.PAIRING_EXPIRED]  # whoever looks next has all
        assert not fell or self.may_forget_attempts
        self.attempts = now
        self.may_forget_attempts = False


World.TestCase.settings = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWorld: Any = World.TestCase


class Driver(driving.Driver):
    """An account with a clock, and what happens to most."""

    def dials(self) -> bool:
        return self.account.dials

    def begin(self) -> None:
        self(Begin())
        self.spawn()

    def spawn(self) -> None:
        self(TurnCame())
        self(Spawned(4711))
        self(Said(pipe.Connecting(True)))

    def connect(self) -> None:
        self.begin()
        self(Said(pipe.Connected(NUMBER)))

    def wait_out(self) -> None:
        """Let the time pass until the next try and start it."""
        due = self.account.next_retry_at
        assert due is not None
        self(Ticked(), due - self.now)
        self.spawn()


def quarantined(actions: list[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Quarantine)]


def test_a_paired_account_connects() -> None:
    driver = Driver()
    driver.connect()
    assert driver.state() is State.CONNECTED
    assert driver.account.phone == NUMBER


def test_a_new_account_shows_its_codes_and_hides_them_once_paired() -> None:
    driver = Driver()
    driver(Begin())
    driver(TurnCame())
    driver(Said(pipe.Connecting(False)))
    assert driver.state() is State.STARTING
    code = pipe.Code("2@secret", b"png", 1.0, 2.0)
    assert ShowCode(code) in driver(Said(code))
    assert driver.state() is State.PAIRING
    assert HideCode() in driver(Said(pipe.Paired(NUMBER)))
    assert driver.state() is State.CONNECTING


def test_a_code_is_hidden_within_a_second_of_its_time_unless_another_follows() -> None:
    driver = Driver()
    driver(Begin())
    driver(TurnCame())
    driver(Said(pipe.Connecting(False)))
    # Whatever the clock on the wall says of it here.
    first = pipe.Code("2@first", b"png", 5000.0, 5060.0)
    second = pipe.Code("2@second", b"png", 5060.0, 5080.0)
    driver(Said(first))
    shown_at = driver.now
    driver(Said(pipe.Heartbeat(None, 1)), after=40)
    wakes_at = driver.account.wakes_at()
    assert wakes_at is not None
    assert shown_at + 60 < wakes_at < shown_at + 61
    assert HideCode() not in driver(Said(second), after=20)
    shown_at = driver.now
    assert driver(Ticked(), after=10) == []
    wakes_at = driver.account.wakes_at()
    assert wakes_at is not None
    assert shown_at + 20 < wakes_at < shown_at + 21
    assert driver(Ticked(), after=wakes_at - driver.now) == [HideCode()]
    assert driver.state() is State.PAIRING
    assert driver(Ticked(), after=1) == []


@pytest.mark.parametrize("kind", [Kind.CRASH, Kind.REFUSED, Kind.LOGGED_OUT, Kind.DAMAGED])
def test_what_goes_wrong_too_often_fails(kind: Kind) -> None:
    driver = Driver(max_retries=3)
    driver.begin()
    for _ in range(3):
        driver.end(kind)
        assert driver.state() is State.BACKOFF
        driver.wait_out()
    driver.end(kind)
    assert driver.state() is State.FAILED
    assert "orchestrator start support" in (driver.account.reason or "")


def test_the_network_is_tried_for_ever_and_never_less_often_than_the_maximum() -> None:
    driver = Driver(max_retries=2)
    driver.begin()
    waits = []
    for _ in range(50):
        driver.end(Kind.NETWORK)
        assert driver.state() is State.BACKOFF
        waits.append((driver.account.next_retry_at or 0) - driver.now)
        driver.wait_out()
    assert waits[0] == pytest.approx(3 * 0.9)
    assert waits[-1] == pytest.approx(300 * 0.9)
    assert [round(wait, 6) for wait in waits] == sorted(round(wait, 6) for wait in waits)


def test_kinds_do_not_share_a_count() -> None:
    driver = Driver(max_retries=2)
    driver.begin()
    for kind in (Kind.CRASH, Kind.REFUSED, Kind.LOGGED_OUT) * 2:
        driver.end(kind)
        assert driver.state() is State.BACKOFF
        driver.wait_out()


def test_only_a_stable_connection_resets_the_count() -> None:
    driver = Driver()
    driver.begin()
    for expected in (1, 2, 3):
        driver.end(Kind.CRASH)
        assert driver.account.attempt == expected
        driver.wait_out()
        driver(Said(pipe.Connected(NUMBER)))
        driver(Ticked(), 29.0)
    driver(Ticked(), 1.0)
    driver.end(Kind.CRASH)
    assert driver.account.attempt == 1


def test_a_log_out_puts_the_session_away_and_pairs_again() -> None:
    driver = Driver()
    driver.connect()
    assert quarantined(driver.end(Kind.LOGGED_OUT, code=401)) == ["logged_out"]
    assert driver.state() is State.BACKOFF


@pytest.mark.parametrize(
    "kind", [kind for kind in Kind if kind not in HAS_ENDED_SESSION and kind is not Kind.STOPPED]
)
def test_every_other_end_keeps_the_session(kind: Kind) -> None:
    driver = Driver()
    driver.connect()
    assert quarantined(driver.end(kind)) == []


def test_an_exit_code_alone_does_not_put_a_session_away() -> None:
    driver = Driver()
    driver.connect()
    assert quarantined(driver(Exited(EXIT_CODES[Kind.LOGGED_OUT]))) == []
    assert driver.account.kind is Kind.CRASH


def test_a_lock_waits_for_an_operator() -> None:
    driver = Driver()
    driver.connect()
    assert quarantined(driver.end(Kind.LOCKED, code=403)) == ["locked"]
    assert driver.state() is State.BANNED
    assert driver.account.next_retry_at is None
    driver(Ordered(Order.REPAIR))
    assert driver.state() is State.STARTING


def test_a_ban_is_tried_once_just_after_its_end_even_by_order_of_an_operator() -> None:
    driver = Driver()
    driver.connect()
    driver.end(Kind.TEMPORARY_BAN, code=101, expire=3600)
    due = (driver.account.next_retry_at or 0) - driver.now
    assert 3600 < due <= 3660
    driver(Ordered(Order.START))
    assert driver.state() is State.BANNED
    assert not driver.account.queued
    driver(Ticked(), 3600)
    assert driver.state() is State.BANNED
    driver.wait_out()
    assert driver.state() is State.CONNECTING


def test_stopping_a_banned_account_does_not_shorten_the_ban() -> None:
    driver = Driver()
    driver.connect()
    driver.end(Kind.TEMPORARY_BAN, code=101, expire=3600)
    due = driver.account.next_retry_at
    driver(Ordered(Order.STOP), 10)
    assert driver.state() is State.STOPPED
    parked = driver.account.parked(Moment(driver.now, driver.now))
    driver(Ordered(Order.START), 10)
    assert driver.state() is State.BANNED
    assert driver.account.next_retry_at == pytest.approx(due)
    again = Driver(parked=parked, stopped=True)
    again(Begin())
    assert again.state() is State.STOPPED
    again(Ordered(Order.START))
    assert again.state() is State.BANNED
    again(Ordered(Order.REPAIR))
    assert again.state() is State.STARTING


def test_a_ban_outlives_the_service() -> None:
    driver = Driver()
    driver.connect()
    driver.end(Kind.TEMPORARY_BAN, expire=3600)
    parked = driver.account.parked(Moment(driver.now, driver.now))
    assert parked is not None
    again = Driver(parked=parked)
    again(Begin())
    assert again.state() is State.BANNED
    assert 3600 < (again.account.next_retry_at or 0) - again.now <= 3660
    late = Driver(parked=parked)
    late.now = 9999.0
    late(Begin())
    assert late.state() is State.STARTING


def test_a_replaced_session_is_taken_back_three_times_with_care() -> None:
    driver = Driver()
    driver.connect()
    for wait in (60, 300, 1800):
        driver.end(Kind.REPLACED)
        assert driver.state() is State.REPLACED
        assert (driver.account.next_retry_at or 0) - driver.now == wait
        driver.wait_out()
    driver.end(Kind.REPLACED)
    assert driver.account.next_retry_at is None
    driver(Ordered(Order.START))
    assert driver.state() is State.STARTING


def test_rounds_of_codes_end() -> None:
    driver = Driver(pairing_rounds=2)
    driver.begin()
    driver.end(Kind.PAIRING_EXPIRED)
    driver.wait_out()
    driver.end(Kind.PAIRING_EXPIRED)
    assert driver.state() is State.FAILED
    assert "orchestrator qr support" in (driver.account.reason or "")


def test_a_configuration_fault_waits_for_the_configuration() -> None:
    driver = Driver(proxy="http://nowhere:1")
    driver.begin()
    driver.end(Kind.CONFIG)
    assert driver.state() is State.FAILED
    driver(Configured(AccountSettings("support", proxy="http://127.0.0.1:1")))
    assert driver.state() is State.STARTING


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Spawned(1), State.STARTING),
        (Said(pipe.Connecting(True)), State.CONNECTING),
        (Said(pipe.Code("2@x", b"", 1, 2)), State.PAIRING),
    ],
)
def test_every_state_on_the_way_has_a_deadline(event: Event, state: State) -> None:
    driver = Driver()
    driver(Begin())
    driver(TurnCame())
    driver(event)
    assert driver.state() is state
    due = driver.account.wakes_at()
    assert due is not None
    while driver.account.child and driver.account.child.killed_because is None:
        driver(Said(pipe.Heartbeat(None, 1)))
        driver(Ticked(), 10)
        assert driver.now < 1300, "it was never killed"
    driver(Exited(-9))
    assert driver.account.kind is Kind.CRASH


def test_a_silent_process_is_killed_and_a_slow_one_is_not() -> None:
    driver = Driver()
    driver.connect()
    for _ in range(10):
        assert not driver(Ticked(), 29)
        driver(Said(pipe.Heartbeat(None, 1)))
    assert [type(action) for action in driver(Ticked(), 30)] == [Kill]
    driver(Exited(-9))
    assert driver.account.kind is Kind.CRASH
    assert "no sign of life" in (driver.account.reason or "")


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("allow", [(), ("*",)])
def test_a_process_that_may_hold_messages_is_to_take_them_first(
    *, linked: bool, allow: tuple[str, ...]
) -> None:
    driver = Driver(messages=Messages(allow=allow))
    for event in (Begin(), TurnCame(), Spawned(4711), Said(pipe.Connecting(linked))):
        driver(event)
    (kill,) = [one for one in driver(Ticked(), 10_000) if isinstance(one, Kill)]
    assert kill.holds is (linked and bool(allow))


def test_nobody_is_blamed_for_the_time_in_which_the_service_stood_still() -> None:
    driver = Driver()
    driver.connect()
    driver(Ticked(), 20)
    assert driver(Stalled(60), 60) == []
    assert driver(Ticked(), 9) == []
    assert [type(action) for action in driver(Ticked(), 2)] == [Kill]
    starting = Driver()
    starting(Begin())
    starting(TurnCame())
    assert starting(Stalled(60), 60 + STARTING_DEADLINE / 2) == []
    assert starting(Ticked()) == []
    assert [type(action) for action in starting(Ticked(), STARTING_DEADLINE / 2)] == [Kill]
    # It never lengthens what WhatsApp has said, nor a wait of one's own.
    banned = Driver()
    banned.connect()
    banned.end(Kind.TEMPORARY_BAN, expire=3600)
    due = banned.account.next_retry_at
    banned(Stalled(60), 60)
    assert banned.account.next_retry_at == due


def test_a_process_that_cannot_be_started_is_never_given_up() -> None:
    driver = Driver(max_retries=1)
    driver(Begin())
    for _ in range(20):
        driver(TurnCame())
        driver(SpawnFailed("no memory is left"))
        assert (driver.state(), driver.account.kind) == (State.BACKOFF, Kind.MACHINE)
        driver(Ticked(), 400)
        assert driver.account.queued


def test_a_process_that_the_kernel_ends_for_lack_of_memory_is_never_given_up() -> None:
    driver = Driver(max_retries=1)
    driver(Begin())
    for _ in range(20):
        driver(TurnCame())
        driver(Exited(-9, out_of_memory=True))
        assert (driver.state(), driver.account.kind) == (State.BACKOFF, Kind.MACHINE)
        driver(Ticked(), 400)
        assert driver.account.queued


def test_a_stop_is_never_a_crash_and_cancels_a_planned_start() -> None:
    driver = Driver()
    driver.connect()
    assert TellStop() in driver(Ordered(Order.STOP))
    driver(Ticked(), 10)
    driver(Exited(-9))
    assert driver.state() is State.STOPPED
    driver(Ordered(Order.START))
    driver.spawn()
    driver.end(Kind.NETWORK)
    driver(Ordered(Order.STOP))
    assert driver.account.wakes_at() is None


def test_repair_puts_the_session_away_after_the_process_and_is_idempotent() -> None:
    driver = Driver()
    driver.connect()
    assert quarantined(driver(Ordered(Order.REPAIR))) == []
    assert quarantined(driver(Exited(EXIT_CODES[Kind.STOPPED]))) == ["repair"]
    assert driver.account.queued
    driver(TurnCame())
    driver(Said(pipe.Connecting(False)))
    assert driver(Ordered(Order.REPAIR)) == [], "its code is about to come"
    driver(Said(pipe.Code("2@x", b"", 1, 2)))
    assert driver(Ordered(Order.REPAIR)) == []
    assert driver.state() is State.PAIRING
    assert TellStop() in driver(Ordered(Order.REPAIR, "code")), "another way of pairing is news"


def test_the_fleet_waits_while_the_client_is_outdated() -> None:
    driver = Driver()
    driver(Begin())
    assert Unqueue() in driver(Held(Kind.OUTDATED, "outdated"))
    assert driver.state() is State.OUTDATED
    driver(Ordered(Order.START))
    assert not driver.account.queued
    assert Queue() in driver(Released())
    connected = Driver()
    connected.connect()
    connected(Held(Kind.OUTDATED, "outdated"))
    assert connected.state() is State.CONNECTED


def test_the_fleet_waits_together_for_the_network() -> None:
    driver = Driver()
    driver.begin()
    driver.end(Kind.NETWORK)
    assert driver.account.wakes_at() is not None
    (record,) = driver(Held(Kind.NETWORK, "no network", driver.now + 15))
    assert isinstance(record, Record)
    assert (record.before, record.after, record.delay) == (State.BACKOFF, State.BACKOFF, 15)
    assert driver.account.wakes_at() is None, "it is not this account's time that is shown"
    assert driver(Ticked(), after=100) == []
    assert driver(Held(Kind.NETWORK, "no network", driver.now + 30)) == [], "no line for each probe"
    assert driver.account.next_retry_at == driver.now + 30
    assert Queue() in driver(Released())
    assert not driver.account.held


def test_what_is_stopped_or_banned_does_not_wait_for_the_network() -> None:
    stopped = Driver()
    stopped.begin()
    stopped.end(Kind.NETWORK)
    stopped(Held(Kind.NETWORK, "no network", stopped.now + 15))
    stopped(Ordered(Order.STOP))
    assert not stopped.account.held
    assert stopped(Released()) == []
    assert stopped.state() is State.STOPPED
    banned = Driver()
    banned.begin()
    banned.end(Kind.TEMPORARY_BAN)
    assert banned(Held(Kind.NETWORK, "no network", banned.now + 15)) == []
    assert banned.state() is State.BANNED


def test_a_change_of_what_matters_ends_a_wait_for_the_next_try() -> None:
    driver = Driver()
    driver.begin()
    driver.end(Kind.NETWORK)
    assert driver(Configured(replace(driver.account.settings, max_retries=3))) == []
    assert Queue() in driver(Configured(replace(driver.account.settings, proxy="http://127.0.0.1:1")))


def test_a_removed_account_puts_its_session_away_unless_it_is_to_be_kept() -> None:
    for keep, expected in ((False, ["removed"]), (True, [])):
        driver = Driver()
        driver.connect()
        driver(Removed(keep))
        done = driver(Exited(EXIT_CODES[Kind.STOPPED]))
        assert quarantined(done) == expected
        assert Forget() in done


def test_a_process_that_outgrows_its_limit_is_replaced_once_it_is_stable() -> None:
    driver = Driver(memory_limit=100)
    driver.connect()
    assert driver(Said(pipe.Heartbeat(None, 101))) == [], "a start may take more for a while"
    driver(Said(pipe.Heartbeat(None, 100)), after=29)
    driver(Ticked(), 1)
    assert driver(Said(pipe.Heartbeat(None, 101))) == [Queue()]
    assert driver(Said(pipe.Heartbeat(None, 102))) == []
    assert driver(TurnCame()) == [TellStop()]
    assert driver(Said(pipe.Heartbeat(None, 103))) == []
    driver(Exited(EXIT_CODES[Kind.STOPPED]))
    assert driver.state() is State.STARTING
    assert "memory_limit" in (driver.account.reason or "")
    assert driver.account.attempt == 0


def test_a_restart_waits_for_its_turn_and_then_keeps_it() -> None:
    driver = Driver()
    driver.connect()
    assert driver(Ordered(Order.RESTART)) == [Queue()]
    assert driver(Ordered(Order.RESTART)) == [], "it is queued already"
    assert driver.state() is State.CONNECTED
    assert "its turn" in (driver.account.reason or "")
    assert not driver.dials()
    assert driver(TurnCame()) == [TellStop()]
    assert driver.dials(), "nobody else takes its turn while it stops"
    done = driver(Exited(EXIT_CODES[Kind.STOPPED]))
    assert [type(action) for action in done] == [Record, Spawn]
    assert driver.dials()


@pytest.mark.parametrize("ends", [Kind.CRASH, Kind.NETWORK])
def test_one_that_ends_while_it_waits_to_be_restarted_has_its_new_process_anyway(ends: Kind) -> None:
    driver = Driver()
    driver.connect()
    driver(Ordered(Order.RESTART))
    driver.end(ends)
    assert driver.state() is State.BACKOFF
    assert not driver.account.queued


@pytest.mark.parametrize("kind", [Kind.REPLACED, Kind.LOCKED, Kind.WRONG_PHONE])
def test_a_turn_to_be_restarted_does_not_come_after_the_last_word(kind: Kind) -> None:
    driver = Driver()
    driver.connect()
    driver(Configured(replace(driver.account.settings, proxy="http://127.0.0.1:1")))
    assert driver.account.queued
    assert Unqueue() in driver(Said(pipe.Ended(kind, "ended")))
    assert driver(TurnCame()) == []
    driver(Exited(EXIT_CODES[kind]))
    assert driver.state() in (State.REPLACED, State.BANNED, State.FAILED)
    assert not driver.account.queued


def test_a_turn_to_be_restarted_does_not_come_after_a_kill() -> None:
    driver = Driver()
    driver.connect()
    driver(Ordered(Order.RESTART))
    assert Unqueue() in driver(Ticked(), after=HEARTBEAT_DEADLINE)
    driver(Exited(-9))
    assert driver.state() is State.BACKOFF
    assert driver.account.attempts[Kind.CRASH] == 1


@pytest.mark.parametrize("kind", [Kind.CONFIG, Kind.NETWORK, Kind.REPLACED])
def test_a_configuration_that_changes_after_the_last_word_is_tried_unless_the_policy_forbids(
    kind: Kind,
) -> None:
    driver = Driver()
    driver.connect()
    driver(Said(pipe.Ended(kind, "ended")))
    driver(Configured(replace(driver.account.settings, proxy="http://127.0.0.1:1")))
    driver(Exited(EXIT_CODES[kind]))
    assert driver.account.queued == (kind is not Kind.REPLACED)


def test_nothing_turns_a_repair_that_is_under_way_into_a_restart() -> None:
    for event in (Configured(AccountSettings("support", proxy="http://127.0.0.1:1")), Ordered(Order.START)):
        driver = Driver()
        driver.connect()
        driver(Ordered(Order.REPAIR))
        driver(event)
        assert quarantined(driver(Exited(EXIT_CODES[Kind.STOPPED]))) == ["repair"]


@pytest.mark.parametrize("event", [Ordered(Order.STOP), Removed(keep_session=True), Ordered(Order.REPAIR)])
def test_a_removal_that_is_under_way_stays_one(event: Event) -> None:
    driver = Driver()
    driver.connect()
    driver(Removed())
    driver(event)
    done = driver(Exited(EXIT_CODES[Kind.STOPPED]))
    assert quarantined(done) == ["removed"]
    assert Forget() in done


def test_a_removal_that_keeps_the_session_can_become_one_that_does_not() -> None:
    driver = Driver()
    driver.connect()
    driver(Removed(keep_session=True))
    driver(Removed())
    assert quarantined(driver(Exited(EXIT_CODES[Kind.STOPPED]))) == ["removed"]


@pytest.mark.parametrize("order", [Order.STOP, Order.REPAIR])
def test_another_order_takes_the_place_of_a_restart_that_waits(order: Order) -> None:
    driver = Driver()
    driver.connect()
    driver(Ordered(Order.RESTART))
    assert driver(Ordered(order)) == [Unqueue(), TellStop()]
    driver(Exited(EXIT_CODES[Kind.STOPPED]))
    assert driver.state() is (State.STOPPED if order is Order.STOP else State.STARTING)


def test_who_is_not_connected_is_restarted_at_once() -> None:
    driver = Driver()
    driver.begin()
    assert driver(Ordered(Order.RESTART)) == [TellStop()]
    assert Queue() in driver(Exited(EXIT_CODES[Kind.STOPPED]))


@pytest.mark.parametrize("order", [Order.STOP, Order.RESTART])
def test_a_ban_that_comes_with_an_order_is_waited_for_all_the_same(order: Order) -> None:
    driver = Driver()
    driver.connect()
    driver(Said(pipe.Ended(Kind.TEMPORARY_BAN, "banned", 101, 3600)))
    driver(Ordered(order))
    driver(Exited(EXIT_CODES[Kind.TEMPORARY_BAN]))
    driver(Ordered(Order.START))
    assert driver.state() is State.BANNED
    assert 3600 < (driver.account.next_retry_at or 0) - driver.now <= 3660


def test_the_tries_to_take_a_session_back_are_counted_across_a_restart_of_the_service() -> None:
    driver = Driver()
    driver.connect()
    driver.end(Kind.REPLACED)
    driver.wait_out()
    driver.end(Kind.REPLACED)
    parked = driver.account.parked(Moment(driver.now, driver.now))
    again = Driver(parked=parked)
    again(Begin())
    assert again.state() is State.REPLACED
    again.wait_out()
    again.end(Kind.REPLACED)
    assert (again.account.next_retry_at or 0) - again.now == 1800
    late = Driver(parked=again.account.parked(Moment(again.now, again.now)))
    late.now = 9999.0
    late.begin()
    late.end(Kind.REPLACED)
    assert late.account.next_retry_at is None


# Memory


def settle(driver: Driver) -> None:
    """Let a connected account become stable."""
    driver(Said(pipe.Heartbeat(None, 1)), 29)
    driver(Ticked(), 2)


def recycled(driver: Driver, used: int) -> list[Action]:
    """Have a process replaced because of its memory by one that uses as much; return what follows."""
    assert driver(Said(pipe.Heartbeat(None, used))) == [Queue()]
    driver(TurnCame())
    driver(Exited(EXIT_CODES[Kind.STOPPED]))
    driver(Spawned(4712))
    driver(Said(pipe.Connecting(True)))
    driver(Said(pipe.Connected(NUMBER)))
    settle(driver)
    return driver(Said(pipe.Heartbeat(None, used)))


def stable(**settings: Any) -> Driver:  # noqa: ANN401
    driver = Driver(**settings)
    driver.connect()
    settle(driver)
    return driver


def test_a_limit_that_a_new_process_does_not_keep_either_is_said_once_and_costs_one_log_in() -> None:
    driver = stable(memory_limit=100)
    (record,) = recycled(driver, 101)
    assert isinstance(record, Record)
    assert (record.before, record.after) == (State.CONNECTED, State.CONNECTED)
    assert "as much as a new process" in (record.reason or "")
    assert "raise `memory_limit`" in (driver.account.reason or "")
    for hours in range(100):
        assert driver(Said(pipe.Heartbeat(None, 101 + hours)), 3600) == []
    # It is still shown after the link was lost for a while.
    driver(Said(pipe.LinkLost("gone")))
    driver(Said(pipe.Connected(NUMBER)))
    settle(driver)
    assert driver(Said(pipe.Heartbeat(None, 120))) == []
    assert "raise `memory_limit`" in (driver.account.reason or "")


@pytest.mark.parametrize("cure", ["a larger limit", "no limit", "an operator"])
def test_another_limit_or_an_operator_ends_that(cure: str) -> None:
    driver = stable(memory_limit=100)
    recycled(driver, 101)
    if cure == "an operator":
        assert driver(Ordered(Order.RESTART)) == [Queue()]
        driver(TurnCame())
        driver(Exited(EXIT_CODES[Kind.STOPPED]))
        driver(Said(pipe.Connecting(True)))
        driver(Said(pipe.Connected(NUMBER)))
        settle(driver)
        assert driver(Said(pipe.Heartbeat(None, 101))) == [Queue()], "a new try"
        return
    limit = 200 if cure == "a larger limit" else None
    driver(Configured(AccountSettings("support", memory_limit=limit)))
    assert driver.account.reason is None
    assert driver(Said(pipe.Heartbeat(None, 150))) == []
    assert driver.account.reason is None


def test_a_process_that_grows_again_and_again_is_replaced_once_an_hour_at_most() -> None:
    driver = stable(memory_limit=100)
    log_ins = 0
    for _ in range(24 * 60):
        if Queue() in driver(Said(pipe.Heartbeat(None, 101)), 60):
            log_ins += 1
            driver(TurnCame())
            driver(Exited(EXIT_CODES[Kind.STOPPED]))
            driver(Said(pipe.Connecting(True)))
            driver(Said(pipe.Connected(NUMBER)))
            settle(driver)
            assert driver(Said(pipe.Heartbeat(None, 50))) == []
    assert 23 <= log_ins <= 25


@given(used=st.lists(st.integers(min_value=0, max_value=300), min_size=1, max_size=200))
def test_whatever_it_uses_it_is_never_replaced_at_full_pace(used: list[int]) -> None:
    watch, replaced = MemoryWatch(), []
    for number, size in enumerate(used):
        now = 30.0 * number
        if watch.look(size, 100, now) is Advice.REPLACE:
            assert size > 100
            replaced.append(now)
            watch.replaced(now)
    assert all(later - earlier >= PAUSE for earlier, later in itertools.pairwise(replaced))


# Loading, and new processes in turn


def test_an_end_while_loading_is_the_machines_and_never_given_up() -> None:
    for status, killed in ((-signal.SIGBUS, False), (1, False), (None, True)):
        driver = Driver(max_retries=1)
        driver(Begin())
        for _ in range(20):
            driver(TurnCame())
            driver(Spawned(4711))
            driver(Said(pipe.Loading()))
            if killed:
                driver(Ticked(), 30)
            done = driver(Exited(status))
            assert RenewMaker() not in done, "that would take more memory where it may be short"
            assert (driver.state(), driver.account.kind) == (State.BACKOFF, Kind.MACHINE)
            assert "while loading neonize" in (driver.account.reason or "")
            due = driver.account.next_retry_at
            assert due is not None
            driver(Ticked(), due - driver.now)


def test_what_a_fork_server_has_half_imported_does_not_stay() -> None:
    driver = Driver()
    driver(Begin())
    driver(TurnCame())
    driver(Said(pipe.Loading()))
    driver(Said(pipe.NotLoaded()))
    assert RenewMaker() in driver.end(Kind.MACHINE)
    driver.wait_out()
    assert RenewMaker() not in driver.end(Kind.MACHINE), "that is another process"


def test_an_end_for_which_the_library_is_not_to_blame_renews_no_fork_server() -> None:
    driver = Driver()
    driver(Begin())
    driver(TurnCame())
    assert RenewMaker() not in driver.end(Kind.MACHINE), "it has not come to loading it"
    driver.wait_out()
    driver(Said(pipe.Loading()))
    driver(Said(pipe.Connecting(True)))
    assert RenewMaker() not in driver.end(Kind.MACHINE), "it was loaded"


def renewed(driver: Driver) -> None:
    driver(Ordered(Order.RESTART))
    driver(TurnCame())
    driver(Exited(EXIT_CODES[Kind.STOPPED]))


def test_a_new_process_that_cannot_begin_calls_off_all_others() -> None:
    driver = Driver()
    driver.connect()
    renewed(driver)
    assert driver.account.tries_renewal
    done = driver(SpawnFailed("no process"))
    assert [action.why for action in done if isinstance(action, CallOff)] == [
        "support could not be given one: no process"
    ]


def test_a_new_process_that_can_begin_calls_off_nothing() -> None:
    driver = Driver()
    driver.connect()
    renewed(driver)
    driver(Said(pipe.Connecting(True)))
    assert not driver.account.tries_renewal
    assert not any(isinstance(action, CallOff) for action in driver.end(Kind.MACHINE))


def test_who_is_called_off_keeps_its_process_and_says_why() -> None:
    driver = Driver()
    driver.connect()
    driver(Ordered(Order.RESTART))
    assert driver.account.waits_for_renewal
    done = driver(CalledOff("no process"))
    assert done[0] == Unqueue()
    assert driver(TurnCame()) == []
    assert driver.state() is State.CONNECTED
    assert "keeps its old process (no process)" in (driver.account.reason or "")
    assert (
        driver(Configured(AccountSettings("support", proxy="http://127.0.0.1:1"), "none starts"))[0]
        != Queue()
    )
    assert "keeps its old settings (none starts)" in (driver.account.reason or "")
    assert driver(Ordered(Order.RESTART)) == [Queue()]
