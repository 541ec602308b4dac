"""Which messages are lost: those that would have been stored, that the inbox never had, and no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.settings import Messages
from orchestrator.messages import loss
from orchestrator.messages.allow import Allow
from orchestrator.messages.entry import Entry, UnfitError
from orchestrator.messages.loss import MAX_SUSPECTS, Mark, Secret, Session, Suspect

NUMBER = "4915100001234"
ADA, ADA_NUMBER = "269139479534551@lid", f"{NUMBER}@s.whatsapp.net"
BOB, ME, ME_NUMBER = "111111111111111@lid", "200000000000001@lid", "4915100000001@s.whatsapp.net"
GROUP = "120363000000000001@g.us"
PEOPLE = loss.other_address("269139479534551", NUMBER)
EVERYBODY = Messages(allow=("*",), groups=True, from_me=True)


def session(*suspects: Suspect, first: int = 1) -> Session:
    secrets = tuple(Secret(row, one, bytes([row]) * 16) for row, one in enumerate(suspects, first))
    return Session("d", frozenset([ME, ME_NUMBER]), 9, "p", secrets, PEOPLE)


def found(*suspects: Suspect, keeps: Messages = EVERYBODY, **other: Any) -> list[Suspect]:  # noqa: ANN401
    return loss.suspects(session(*suspects), Mark("d", 0, "", 0.0, keeps), **other)


@pytest.mark.parametrize(
    ("allow", "chat", "sender", "is_kept"),
    [
        ({"allow": ("*",)}, ADA, ADA, True),
        ({"allow": ("*",)}, ADA_NUMBER, ADA_NUMBER, True),
        ({"allow": ("*",)}, GROUP, ADA, False),
        ({"allow": ("*",), "groups": True}, GROUP, ADA, True),
        ({"allow": (GROUP,)}, GROUP, BOB, True),
        ({"allow": (GROUP,)}, ADA, ADA, False),
        ({"allow": (NUMBER,)}, ADA, ADA, True),
        ({"allow": (NUMBER,)}, ADA_NUMBER, ADA_NUMBER, True),
        ({"allow": (NUMBER,)}, BOB, BOB, False),
        ({"allow": (NUMBER,)}, GROUP, ADA, False),
        ({"allow": (ADA,)}, ADA, ADA, True),
        ({"allow": (ADA,)}, ADA_NUMBER, ADA_NUMBER, True),
        ({"allow": ()}, ADA, ADA, False),
        ({"allow": ("*",)}, ADA, ME, False),
        ({"allow": ("*",)}, ADA, ME_NUMBER, False),
        ({"allow": ("*",), "from_me": True}, ADA, ME, True),
        ({"allow": (NUMBER,), "from_me": True}, BOB, ME, False),
        ({"allow": ("*",), "from_me": True}, ME, ME, False),
        ({"allow": ("*",), "from_me": True}, ME_NUMBER, ME, False),
        ({"allow": ("*",), "groups": True, "from_me": True}, GROUP, ME, True),
        ({"allow": ("*",), "groups": True}, "status@broadcast", ADA, False),
        ({"allow": ("*",), "groups": True}, "120363400000000001@newsletter", ADA, False),
        ({"allow": ("*",), "groups": True}, "867051314767696@bot", "867051314767696@bot", False),
    ],
)
def test_only_what_would_have_been_stored_is_lost(
    allow: dict[str, Any], chat: str, sender: str, *, is_kept: bool
) -> None:
    one = Suspect(chat, sender, "3EB0")
    keeps = Messages(**allow)
    assert found(one, keeps=keeps) == [one] * is_kept
    assert loss.is_admitted(one, Allow.of(keeps), [ME, ME_NUMBER], PEOPLE) is is_kept


def test_what_was_looked_at_before_does_not_count() -> None:
    ones = [Suspect(ADA, ADA, f"A{count}") for count in range(5)]
    mark = Mark("d", 2, "", 0.0, EVERYBODY)
    assert loss.suspects(session(*ones), mark) == ones[2:]
    assert loss.suspects(session(*ones), mark, since=4) == ones[3:]
    assert loss.suspects(session(*ones), mark, since=1) == ones[2:]


def test_what_the_service_itself_sends_is_not_lost() -> None:
    ones = [Suspect(ADA, ME, "A1"), Suspect(ADA, ME, "A2")]
    assert found(*ones, sent=[bytes([1]) * 16]) == ones[1:]


@pytest.mark.parametrize("source", ["message", "undecryptable", "lost"])
@pytest.mark.parametrize("chat", [ADA, ADA_NUMBER])
@pytest.mark.parametrize("sender", [ADA, ADA_NUMBER])
def test_an_entry_shows_it_under_either_address(source: Any, chat: str, sender: str) -> None:  # noqa: ANN401
    keys = Suspect(ADA, ADA, "A1").keys(PEOPLE)
    assert Entry(source, chat, sender, "A1", 5.0).key in keys
    assert loss.passed(chat, sender, "A1") in keys
    assert Entry(source, chat, sender, "A2", 5.0).key not in keys
    assert Entry(source, chat, BOB, "A1", 5.0).key not in keys
    assert Entry("receipt", chat, sender, "A1", 5.0).key not in keys


def test_what_goes_to_a_list_of_receivers_is_in_the_chat_with_its_sender() -> None:
    one = loss.suspect("1764323999@broadcast", ADA, "A1")
    assert one == Suspect(ADA, ADA, "A1")
    assert found(one, keeps=Messages(allow=(NUMBER,))) == [one]
    assert loss.passed("1764323999@broadcast", ADA, "A1") == loss.passed(ADA, ADA, "A1")
    assert found(loss.suspect("status@broadcast", ADA, "A1")) == []
    assert found(loss.suspect("1764323999@broadcast", ME, "A1")) == []


def test_addresses_and_identifiers_are_those_of_an_inbox() -> None:
    assert loss.suspect(ADA, ADA, "A1") == Suspect(ADA, ADA, "A1")
    assert loss.suspect(ADA, ADA, "a b").id.startswith("x")
    for wrong in ("", "ada", "a b@lid", "x" * 99 + "@lid", f"{ADA}\n", "@", "1@LID!"):
        with pytest.raises(UnfitError):
            loss.suspect(wrong, ADA, "A1")
        with pytest.raises(UnfitError):
            loss.suspect(ADA, wrong, "A1")


@pytest.mark.parametrize(
    ("address", "bare"),
    [
        ("1@lid", "1@lid"),
        ("1:3@lid", "1@lid"),
        ("1.2:3@lid", "1@lid"),
        ("49-1@g.us", "49-1@g.us"),
        ("@", "@"),
    ],
)
def test_addresses_without_a_device(address: str, bare: str) -> None:
    assert loss.bare(address) == bare


WORDS = st.text(max_size=20)
MARKS = st.builds(
    Mark,
    device=WORDS,
    row=st.integers(0, 2**62),
    print=WORDS,
    at=st.floats(0, 2**33),
    keeps=st.builds(
        Messages, allow=st.lists(WORDS, max_size=4).map(tuple), groups=st.booleans(), from_me=st.booleans()
    ),
)


@given(MARKS)
def test_a_mark_is_read_as_it_was_written(mark: Mark) -> None:
    assert Mark.load(mark.dump()) == mark


@given(
    st.none()
    | st.text()
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ).map(json.dumps)
    | st.sampled_from(["[" * 100_000, "{}", '{"keeps": {"allow": 5}}', "NaN", "1" * 5000])
)
def test_what_is_no_mark_and_no_list_is_none(text: str | None) -> None:
    assert Mark.load(text) is None
    assert loss.load_suspects(text) == []


@given(
    MARKS,
    st.sampled_from(["device", "row", "print", "at", "keeps"]),
    st.sampled_from([None, [], {}, 1.5, "x"]),
)
def test_a_mark_with_another_value_is_none_or_a_mark(mark: Mark, key: str, value: object) -> None:
    read = Mark.load(json.dumps(json.loads(mark.dump()) | {key: value}))
    if read is not None:
        assert Mark.load(read.dump()) == read
        assert type(read.row) is int


def test_suspicions_are_read_as_they_were_written_and_are_bounded() -> None:
    ones = [Suspect(ADA, BOB, f"A{count}") for count in range(MAX_SUSPECTS + 5)]
    assert loss.load_suspects(loss.dump_suspects(ones)) == ones[5:]
    assert loss.load_suspects(
        json.dumps([["x", "y", "z"], [ADA, ADA], 5, [ADA, ADA, 5], [ADA, ADA, "A"]])
    ) == [Suspect(ADA, ADA, "A")]


def test_nothing_of_a_message_is_shown() -> None:
    assert NUMBER not in repr(
        [session(Suspect(ADA_NUMBER, ADA_NUMBER, "needle")), Mark("d", 1, "p", 1.0, EVERYBODY)]
    )
    assert "needle" not in repr(session(Suspect(ADA, ADA, "needle")))
