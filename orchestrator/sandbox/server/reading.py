"""What a phone shows of a message that it has received, as values for JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from orchestrator.sandbox.crypto import media, poll_votes
from orchestrator.sandbox.crypto.keys import CryptoError
from orchestrator.sandbox.crypto.media import MediaKind
from orchestrator.sandbox.server.contents import POLLS
from orchestrator.sandbox.server.drafts import Earlier
from orchestrator.sandbox.server.media import media_id
from orchestrator.sandbox.wire import content
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.proto import ProtoError

Shown: TypeAlias = dict[str, Any]
Part: TypeAlias = Any
"""A protobuf message."""

HIDDEN = ("media_key", "media_id", "media_kind", "sender", "plain")
"""What the inbox keeps for the phone's own use."""
PROTOCOL = {
    content.REVOKE: "revoke",
    content.EPHEMERAL_SETTING: "disappearing",
    content.MESSAGE_EDIT: "edit",
}


class Shelf(Protocol):
    """What reading a message needs besides the message."""

    def blob(self, blob_id: str) -> bytes | None:
        """Return an uploaded attachment, encrypted."""

    def earlier(self, message_id: str) -> Earlier | None:
        """Return a message that the phone has sent or received."""

    def name_of(self, address: str) -> str:
        """Return somebody's number, or the address if nobody here has it."""


def read(message: Part, sender: JID, shelf: Shelf) -> Shown | None:
    """Return what a message says; None if there is nothing to show, as in a group's key.

    Args:
        message: The message, as protobuf.
        sender: Who wrote the message.
        shelf: Where attachments and earlier messages are.
    """
    wraps = []
    inner = message
    while (wrapper := next((name for name in content.WRAPPERS if inner.HasField(name)), None)) is not None:
        wraps.append(wrapper)
        inner = getattr(inner, wrapper).message
    shown = _content(inner, sender, shelf)
    if shown is None:
        return None
    if wraps:
        shown["wraps"] = wraps
        if any(name.startswith("view_once") for name in wraps):
            shown["view_once"] = True
    info = message.message_context_info
    if info.message_association.association_type == content.ALBUM:
        shown["album"] = info.message_association.parent_message_key.id
    part = next((part for field, part in inner.ListFields() if field.message_type is not None
                 and "context_info" in field.message_type.fields_by_name), None)  # fmt: skip
    if part is not None and part.HasField("context_info"):
        shown |= _context(part.context_info, shelf)
    return shown


def attachment(record: Mapping[str, Any], shelf: Shelf) -> bytes | None:
    """Return the clear bytes of an attachment of the inbox; None if there is none."""
    if "media_key" not in record:
        return None
    blob = shelf.blob(record["media_id"])
    kind = record.get("media_kind", record["kind"])
    return media.decrypt(blob, bytes.fromhex(record["media_key"]), kind) if blob else None


def _content(message: Part, sender: JID, shelf: Shelf) -> Shown | None:
    for field, part in message.ListFields():
        if (show := _SHOW.get(field.name)) is not None:
            return show(part, sender, shelf)
    numbers = _unknown_numbers(message)
    return {"kind": "unsupported", "fields": numbers} if numbers else None


def _unknown_numbers(message: Part) -> list[int]:
    """Return the numbers of the fields that stand in no table, and have something to show."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    unknown: Any = UnknownFieldSet(message)  # iterable, which its types do not say
    return sorted({field.field_number for field in unknown})


def _context(context: Part, shelf: Shelf) -> Shown:
    shown: Shown = {}
    # Phones show nothing of a quote that lacks its author, or what it quotes.
    if context.stanza_id and context.participant and context.HasField("quoted_message"):
        shown["quote"] = {"id": context.stanza_id, "author": shelf.name_of(context.participant)}
    if context.mentioned_jid:
        shown["mentions"] = [shelf.name_of(address) for address in context.mentioned_jid]
    if context.is_forwarded:
        shown["forwarded"] = context.forwarding_score or 1
    if context.expiration:
        shown["expires"] = context.expiration
    return shown


def _media(kind: MediaKind) -> _Show:
    def show(part: Part, _: JID, shelf: Shelf) -> Shown:
        shown: Shown = {
            "kind": kind,
            "mime": part.mime,
            "caption": getattr(part, "caption", ""),
            "file_name": getattr(part, "file_name", ""),
        }
        shown |= {
            name: value
            for name in ("seconds", "width", "height", "page_count")
            if (value := getattr(part, name, 0))
        }
        shown |= _thumbnail(part)
        if waveform := getattr(part, "waveform", b""):
            shown["waveform"] = list(waveform)
        for name, field in (("gif", "gif_playback"), ("animated", "is_animated"), ("view_once", "view_once")):
            if getattr(part, field, False):
                shown[name] = True
        if getattr(part, "ptt", False):
            shown |= {"kind": "voice", "media_kind": "audio"}
        blob = shelf.blob(media_id(part.blob_sha256))
        try:
            if blob is None:
                raise CryptoError("nothing was uploaded for it")
            data = media.decrypt(blob, part.key, kind, sha256=part.sha256, blob_sha256=part.blob_sha256)
        except CryptoError as error:
            return {**shown, "error": str(error)}
        digest = hashlib.sha256(data).hexdigest()
        return {**shown, "sha256": digest, "size": len(data), "media_key": part.key.hex(),
                "media_id": media_id(part.blob_sha256)}  # fmt: skip

    return show


def _video_note(part: Part, sender: JID, shelf: Shelf) -> Shown:
    return {**_media("video")(part, sender, shelf), "kind": "video_note", "media_kind": "video"}


def _thumbnail(part: Part) -> Shown:
    small = getattr(part, "jpeg_thumbnail", b"") or getattr(part, "png_thumbnail", b"")
    if not small:
        return {}
    return {"thumbnail": {"sha256": hashlib.sha256(small).hexdigest(), "size": len(small)}}


def _text(part: Part, _: JID, __: Shelf) -> Shown:
    if isinstance(part, str):
        return {"kind": "text", "text": part}
    shown: Shown = {"kind": "text", "text": part.text}
    if part.title or part.description:
        preview = {"link": part.matched_text, "title": part.title, "description": part.description}
        shown["preview"] = preview | _thumbnail(part)
    return shown


def _place(kind: str) -> _Show:
    def show(part: Part, _: JID, __: Shelf) -> Shown:
        shown = {"kind": kind, "latitude": part.degrees_latitude, "longitude": part.degrees_longitude}
        return shown | {
            name: value
            for name in ("name", "address", "url", "caption")
            if (value := getattr(part, name, ""))
        }

    return show


def _card(part: Part) -> Shown:
    return {"name": part.display_name, "vcard": part.vcard}


def _reaction(part: Part, _: JID, __: Shelf) -> Shown:
    return {"kind": "reaction", "of": part.key.id, "emoji": part.text}


def _protocol(part: Part, sender: JID, shelf: Shelf) -> Shown:
    shown: Shown = {"kind": PROTOCOL.get(part.type, "protocol")}
    match part.type:
        case content.REVOKE:
            shown["of"] = part.key.id
        case content.EPHEMERAL_SETTING:
            shown["seconds"] = part.ephemeral_expiration
        case content.MESSAGE_EDIT:
            new = _content(part.edited_message, sender, shelf) or {}
            shown |= {"of": part.key.id, "text": new.get("text") or new.get("caption", "")}
        case _:
            shown["type"] = part.type
    return shown


def _poll(part: Part, _: JID, __: Shelf) -> Shown:
    options = [option.option_name for option in part.options]
    return {
        "kind": "poll",
        "question": part.name,
        "options": options,
        "select": part.selectable_options_count,
    }


def _vote(part: Part, sender: JID, shelf: Shelf) -> Shown:
    shown: Shown = {"kind": "vote", "of": part.poll_creation_message_key.id}
    poll = shelf.earlier(shown["of"])
    name = next((name for name in POLLS if poll and poll.message.HasField(name)), None)
    if poll is None or name is None:
        return {**shown, "error": "the phone does not know the poll"}
    try:
        plain = poll_votes.open_vote(
            part.vote.enc_payload, part.vote.enc_iv, poll.secret, poll.id, str(poll.author), str(sender.bare)
        )
        chosen = content.PollVoteMessage.decode(plain).selected_options
    except (CryptoError, ProtoError) as error:
        return {**shown, "error": str(error)}
    options = [option.option_name for option in getattr(poll.message, name).options]
    names = {hashlib.sha256(option.encode()).digest(): option for option in options}
    return {**shown, "options": [names.get(hashed, hashed.hex()) for hashed in chosen]}


def _pin(part: Part, _: JID, __: Shelf) -> Shown:
    return {"kind": "pin" if part.type == content.PIN else "unpin", "of": part.key.id}


def _album(part: Part, _: JID, __: Shelf) -> Shown:
    return {"kind": "album", "images": part.expected_image_count, "videos": part.expected_video_count}


def _sticker_pack(part: Part, _: JID, __: Shelf) -> Shown:
    files = [one.file_name for one in part.stickers]
    return {"kind": "sticker_pack", "name": part.name, "publisher": part.publisher, "stickers": files}


def _event(part: Part, _: JID, __: Shelf) -> Shown:
    shown: Shown = {"kind": "event", "name": part.name, "starts_at": part.start_time}
    if part.description:
        shown["text"] = part.description
    return shown | ({"canceled": True} if part.is_canceled else {})


def _buttons(part: Part, _: JID, __: Shelf) -> Shown:
    buttons = [{"id": one.button_id, "text": one.button_text.display_text} for one in part.buttons]
    return {"kind": "buttons", "text": part.content_text, "buttons": buttons} | _frame(
        title=part.text, footer=part.footer_text
    )


def _list(part: Part, _: JID, __: Shelf) -> Shown:
    rows = [{"id": row.row_id, "text": row.title} for section in part.sections for row in section.rows]
    return {"kind": "list", "text": part.description, "rows": rows} | _frame(
        title=part.title, button=part.button_text, footer=part.footer_text
    )


def _template(part: Part, _: JID, __: Shelf) -> Shown:
    template = (
        part.hydrated_template if part.HasField("hydrated_template") else part.hydrated_four_row_template
    )
    buttons = [
        {"id": one.quick_reply_button.id, "text": one.quick_reply_button.display_text}
        for one in template.hydrated_buttons
    ]
    return {"kind": "template", "text": template.hydrated_content_text, "buttons": buttons} | _frame(
        title=template.hydrated_title_text, footer=template.hydrated_footer_text
    )


def _interactive(part: Part, _: JID, __: Shelf) -> Shown:
    buttons = [
        {"name": one.name, "params": one.button_params_json} for one in part.native_flow_message.buttons
    ]
    return {"kind": "interactive", "text": part.body.text, "buttons": buttons} | _frame(
        title=part.header.title, footer=part.footer.text
    )


def _frame(**texts: str) -> Shown:
    """Return those texts around a message that are there."""
    return {name: text for name, text in texts.items() if text}


def _interactive_response(part: Part, _: JID, __: Shelf) -> Shown:
    try:
        params = json.loads(part.native_flow_response_message.params_json)
        choice = params.get("id", "") if isinstance(params, dict) else ""
    except ValueError:
        choice = ""
    return {"kind": "interactive_response", "choice": choice, "text": part.body.text}


_Show: TypeAlias = Callable[[Part, JID, Shelf], Shown]

_SHOW: dict[str, _Show] = {
    "conversation": _text,
    "extended_text": _text,
    "image": _media("image"),
    "document": _media("document"),
    "audio": _media("audio"),
    "video": _media("video"),
    "sticker": _media("sticker"),
    "ptv": _video_note,
    "location": _place("location"),
    "live_location": _place("live_location"),
    "contact": lambda part, _, __: {"kind": "contact", **_card(part)},
    "contacts_array": lambda part, _, __: {"kind": "contacts", "contacts": [*map(_card, part.contacts)]},
    "group_invite": lambda part, _, __: {
        "kind": "group_invite",
        "invite_to": part.group_jid,
        "code": part.invite_code,
        "name": part.group_name,
    },
    "reaction": _reaction,
    "protocol": _protocol,
    "poll_creation": _poll,
    "poll_creation_v2": _poll,
    "poll_creation_v3": _poll,
    "poll_update": _vote,
    "pin_in_chat": _pin,
    "album": _album,
    "sticker_pack": _sticker_pack,
    "event": _event,
    "buttons": _buttons,
    "buttons_response": lambda part, _, __: {
        "kind": "buttons_response",
        "choice": part.selected_button_id,
        "text": part.selected_display_text,
    },
    "list": _list,
    "list_response": lambda part, _, __: {
        "kind": "list_response",
        "choice": part.single_select_reply.selected_row_id,
        "text": part.title,
    },
    "template": _template,
    "template_button_reply": lambda part, _, __: {
        "kind": "template_response",
        "choice": part.selected_id,
        "text": part.selected_display_text,
    },
    "interactive": _interactive,
    "interactive_response": _interactive_response,
}
"""How the fields of a message are shown."""

assert set(_SHOW) <= {field.name for field in Message.decode(b"").DESCRIPTOR.fields}
