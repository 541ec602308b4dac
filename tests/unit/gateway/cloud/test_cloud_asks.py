"""What clients of the Cloud API ask: requests of pywa, kapso, Chatwoot and Typebot, and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.acts import BadAct
from orchestrator.gateway.cloud import asks
from orchestrator.gateway.cloud.asks import Mark, Send, parse
from orchestrator.gateway.cloud.faults import FaultError
from orchestrator.sending import wire

Json = dict[str, Any]

REQUESTS: Json = json.loads((Path(__file__).parent / "requests.json").read_text())
"""Requests as programs send them, and what each is here. See the file's own words."""
CASES = [(name, one) for name, listed in REQUESTS.items() if name != "about" for one in listed]
TO = {"messaging_product": "whatsapp", "to": "4915100002"}
CHAT = "4915100002@s.whatsapp.net"


def message(asked: Json, **more: bool) -> Json:
    found = parse(asked, **more)
    assert isinstance(found, Send)
    wire.parse(found.message)
    return found.message


def refused(asked: object, **more: bool) -> tuple[int, str]:
    with pytest.raises(FaultError) as error:
        parse(asked, **more)
    return error.value.fault.code, error.value.fault.details


@pytest.mark.parametrize(("program", "case"), CASES, ids=[f"{name}: {one['does']}" for name, one in CASES])
def test_what_programs_send_is_understood(program: str, case: Json) -> None:
    del program
    if "refused" in case:
        assert refused(case["body"])[0] == case["refused"]
    elif "read" in case:
        assert parse(case["body"]) == Mark(case["read"], case.get("typing", False))
    else:
        assert message(case["body"], as_text=case.get("as_text", False)) == case["message"]


@pytest.mark.parametrize(
    ("to", "chat"),
    [
        ("4915100002", CHAT),
        ("+49 151 00002", CHAT),
        (4915100002, CHAT),
        ("ZZ.269139479534551", "269139479534551@lid"),
        ("XP.4915100002", CHAT),
        ("120363000000000001@g.us", "120363000000000001@g.us"),
    ],
)
def test_a_receiver_is_a_number_a_user_id_or_a_group(to: object, chat: str) -> None:
    assert message({"to": to, "type": "text", "text": {"body": "x"}})["to"] == chat
    assert message({"recipient": to, "type": "text", "text": {"body": "x"}})["to"] == chat


@pytest.mark.parametrize("to", ["", None, "0151", "Ada", "DE.4915100002", "x@g.us", "1@lid", [], {}])
def test_other_receivers_are_refused_and_not_quoted(to: object) -> None:
    code, why = refused({"to": to, "type": "text", "text": {"body": "x"}})

    assert code in (131008, 131009)
    assert "Ada" not in why


def test_a_group_must_be_a_group() -> None:
    assert refused({**TO, "recipient_type": "group", "type": "text", "text": {"body": "x"}})[0] == 131009


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ([], 131009, "the body must be an object"),
        ({**TO, "messaging_product": "sms"}, 131009, "messaging_product must be whatsapp"),
        ({**TO, "type": "text"}, 131008, "text is missing"),
        ({**TO, "type": "text", "text": "x"}, 131009, "text must be an object"),
        ({**TO, "type": "text", "text": {}}, 131008, "text.body is missing"),
        ({**TO, "type": "image", "image": {}}, 131008, "image.id or image.link is missing"),
        ({**TO, "type": "template", "template": {"name": "x"}}, 131051, "there are no templates here"),
        ({**TO, "type": "order"}, 131051, "type must be one of text, reaction"),
        ({**TO, "type": {}}, 131051, "type must be one of"),
        ({**TO, "type": "reaction", "reaction": {"emoji": "x"}}, 131008, "reaction.message_id is missing"),
        ({**TO, "type": "location", "location": {"latitude": 1}}, 131008, "location.longitude is missing"),
        (
            {**TO, "type": "location", "location": {"latitude": "north", "longitude": 1}},
            131009, "location.latitude must be a number",
        ),
        ({**TO, "type": "contacts", "contacts": {}}, 131009, "contacts must be a list"),
        ({**TO, "type": "contacts", "contacts": [{}]}, 131008, "contacts.name.formatted_name is missing"),
        ({"status": "delivered", "message_id": "x"}, 131009, "status must be read"),
        ({"status": "read"}, 131008, "message_id is missing"),
        ({**TO, "text": {"body": "x"}, "context": {}}, 131008, "context.message_id is missing"),
        ({**TO, "text": {"body": "x"}, "biz_opaque_callback_data": 1}, 131009, "biz_opaque_callback_data"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(body: object, code: int, said: str) -> None:
    found, why = refused(body)

    assert found == code
    assert said in why


def test_a_contact_is_a_card_that_nobody_can_add_lines_to() -> None:
    contact = {
        "name": {"formatted_name": "Ada\r\nTEL:+1", "last_name": "Love;lace"},
        "phones": [{"phone": "+49 151\nX-EVIL:1", "type": "CE:LL", "wa_id": "4915100002"}],
        "emails": [{"email": "ada@example.com", "type": "WORK"}],
        "org": {"company": "Engines, Ltd", "title": "Countess"},
        "addresses": [{"street": "1 Main St", "city": "London"}],
        "birthday": "1815-12-10",
    }

    (card,) = message({**TO, "type": "contacts", "contacts": [contact]})["contacts"]

    assert card["name"] == "Ada TEL:+1"
    assert card["vcard"].split("\n") == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "N:Love\\;lace;;;;",
        "FN:Ada TEL:+1",
        "TEL;waid=4915100002:+49 151 X-EVIL:1",
        "EMAIL;type=WORK:ada@example.com",
        "ADR:;;1 Main St;London;;;",
        "ORG:Engines\\, Ltd;",
        "TITLE:Countess",
        "BDAY:1815-12-10",
        "END:VCARD",
    ]


def test_buttons_are_refused_unless_they_may_be_text() -> None:
    body = {
        **TO, "type": "interactive",
        "interactive": {
            "type": "button", "header": {"type": "text", "text": "Hours"}, "body": {"text": "When?"},
            "footer": {"text": "Reply with a number"},
            "action": {"buttons": [
                {"type": "reply", "reply": {"id": "a", "title": "Monday"}},
                {"type": "reply", "reply": {"id": "b", "title": "Tuesday"}},
            ]},
        },
    }  # fmt: skip

    assert refused(body)[0] == 131051
    assert message(body, as_text=True) == {
        "to": CHAT,
        "kind": "text",
        "text": "*Hours*\n\nWhen?\n\n1. Monday\n2. Tuesday\n\nReply with a number",
    }


@pytest.mark.parametrize(
    "action", [None, {}, {"name": "flow", "parameters": {"flow_id": "1"}}, {"buttons": [{"reply": {}}]}]
)
def test_what_is_no_list_of_choices_cannot_be_text(action: object) -> None:
    body = {**TO, "type": "interactive", "interactive": {"body": {"text": "x"}, "action": action}}

    assert refused(body, as_text=True)[0] in (131008, 131051)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
KEYS = st.sampled_from(
    [
        "to", "recipient", "type", "text", "body", "image", "id", "link", "caption", "audio", "voice",
        "document", "filename", "reaction", "message_id", "emoji", "location", "latitude", "longitude",
        "contacts", "name", "formatted_name", "phones", "phone", "status", "context", "interactive", "action",
        "buttons", "reply", "title", "sections", "rows", "header", "typing_indicator", "org", "emails",
    ]
)  # fmt: skip
VALUES = st.recursive(
    JSON | st.sampled_from(["text", "image", "interactive", "contacts", "read", "4915100002"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


@given(VALUES, st.booleans())
def test_nothing_that_is_sent_upsets_it(asked: object, as_text: bool) -> None:
    try:
        found = asks.parse(asked, as_text=as_text)
        if isinstance(found, Send):
            wire.parse(found.message)
    except (FaultError, BadAct):
        pass
