"""Whatever a peer sends, there is a valid event, or none, and nothing breaks."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.entries import ENTRIES, an_entry
from support.protobufs import ADA, GROUP, Message, event, neonize
from support.strategies import TEXTS, messages

from orchestrator.messages.entry import Stored
from orchestrator.messages.rendering import events, form, render
from orchestrator.messages.rendering.grammar import facts

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Nothing is made smaller: messages are large, and that takes minutes for each."""
VALIDATORS = {kind: jsonschema.Draft202012Validator(form.schema(kind)) for kind in form.DATA}
NOTES = st.fixed_dictionaries(
    {},
    optional={
        "phones": st.dictionaries(st.sampled_from([ADA, GROUP]), TEXTS | st.just("+4915100002")),
        "names": st.dictionaries(st.sampled_from([ADA, GROUP]), TEXTS | st.none()),
        "vote": st.lists(TEXTS, max_size=3) | TEXTS,
        "status": st.sampled_from(["delivered", "failed", "lost"]) | st.none() | st.lists(st.none()),
        "media": TEXTS,
        "from_me": st.booleans(),
    },
)
PLACES = st.sampled_from([ADA, GROUP, "", "@", "x", "4915100002@s.whatsapp.net", "a" * 300])
IDS = st.sampled_from(["3EB0A1", "", "\u202e", "x" * 300])


def check(stored: Stored, *others: Stored) -> None:
    def lookup(chat: str, one: str) -> Stored | None:
        return others[(len(chat) + len(one)) % len(others)] if others else None

    # Without the net under it, so that what falls is seen here.
    events._SOURCES[stored.source](stored, lookup)
    found = render(stored, "support", lookup)
    if found is None:
        return
    VALIDATORS[found["type"]].validate(found)
    text = json.dumps(found, allow_nan=False, ensure_ascii=False)
    assert len(text.encode()) <= form.MAX_EVENT


@pytest.mark.parametrize("name", [field.name for field in Message.DESCRIPTOR.fields])
@settings(max_examples=8, deadline=None, phases=PHASES)
@given(data=st.data(), notes=NOTES, chat=PLACES, sender=PLACES, id_=IDS)
def test_every_field_of_a_message(
    name: str, data: st.DataObject, notes: dict[str, Any], chat: str, sender: str, id_: str
) -> None:
    message = data.draw(messages(Message, first=name))
    flags = data.draw(st.fixed_dictionaries({"IsEdit": st.booleans(), "IsViewOnce": st.booleans()}))
    made = event(message, **flags)
    facts(made)

    raw = made.SerializePartialToString()
    check(
        an_entry(raw, chat=chat, sender=sender, id=id_, notes=notes),
        an_entry(raw),
        ENTRIES["poll"],
        ENTRIES["lost"],
    )


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("message", "Message"),
        ("receipt", "Receipt"),
        ("undecryptable", "UndecryptableMessage"),
        ("call", "CallOffer"),
        ("call_notice", "CallOfferNotice"),
        ("group", "GroupInfoEvent"),
        ("joined", "JoinedGroup"),
    ],
)
@settings(max_examples=50, deadline=None, phases=PHASES)
@given(data=st.data(), notes=NOTES, chat=PLACES, sender=PLACES)
def test_everything_of_the_librarys(
    source: str, kind: str, data: st.DataObject, notes: dict[str, Any], chat: str, sender: str
) -> None:
    made = data.draw(messages(getattr(neonize, kind)))

    check(an_entry(made.SerializePartialToString(), source, chat, sender, notes=notes), *ENTRIES.values())


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(raw=st.binary(max_size=300), source=st.sampled_from(sorted(events._SOURCES)), notes=NOTES)
def test_bytes_that_mean_nothing(raw: bytes, source: str, notes: dict[str, Any]) -> None:
    check(an_entry(raw, source, notes=notes), ENTRIES["poll"])


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(
    name=st.sampled_from(sorted(ENTRIES)),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_an_entry_with_some_bytes_changed(name: str, edits: list[tuple[int, int]]) -> None:
    stored, raw = ENTRIES[name], bytearray(ENTRIES[name].raw)
    for place, byte in edits if raw else ():
        raw[place % len(raw)] = byte

    check(
        an_entry(bytes(raw), stored.source, stored.chat, stored.sender, stored.id, notes=stored.notes),
        *ENTRIES.values(),
    )
