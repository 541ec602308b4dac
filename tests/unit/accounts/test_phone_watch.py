"""When a phone is missing: days, thresholds, clocks that are set, and what an account makes of all that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Action, Quarantine, Record
from orchestrator.accounts.events import (
    Begin,
    Event,
    Exited,
    Moment,
    Order,
    Ordered,
    Said,
    Spawned,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.phone_watch import DAY, GRACE, PhoneWatch, was_set
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State

START = 1_800_000_000.0
NUMBER = "4915100001"
TIMES = st.floats(0, 2**33)


class World:
    """An account with a clock of its own."""

    def __init__(self, watch: PhoneWatch | None = None, *, wall: float = START, connect: bool = True) -> None:
        self.mono, self.wall = 1000.0, wall
        self.actions: list[Action] = []
        self.account = Account(AccountSettings("a"), self.now, random=lambda: 0.5, watch=watch)
        self(Begin())
        if connect:
            self.connect()

    @property
    def now(self) -> Moment:
        return Moment(self.mono, self.wall)

    def __call__(self, event: Event) -> list[Action]:
        new = self.account.handle(event, self.now)
        self.actions += new
        return new

    def say(self, message: pipe.FromChild) -> list[Action]:
        return self(Said(message))

    def connect(self) -> None:
        self(TurnCame())
        self(Spawned(4711))
        self.say(pipe.Connecting(paired=True))
        self.say(pipe.Connected(NUMBER))
        assert self.account.state is State.CONNECTED

    def wait(self, seconds: float, *, clock: float | None = None) -> None:
        """Let time pass with a heartbeat now and then, and tick whenever the account wants that."""
        until = self.mono + seconds
        self.wall += (clock if clock is not None else seconds) - seconds
        while self.mono < until:
            due = self.account.wakes_at()
            step = min(until, self.mono + 25, max(self.mono + 0.001, due or until))
            if until - self.mono > DAY / 2 and not (due is not None and due < self.mono + DAY / 4):
                step = self.mono + DAY / 4  # nothing would happen meanwhile but heartbeats
            self.mono, self.wall = step, self.wall + step - self.mono
            if self.account.child is not None:
                self.account.child.heard_at = self.mono
            self(Ticked())

    def end(self, kind: Kind) -> None:
        self.say(pipe.Ended(kind, "over"))
        self(Exited(EXIT_CODES[kind]))

    @property
    def told(self) -> list[tuple[str | None, str | None]]:
        return [(one.event, one.reason) for one in self.actions if isinstance(one, Record) and one.event]


def words(days: int) -> str:
    return (
        f"its phone gave no sign for {days} days, and WhatsApp unlinks the account after about 14:"
        " open WhatsApp on the phone"
    )


def test_it_is_told_after_ten_and_twelve_days_and_ends_with_a_sign() -> None:
    world = World(PhoneWatch(START - DAY, START - DAY))
    world.wait(9 * DAY - 60)
    assert (world.told, world.account.reason, world.account.watch.unlinked_at) == ([], None, None)
    world.wait(120)
    assert world.told == [("phone_offline", words(10))]
    assert world.account.reason == words(10)
    assert world.account.watch.unlinked_at == START + 13 * DAY
    world.wait(2 * DAY)
    assert world.told == [("phone_offline", words(10)), ("phone_offline", words(12))]
    world.wait(2 * DAY)
    assert len(world.told) == 2
    world.say(pipe.PhoneSeen(world.wall - 1))
    assert world.told[2:] == [("phone_seen", "its phone was seen again")]
    assert not world.account.reason
    assert not world.account.watch.unlinked_at
    world.wait(10 * DAY)
    assert world.told[3:] == [("phone_offline", words(10))]


def test_an_account_that_was_never_seen_counts_from_its_first_connection() -> None:
    world = World()
    assert world.account.watch == PhoneWatch(None, START)
    world.wait(10 * DAY - 1)
    assert world.told == []
    world.wait(2)
    assert world.told == [("phone_offline", words(10))]
    assert world.account.watch.seen_at is None


def test_a_restart_of_the_service_neither_forgets_nor_repeats() -> None:
    watch = PhoneWatch(START - 11 * DAY, START - 11 * DAY, told=10)
    world = World(watch)
    assert world.account.reason == words(10)
    world.wait(3600)
    assert world.told == []
    world.wait(DAY)
    assert world.told == [("phone_offline", words(12))]


def test_after_days_without_a_service_the_phone_has_a_moment_to_show_itself() -> None:
    away = PhoneWatch(START - 11 * DAY, START - 11 * DAY)
    world = World(away)
    world.wait(GRACE - 1)
    assert world.told == []
    world.say(pipe.PhoneSeen(START - 2 * DAY))
    world.wait(60)
    assert world.told == []
    silent = World(away)
    silent.wait(GRACE + 1)
    assert silent.told == [("phone_offline", words(10))]
    long_gone = World(PhoneWatch(START - 90 * DAY, START - 90 * DAY))
    long_gone.wait(GRACE + 1)
    assert long_gone.told == [("phone_offline", words(12))]


def test_nothing_is_missed_while_nobody_listens() -> None:
    world = World(PhoneWatch(START - 11 * DAY, START - 11 * DAY), connect=False)
    assert world.account._phone_missed_at() is None
    world.wait(3600)
    assert world.told == []


def test_a_sign_from_before_the_warning_does_not_end_it() -> None:
    world = World(PhoneWatch(START - 13 * DAY, START - 13 * DAY))
    world.wait(GRACE + 1)
    assert world.account.watch.told == 12
    world.say(pipe.PhoneSeen(START - 11 * DAY))
    assert world.account.watch.told == 10
    assert world.told == [("phone_offline", words(12))]
    assert world.account.reason == words(10)


@pytest.mark.parametrize("by", [400 * DAY, -400 * DAY, 11 * DAY, -3600.0, 3600.0])
def test_a_clock_that_is_set_makes_no_phone_missing_and_hides_none(by: float) -> None:
    world = World(PhoneWatch(START - DAY, START - DAY))
    world.wait(60, clock=60 + by)
    world.wait(3600)
    assert world.told == []
    assert world.account.watch.seen_at == pytest.approx(START + by - DAY, abs=1)
    world.wait(9 * DAY - 3600 - 120)
    assert world.told == []
    world.wait(180)
    assert [event for event, _ in world.told] == ["phone_offline"]


def test_a_sign_of_the_future_is_one_of_now() -> None:
    world = World()
    world.say(pipe.PhoneSeen(2.0**33))
    assert world.account.watch.seen_at == world.wall


def test_what_was_kept_by_a_clock_that_was_ahead_counts_from_now() -> None:
    world = World(PhoneWatch(START + 300 * DAY, START + 300 * DAY))
    assert world.account.watch == PhoneWatch(START, START)


def test_pairing_anew_begins_anew() -> None:
    world = World(PhoneWatch(START - 13 * DAY, START - 13 * DAY, told=12))
    world(Ordered(Order.REPAIR))
    world.end(Kind.STOPPED)
    assert any(isinstance(one, Quarantine) for one in world.actions)
    assert world.account.watch == PhoneWatch()
    world(TurnCame())
    world(Spawned(4712))
    world.say(pipe.Connecting(paired=False))
    world.say(pipe.Paired(NUMBER))
    world.say(pipe.Connected(NUMBER))
    assert world.account.watch == PhoneWatch(world.wall, world.wall)
    assert world.account.reason is None


def test_a_log_out_ends_the_watch() -> None:
    world = World(PhoneWatch(START - 13 * DAY, START - 13 * DAY, told=12))
    world.end(Kind.LOGGED_OUT)
    assert world.account.watch == PhoneWatch()


def test_another_reason_stays_and_the_warning_is_told_all_the_same() -> None:
    world = World(PhoneWatch(START - 11 * DAY, START - 11 * DAY))
    world.account.reason = "something else"
    world.wait(GRACE + 1)
    assert world.account.reason == "something else"
    assert world.told == [("phone_offline", words(10))]
    world.say(pipe.PhoneSeen(world.wall))
    assert world.account.reason == "something else"


def test_a_link_that_is_lost_keeps_the_warning() -> None:
    world = World(PhoneWatch(START - 11 * DAY, START - 11 * DAY))
    world.wait(GRACE + 1)
    world.say(pipe.LinkLost("reset"))
    assert world.account.reason == "reset"
    world.say(pipe.PhoneSeen(world.wall))
    assert world.account.reason == "reset"
    world.say(pipe.Connected(NUMBER))
    assert world.account.reason is None


def test_a_new_name_keeps_the_watch() -> None:
    former, world = World(PhoneWatch(5.0, 6.0, 10)), World(connect=False)
    world.account.take_over(former.account)
    assert world.account.watch == former.account.watch


watches = st.builds(PhoneWatch, st.none() | TIMES, st.none() | TIMES, st.sampled_from([0, 10, 12]))


@given(watch=watches, at=TIMES, now=TIMES)
def test_signs_are_never_later_than_now_and_never_go_back(watch: PhoneWatch, at: float, now: float) -> None:
    after = watch.saw(at, now)
    assert after is watch or (after.seen_at is not None and after.seen_at <= now)
    assert (after.seen_at or 0) >= (watch.seen_at or 0)
    assert (after.since or 0) >= (watch.since or 0)


@given(watch=watches, now=TIMES)
def test_nothing_is_told_twice_and_nothing_is_due_that_was_told(watch: PhoneWatch, now: float) -> None:
    once = watch.judge(now)
    assert once.judge(now) == once
    assert once.next_at is None or once.next_at > now or once.since is None
    assert (once.text is None) == (once.told == 0)


@given(watch=watches, by=st.floats(-(2**33), 2**33), now=TIMES)
def test_moved_times_are_times(watch: PhoneWatch, by: float, now: float) -> None:
    moved = watch.moved(by).begins(now)
    assert moved.since is not None
    assert 0 <= moved.since <= now
    assert moved.seen_at is None or 0 <= moved.seen_at <= now


@pytest.mark.parametrize(
    ("mono", "wall", "by"), [(10, 10, 0), (10, 69, 0), (10, 80, 70), (100, 0, -100), (0, 0, 0)]
)
def test_a_clock_that_is_set(mono: float, wall: float, by: float) -> None:
    assert was_set(Moment(5.0, START), Moment(5.0 + mono, START + wall)) == by


def test_wake_ups_are_in_time_and_not_all_the_time() -> None:
    world = World(PhoneWatch(START, START))
    world.account._stable_at = None
    world.account.child.heard_at = None  # type: ignore[union-attr]
    due: Any = world.account.wakes_at()
    assert due - world.mono == pytest.approx(10 * DAY)
    world.mono, world.wall = due, START + 10 * DAY
    world(Ticked())
    assert [event for event, _ in world.told] == ["phone_offline"]
    assert world.account.wakes_at() == pytest.approx(world.mono + 2 * DAY)
