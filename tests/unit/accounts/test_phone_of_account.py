"""Which phone an account may be linked to, as its machine has it."""

from dataclasses import replace

from orchestrator.accounts import pipe
from orchestrator.accounts.actions import Quarantine, Spawn, TellStop
from orchestrator.accounts.events import (
    Begin,
    Configured,
    Exited,
    Found,
    Moment,
    Order,
    Ordered,
    Said,
    Spawned,
    TurnCame,
)
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.machine import Account
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State

OWN, OTHER = "4915100001", "4915100002"
NOW = Moment(1000.0, 2000.0)


def account(guard: Guard | None = None, phone: str | None = None) -> Account:
    made = Account(AccountSettings("a", phone=phone), NOW, random=lambda: 0.0, guard=guard)
    made.handle(Begin(), NOW)
    return made


def start(made: Account, *messages: pipe.FromChild) -> None:
    assert Spawn("qr") in made.handle(TurnCame(), NOW)
    made.handle(Spawned(1), NOW)
    for message in messages:
        made.handle(Said(message), NOW)


def end(made: Account, kind: Kind) -> None:
    made.handle(Said(pipe.Ended(kind, "ended")), NOW)
    made.handle(Exited(EXIT_CODES[kind]), NOW)


def code() -> pipe.Code:
    return pipe.Code("text", b"png", NOW.wall, NOW.wall + 60)


def test_the_phone_that_was_linked_first_is_wanted_from_then_on() -> None:
    made = account()
    assert made.wanted_phone is None
    start(made, pipe.Connecting(paired=False), code(), pipe.Paired(OWN), pipe.Connected(OWN))
    assert made.wanted_phone == OWN


def test_an_account_that_is_connected_with_an_old_session_is_wanted_as_that() -> None:
    made = account()
    start(made, pipe.Connecting(paired=True), pipe.Connected(OWN))
    assert made.wanted_phone == OWN


def test_a_wrong_phone_is_neither_wanted_nor_shown() -> None:
    made = account(Guard(OWN))
    assert made.phone == OWN
    start(made, pipe.Connecting(paired=False), code(), pipe.Paired(OTHER))
    end(made, Kind.WRONG_PHONE)
    assert (made.state, made.wanted_phone, made.phone) == (State.FAILED, OWN, OWN)
    assert "--any-phone" in (made.reason or "")


def test_where_the_configuration_names_the_phone_no_option_is_advised() -> None:
    made = account(phone=OWN)
    start(made, pipe.Connecting(paired=False), code(), pipe.Paired(OTHER))
    end(made, Kind.WRONG_PHONE)
    assert "--any-phone" not in (made.reason or "")


def test_any_phone_is_let_in_by_an_account_that_shows_a_code_for_its_own_only() -> None:
    made = account(Guard(OWN))
    start(made, pipe.Connecting(paired=False), code())
    assert made.handle(Ordered(Order.REPAIR), NOW) == [], "it shows a code already"
    actions = made.handle(Ordered(Order.REPAIR, any_phone=True), NOW)
    assert TellStop() in actions, "its process would refuse the phone"
    end(made, Kind.STOPPED)
    assert made.wanted_phone is None
    start(made, pipe.Connecting(paired=False), code())
    # Once more changes nothing.
    assert made.handle(Ordered(Order.REPAIR, any_phone=True), NOW) == []
    assert made.handle(Ordered(Order.REPAIR), NOW) == []
    assert made.wanted_phone is None
    made.handle(Said(pipe.Paired(OTHER)), NOW)
    assert made.wanted_phone == OTHER


def test_any_phone_for_a_connected_account() -> None:
    made = account()
    start(made, pipe.Connecting(paired=True), pipe.Connected(OWN))
    made.handle(Ordered(Order.REPAIR, any_phone=True), NOW)
    made.handle(Said(pipe.Connected(OWN)), NOW)  # on its way out
    made.handle(Said(pipe.Ended(Kind.STOPPED, "ended")), NOW)
    assert Quarantine("repair") in made.handle(Exited(EXIT_CODES[Kind.STOPPED]), NOW)
    assert made.guard == Guard(None, any_phone=True)


def test_what_the_configuration_names_wins_and_then_does_not() -> None:
    made = account(Guard(OWN), phone=OTHER)
    assert made.wanted_phone == OTHER
    made.handle(Configured(replace(made.settings, phone=None)), NOW)
    assert made.wanted_phone == OWN


def test_a_session_is_a_witness_only_where_nobody_knows_better() -> None:
    made = account()
    made.handle(Found(OWN), NOW)
    assert (made.wanted_phone, made.phone) == (OWN, OWN)
    made.handle(Found(OTHER), NOW)
    assert made.wanted_phone == OWN
    made.handle(Found(OTHER, restored=True), NOW)
    assert made.wanted_phone == OTHER


def test_a_new_name_takes_the_guard_along() -> None:
    made = account(Guard(OWN))
    renamed = Account(AccountSettings("b"), NOW, random=lambda: 0.0, guard=made.guard)
    renamed.take_over(made)
    assert renamed.wanted_phone == OWN
