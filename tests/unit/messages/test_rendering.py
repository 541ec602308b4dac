from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support import entries
from support.entries import ENTRIES, an_entry, hashed, of, poll
from support.protobufs import ADA, GROUP, ME, Message, event, info, source, wrapped

from orchestrator.messages.entry import Stored, identifier
from orchestrator.messages.rendering import form, parts, render
from orchestrator.messages.rendering.grammar import MAX_DEPTH

GOLDEN = Path(__file__).parent / "golden"
WRITE = "WRITE_GOLDEN"
"""A variable of the environment; with any value, the files are written anew: look at the difference."""
WRITE_SCHEMA = (
    "write it anew: python -c 'from orchestrator.messages.rendering import form;"
    " print(form.written(), end=str())' > docs/events.schema.json"
)
SCHEMA = form.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def data_of(stored: Stored, *others: Stored) -> dict[str, Any]:
    found = render(
        stored, "support", lambda chat, one: next((o for o in others if (o.chat, o.id) == (chat, one)), None)
    )
    assert found is not None
    VALIDATOR.validate(found)
    data: dict[str, Any] = found["data"]
    return data


@pytest.mark.parametrize("name", ENTRIES)
def test_everything_has_one_form(name: str) -> None:
    found = render(ENTRIES[name], "support")
    file = GOLDEN / f"{name}.json"
    if WRITE in os.environ:
        file.write_text(json.dumps(found, indent=2, ensure_ascii=True) + "\n")

    assert found == json.loads(file.read_text()), (
        f"if this is as it should be: {WRITE}=1 python -m pytest {__file__}"
    )
    VALIDATOR.validate(found)


def test_every_file_is_of_an_entry() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(ENTRIES)


def test_the_schema_is_one_and_knows_no_other_types() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert {json.loads(file.read_text())["type"] for file in GOLDEN.iterdir()} == set(form.DATA)


def test_the_published_schema_is_the_one_that_holds() -> None:
    published = Path(__file__).parents[3] / "docs" / "events.schema.json"

    assert published.read_text() == form.written(), WRITE_SCHEMA


def test_a_text_has_the_promised_form() -> None:
    assert render(ENTRIES["text"], "support") == {
        "id": "evt_support_17",
        "type": "message.received",
        "timestamp": "2025-11-28T10:00:00.123Z",
        "account": "support",
        "seq": 17,
        "data": {
            "id": "3EB0A1",
            "chat": {"id": ADA, "type": "direct", "phone": "+4915100002", "name": None},
            "sender": {"id": ADA, "phone": "+4915100002", "name": "Ada"},
            "from_me": False,
            "timestamp": "2025-11-28T09:59:59Z",
            "kind": "text",
            "text": "Hello",
            "media": None,
            "reply_to": None,
            "mentions": [],
            "forwarded": False,
            "edited": False,
        },
    }


def test_an_event_is_the_same_each_time() -> None:
    for stored in ENTRIES.values():
        assert json.dumps(render(stored, "support")) == json.dumps(render(stored, "support"))


@pytest.mark.parametrize(
    "stored",
    [
        of(Message()),
        of(Message(senderKeyDistributionMessage={"groupID": GROUP})),
        of(Message(protocolMessage={"type": "HISTORY_SYNC_NOTIFICATION"})),
        of(Message(conversation="x"), info(where=source("status@broadcast"))),
        of(Message(conversation="x"), info(category="peer")),
        an_entry(b"", "receipt"),
        entries.a_receipt("RETRY"),
        entries.a_receipt("READ_SELF"),
    ],
)
def test_what_says_nothing_is_no_event(stored: Stored) -> None:
    assert render(stored, "support") is None


@pytest.mark.parametrize(
    ("kind", "status"), [("DELIVERED", "delivered"), ("INACTIVE", "delivered"), ("PLAYED", "read")]
)
def test_a_receipt_says_what_became_of_a_message(kind: str, status: str) -> None:
    assert data_of(replace(entries.a_receipt(kind), notes={}))["status"] == status


def test_a_vote_names_the_options_of_a_known_poll() -> None:
    vote = replace(ENTRIES["poll_vote"], notes={"vote": hashed("Tuesday", "Never")})

    for known in (poll(), wrapped("pollCreationMessageV4", poll()), poll("pollCreationMessage")):
        assert data_of(vote, replace(of(known), id="3EB0ORIGINAL"))["vote"]["options"] == ["Tuesday", None]
    assert data_of(vote)["vote"]["options"] is None
    assert data_of(vote, replace(ENTRIES["text"], id="3EB0ORIGINAL"))["vote"]["options"] is None
    assert data_of(vote, replace(ENTRIES["lost"], id="3EB0ORIGINAL"))["vote"]["options"] is None


def test_a_vote_that_was_taken_back_names_none() -> None:
    vote = replace(ENTRIES["poll_vote"], notes={"vote": []})

    assert data_of(vote, replace(of(poll()), id="3EB0ORIGINAL"))["vote"] == {
        "message_id": "3EB0ORIGINAL",
        "hashes": [],
        "options": [],
    }


@pytest.mark.parametrize("name", ["edit", "revocation"])
def test_it_is_told_whether_the_author_has_changed_a_message(name: str) -> None:
    change, original = ENTRIES[name], replace(ENTRIES["text"], id="3EB0ORIGINAL")
    number = "4915100002@s.whatsapp.net"
    by_number = of(Message(conversation="x"), info(where=source(ADA, number)))
    knows = {"phones": {ADA: "+4915100002"}}

    assert data_of(change)["by_author"] is None
    assert data_of(change, original)["by_author"] is True
    assert data_of(change, replace(original, sender=ME))["by_author"] is False
    assert data_of(change, replace(by_number, id="3EB0ORIGINAL", sender=number))["by_author"] is None
    same = data_of(replace(change, notes=knows), replace(by_number, id="3EB0ORIGINAL", sender=number))
    assert same["by_author"] is True
    other = replace(by_number, id="3EB0ORIGINAL", sender="4915100003@s.whatsapp.net")
    assert data_of(replace(change, notes=knows), other)["by_author"] is False


def test_an_edit_without_a_key_replaces_the_message_of_its_own_id() -> None:
    found = render(of(Message(conversation="Better"), IsEdit=True), "support")

    assert found is not None
    VALIDATOR.validate(found)
    assert (found["type"], found["data"]["id"], found["data"]["edited"]) == ("message.edited", "3EB0A1", True)


@pytest.mark.parametrize(
    "inside",
    [
        Message(),
        Message(reactionMessage={"key": entries.KEY}),
        Message(protocolMessage={"type": "REVOKE", "key": entries.KEY}),
        Message(protocolMessage={"type": "MESSAGE_EDIT", "key": entries.KEY, "editedMessage": {}}),
        Message(pollUpdateMessage={"pollCreationMessageKey": entries.KEY}),
        Message(stickerPackMessage={}),
    ],
)
def test_an_edit_to_something_that_is_no_message_is_unsupported(inside: object) -> None:
    message = Message(protocolMessage={"type": "MESSAGE_EDIT", "key": entries.KEY, "editedMessage": inside})

    assert data_of(of(message))["kind"] == "unsupported"


@pytest.mark.parametrize(
    "stored",
    [
        of(Message(imageMessage={"caption": "Secret", "viewOnce": True}), notes={"media": "1"}),
        of(Message(imageMessage={"caption": "Secret"}), notes={"media": "1"}, IsViewOnce=True),
        of(Message(audioMessage={}), notes={"media": "1"}, IsViewOnceV2Extension=True),
        of(
            wrapped(
                "viewOnceMessage", wrapped("ephemeralMessage", Message(videoMessage={"caption": "Secret"}))
            )
        ),
        of(Message(extendedTextMessage={"text": "Secret", "viewOnce": True})),
    ],
)
def test_what_may_be_opened_once_is_said_and_not_opened(stored: Stored) -> None:
    found = data_of(stored)

    assert (found["view_once"], found["media"], found["text"]) == (True, None, None)
    assert "Secret" not in json.dumps(found)


@pytest.mark.parametrize(
    ("given", "id_"),
    [
        ("1", "1"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", None),
        ("0", None),
        ("", None),
        ("-1", None),
        ("1" * 5000, None),
        ("\u0661", None),
        (7, None),
        (None, None),
    ],
)
def test_the_id_of_a_file_is_our_own_or_none(given: object, id_: str | None) -> None:
    assert data_of(of(Message(imageMessage={}), notes={"media": given}))["media"]["id"] == id_


@pytest.mark.parametrize(
    ("latitude", "longitude"),
    [(90.5, 0), (0, -180.5), (float("nan"), 0), (0, float("inf")), (-1e300, 0)],
)
def test_a_place_that_is_not_on_earth_is_unsupported(latitude: float, longitude: float) -> None:
    place = {"degreesLatitude": latitude, "degreesLongitude": longitude}

    for name in ("locationMessage", "liveLocationMessage"):
        assert data_of(of(Message(**{name: place})))["unsupported"] == {"kind": name}


def test_text_that_is_no_utf8_is_replaced_where_it_is_not() -> None:
    bad = b"\x0a\x05a\xff\xfeb\x00"  # a conversation
    contact = b"\x22\x05\x0a\x03\xff\xff\xff"

    assert data_of(of(Message.FromString(bad)))["text"] == "a\ufffd\ufffdb\ufffd"
    assert data_of(of(Message.FromString(contact)))["contacts"][0]["name"] == "\ufffd\ufffd\ufffd"


@pytest.mark.parametrize(
    "notes",
    [
        {"phones": {ADA: "\ud800"}, "names": {ADA: "\ud800"}},
        {"phones": {ADA: "+49 151"}, "names": {ADA: 7}},
        {"phones": [ADA], "names": "Ada"},
        {"phones": {ADA: ["+4915100002"]}, "vote": {"a": 1}, "media": {}, "from_me": "yes", "status": []},
        {"vote": [1, None, "AAAA", "\u00e4", "=" * 100]},
    ],
)
def test_notes_of_another_form_do_no_harm(notes: dict[str, Any]) -> None:
    for name, stored in ENTRIES.items():
        found = render(replace(stored, notes=notes), "support")
        if not name.startswith("status"):
            VALIDATOR.validate(found)
            assert "\\ud800" not in json.dumps(found)


@pytest.mark.parametrize(
    "source_",
    ["message", "receipt", "undecryptable", "call", "call_notice", "group", "joined", "lost", "other"],
)
@pytest.mark.parametrize("raw", [b"", b"\xff", b"\x0a\x05", b"\x0a\x00" * 1000])
def test_an_entry_that_is_damaged_is_an_event_or_none(source_: str, raw: bytes) -> None:
    found = render(an_entry(raw, source_), "support")

    if found is not None:
        VALIDATOR.validate(found)


@pytest.mark.parametrize("at", [-1.0, 0.0, 2.0**62, float("nan"), float("inf"), 253_402_300_799.0])
def test_a_time_is_a_date_whatever_it_was(at: float) -> None:
    for stored in ENTRIES.values():
        VALIDATOR.validate(render(replace(stored, at=at, stored_at=at), "support"))


def test_a_nest_is_left_at_some_depth() -> None:
    message = Message(conversation="x")
    for _ in range(MAX_DEPTH + 1):
        message = wrapped("ephemeralMessage", message)
    assert data_of(of(message))["unsupported"] == {"kind": "tooManyWrappers"}

    raw = Message(conversation="x").SerializeToString()
    for _ in range(200):
        raw = _field(40, _field(1, raw))
    raw = _field(1, event().Info.SerializeToString()) + _field(2, raw)
    assert data_of(an_entry(raw))["unsupported"] == {"kind": "unreadable"}


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_what_is_huge_is_cut() -> None:
    long, smiles = "x" * 300_000, "\N{GRINNING FACE}" * 300_000
    people = [f"{number}@lid" for number in range(5_000)]
    context = {"stanzaID": long, "participant": long, "mentionedJID": people, "forwardingScore": 2**32 - 1}
    card = "BEGIN:VCARD\n" + "TEL;waid=4915100003:+49 151\n" * 1_000
    huge = [
        Message(conversation=smiles),
        Message(extendedTextMessage={"text": smiles, "contextInfo": context}),
        Message(imageMessage={"caption": smiles, "mimetype": long, "contextInfo": context}),
        Message(documentMessage={"caption": smiles, "fileName": smiles, "contextInfo": context}),
        Message(contactsArrayMessage={"contacts": [{"displayName": smiles[:300], "vcard": card}] * 300}),
        Message(contactMessage={"displayName": long, "vcard": "TEL:" * 500_000}),
        Message(pollCreationMessage={"name": smiles, "options": [{"optionName": smiles[:300]}] * 3_000}),
        Message(
            listMessage={
                "title": smiles,
                "sections": [{"rows": [{"title": smiles[:300], "rowID": smiles[:300]}] * 100}] * 10,
            }
        ),
        Message(buttonsMessage={"contentText": smiles, "footerText": smiles, "text": smiles}),
        Message(highlyStructuredMessage={"params": [smiles[:2_000]] * 300}),
        Message(locationMessage={"name": smiles, "address": smiles, "comment": smiles}),
        Message(reactionMessage={"key": {"ID": long}, "text": smiles}),
    ]
    for message in huge:
        found = render(of(message, notes={"names": {ADA: smiles}}), "support")
        VALIDATOR.validate(found)
        assert len(json.dumps(found)) <= form.MAX_EVENT


def test_a_thumbnail_is_not_handed_on() -> None:
    assert "thumbnail" not in json.dumps(render(ENTRIES["image"], "support")).lower()


def test_an_entry_is_rendered_only_where_the_definitions_are(monkeypatch: pytest.MonkeyPatch) -> None:
    from orchestrator.messages.rendering import classes

    monkeypatch.setattr(classes, "_NAMES", ())
    with pytest.raises(RuntimeError, match="load"):
        render(ENTRIES["text"], "support")


def test_what_was_too_large_to_be_stored_is_said() -> None:
    assert data_of(an_entry(notes={"too_large": 5_000_000}))["unsupported"] == {"kind": "tooLarge"}
    assert data_of(an_entry())["unsupported"] == {"kind": "unreadable"}


def test_ids_that_a_message_names_are_those_of_the_inbox() -> None:
    strange = "3EB0\N{SNOWMAN}"
    key = {"ID": strange, "remoteJID": ADA}
    context = {"stanzaID": strange}

    reaction = data_of(of(Message(reactionMessage={"key": key, "text": "x"})))
    answer = data_of(of(Message(extendedTextMessage={"text": "x", "contextInfo": context})))
    change = data_of(of(Message(protocolMessage={"type": "REVOKE", "key": key})))
    found = {reaction["reaction"]["message_id"], answer["reply_to"]["id"], change["id"]}
    assert found == {identifier(strange)}


def test_a_group_that_changes_by_itself_has_no_sender() -> None:
    assert data_of(replace(ENTRIES["group_changed"], sender=GROUP))["sender"] is None
    assert data_of(replace(ENTRIES["group_joined"], sender=GROUP))["sender"] is None


@pytest.mark.parametrize("name", ["edit", "revocation", "poll_vote"])
def test_an_inbox_that_cannot_be_read_does_not_make_a_message_unreadable(name: str) -> None:
    def fail(*_: str) -> Stored | None:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        render(ENTRIES[name], "support", fail)


def test_a_message_that_upsets_the_program_holds_up_none_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(parts, "render", fail)
    monkeypatch.setattr(parts, "unsupported", lambda name: {"unsupported": {"kind": name}})
    found = render(ENTRIES["text"], "support")

    assert found is not None
    assert found["data"]["unsupported"] == {"kind": "unreadable"}
