"""Counts of messages: what was refused is added up over the processes of an account."""

from orchestrator.accounts import pipe
from orchestrator.accounts.events import Begin, Moment, Said, Spawned, TurnCame
from orchestrator.accounts.machine import Account
from orchestrator.accounts.received import Received
from orchestrator.accounts.settings import AccountSettings


def test_what_was_refused_is_added_up() -> None:
    counts = Received()
    assert (counts.stored, counts.lost, counts.refused) == (None, 0, 0)
    counts.heard(None, 0, 3)
    counts.heard(None, 0, 5)
    counts.ended()
    assert counts.refused == 5
    counts.heard(7, 1, 2)
    assert (counts.stored, counts.lost, counts.refused) == (7, 1, 7)
    counts.ended()
    counts.ended()
    assert (counts.stored, counts.lost, counts.refused) == (7, 1, 7)


def test_a_process_that_counts_backwards_takes_nothing_back() -> None:
    counts = Received()
    for refused in (9, 1, 4):
        counts.heard(1, 0, refused)
    assert counts.refused == 9


def test_a_process_that_has_not_opened_its_inbox_says_nothing_of_the_entries() -> None:
    now = Moment(1000.0, 2000.0)
    made = Account(AccountSettings("a"), now, random=lambda: 0.0)
    made.handle(Begin(), now)
    made.received.heard(7, 1, 0)
    made.handle(TurnCame(), now)
    made.handle(Spawned(1), now)
    made.handle(Said(pipe.Heartbeat(None, 1)), now)
    assert (made.received.stored, made.received.lost) == (7, 1)
    made.handle(Said(pipe.Loading("")), now)
    made.handle(Said(pipe.Heartbeat(None, 1)), now)
    assert (made.received.stored, made.received.lost) == (None, 0)


def running(now: Moment) -> Account:
    made = Account(AccountSettings("a"), now, random=lambda: 0.0)
    for event in (Begin(), TurnCame(), Spawned(1), Said(pipe.Loading(""))):
        made.handle(event, now)
    return made


def beat(**values: float | None) -> Said:
    return Said(pipe.Heartbeat(None, 1, **values))  # type: ignore[arg-type]


def test_when_messages_came_and_went_last_is_what_a_process_says() -> None:
    now = Moment(1000.0, 2000.0)
    made = running(now)
    assert (made.last_in_at, made.last_out_at) == (None, None)
    made.handle(beat(last_in_at=1990.0), now)
    assert (made.last_in_at, made.last_out_at) == (1990.0, None)
    made.handle(beat(last_in_at=1995.0, last_out_at=1991.0), now)
    assert (made.last_in_at, made.last_out_at) == (1995.0, 1991.0)


def test_a_process_that_knows_less_than_the_one_before_takes_nothing_back() -> None:
    now = Moment(1000.0, 2000.0)
    made = running(now)
    made.handle(beat(last_in_at=1990.0, last_out_at=1991.0), now)
    made.handle(beat(), now)
    made.handle(beat(last_in_at=5.0, last_out_at=6.0), now)
    assert (made.last_in_at, made.last_out_at) == (1990.0, 1991.0)
    renamed = Account(AccountSettings("b"), now, random=lambda: 0.0)
    renamed.take_over(made)
    assert (renamed.last_in_at, renamed.last_out_at) == (1990.0, 1991.0)


def test_no_message_comes_or_goes_in_the_future() -> None:
    made = running(Moment(1000.0, 2000.0))
    made.handle(beat(last_in_at=1e9, last_out_at=2000.5), Moment(1001.0, 2001.0))
    assert (made.last_in_at, made.last_out_at) == (2001.0, 2000.5)
    made.handle(beat(), Moment(1002.0, 1500.0))  # somebody has set the clock back
    assert (made.last_in_at, made.last_out_at) == (1500.0, 1500.0)


def test_what_was_kept_counts_until_a_process_says_more() -> None:
    now = Moment(1000.0, 2000.0)
    made = Account(AccountSettings("a"), now, random=lambda: 0.0)
    made.heard_of_messages(1990.0, None)
    made.heard_of_messages(None, None)
    assert (made.last_in_at, made.last_out_at) == (1990.0, None)
