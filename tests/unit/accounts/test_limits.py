"""What an account may not send, as its process says."""

from __future__ import annotations

import pytest

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Record
from orchestrator.accounts.events import Begin, Exited, Moment, Said, Spawned, Ticked, TurnCame
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.limits import LIFTED, Limits
from orchestrator.accounts.machine import Account
from orchestrator.accounts.outgoing import Restriction
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.control.outlook import outlook
from orchestrator.control.view import AccountView

NEW = Limits(Restriction.NEW, 2000.0, 463)


def test_each_restriction_has_words() -> None:
    for what in Restriction:
        assert (Limits(what).text is None) == (what is Restriction.NOTHING)
    assert LIFTED


@pytest.mark.parametrize(("now", "left"), [(1999.0, NEW), (2000.0, Limits()), (3000.0, Limits())])
def test_a_restriction_ends_by_itself(now: float, left: Limits) -> None:
    assert NEW.at(now) == left


def test_one_without_an_end_stays() -> None:
    assert Limits(Restriction.ALL).at(1e9) == Limits(Restriction.ALL)


@pytest.mark.parametrize(("what", "words"), [("new", "replies go on"), ("all", "nothing is sent until then")])
def test_what_is_ahead_of_an_account_that_is_restricted(what: str, words: str) -> None:
    until = "2026-12-01T10:00:00Z"
    found = outlook(AccountView("a", "connected", restricted=what, restricted_until=until))
    assert found.next.startswith(words)
    assert found.at == until
    assert found.advice[0].startswith("wait: ")


# What an account makes of it


class Restrained:
    """An account that is connected, at a time that stands still."""

    def __init__(self) -> None:
        self.wall = 1000.0
        self.account = Account(AccountSettings("a"), self.now, random=lambda: 0.5)
        self.told: list[tuple[str | None, str | None, int | None, float | None]] = []
        self.account.handle(Begin(), self.now)
        self.connect()

    @property
    def now(self) -> Moment:
        return Moment(self.wall, self.wall)

    def connect(self) -> None:
        self.account.handle(TurnCame(), self.now)
        self.account.handle(Spawned(4711), self.now)
        self.say(pipe.Connecting(paired=True))
        self.say(pipe.Connected("4915100001"))
        assert self.account.state is State.CONNECTED

    def say(self, message: pipe.FromChild) -> None:
        actions = self.account.handle(Said(message), self.now)
        records = [one for one in actions if isinstance(one, Record) and one.event is not None]
        self.told += [(one.event, one.reason, one.code, one.delay) for one in records]


TOLD = pipe.Restricted(Restriction.NEW, 2000.0, 463)


def test_each_change_is_told_once() -> None:
    world = Restrained()
    world.say(pipe.Restricted(Restriction.NOTHING))
    assert world.told == []
    world.say(TOLD)
    world.say(TOLD)
    assert world.told == [("restricted", NEW.text, 463, 1000.0)]
    assert (world.account.reason, world.account.limits) == (NEW.text, NEW)
    world.say(pipe.Restricted(Restriction.ALL, None, 429))
    assert world.account.reason == Limits(Restriction.ALL).text
    world.say(pipe.Restricted(Restriction.NOTHING))
    assert world.told[1:] == [
        ("restricted", Limits(Restriction.ALL).text, 429, None),
        ("unrestricted", LIFTED, None, None),
    ]
    assert world.account.reason is None


@pytest.mark.parametrize(("later", "left"), [(1500.0, NEW), (2500.0, Limits())])
def test_it_outlives_the_process_that_has_said_it(later: float, left: Limits) -> None:
    world = Restrained()
    world.say(TOLD)
    world.say(pipe.Ended(Kind.NETWORK, "over"))
    world.account.handle(Exited(EXIT_CODES[Kind.NETWORK]), world.now)
    world.wall = later
    world.account.handle(Ticked(), world.now)
    world.connect()
    assert (world.account.limits, world.account.reason) == (left, left.text)


def test_another_device_has_no_restriction() -> None:
    world = Restrained()
    world.say(TOLD)
    world.say(pipe.Ended(Kind.LOGGED_OUT, "over"))
    world.account.handle(Exited(EXIT_CODES[Kind.LOGGED_OUT]), world.now)
    assert world.account.limits == Limits()


def test_what_waits_is_counted() -> None:
    world = Restrained()
    assert world.account.to_send is None
    world.say(pipe.Loading())
    world.say(pipe.Heartbeat(None, 1, queued=7))
    assert world.account.to_send == 7
