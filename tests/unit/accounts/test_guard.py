"""Which phone an account may be linked to."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.guard import Guard, refuse_any_phone
from orchestrator.accounts.settings import AccountSettings
from orchestrator.errors import OrchestratorError
from orchestrator.store import status

ONE, TWO, THREE = "4915100001", "4915100002", "4915100003"
NUMBERS = st.sampled_from([ONE, TWO, THREE])


def test_the_first_number_is_the_guard() -> None:
    guard = Guard()
    assert guard.wanted(None) is None
    guard = guard.linked(ONE, None)
    assert guard.wanted(None) == ONE
    assert guard.connected(ONE, None) == guard


@given(st.lists(st.tuples(st.sampled_from(["found", "linked", "connected"]), NUMBERS), min_size=1))
def test_no_phone_takes_the_place_of_the_first(events: list[tuple[str, str]]) -> None:
    guard, (_, first) = Guard(), events[0]
    for what, number in events:
        guard = guard.found(number) if what == "found" else getattr(guard, what)(number, None)
    assert guard == Guard(first)


def test_the_configuration_wins_and_what_it_has_named_is_remembered_once_it_is_linked() -> None:
    guard = Guard(ONE)
    assert guard.wanted(TWO) == TWO
    assert guard.linked(THREE, TWO) == guard
    assert guard.connected(TWO, TWO) == Guard(TWO)
    assert guard.linked(TWO, TWO) == Guard(TWO)


@pytest.mark.parametrize(
    ("own", "spelled"),
    [
        ("5531987654321", "553187654321"),
        ("525512345678", "5215512345678"),
        ("541123456789", "5491123456789"),
    ],
)
def test_another_spelling_of_a_number_is_no_other_phone(own: str, spelled: str) -> None:
    for first, second in ((own, spelled), (spelled, own)):
        assert Guard(first).linked(second, None) == Guard(first)
        assert Guard(first).connected(second, None) == Guard(first)
        assert Guard(None).connected(first, second).wanted(None) == first


def test_an_operator_lets_any_phone_be_linked_once() -> None:
    guard = Guard(ONE).open_to_any()
    assert guard.wanted(None) is None
    assert not guard.is_unknown
    # With the session that is about to go.
    assert guard.found(ONE) == guard
    assert guard.connected(ONE, None) == guard
    guard = guard.linked(TWO, None)
    assert guard == Guard(TWO)
    assert guard.linked(THREE, None) == guard


def test_a_session_that_is_put_back_on_purpose_counts() -> None:
    assert Guard(ONE).restored(TWO) == Guard(TWO)
    assert Guard(ONE).restored(None) == Guard(ONE)
    assert Guard(ONE).open_to_any().restored(TWO) == Guard(TWO)


def test_a_process_that_does_not_know_its_number_changes_nothing() -> None:
    assert Guard().linked("", None) == Guard()
    assert Guard(ONE).connected("", None) == Guard(ONE)
    assert Guard().found(None) == Guard()


@pytest.mark.parametrize(
    "said", ["", "abc", "+49", "49 151 00001", "4", "٤٩١٥١٠٠٠٠١", "4915100001\n", "4" * 21]
)
def test_what_is_no_number_is_not_remembered(said: str, tmp_path: Path) -> None:
    guard = Guard().linked(said, None).connected(said, None)
    assert guard == Guard()
    # Else the service could not read it any more.
    status.save(tmp_path / "status.json", {"a": status.Kept(guard=guard), "b": status.Kept(guard=Guard(ONE))})
    kept = status.load(tmp_path / "status.json")
    assert (kept["a"].guard, kept["b"].guard) == (guard, Guard(ONE))


def test_the_configuration_is_not_overruled() -> None:
    refuse_any_phone(AccountSettings("a"))
    with pytest.raises(OrchestratorError, match="`phone:`") as caught:
        refuse_any_phone(AccountSettings("a", phone=ONE))
    assert caught.value.key == "phone_configured"
    assert ONE not in str(caught.value)


def test_a_number_is_in_no_text() -> None:
    assert ONE not in repr(Guard(ONE))
