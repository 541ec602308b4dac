"""What is asked of an account at once: each form that is right, errors without quotes, answers that fit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.acts import BadAct
from orchestrator.sending import asks
from orchestrator.sending.asks import Found, Group, Member

GROUP = "120363012345678901@g.us"
RIGHT: dict[str, dict[str, Any]] = {
    "typing": {"chat": "+49 151 0000002", "state": "recording"},
    "groups": {},
    "group": {"group": GROUP},
    "group_create": {"subject": "Team", "members": ["+4915100002", "269139479534551@lid"]},
    "group_leave": {"group": GROUP},
    "group_members": {"group": GROUP, "change": "add", "members": ["+4915100002"]},
    "group_subject": {"group": GROUP, "subject": "Team"},
    "group_description": {"group": GROUP, "description": "Two\nlines"},
    "group_invite": {"group": GROUP, "reset": True},
    "numbers": {"numbers": ["+4915100002", "+49 151 00003"]},
}
NEEDLE = "needle"
NOT_TEXTS: list[Any] = [None, 1, True, [], {}]
WRONG: dict[str, list[Any]] = {
    "chat": [*NOT_TEXTS, "", "needle", "needle@lid", "+49needle", "status@broadcast"],
    "state": [*NOT_TEXTS, "", "needle", "TYPING"],
    "group": [*NOT_TEXTS, "", "needle", "needle@g.us", "269139479534551@lid", "+4915100002", f"{GROUP}\n"],
    "subject": [*NOT_TEXTS, "", "  ", "needle\n", "needle\0", "needle \ud800", "n" * 101],
    "description": [*NOT_TEXTS, "needle\0", "needle \ud800", "n" * 2049],
    "members": [1, True, {}, NEEDLE, [1], [NEEDLE], [GROUP], ["+4915100002"] * 101],
    "change": [*NOT_TEXTS, "", "needle"],
    "reset": [None, 1, "needle"],
    "numbers": [None, 1, True, {}, NEEDLE, [], [1], [NEEDLE], ["269139479534551@lid"], ["+4915100002"] * 51],
    "needle": [1],
}
FIELDS = ["kind", *WRONG]
GARBAGE: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.sampled_from([*asks.Kind, GROUP]),
    lambda one: st.lists(one) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), one),
)


def test_every_kind_is_known() -> None:
    assert list(RIGHT) == [str(kind) for kind in asks.Kind]


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_is_the_same_after_a_journey(kind: str) -> None:
    ask = asks.parse({"kind": kind, **RIGHT[kind]})
    assert asks.kind(ask) == kind
    assert asks.from_text(asks.as_text(ask)) == ask
    assert asks.parse(asks.as_json(ask)) == ask


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (kind, field, value)
        for kind, right in RIGHT.items()
        for field in (*right, "needle")
        for value in WRONG[field]
    ],
)
def test_what_is_wrong_is_named_and_never_quoted(kind: str, field: str, value: object) -> None:
    with pytest.raises(BadAct) as caught:
        asks.parse({"kind": kind, **RIGHT[kind], field: value})
    assert NEEDLE not in str(caught.value)
    assert caught.value.key in ("bad_request", "bad_number", "bad_text")


@given(GARBAGE)
def test_garbage_is_refused_or_understood(garbage: object) -> None:
    try:
        ask = asks.parse(garbage)
    except BadAct:
        return
    assert asks.parse(asks.as_json(ask)) == ask


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "null", '"x"', " " * 40_000])
def test_what_is_no_json_is_refused(body: str) -> None:
    with pytest.raises(BadAct):
        asks.from_text(body)


def test_who_may_only_read_changes_nothing() -> None:
    reading = {kind for kind in RIGHT if asks.changes_nothing(asks.parse({"kind": kind, **RIGHT[kind]}))}
    assert reading == {"groups", "group", "numbers"}


# Answers


def member(number: int) -> Member:
    return Member(f"{100000000000000 + number}@lid", f"{491510000000 + number}")


def test_a_group_is_shown_with_as_many_members_as_fit() -> None:
    members = tuple(map(member, range(1024)))
    shown = asks.group_answer(Group(GROUP, "Team", members=members))["group"]
    assert (len(shown["members"]), shown["members_left_out"], shown["member_count"]) == (1024, 0, 1024)
    many = tuple(map(member, range(5000)))
    shown = asks.group_answer(Group(GROUP, "\N{GRINNING FACE}" * 200, "x" * 5000, members=many))
    assert len(asks.result_text(shown).encode()) <= asks.MAX_RESULT
    assert len(shown["group"]["members"]) + shown["group"]["members_left_out"] == 5000
    assert shown["group"]["members"][0] == {
        "id": "100000000000000@lid",
        "phone": "+491510000000",
        "role": "member",
    }


def test_groups_are_listed_as_far_as_they_fit() -> None:
    groups = [Group(f"{12036300000 + one}@g.us", "\N{GRINNING FACE}" * 100) for one in range(1000)]
    answer = asks.groups_answer(groups)
    assert len(asks.result_text(answer).encode()) <= asks.MAX_RESULT
    assert len(answer["groups"]) + answer["groups_left_out"] == 1000
    assert answer["groups_left_out"] > 0
    assert asks.groups_answer(groups[:3])["groups_left_out"] == 0


def test_changes_tell_of_each_member_whether_they_were_made() -> None:
    answer = asks.members_answer([member(1), Member("5@lid", refused=403)])
    assert [(one["done"], one["code"]) for one in answer["members"]] == [(True, None), (False, 403)]


def test_numbers_are_told_with_their_addresses() -> None:
    answer = asks.numbers_answer([Found("4915100002", exists=True, id="5@lid"), Found("4915", exists=False)])
    assert answer["numbers"] == [
        {"number": "+4915100002", "exists": True, "id": "5@lid"},
        {"number": "+4915", "exists": False, "id": None},
    ]
