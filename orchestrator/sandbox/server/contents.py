"""What a phone can write: builds the plain text of every kind of message. Nothing here is encrypted.

A kind is a function that reads what was asked for and returns the fields of the message. `COMMON` options
change messages of every kind: quotes, mentions, expiry, wrappers.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestrator.sandbox.crypto import poll_votes
from orchestrator.sandbox.crypto.media import MediaKind
from orchestrator.sandbox.server import businesses
from orchestrator.sandbox.server.drafts import Build, Desk, Draft, Earlier, Fields, given_texts
from orchestrator.sandbox.server.fields import Bad, Field, NotPossible
from orchestrator.sandbox.wire import content
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import GROUP

COMMON = (
    *("from", "to", "kind", "id", "quote", "author", "mentions", "forwarded", "expires", "wrap", "view_once"),
    *("business", "viewers"),
)
"""Options of every kind of message."""
MAX_OPTIONS = 12
"""Options of a poll."""
MAX_TEXT = 65_536
"""Characters of a text."""
POLLS = ("poll_creation", "poll_creation_v2", "poll_creation_v3")
"""Fields of a message that hold a poll, by version."""
CAPTIONED = ("image", "video", "document")
EDIT_WINDOW = 20 * 60.0
"""Seconds after which a message cannot be edited any more; whatsmeow's EditWindow."""
SENDER_REVOKE, ADMIN_REVOKE, EDIT = "7", "8", "1"
"""What the server reads in a stanza's ``edit``."""


@dataclass(frozen=True, slots=True)
class Content:
    """A message, ready to be encrypted.

    Attributes:
        plain: The message, as protobuf.
        kind: The stanza's ``type``.
        edit: The stanza's ``edit``: what the message does to another one.
        media_type: What ``mediatype`` says of an attachment.
        meta: What the stanza says besides.
        peer: Whether the message is for the owner's linked devices alone.
    """

    plain: bytes
    kind: str = "text"
    edit: str = ""
    media_type: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    peer: bool = False


def compose(given: Field, desk: Desk) -> Content:
    """Build the message that was asked for.

    Raises:
        Bad: There is no such kind, or a value is missing or wrong.
        NotPossible: WhatsApp would not let the phone do that.
    """
    kind = given.text("kind")
    known = KINDS.get(kind)
    if known is None:
        raise Bad(f"'kind' must be one of {', '.join(KINDS)}")
    build, options = known
    given.only(kind, (*COMMON, *options))
    draft = build(given, desk)
    if kind == "raw":
        plain = given.data("message")
    else:
        fields = _wrapped(_with_context(draft, given, desk), given)
        if draft.has_secret:
            fields["message_context_info"] = {"message_secret": os.urandom(32)}
        plain = Message.encode(**fields) + draft.fields.get(_UNKNOWN, b"")
    return Content(plain, draft.kind, draft.edit, draft.media_type, draft.meta, draft.peer)


def key_of(earlier: Earlier, desk: Desk) -> Fields:
    """Return what names a message to others."""
    key: Fields = {"remote_jid": str(desk.chat), "from_me": earlier.own, "id": earlier.id}
    if desk.chat.server == GROUP and not earlier.own:
        key["participant"] = str(earlier.author)
    return key


# What all kinds have in common


def _with_context(draft: Draft, given: Field, desk: Desk) -> Fields:
    context: Fields = {}
    if quote := given.optional("quote"):
        context |= _quoted(quote, given, desk)
    if mentions := given.body.get("mentions") and given.texts("mentions"):
        context["mentioned_jid"] = [str(desk.address(number)) for number in mentions]
    forwarded = given.body.get("forwarded")
    if forwarded:
        score = 1 if forwarded is True else given.count("forwarded", high=10**6)
        context |= {"is_forwarded": True, "forwarding_score": score}
    takes_context = draft.has_secret and _UNKNOWN not in draft.fields
    if expires := given.count("expires") or (desk.expiry() if takes_context else 0):
        context["expiration"] = expires
    fields = {name: value for name, value in draft.fields.items() if name != _UNKNOWN}
    if not context:
        return fields
    if "conversation" in fields:
        fields = {"extended_text": {"text": fields["conversation"]}}
    for name, part in fields.items():
        if isinstance(part, dict) and name not in ("reaction", "protocol", "poll_update", *content.WRAPPERS):
            part["context_info"] = {**part.get("context_info", {}), **context}
            return fields
    raise Bad(f"{given.text('kind')} takes no quote, mentions, forwarded or expires")


def _quoted(message_id: str, given: Field, desk: Desk) -> Fields:
    earlier = desk.earlier(message_id)
    author = given.optional("author")
    if author is not None:
        participant = desk.address(author)
    elif earlier is not None:
        participant = earlier.author
    else:
        raise NotPossible("the phone knows no message with the id of the quote: give its author as well")
    quoted: Fields = {"stanza_id": message_id, "participant": str(participant)}
    if earlier is not None:
        message = earlier.message
        for field in ("message_context_info", "sender_key"):
            message.ClearField(field)
        quoted["quoted_message"] = message
    return quoted


def _wrapped(fields: Fields, given: Field) -> Fields:
    wrappers = given.body.get("wrap") or []
    wrappers = [wrappers] if isinstance(wrappers, str) else given.texts("wrap") if wrappers else []
    if given.flag("view_once"):
        part = next((fields[name] for name in ("image", "video", "audio") if name in fields), None)
        if part is None:
            raise Bad("view_once is for an image, a video, an audio or a voice note")
        part["view_once"] = True
        wrappers = ["view_once_v2_extension" if "audio" in fields else "view_once_v2", *wrappers]
    for wrapper in wrappers:
        if wrapper not in content.WRAPPERS:
            raise Bad(f"'wrap' must be of {', '.join(content.WRAPPERS)}")
        fields = {wrapper: {"message": fields}}
    return fields


def _target(given: Field, desk: Desk, name: str = "of") -> Earlier:
    """Return the message that a message is about."""
    message_id = given.text(name)
    earlier = desk.earlier(message_id)
    if earlier is None and (author := given.optional("author")):
        address = desk.address(author)
        earlier = Earlier(message_id, str(desk.chat), address, address == desk.own, b"")
    if earlier is None:
        raise NotPossible(f"the phone knows no message {message_id}")
    if earlier.chat != str(desk.chat):
        raise NotPossible(f"the message {message_id} is in another chat")
    return earlier


# Texts, places and people


def _text(given: Field, _: Desk) -> Draft:
    text = given.text("text")
    if len(text) > MAX_TEXT:
        raise NotPossible(f"a text has at most {MAX_TEXT} characters")
    return Draft({"extended_text": {"text": text}} if given.flag("extended") else {"conversation": text})


def _location(given: Field, _: Desk) -> Draft:
    place = {
        "degrees_latitude": given.real("latitude", low=-90, high=90),
        "degrees_longitude": given.real("longitude", low=-180, high=180),
        **given_texts(given, "name", "address", "url"),
    }
    return Draft({"location": place}, "media", media_type="location")


def _live_location(given: Field, _: Desk) -> Draft:
    place = {
        "degrees_latitude": given.real("latitude", low=-90, high=90),
        "degrees_longitude": given.real("longitude", low=-180, high=180),
        "sequence_number": given.count("sequence", 1),
        **given_texts(given, "caption"),
    }
    return Draft({"live_location": place}, "media", media_type="livelocation")


def _contact(given: Field, _: Desk) -> Draft:
    return Draft({"contact": _card(given)}, "media", media_type="vcard")


def _contacts(given: Field, _: Desk) -> Draft:
    cards = [_card(item) for item in given.items("contacts")]
    name = given.optional("name") or f"{len(cards)} contacts"
    array = {"display_name": name, "contacts": cards}
    return Draft({"contacts_array": array}, "media", media_type="contact_array")


def _card(given: Field) -> Fields:
    name = given.text("name")
    vcard = given.optional("vcard")
    if vcard is None:
        digits = given.number("phone")
        vcard = (
            f"BEGIN:VCARD\nVERSION:3.0\nN:;{name};;;\nFN:{name}\n"
            f"item1.TEL;waid={digits}:+{digits}\nitem1.X-ABLabel:Mobile\nEND:VCARD"
        )
    return {"display_name": name, "vcard": vcard}


def _group_invite(given: Field, desk: Desk) -> Draft:
    invite = {
        "group_jid": given.text("invite_to"),
        "invite_code": given.optional("code") or secrets.token_urlsafe(12),
        "invite_expiration": int(desk.now()) + 3 * 86_400,
        "group_name": given.text("name"),
        **given_texts(given, "caption"),
    }
    return Draft({"group_invite": invite}, "text")


# Attachments


def _media(kind: MediaKind, name: str, media_type: str, mime: str, **fixed: object) -> Build:
    def build(given: Field, desk: Desk) -> Draft:
        part = {**desk.upload(kind, given.data("data")), "mime": given.optional("mime") or mime, **fixed}
        shown = media_type
        if kind in CAPTIONED:
            part |= given_texts(given, "caption")
        elif given.words("caption"):
            raise Bad(f"{given.text('kind')} takes no caption")
        if kind == "document":
            part |= given_texts(given, "file_name")
        if kind in ("audio", "video"):
            part["seconds"] = given.count("seconds", 1)
        if given.flag("gif"):
            if kind != "video":
                raise Bad("gif is for a video")
            part["gif_playback"] = True
            shown = "gif"
        if given.flag("animated"):
            if kind != "sticker":
                raise Bad("animated is for a sticker")
            part["is_animated"] = True
        return Draft({name: part}, "media", media_type=shown)

    return build


# What is said of an earlier message


def _reaction(given: Field, desk: Desk) -> Draft:
    reaction = {
        "key": key_of(_target(given, desk), desk),
        "text": given.words("emoji"),
        "sender_timestamp_ms": int(desk.now() * 1000),
    }
    return Draft({"reaction": reaction}, "reaction", has_secret=False)


def _edit(given: Field, desk: Desk) -> Draft:
    earlier = _target(given, desk)
    if not earlier.own:
        raise NotPossible("only one's own messages can be edited")
    if earlier.at and desk.now() - earlier.at > EDIT_WINDOW:
        raise NotPossible(f"a message can be edited for {EDIT_WINDOW / 60:.0f} minutes")
    text = given.text("text")
    old = earlier.message
    captioned = next((name for name in CAPTIONED if old.HasField(name)), None)
    if captioned:
        part = getattr(old, captioned)
        part.caption = text
        new: Fields = {captioned: part}
    elif old.HasField("conversation") or old.HasField("extended_text") or not earlier.plain:
        new = {"extended_text": {"text": text}} if given.flag("extended") else {"conversation": text}
    else:
        raise NotPossible("only texts and captions can be edited")
    protocol = {
        "key": key_of(earlier, desk),
        "type": content.MESSAGE_EDIT,
        "edited_message": new,
        "timestamp_ms": int(desk.now() * 1000),
    }
    return Draft({"edited": {"message": {"protocol": protocol}}}, edit=EDIT, has_secret=False)


def _revoke(given: Field, desk: Desk) -> Draft:
    earlier = _target(given, desk)
    if not earlier.own and (desk.chat.server != GROUP or not desk.is_admin()):
        raise NotPossible("only its author and a group's admins can delete a message for everyone")
    protocol = {"key": key_of(earlier, desk), "type": content.REVOKE}
    edit = SENDER_REVOKE if earlier.own else ADMIN_REVOKE
    return Draft({"protocol": protocol}, edit=edit, has_secret=False)


def _poll(given: Field, _: Desk) -> Draft:
    options = given.texts("options")
    if not 1 < len(options) <= MAX_OPTIONS or len(set(options)) < len(options) or "" in options:
        raise NotPossible(f"a poll has from 2 to {MAX_OPTIONS} options, all of them different")
    poll = {
        "name": given.text("question"),
        "options": [{"option_name": option} for option in options],
        "selectable_options_count": given.count("select", 1, high=len(options)),
    }
    version = given.count("version", 3, high=len(POLLS))
    return Draft({POLLS[version - 1]: poll}, "poll", meta={"polltype": "creation"})


def _vote(given: Field, desk: Desk) -> Draft:
    poll = _target(given, desk)
    name = next((name for name in POLLS if poll.plain and poll.message.HasField(name)), None)
    if name is None or not poll.secret:
        raise NotPossible(f"the message {poll.id} is no poll that the phone knows")
    question = getattr(poll.message, name)
    chosen = given.texts("options")
    if strange := set(chosen) - {option.option_name for option in question.options}:
        raise NotPossible(f"the poll has no option {', '.join(sorted(strange))}")
    if 0 < question.selectable_options_count < len(set(chosen)):
        raise NotPossible(f"the poll allows {question.selectable_options_count} options")
    hashes = [hashlib.sha256(option.encode()).digest() for option in chosen]
    plain = content.PollVoteMessage.encode(selected_options=hashes)
    iv, payload = poll_votes.seal(plain, poll.secret, poll.id, str(poll.author), str(desk.own))
    update = {
        "poll_creation_message_key": key_of(poll, desk),
        "vote": {"enc_payload": payload, "enc_iv": iv},
        "sender_timestamp_ms": int(desk.now() * 1000),
    }
    return Draft({"poll_update": update}, "poll", meta={"polltype": "vote"}, has_secret=False)


# What is no message, and what nobody knows


def _disappearing(given: Field, desk: Desk) -> Draft:
    if desk.chat.server == GROUP:
        raise NotPossible("in a group, the group's setting says when messages disappear: change the group")
    protocol = {"type": content.EPHEMERAL_SETTING, "ephemeral_expiration": given.count("seconds")}
    return Draft({"protocol": protocol}, has_secret=False)


def _history(given: Field, desk: Desk) -> Draft:
    _only_to_oneself(desk)
    conversations = [
        {"id": str(desk.own), "messages": [{"msg_order_id": 1, "message": _old_message(text, desk)}]}
        for text in given.texts("texts")
    ]
    history = content.HistorySync.encode(sync_type=3, progress=100, conversations=conversations)
    notification = {
        "sync_type": 3,
        "chunk_order": 1,
        "progress": 100,
        "initial_hist_bootstrap_inline_payload": zlib.compress(history),
    }
    protocol = {"type": content.HISTORY_SYNC_NOTIFICATION, "history_sync_notification": notification}
    return Draft({"protocol": protocol}, peer=True, has_secret=False)


def _old_message(text: str, desk: Desk) -> Fields:
    key = content.MessageKey.encode(
        remote_jid=str(desk.own), from_me=False, id="3EB0" + secrets.token_hex(9).upper()
    )
    return {
        "key": key,
        "message": Message.encode(conversation=text),
        "message_timestamp": int(desk.now()) - 86_400,
    }


def _app_state_keys(_: Field, desk: Desk) -> Draft:
    _only_to_oneself(desk)
    data = {
        "key_data": os.urandom(32),
        "fingerprint": {"raw_id": 1, "current_index": 0},
        "timestamp": int(desk.now()),
    }
    share = {"keys": [{"key_id": {"key_id": os.urandom(6)}, "key_data": data}]}
    protocol = {"type": content.APP_STATE_SYNC_KEY_SHARE, "app_state_sync_key_share": share}
    return Draft({"protocol": protocol}, peer=True, has_secret=False)


def _only_to_oneself(desk: Desk) -> None:
    if desk.chat != desk.own:
        raise NotPossible("a phone tells that its own linked devices only: send it to the phone's own number")


_UNKNOWN = "unknown"
_UNKNOWN_FIELD = 4001
"""A number of a field that no version of WhatsApp knows."""


def _unknown(given: Field, _: Desk) -> Draft:
    text = (given.optional("text") or "of a kind to come").encode()
    if len(text) > 127:
        raise Bad("'text' must have at most 127 bytes here")
    tag = _UNKNOWN_FIELD << 3 | 2
    encoded = bytes([tag & 0x7F | 0x80, tag >> 7 & 0x7F | 0x80, tag >> 14, len(text)]) + text
    return Draft({_UNKNOWN: encoded}, "text")


def _raw(given: Field, _: Desk) -> Draft:
    return Draft(
        {},
        given.optional("type") or "text",
        edit=given.words("edit"),
        media_type=given.words("media_type"),
        peer=given.flag("peer"),
    )


_ATTACHED = ("data", "mime", "caption")
_CHOICE = ("choice", "text")

KINDS: dict[str, tuple[Build, tuple[str, ...]]] = {
    "text": (_text, ("text", "extended")),
    "image": (_media("image", "image", "image", "image/jpeg"), _ATTACHED),
    "video": (_media("video", "video", "video", "video/mp4"), (*_ATTACHED, "seconds", "gif")),
    "video_note": (_media("video", "ptv", "ptv", "video/mp4"), (*_ATTACHED, "seconds")),
    "audio": (_media("audio", "audio", "audio", "audio/mp4"), (*_ATTACHED, "seconds")),
    "voice": (
        _media("audio", "audio", "ptt", "audio/ogg; codecs=opus", ptt=True),
        (*_ATTACHED, "seconds"),
    ),
    "document": (
        _media("document", "document", "document", "application/octet-stream"),
        (*_ATTACHED, "file_name"),
    ),
    "sticker": (_media("sticker", "sticker", "sticker", "image/webp"), (*_ATTACHED, "animated")),
    "location": (_location, ("latitude", "longitude", "name", "address", "url")),
    "live_location": (_live_location, ("latitude", "longitude", "caption", "sequence")),
    "contact": (_contact, ("name", "vcard", "phone")),
    "contacts": (_contacts, ("name", "contacts")),
    "group_invite": (_group_invite, ("invite_to", "code", "name", "caption")),
    "poll": (_poll, ("question", "options", "select", "version")),
    "vote": (_vote, ("of", "options")),
    "reaction": (_reaction, ("of", "emoji")),
    "edit": (_edit, ("of", "text", "extended")),
    "revoke": (_revoke, ("of",)),
    "buttons": (businesses.buttons, ("text", "buttons", "title", "footer")),
    "buttons_response": (businesses.buttons_response, _CHOICE),
    "list": (businesses.list_of_choices, ("text", "rows", "title", "section", "button", "footer")),
    "list_response": (businesses.list_response, _CHOICE),
    "template": (businesses.template, ("text", "buttons", "title", "footer")),
    "template_response": (businesses.template_response, _CHOICE),
    "interactive": (businesses.interactive, ("text", "buttons", "title", "footer")),
    "interactive_response": (businesses.interactive_response, _CHOICE),
    "disappearing": (_disappearing, ("seconds",)),
    "history": (_history, ("texts",)),
    "app_state_keys": (_app_state_keys, ()),
    "unknown": (_unknown, ("text",)),
    "raw": (_raw, ("message", "type", "edit", "media_type", "peer")),
}
"""The kinds of message: how each is built, and its own options."""
