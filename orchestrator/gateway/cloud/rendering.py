"""Renders our events in the form of the Cloud API's webhooks, one message or status a body. Pure.

Programs read the first entry of each list only, so there is never a second one. What has no form there is
left out: news of accounts, calls, changes of groups, messages that were lost or could not be decrypted. An
edit or a revocation is left out, too, unless its author has made it: the form has no place to say so.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from orchestrator.consumers.settings import CLOUD_TYPES
from orchestrator.gateway.cloud import faults, ids

Json: TypeAlias = dict[str, Any]

TYPES: Final = frozenset(CLOUD_TYPES)
"""The types of events that have a form there."""
TEST: Final[Json] = {
    "object": "whatsapp_business_account",
    "entry": [
        {
            "id": "0",
            "changes": [
                {
                    "field": "orchestrator_test",
                    "value": {
                        "messaging_product": "whatsapp",
                        "metadata": {"display_phone_number": "0", "phone_number_id": "0"},
                    },
                }
            ],
        }
    ],
}
"""What a receiver gets that is only tried: it is of no account, and of a field that no program knows."""
FREQUENTLY: Final = 5
"""So often a message was passed on that WhatsApp's clients say so."""
_MEDIA: Final[Mapping[str, str]] = {
    "image": "image", "video": "video", "audio": "audio", "voice": "audio", "document": "document",
    "sticker": "sticker",
}  # fmt: skip
_CAPTIONED: Final = frozenset({"image", "video", "document"})
_UNKNOWN_TYPE: Final = "application/octet-stream"


def render(
    event: Mapping[str, Any], number: str, *, echoes: bool = False, names: Mapping[str, str] | None = None
) -> Json | None:
    """Return the body of a webhook's request about an event, None if the event has no form there.

    Args:
        event: The event, as docs/events.schema.json has it.
        number: The digits of the account's number.
        echoes: Whether messages that the account's own phone has sent are rendered, too.
        names: What clients call messages, by WhatsApp's identifiers, where that differs: see `promised`.
    """
    if event["type"] not in TYPES:
        return None
    data = _renamed(event["data"], names) if names else event["data"]
    event = {**event, "data": data}
    if event["type"] == "message.status":
        return _body(number, "messages", _status(data))
    if data["chat"] is None or (data["sender"] is None and not data["from_me"]):
        return None
    content = _content(event)
    if content is None:
        return None
    if data["from_me"]:
        if not echoes or (person := _recipient(data)) is None or "user_id" not in person:
            return None
        message = {"from": number, **_recipient_ids(person), **content}
        return _body(number, "smb_message_echoes", {"contacts": [person], "message_echoes": [message]})
    person = ids.contact(data["sender"])
    if "user_id" not in person:
        return None  # neither a number nor a hidden one, such as Meta's own bots: nobody could answer
    message = {**_sender_ids(person), **content}
    return _body(number, "messages", {"contacts": [person], "messages": [message]})


def _renamed(data: Mapping[str, Any], names: Mapping[str, str]) -> Json:
    """Return what an event says, with messages called as clients call them."""
    found = dict(data)
    if "status" in data:
        found["id"] = names.get(data["id"], data["id"])
    for part, key in (("reply_to", "id"), ("reaction", "message_id")):
        if (about := data.get(part)) is not None:
            found[part] = {**about, key: names.get(about[key], about[key])}
    return found


def _body(number: str, field: str, value: Json | None) -> Json | None:
    if value is None:
        return None
    about = {"display_phone_number": number, "phone_number_id": number}
    change = {"field": field, "value": {"messaging_product": "whatsapp", "metadata": about, **value}}
    return {"object": "whatsapp_business_account", "entry": [{"id": number, "changes": [change]}]}


# Messages


def _content(event: Mapping[str, Any]) -> Json | None:
    data = event["data"]
    about: Json = {"id": data["id"] or event["id"], "timestamp": _seconds(data["timestamp"])}
    if data["chat"]["type"] == "group":
        about["group_id"] = data["chat"]["id"]
    match event["type"]:
        case "message.received":
            return about | _context(data) | _kind(data)
        case "message.reaction":
            target = data["reaction"]["message_id"]
            reaction = {"message_id": target, "emoji": data["reaction"]["emoji"]}
            return None if target is None else about | {"type": "reaction", "reaction": reaction}
    if data["id"] is None or data.get("by_author", True) is not True:
        return None
    about["id"] = event["id"]  # that of the edit itself is not kept
    if event["type"] == "message.revoked":
        return about | {"type": "revoke", "revoke": {"original_message_id": data["id"]}}
    edit = {"original_message_id": data["id"], "message": _context(data) | _kind(data)}
    return about | {"type": "edit", "edit": edit}


def _kind(data: Mapping[str, Any]) -> Json:
    kind = data["kind"]
    media = data["media"]
    if kind == "text" and (choice := data.get("choice")) is not None:
        title = choice["title"] or data["text"] or ""
        reply = {"id": choice["id"] or title, "title": title}
        return {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": reply}}
    if kind == "text" and data["text"] is not None:
        return {"type": "text", "text": {"body": data["text"]}}
    if kind in _MEDIA and media is not None and media["id"] is not None:
        return {"type": _MEDIA[kind], _MEDIA[kind]: _media(_MEDIA[kind], media)}
    if kind == "location" and (place := data.get("location")) is not None:
        wanted = ("latitude", "longitude", "name", "address")
        return {"type": "location", "location": {key: place[key] for key in wanted if place[key] is not None}}
    if kind == "contact" and (contacts := data.get("contacts")):
        return {"type": "contacts", "contacts": [_card(one) for one in contacts]}
    what = data["unsupported"]["kind"] if "unsupported" in data else kind
    fault = faults.unsupported("the message has no form in the Cloud API").fault
    return {"type": "unsupported", "unsupported": {"type": what}, "errors": [faults.in_webhook(fault)]}


def _media(kind: str, media: Mapping[str, Any]) -> Json:
    found: Json = {
        "id": media["id"],
        "mime_type": media["mime_type"] or _UNKNOWN_TYPE,
        "sha256": ""
        if media["sha256"] is None
        else base64.b64encode(bytes.fromhex(media["sha256"])).decode(),
    }
    if kind in _CAPTIONED and media["caption"]:
        found["caption"] = media["caption"]
    if kind == "document" and media["file_name"]:
        found["filename"] = media["file_name"]
    if kind == "audio":
        found["voice"] = media["voice"]
    if kind == "sticker":
        found["animated"] = media["animated"]
    return found


def _card(contact: Mapping[str, Any]) -> Json:
    numbers = contact["phones"]
    name = contact["name"] or next(iter(numbers), "")
    return {
        "name": {"formatted_name": name, "first_name": name},
        "phones": [{"phone": number, "type": "CELL"} for number in numbers],
    }


def _context(data: Mapping[str, Any]) -> Json:
    context: Json = {}
    if (answered := data["reply_to"]) is not None:
        sender = answered["sender"]
        if sender is not None and (digits := ids.digits_of(sender)) is not None:
            context["from"] = digits
        elif sender is not None and (identity := ids.user_id(sender)) is not None:
            context["from_user_id"] = identity
        context["id"] = answered["id"]
    if data["forwarded"]:
        often = data.get("forwarding_score", 0) >= FREQUENTLY
        context["frequently_forwarded" if often else "forwarded"] = True
    return {"context": context} if context else {}


# Statuses


def _status(data: Mapping[str, Any]) -> Json | None:
    chat, person, row = data["chat"], data["recipient"], data.get("row")
    name = data["id"] or (ids.of_row(row) if row is not None else None)
    if name is None or chat is None:
        return None
    status: Json = {"id": name, "status": data["status"], "timestamp": _seconds(data["timestamp"])}
    contact = None if person is None else ids.contact(person)
    if chat["type"] == "group":
        status |= {"recipient_id": chat["id"], "recipient_type": "group"} | _participant(contact)
        # pywa looks up the participant among the contacts, also of a group's message that was only sent.
        contact = {"user_id": None, **(contact or {"profile": {"name": ""}})}
    else:
        contact = contact or ids.contact(chat)
        status |= _recipient_of(contact)
    if data.get("tag") is not None:
        status["biz_opaque_callback_data"] = data["tag"]
    if data["status"] == "failed":
        status["errors"] = [faults.in_webhook(faults.of_row(data))]
    return {"contacts": [contact], "statuses": [status]}


def _recipient_of(contact: Json) -> Json:
    """Return whom a status is about. Programs want a `recipient_id` where a number is hidden, too."""
    found: Json = {"recipient_id": contact.get("wa_id") or contact.get("user_id") or ""}
    if "user_id" in contact:
        found["recipient_user_id"] = contact["user_id"]
    return found


def _participant(contact: Json | None) -> Json:
    found: Json = {"recipient_participant_user_id": None if contact is None else contact.get("user_id")}
    if contact is not None and "wa_id" in contact:
        found["recipient_participant_id"] = contact["wa_id"]
    return found


# People


def _sender_ids(contact: Json) -> Json:
    """Return by what a message names its sender. Without a number there is no `from`, as at Meta's."""
    found = {"from": contact.get("wa_id"), "from_user_id": contact.get("user_id")}
    return {key: value for key, value in found.items() if value is not None}


def _recipient(data: Mapping[str, Any]) -> Json | None:
    """Return to whom the account's own phone has sent a message; None in a group, which is nobody."""
    return ids.contact(data["chat"]) if data["chat"]["type"] == "direct" else None


def _recipient_ids(contact: Json) -> Json:
    found = {"to": contact.get("wa_id"), "to_user_id": contact.get("user_id")}
    return {key: value for key, value in found.items() if value is not None}


def _seconds(moment: str) -> str:
    return str(int(datetime.fromisoformat(moment).timestamp()))
