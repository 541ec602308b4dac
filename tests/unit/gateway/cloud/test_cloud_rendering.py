"""Webhooks in the form of the Cloud API: our events go in, programs for Meta's API read what comes out."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.cloud_clients import NUMBER, TYPEBOT, Pywa, chatwoot, kapso

from orchestrator.gateway.cloud.rendering import TYPES, render
from orchestrator.messages.rendering import form

Json = dict[str, Any]

EVENTS = Path(__file__).parents[2] / "messages" / "golden"
GOLDEN = Path(__file__).parent / "golden"
WRITE = "WRITE_GOLDEN"
"""A variable of the environment; with any value, the files are written anew: look at the difference."""
NAMES = sorted(file.stem for file in EVENTS.iterdir())
VALIDATOR = jsonschema.Draft202012Validator(form.schema())
NO_FORM = frozenset(
    {
        "call", "call_notice", "edit", "edit_of_caption", "group_changed", "group_joined", "lost",
        "poll_vote", "poll_vote_encrypted", "revocation", "text_of_ours", "undecryptable",
    }
)  # fmt: skip
ADA = {"id": "269139479534551@lid", "phone": "+4915100002", "name": "Ada"}
DIRECT = {"id": "269139479534551@lid", "type": "direct", "phone": "+4915100002", "name": None}
GROUP = {"id": "120363000000000001@g.us", "type": "group", "phone": None, "name": "Team"}


def an_event(sort: str = "message.received", /, **data: Any) -> Json:  # noqa: ANN401
    about = {
        "id": "3EB0A1",
        "chat": DIRECT,
        "sender": ADA,
        "from_me": False,
        "timestamp": "2025-11-28T09:59:59Z",
    }
    if sort in ("message.received", "message.edited"):
        about |= {
            "kind": "text", "text": "Hello", "media": None, "reply_to": None, "mentions": [],
            "forwarded": False, "edited": sort == "message.edited",
        }  # fmt: skip
    if sort == "message.status":
        about = {key: about[key] for key in ("id", "chat", "timestamp")}
        about |= {"recipient": ADA, "row": None, "tag": None, "code": None, "why": None}
    return checked(
        {
            "id": "evt_support_17", "type": sort, "timestamp": "2025-11-28T10:00:00.123Z",
            "account": "support", "seq": 17, "data": about | data,
        }
    )  # fmt: skip


def checked(event: Json) -> Json:
    VALIDATOR.validate(event)
    return event


def value_of(event: Json, *, echoes: bool = False) -> Json:
    body = render(event, NUMBER, echoes=echoes)
    assert body is not None
    assert list(body) == ["object", "entry"]
    (entry,) = body["entry"]
    assert entry["id"] == NUMBER
    (change,) = entry["changes"]
    value: Json = change["value"]
    assert value["metadata"] == {"display_phone_number": NUMBER, "phone_number_id": NUMBER}
    return value


def message_of(event: Json) -> Json:
    (message,) = value_of(event)["messages"]
    found: Json = message
    return found


def status_of(event: Json) -> Json:
    (status,) = value_of(event)["statuses"]
    found: Json = status
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_event_has_one_form_or_none(name: str) -> None:
    body = render(checked(json.loads((EVENTS / f"{name}.json").read_text())), NUMBER)
    file = GOLDEN / f"{name}.json"
    if WRITE in os.environ and body is not None:
        file.write_text(json.dumps(body, indent=2, ensure_ascii=True) + "\n")

    assert (body is None) == (name in NO_FORM)
    if body is not None:
        assert body == json.loads(file.read_text()), (
            f"if this is as it should be: {WRITE}=1 python -m pytest {__file__}"
        )


def test_every_file_is_of_an_event() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(NAMES) - NO_FORM


@pytest.mark.parametrize("name", sorted(set(NAMES) - NO_FORM))
def test_unmodified_clients_take_every_body(name: str) -> None:
    body = json.loads((GOLDEN / f"{name}.json").read_text())
    value = body["entry"][0]["changes"][0]["value"]

    update = Pywa().take(body)
    normalized = kapso(body)
    taken = chatwoot(body)

    if "statuses" in value:
        assert taken["status"] == normalized.statuses[0].status == value["statuses"][0]["status"]
        (status,) = update.statuses if hasattr(update, "statuses") else (update,)
        assert status.id == value["statuses"][0]["id"]
        assert status.status.value == taken["status"]
    else:
        assert update.id == normalized.messages[0]["id"] == taken["source_id"]
        assert update.from_user.bsuid == taken["contact"]
        if "from" in value["messages"][0]:  # Typebot takes no message of a hidden number, Meta's neither
            jsonschema.validate(body, TYPEBOT)
    assert normalized.phone_number_id == NUMBER
    assert taken["channel"] == f"+{NUMBER}"


def test_a_text() -> None:
    assert render(an_event(), NUMBER) == {
        "object": "whatsapp_business_account",
        "entry": [{"id": NUMBER, "changes": [{"field": "messages", "value": {
            "messaging_product": "whatsapp",
            "metadata": {"display_phone_number": NUMBER, "phone_number_id": NUMBER},
            "contacts": [
                {"profile": {"name": "Ada"}, "wa_id": "4915100002", "user_id": "ZZ.269139479534551"}
            ],
            "messages": [{
                "from": "4915100002", "from_user_id": "ZZ.269139479534551", "id": "3EB0A1",
                "timestamp": "1764323999", "type": "text", "text": {"body": "Hello"},
            }],
        }}]}],
    }  # fmt: skip


def test_a_hidden_number_is_left_out_and_pywa_answers_by_the_user_id() -> None:
    hidden = {**ADA, "phone": None}
    event = an_event(chat={**DIRECT, "phone": None}, sender=hidden)

    message = message_of(event)
    assert "from" not in message
    assert message["from_user_id"] == "ZZ.269139479534551"
    assert "wa_id" not in value_of(event)["contacts"][0]
    assert Pywa().take(render(event, NUMBER)).from_user.preferred_id == "ZZ.269139479534551"  # type: ignore[arg-type]


def test_a_person_without_a_name_has_the_number_for_one() -> None:
    assert value_of(an_event(sender={**ADA, "name": None}))["contacts"][0]["profile"] == {
        "name": "+4915100002"
    }


def test_a_number_that_nothing_hides_is_another_user_id() -> None:
    plain = {"id": "4915100002@s.whatsapp.net", "phone": None, "name": None}

    (contact,) = value_of(an_event(sender=plain))["contacts"]

    assert contact == {"profile": {"name": "+4915100002"}, "wa_id": "4915100002", "user_id": "XP.4915100002"}


def test_a_message_in_a_group_names_the_group_beside_its_sender() -> None:
    event = an_event(chat=GROUP)

    assert message_of(event)["group_id"] == GROUP["id"]
    chat = Pywa().take(render(event, NUMBER)).chat  # type: ignore[arg-type]
    assert (chat.id, chat.type.value) == (GROUP["id"], "GROUP")


def test_hashes_of_files_are_those_of_the_bytes() -> None:
    digest = hashlib.sha256(b"picture")
    media = {
        "id": "5577006791947779410", "mime_type": "image/png", "size": 7, "sha256": digest.hexdigest(),
        "file_name": None, "caption": "Look", "voice": False, "animated": False,
    }  # fmt: skip

    image = message_of(an_event(kind="image", text=None, media=media))["image"]

    assert image["id"] == media["id"]
    assert image["caption"] == "Look"
    assert base64.b64decode(image["sha256"]) == digest.digest()


@pytest.mark.parametrize("media", [None, {"id": None}])
def test_a_file_that_cannot_be_fetched_is_an_unsupported_message(media: Json | None) -> None:
    whole = {
        "mime_type": None, "size": None, "sha256": None, "file_name": None, "caption": None, "voice": False,
        "animated": False,
    }  # fmt: skip
    event = an_event(kind="image", text=None, media=None if media is None else whole | media)

    message = message_of(event)

    assert message["type"] == "unsupported"
    assert message["unsupported"] == {"type": "image"}
    assert message["errors"][0]["code"] == 131051
    assert Pywa().take(render(event, NUMBER)).error.code == 131051  # type: ignore[arg-type]


def test_an_answer_names_the_message_that_it_answers() -> None:
    answered = {"id": "3EB0QUOTED", "sender": "4915100003@s.whatsapp.net"}
    event = an_event(reply_to=answered, forwarded=True, forwarding_score=5)

    assert message_of(event)["context"] == {
        "from": "4915100003", "id": "3EB0QUOTED", "frequently_forwarded": True,
    }  # fmt: skip
    assert message_of(an_event(forwarded=True))["context"] == {"forwarded": True}
    assert chatwoot(render(event, NUMBER))["in_reply_to"] == "3EB0QUOTED"  # type: ignore[arg-type]


def test_an_edit_of_the_author_names_the_original() -> None:
    update = Pywa().take(render(an_event("message.edited", text="Better", by_author=True), NUMBER))  # type: ignore[arg-type]

    assert update.original_message_id == "3EB0A1"
    assert update.message.text == "Better"
    assert update.id == "evt_support_17"


def test_a_revocation_of_the_author_names_the_original() -> None:
    update = Pywa().take(render(an_event("message.revoked", by_author=True), NUMBER))  # type: ignore[arg-type]

    assert update.original_message_id == "3EB0A1"


@pytest.mark.parametrize("kind", ["message.edited", "message.revoked"])
@pytest.mark.parametrize("by_author", [False, None])
def test_an_edit_that_may_be_of_somebody_else_is_left_out(kind: str, by_author: bool | None) -> None:
    assert render(an_event(kind, by_author=by_author), NUMBER) is None


def test_a_reaction_and_that_it_was_taken_back() -> None:
    for emoji in ("\N{THUMBS UP SIGN}", ""):
        reaction = {"message_id": "3EB0A0", "emoji": emoji}
        update = Pywa().take(render(an_event("message.reaction", reaction=reaction), NUMBER))  # type: ignore[arg-type]
        assert update.reaction.message_id == "3EB0A0"
        assert update.reaction.is_removed == (emoji == "")


@pytest.mark.parametrize("status", ["sent", "delivered", "read", "failed"])
def test_a_status_brings_back_the_words_of_the_client(status: str) -> None:
    event = an_event("message.status", status=status, row=7, tag="order 4711")

    update = Pywa().take(render(event, NUMBER))  # type: ignore[arg-type]

    assert (update.id, update.status.value, update.tracker) == ("3EB0A1", status, "order 4711")
    assert update.from_user.wa_id == "4915100002"
    assert status_of(event)["recipient_id"] == "4915100002"
    assert (update.error is None) == (status != "failed")
    jsonschema.validate(render(event, NUMBER), TYPEBOT)


@pytest.mark.parametrize(("code", "told"), [(463, 131049), (475, 131048), (400, 131000), (None, 131000)])
def test_a_failure_says_why_in_numbers_of_metas(code: int | None, told: int) -> None:
    event = an_event("message.status", status="failed", code=code, why="WhatsApp refuses it")

    (error,) = status_of(event)["errors"]

    assert error["code"] == told
    assert error["error_data"] == {"details": "WhatsApp refuses it"}
    assert Pywa().take(render(event, NUMBER)).error.details == "WhatsApp refuses it"  # type: ignore[arg-type]


def test_what_failed_before_whatsapp_named_it_is_known_by_its_row() -> None:
    event = an_event("message.status", id=None, status="failed", row=7, tag=None)

    assert status_of(event)["id"] == "row.7"
    assert "biz_opaque_callback_data" not in status_of(event)
    assert render(an_event("message.status", id=None, status="failed"), NUMBER) is None


def test_a_status_of_nobody_known_is_one_of_the_chat() -> None:
    assert (
        status_of(an_event("message.status", status="sent", recipient=None))["recipient_id"] == "4915100002"
    )


def test_statuses_in_a_group_name_the_member() -> None:
    event = an_event("message.status", status="read", chat=GROUP)

    (update,) = (statuses := Pywa().take(render(event, NUMBER))).statuses  # type: ignore[arg-type]

    assert statuses.group_id == GROUP["id"]
    assert update.from_user.wa_id == "4915100002"
    assert status_of(event)["recipient_participant_id"] == "4915100002"


@pytest.mark.parametrize("status", ["sent", "failed"])
def test_statuses_in_a_group_that_are_of_no_member_reach_pywa_too(status: str) -> None:
    event = an_event("message.status", status=status, chat=GROUP, recipient=None)

    (update,) = (statuses := Pywa().take(render(event, NUMBER))).statuses  # type: ignore[arg-type]

    assert (statuses.group_id, update.status.value, update.from_user.bsuid) == (GROUP["id"], status, None)


def test_own_messages_are_told_only_to_those_who_want_them() -> None:
    event = an_event(
        from_me=True, sender={"id": "1@lid", "phone": f"+{NUMBER}", "name": None} | {"id": "11111@lid"}
    )

    assert render(event, NUMBER) is None
    (echo,) = value_of(event, echoes=True)["message_echoes"]
    assert (echo["from"], echo["to"], echo["text"]) == (NUMBER, "4915100002", {"body": "Hello"})
    update = Pywa().take(render(event, NUMBER, echoes=True))  # type: ignore[arg-type]
    assert update.to_user.wa_id == "4915100002"


def test_all_types_are_known() -> None:
    assert set(form.DATA) >= TYPES


def test_messages_are_called_as_the_client_knows_them() -> None:
    names = {"3EB0A1": "row.7"}
    status = render(an_event("message.status", status="read", row=7), NUMBER, names=names)
    answer = render(an_event(id="3EB0B1", reply_to={"id": "3EB0A1", "sender": None}), NUMBER, names=names)
    reaction = {"message_id": "3EB0A1", "emoji": ""}
    reacted = render(an_event("message.reaction", id="3EB0B1", reaction=reaction), NUMBER, names=names)

    assert Pywa().take(status or {}).id == "row.7"
    assert Pywa().take(answer or {}).reply_to_message.id == "row.7"
    assert Pywa().take(reacted or {}).reaction.message_id == "row.7"
