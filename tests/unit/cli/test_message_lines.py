"""An event in a line for people: what peers have chosen stays in its place, and is shown as letters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.entries import ENTRIES, of
from support.protobufs import ADA, GROUP, Message, info

from orchestrator.cli.inbox.lines import cut, line
from orchestrator.messages.rendering import render

EVIL = "\x1b]0;PWNED\x07\x1b[2J\r\n2026-01-01\t\u202eevil\u2066\u200b\u200d\ufeff\u2028\u2029\x00\x9b31m"
WANTED = {
    "text": '   17  text       +4915100002 "Ada"  Hello',
    "text_in_group": f'   17  text       +4915100002 "Ada" in {GROUP} "Chess"  Hello',
    "image": "[image/jpeg, 1 kB]",
    "document": "[",
    "location": "[52.5",
    "contact": "[Grace +4915100003]",
    "poll": "[When?: Monday, Tuesday]",
    "reaction": "of 3EB0ORIGINAL",
    "edit": "edited",
    "revocation": "revoked    " + ADA,
    "view_once": "[can be opened once, on the phone]",
    "unsupported": "unsupported",
    "status": "delivered",
    "lost": "lost",
    "undecryptable": "undecryptable",
    "call": "call",
    "group_changed": "name: Chess",
    "group_joined": "joined",
}


def shown(kind: str) -> str:
    event = render(ENTRIES[kind], "a")
    assert event is not None
    return line(event)


@pytest.mark.parametrize("kind", ENTRIES)
def test_every_kind_has_one_line(kind: str) -> None:
    event = render(ENTRIES[kind], "a")
    if event is None:
        return
    text = line(event)
    assert text.isprintable()
    assert text.split()[3] == "17"


@pytest.mark.parametrize("kind", WANTED)
def test_what_a_line_says(kind: str) -> None:
    assert WANTED[kind] in shown(kind)


@pytest.mark.parametrize(
    "message",
    [
        Message(conversation=EVIL),
        Message(locationMessage={"degreesLatitude": 1, "degreesLongitude": 1, "name": EVIL, "address": EVIL}),
        Message(contactMessage={"displayName": EVIL, "vcard": EVIL}),
        Message(documentMessage={"fileName": EVIL, "caption": EVIL, "mimetype": EVIL}),
        Message(pollCreationMessageV3={"name": EVIL, "options": [{"optionName": EVIL}]}),
        Message(reactionMessage={"key": {"ID": EVIL}, "text": EVIL}),
        Message(protocolMessage={"type": "REVOKE", "key": {"ID": EVIL}}),
    ],
    ids=lambda message: message.ListFields()[0][0].name,
)
def test_nothing_of_a_peer_steers_a_terminal(message: Any) -> None:  # noqa: ANN401 - a protobuf
    about = info("3EB0", name=EVIL)
    event = render(of(message, about, notes={"names": {ADA: EVIL}}), "a")
    assert event is not None
    text = line(event)
    assert text.isprintable()
    assert text.isascii() or all(letter in "\N{REPLACEMENT CHARACTER}…" or letter.isalnum() for letter in text
                                 if not letter.isascii())  # fmt: skip
    assert line(event, 60) == line(event, 60).strip()


@given(st.text(), st.integers(40, 120))
def test_lines_fit_into_the_terminal(text: str, width: int) -> None:
    event = render(of(Message(conversation=text.encode(errors="replace").decode())), "a")
    assert event is not None
    assert len(line(event, width)) <= len(line(event))
    assert line(event, width).isprintable()


def test_a_name_cannot_pass_for_a_number_or_a_text() -> None:
    event = render(of(Message(conversation="hi"), info(name='+4999 "x"  pay')), "a")
    assert event is not None
    assert line(event).endswith(f"{ADA} \"+4999 'x' pay\"  hi")


@pytest.mark.parametrize(
    ("text", "width", "wanted"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("日本語", 6, "日本語"),
        ("日本語日", 6, "日本…"),
        ("e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"),
        ("", 3, ""),
    ],
)
def test_texts_are_cut_by_columns(text: str, width: int, wanted: str) -> None:
    assert cut(text, width) == wanted
