"""What the benchmark of failovers makes of what WhatsApp and the database have written down."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.cluster.outcome import (
    HEAD,
    Change,
    Event,
    Fates,
    Letter,
    Link,
    Outcome,
    Times,
    fates,
    judge,
    links,
    markdown,
    replaced,
    rows,
    together,
    wrong,
)

ANN, BOB = "+49157001", "+49157002"
ABOUT, OTHERS = {"ann": ANN}, {"bob": BOB}
TIMES = Times(began=100.0, counted=100.0, back=120.0, over=130.0)
GOOD = Outcome(accounts=3, claimed=11.5, connected=13.2, replaced=1, fates=Fates(50, 50))


def opened(at: float, connection: int, peer: str = "10.68.1.2") -> Event:
    return {"at": at, "event": "opened", "connection": connection, "peer": peer}


def login(at: float, connection: int, phone: str = ANN) -> Event:
    return {"at": at, "event": "login", "connection": connection, "phone": phone, "device": 1}


def closed(at: float, connection: int) -> Event:
    return {"at": at, "event": "closed", "connection": connection}


def link(connection: int, since: float, until: float | None = None, phone: str = ANN) -> Link:
    return Link((phone, 1), connection, "10.68.1.2", since, until)


def judged(*some: Link, changes: tuple[Change, ...] = (), times: Times = TIMES) -> Outcome:
    return judge([*some, link(99, 10.0, phone=BOB)], changes, ABOUT, OTHERS, times)


# From the log


def test_a_link_is_from_its_log_in_to_its_end_and_knows_its_machine() -> None:
    events = [opened(1.0, 7, "10.68.3.2"), login(2.0, 7), {"at": 2.5, "event": "message"}, closed(3.0, 7)]
    assert links(events) == [Link((ANN, 1), 7, "10.68.3.2", 2.0, 3.0)]
    assert links(events[:-1]) == [Link((ANN, 1), 7, "10.68.3.2", 2.0, None)]


def test_what_never_logs_in_is_no_link() -> None:
    assert links([opened(1.0, 7), closed(2.0, 7), closed(2.0, 8)]) == []


# Links that are replaced


def test_a_link_that_was_closed_before_is_not_replaced() -> None:
    assert not replaced([link(1, 10.0, 105.0), link(2, 105.2)], 100.0, 130.0)


@pytest.mark.parametrize("end", [112.1, None])
def test_a_link_that_is_open_at_the_next_log_in_is_replaced(end: float | None) -> None:
    assert replaced([link(1, 10.0, end), link(2, 112.0)], 100.0, 130.0) == {(ANN, 1): 1}


def test_each_turn_of_a_fight_counts() -> None:
    fight = [link(1, 10.0, 112.1), link(2, 112.0, 114.1), link(3, 114.0, 116.1), link(4, 116.0)]
    assert replaced(fight, 100.0, 130.0) == {(ANN, 1): 3}
    assert judged(*fight).fights == [ANN]


def test_devices_do_not_replace_each_other() -> None:
    other = replace(link(2, 112.0), device=(ANN, 2))
    assert not replaced([link(1, 10.0), other, link(3, 112.0, phone=BOB)], 100.0, 130.0)


def test_what_was_before_the_fault_or_is_after_the_last_look_does_not_count() -> None:
    some = [link(1, 10.0, 50.1), link(2, 50.0, 140.1), link(3, 140.0)]
    assert not replaced(some, 100.0, 130.0)


# Times


def test_times_are_counted_from_the_begin_to_the_first_claim_and_the_last_log_in() -> None:
    changes = (
        Change(90.0, "ann", "one"),  # before
        Change(112.0, "ann", None),  # nobody's
        Change(112.4, "bob", "two"),  # of another account
        Change(112.5, "ann", "two"),
        Change(119.0, "ann", "three"),
        Change(125.0, "ann", "one"),  # handed on afterwards
    )
    some = [link(1, 10.0, 113.1), link(2, 113.0, 118.0), link(3, 119.5)]
    found = judged(*some, changes=changes)
    assert (found.claimed, found.connected) == (12.5, 13.0)
    found = judged(*some, changes=changes, times=replace(TIMES, counted=110.0))
    assert (found.claimed, found.connected) == (2.5, 3.0)


def test_a_link_that_does_not_last_does_not_count() -> None:
    assert judged(link(1, 10.0, 105.0), link(2, 113.0, 114.0), link(3, 117.0)).connected == 17.0


def test_an_account_that_kept_its_link_took_no_time() -> None:
    found = judged(link(1, 10.0))
    assert (found.accounts, found.claimed, found.connected) == (1, None, None)
    assert (found.missing, found.disturbed, found.replaced) == ([], [], 0)


def test_an_account_that_has_no_link_when_all_should_be_back_is_missing() -> None:
    assert judged(link(1, 10.0, 105.0)).missing == ["ann"]
    assert judged(link(1, 10.0, 105.0), link(2, 125.0)).missing == ["ann"]  # too late
    assert judged(link(1, 10.0, 105.0), link(2, 115.0, 125.0)).missing == []  # handed on afterwards


def test_an_account_that_nothing_happened_to_is_not_to_connect_again() -> None:
    some = [link(1, 10.0), link(2, 10.0, 110.0, BOB), link(3, 111.0, phone=BOB)]
    assert judge(some, (), ABOUT, OTHERS, TIMES).disturbed == ["bob"]
    assert judge(some, [Change(110.5, "bob", "two")], ABOUT, OTHERS, TIMES).disturbed == []  # handed on
    assert judge(some, (), {**ABOUT, **OTHERS}, {}, TIMES).disturbed == []


# Messages


def test_each_message_has_one_fate() -> None:
    letters = [Letter(one, "ann") for one in ("once", "twice", "told", "lost", "elsewhere")]
    entries = [
        ("ann", "message", "once"),
        ("ann", "lost", "once"),  # it came after all
        ("ann", "message", "twice"),
        ("ann", "message", "twice"),
        ("ann", "lost", "told"),
        ("bob", "message", "elsewhere"),
        ("bob", "message", "lost"),
        ("ann", "message", "unknown"),
    ]
    assert fates(letters, entries) == Fates(sent=5, once=1, reported=1, lost=2, doubled=1)
    assert fates([], entries) == Fates()


# Several rounds, verdicts, and the table


def test_of_several_rounds_the_worst_counts() -> None:
    other = Outcome(4, None, 20.0, ["ann"], 0.1, 2, [ANN], ["bob"], Fates(10, 7, 1, 1, 1))
    assert together([GOOD, other]) == Outcome(
        4, 11.5, 20.0, ["ann"], 0.1, 2, [ANN], ["bob"], Fates(60, 57, 1, 1, 1)
    )
    assert together([GOOD]) == replace(GOOD, missing=[], fights=[], disturbed=[])


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"missing": ["ann"]}, "SIGTERM: accounts that were not connected in the end: 1, such as ann"),
        ({"fights": [ANN, BOB]}, f"whose link was replaced more than once: 2, such as {ANN}"),
        ({"disturbed": ["bob"]}, "of other machines that had to connect again: 1, such as bob"),
        ({"fates": Fates(5, 2, 0, 3)}, "that no inbox calls lost: 3"),
        ({"fates": Fates(5, 4, 0, 0, 1)}, "SIGTERM: messages that are in an inbox twice: 1"),
    ],
)
def test_what_must_not_be_is_said(facts: dict[str, Any], said: str) -> None:
    (found,) = wrong("SIGTERM", replace(GOOD, **facts))
    assert said in found


def test_what_is_reported_as_lost_and_one_change_of_a_link_are_right() -> None:
    assert list(wrong("SIGTERM", replace(GOOD, fates=Fates(5, 3, 2)))) == []


def test_the_table_has_a_row_for_each_fault() -> None:
    table = list(rows({"lost": GOOD, "frozen": replace(GOOD, claimed=None, gone=0.054)}))
    assert table[0] == HEAD
    assert table[1] == ("lost", "3", "11.5 s", "13.2 s", "-", "1", "0", "50", "50", "0", "0", "0")
    assert table[2][2:5] == ("-", "13.2 s", "0.05 s")
    lines = markdown(table).splitlines()
    assert lines[2].startswith("| lost | 3 | 11.5 s |")
    assert {line.count("|") for line in lines} == {len(HEAD) + 1}
