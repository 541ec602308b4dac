"""An account is removed: what becomes of its linked device, as its machine has it."""

import pytest

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Action, Forget, Kill, Quarantine, TellStop, TellUnlink
from orchestrator.accounts.child import Parting
from orchestrator.accounts.events import (
    Begin,
    Event,
    Exited,
    Moment,
    Order,
    Ordered,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.machine import Account
from orchestrator.accounts.running import UNLINK_DEADLINE
from orchestrator.accounts.settings import AccountSettings

NUMBER = "4915100001"
NOW = Moment(1000.0, 2000.0)
UNLINK = Removed(unlink=True)


def account(*messages: pipe.FromChild) -> Account:
    made = Account(AccountSettings("a"), NOW, random=lambda: 0.0)
    begin: list[Event] = [Begin(), TurnCame(), Spawned(1)]
    for event in [*begin, *(Said(message) for message in messages)]:
        made.handle(event, NOW)
    return made


def connected() -> Account:
    return account(pipe.Connecting(paired=True), pipe.Connected(NUMBER))


def end(made: Account, kind: Kind, text: str = "ended") -> list[Action]:
    made.handle(Said(pipe.Ended(kind, text)), NOW)
    return made.handle(Exited(EXIT_CODES[kind]), NOW)


def test_a_connected_account_is_unlinked_first() -> None:
    made = connected()
    actions = made.handle(UNLINK, NOW)
    assert TellUnlink() in actions
    assert TellStop() not in actions
    assert made.leaving
    assert not made.parting
    actions = end(made, Kind.LOGGED_OUT)
    assert made.parting == Parting(unlinked=True)
    assert [one for one in actions if isinstance(one, Quarantine | Forget)] == [
        Quarantine("logged_out", messages=True),
        Forget(),
    ]


def test_what_kept_whatsapp_from_it_is_told_and_the_session_goes_as_before() -> None:
    made = connected()
    made.handle(UNLINK, NOW)
    actions = end(made, Kind.STOPPED, "WhatsApp did not answer")
    assert made.parting == Parting(unlinked=False, why="WhatsApp did not answer")
    assert Quarantine("removed", messages=True) in actions


def test_it_does_not_take_for_ever() -> None:
    made = connected()
    made.handle(UNLINK, NOW)
    later = Moment(NOW.monotonic + UNLINK_DEADLINE, NOW.wall)
    assert any(isinstance(one, Kill) for one in made.handle(Ticked(), later))
    actions = made.handle(Exited(-9), later)
    assert made.parting is not None
    assert not made.parting.unlinked
    assert Quarantine("removed", messages=True) in actions


@pytest.mark.parametrize(
    ("kind", "put_away"),
    [(Kind.LOGGED_OUT, [Quarantine("logged_out")]), (Kind.STOPPED, []), (Kind.NETWORK, [])],
)
def test_one_whose_session_is_to_be_kept_loses_only_what_whatsapp_has_ended(
    kind: Kind, put_away: list[Action]
) -> None:
    made = connected()
    actions = made.handle(Removed(keep_session=True, unlink=True), NOW)
    assert TellUnlink() in actions
    assert TellStop() not in actions
    actions = end(made, kind, "WhatsApp did not answer")
    assert made.parting is not None
    assert made.parting.unlinked is (kind is Kind.LOGGED_OUT)
    assert [one for one in actions if isinstance(one, Quarantine | Forget)] == [*put_away, Forget()]


@pytest.mark.parametrize("removed", [Removed(), Removed(keep_session=True)])
def test_nothing_is_unlinked_that_is_not_to_be(removed: Removed) -> None:
    made = connected()
    actions = made.handle(removed, NOW)
    assert TellStop() in actions
    assert TellUnlink() not in actions


@pytest.mark.parametrize(
    "before",
    [
        [],
        [Said(pipe.LinkLost("gone"))],
        [Ordered(Order.STOP)],
        [Ordered(Order.REPAIR)],
        [Said(pipe.Ended(Kind.NETWORK, "gone"))],
    ],
)
def test_an_account_that_is_not_connected_says_so(before: list[Event]) -> None:
    made = connected() if before else account()
    for event in before:
        made.handle(event, NOW)
    actions = list(made.handle(UNLINK, NOW))
    assert TellUnlink() not in actions
    made.handle(Exited(EXIT_CODES[Kind.STOPPED]), NOW)
    assert made.parting == Parting(unlinked=False, why="the account was not connected")


def test_a_service_that_stops_meanwhile_waits_no_longer_than_it_may() -> None:
    made = connected()
    made.handle(UNLINK, NOW)
    made.handle(ShuttingDown(NOW.monotonic + 1), NOW)
    wakes_at = made.wakes_at()
    assert wakes_at is not None
    assert wakes_at <= NOW.monotonic + 1
