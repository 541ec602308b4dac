"""What goes into one transaction: nothing is lost, nothing is answered twice, and one harms no other."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.messages.group_commit import MOST, MOST_BYTES, RETRY_SECONDS, Groups

Accounts = Groups[str, int]


def waiting(groups: Accounts, now: float = 0.0) -> list[tuple[str, int]]:
    return groups.take(now)


def test_a_group_is_all_that_waits_in_the_order_in_which_it_came() -> None:
    groups = Accounts()
    assert groups.due() is None
    for number, who in enumerate("bac"):
        groups.put(who, number, 10)
    assert groups.due() == 0.0
    assert waiting(groups) == [("b", 0), ("a", 1), ("c", 2)]
    groups.done("ba")
    assert waiting(groups) == [("c", 2)]


def test_who_has_no_answer_asks_nothing_else() -> None:
    groups = Accounts()
    groups.put("a", 1, 10)
    with pytest.raises(ValueError, match="before the answer"):
        groups.put("a", 2, 10)
    groups.done("a")
    groups.put("a", 2, 10)
    assert waiting(groups) == [("a", 2)]


def test_who_is_gone_is_not_asked_for() -> None:
    groups = Accounts()
    groups.put("a", 1, 10)
    groups.put("b", 2, 10)
    groups.drop("a")
    groups.drop("nobody")
    assert waiting(groups) == [("b", 2)]


def test_a_group_has_bounds_and_one_large_question_is_a_group() -> None:
    groups = Accounts()
    for number in range(MOST + 5):
        groups.put(str(number), number, 1)
    assert len(waiting(groups)) == MOST
    groups = Accounts()
    for number in range(5):
        groups.put(str(number), number, MOST_BYTES // 2)
    assert len(waiting(groups)) == 2
    groups = Accounts()
    groups.put("a", 1, 3 * MOST_BYTES)
    groups.put("b", 2, 1)
    assert waiting(groups) == [("a", 1)]


def test_a_refused_group_is_asked_one_by_one_and_others_go_on_together() -> None:
    groups = Accounts()
    for number, who in enumerate("abc"):
        groups.put(who, number, 1)
    assert not groups.refused("abc")
    groups.put("d", 3, 1)
    groups.put("e", 4, 1)
    assert waiting(groups) == [("a", 0)]
    assert groups.refused("a"), "this one is to be answered so"
    groups.done("a")
    groups.done("b")
    groups.done("c")
    assert waiting(groups) == [("d", 3), ("e", 4)]


def test_while_the_store_is_away_all_wait_and_then_all_are_told() -> None:
    groups = Accounts(patience=10.0)
    groups.put("a", 1, 1)
    assert groups.away(100.0) == {}
    assert groups.take(100.0) == []
    assert groups.due() == 100.0 + RETRY_SECONDS
    assert groups.take(100.0 + RETRY_SECONDS) == [("a", 1)], "it is the same question"
    groups.put("b", 2, 1)
    assert groups.away(109.0) == {}
    assert groups.away(110.0) == {"a": False, "b": False}
    groups.put("c", 3, 1)
    assert groups.away(111.0) == {"c": False}, "the store is away for too long already"
    groups.put("c", 3, 1)
    groups.done("c")
    groups.put("d", 4, 1)
    assert groups.away(200.0) == {}, "it was back meanwhile"


def test_who_is_told_hears_whether_the_store_may_have_it() -> None:
    groups = Accounts(patience=10.0)
    groups.put("a", 1, 1)
    groups.put("b", 2, 1)
    assert groups.away(100.0, ["a", "nobody"]) == {}
    assert groups.away(101.0) == {}, "and the first try may have done it all the same"
    groups.put("c", 3, 1)
    assert groups.away(110.0, ["c"]) == {"a": True, "b": False, "c": True}
    groups.put("a", 4, 1)
    assert groups.away(111.0) == {"a": False}, "this is another question"


@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(1, 60))
def test_every_question_is_stored_once_and_answered_once_in_order(seed: int, many: int, each: int) -> None:
    """The store refuses some, is away at times, and at times takes a group without a word."""
    chance = random.Random(seed)
    groups = Accounts(patience=1e9)
    accounts = [f"a{number}" for number in range(many)]
    asked = dict.fromkeys(accounts, 0)
    stored: dict[str, list[int]] = {one: [] for one in accounts}
    answered: dict[str, list[int]] = {one: [] for one in accounts}
    bad = {(one, number) for one in accounts for number in range(each) if chance.random() < 0.1}
    now = 0.0
    for _ in range(100_000):
        for one in accounts:
            if len(answered[one]) == asked[one] < each and chance.random() < 0.7:
                groups.put(one, asked[one], 1)
                asked[one] += 1
        if all(len(answered[one]) == each for one in accounts):
            break
        now += RETRY_SECONDS
        group = groups.take(now)
        if not group:
            continue
        who = [one for one, _ in group]
        word = chance.random()
        if word < 0.2:
            assert groups.away(now) == {}
            continue
        if bad & set(group):
            if groups.refused(who):
                groups.done(who)
                answered[who[0]].append(group[0][1])
            continue
        for one, question in group:
            if question not in stored[one][-1:]:  # it knows its last question again
                stored[one].append(question)
        if word < 0.4:
            assert groups.away(now, who) == {}, "nobody knows that it was stored"
            continue
        groups.done(who)
        for one, question in group:
            answered[one].append(question)
    for one in accounts:
        assert answered[one] == list(range(each))
        assert stored[one] == [number for number in range(each) if (one, number) not in bad]


def test_a_doubt_is_known_until_the_answer() -> None:
    groups = Accounts(patience=10.0)
    groups.put("a", 1, 1)
    groups.put("b", 2, 1)
    groups.away(100.0, ["a"])
    assert [groups.is_in_doubt(who) for who in ("a", "b", "nobody")] == [True, False, False]
    groups.done("a")
    assert not groups.is_in_doubt("a")
