"""What an account's process answers: taken in the one form that it has, whoever has written it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.control import frames
from orchestrator.sending import asks, results
from orchestrator.sending.asks import Found, Group, Member

GROUP = "120363012345678901@g.us"
NUMBER = "4915100000042"
MEMBERS = (Member("1@lid", NUMBER), Member("2@lid", role="owner", refused=403))
WHOLE = Group(GROUP, "Team \N{PARTY POPPER}", "About", 1.8e9, "1@lid", vanishing=60, members=MEMBERS)
ANSWERS: list[tuple[asks.Ask, dict[str, Any]]] = [
    (asks.ListGroups(), asks.groups_answer([WHOLE, Group(GROUP)])),
    (asks.ListGroups(), asks.groups_answer([])),
    (asks.ShowGroup(GROUP), asks.group_answer(WHOLE)),
    (asks.CreateGroup("Team"), asks.group_answer(Group(GROUP))),
    (asks.ChangeMembers(GROUP, asks.Change.ADD, ("+4915",)), asks.members_answer(MEMBERS)),
    (asks.Invite(GROUP), {"link": "https://chat.whatsapp.com/x"}),
    (asks.LookUp((NUMBER,)), asks.numbers_answer([Found(NUMBER, exists=True, id="1@lid")])),
    (asks.LookUp(("1",)), asks.numbers_answer([Found("1", exists=False)])),
    (asks.LeaveGroup(GROUP), {}),
]  # fmt: skip
STRANGE: list[Any] = [
    None, True, 1, 1.5, -1, "", "x", [], {}, [[]], [None], "\ud800", {"\ud800": 1}, float("nan"), float("inf")
]  # fmt: skip


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that is in a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(one for key, part in inside for one in places(part, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: object) -> Any:  # noqa: ANN401 - JSON
    """Return a value with something else at a place."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = changed(copy[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize(("ask", "answer"), ANSWERS)
def test_the_answers_of_the_real_process_are_taken(ask: asks.Ask, answer: dict[str, Any]) -> None:
    assert results.read(ask, asks.result_text(answer)) == answer


def test_what_has_no_answer_needs_none() -> None:
    assert results.read(asks.LeaveGroup(GROUP), None) == {}
    with pytest.raises(ValueError, match="another form"):
        results.read(asks.ListGroups(), None)


@given(st.sampled_from(ANSWERS), st.data())
def test_whatever_is_taken_has_the_form_and_can_be_passed_on(
    known: tuple[asks.Ask, dict[str, Any]], data: st.DataObject
) -> None:
    ask, answer = known
    said = changed(answer, data.draw(st.sampled_from(places(answer))), data.draw(st.sampled_from(STRANGE)))
    try:
        found = results.read(ask, json.dumps(said))
    except ValueError:
        return
    # What the gateway cannot read would end its port, and the gateway with it.
    written = frames.write(frames.Answer(1, {"result": found}))
    assert frames.parse(written[frames.LENGTH.size :]) == {"id": 1, "result": found}
    assert found.keys() == answer.keys()


@pytest.mark.parametrize(
    "text",
    ["[]", "null", "{", "[" * 100_000, json.dumps({"link": "y" * 200_000}), '{"link":"x","more":1}',
     '{"link":"\\ud800"}', '{"link":1}'],
)  # fmt: skip
def test_answers_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the answer has another form"):
        results.read(asks.Invite(GROUP), text)


def test_numbers_have_few_digits() -> None:
    with pytest.raises(ValueError, match="the answer has another form"):
        results.read(asks.ListGroups(), '{"groups":[],"groups_left_out":' + "9" * 4000 + "}")
