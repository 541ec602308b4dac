"""Renders what a message says, by its kind. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeAlias

from orchestrator.messages.rendering import clean
from orchestrator.messages.rendering.grammar import (
    MEDIA,
    Content,
    Kind,
    Proto,
    media,
    size_of,
    template,
    unwrap,
)

Fields: TypeAlias = dict[str, Any]

MAX_MENTIONS = 1024
"""People that a text mentions; a group has no more."""
MAX_OPTIONS = 100
"""Options of a poll, and of a vote; phones offer 12."""
MAX_CHOICES = 64
"""Buttons and rows of a list that can be chosen."""
MAX_CONTACTS = 64
"""Contacts of one message."""
MAX_PHONES = 16
"""Phone numbers of one contact."""
MAX_EMOJI = 64
"""Characters of a reaction; one emoji may consist of a dozen."""
MAX_ROW = 2**53
"""The highest number of a row of an outbox."""
MAX_TAG = 512
"""Characters of a text that a client has given a message; see `sending.forms`."""
MAX_CODE = 9_999_999_999
"""The highest of WhatsApp's numbers for why something was not sent."""
MAX_WHY = 500
"""Characters of a sentence about why something was not sent."""
_MAX_CARDS = 10
_MAX_SECTIONS = 64
_MAX_JSON = 16 * 1024
_MAX_NUMBER = 2**31 - 1
_MEDIA_ID = 2**63 - 1


def render(content: Content, media_id: object) -> Fields:
    """Return what a message says: the fields of an event's data from `kind` on.

    Args:
        content: What the grammar has found.
        media_id: Our own id for the file, from the entry's notes.
    """
    found: Fields = {
        "kind": content.kind.value,
        "text": None,
        "media": None,
        "reply_to": None,
        "mentions": [],
        "forwarded": False,
        "edited": content.edited,
    }
    if content.value is not None:
        found |= _context(content.value)
    if not _is_shown(content.kind):
        return found | _unsupported(content.name)
    if content.view_once:
        return found | {"view_once": True}  # what may be opened once is not opened here
    found["media"] = _media(content, media_id)
    if content.kind is Kind.TEXT:
        return found | _TEXTS[content.name](content.value)
    more = _MORE.get(content.kind)
    return found if more is None else found | more(content)


def unsupported(name: str, *, edited: bool = False) -> Fields:
    """Return the same for a message that cannot be shown.

    Args:
        name: What is said of it.
        edited: Whether it replaces a message.
    """
    return render(Content(Kind.UNSUPPORTED, name, edited=edited), None)


def edit(message: Proto, media_id: object) -> Fields:
    """Return what a message says after it was edited.

    Args:
        message: WAWebProtobufsE2E.Message, which takes the place of another one.
        media_id: Our own id for the file, from the entry's notes.
    """
    content = unwrap(message, edited=True)
    if not _is_shown(content.kind):
        return unsupported(content.name or "protocolMessage", edited=True)
    return render(content, media_id)


def poll_options(content: Content) -> Iterator[bytes]:
    """Yield the options of a poll as the peer has written them, which is what votes are made from."""
    if content.kind is Kind.POLL:
        for option in islice(content.value.options, MAX_OPTIONS):
            name = option.optionName
            yield name if isinstance(name, bytes) else name.encode(errors="replace")


def _is_shown(kind: Kind) -> bool:
    return kind is Kind.TEXT or kind in _MORE or kind in MEDIA


def _unsupported(name: str) -> Fields:
    return {"kind": Kind.UNSUPPORTED.value, "unsupported": {"kind": name or "unknown"}}


def _context(value: Proto) -> Fields:
    """Return what is said around a message: which one it answers, whom it mentions, where it comes from."""
    if isinstance(value, str | bytes) or "contextInfo" not in value.DESCRIPTOR.fields_by_name:
        return {}
    about = value.contextInfo
    found: Fields = {}
    if answered := clean.message_id(about.stanzaID):
        found["reply_to"] = {"id": answered, "sender": clean.address(about.participant)}
    found["mentions"] = clean.addresses(about.mentionedJID, MAX_MENTIONS)
    found["forwarded"] = bool(about.isForwarded) or about.forwardingScore > 0
    if about.forwardingScore:
        found["forwarding_score"] = min(about.forwardingScore, _MAX_NUMBER)
    if about.expiration:
        found["expires_in"] = min(about.expiration, _MAX_NUMBER)
    return found


def _media(content: Content, media_id: object) -> Fields | None:
    file = media(content)
    if file is None:
        return None
    fields = file.DESCRIPTOR.fields_by_name
    is_gif = "gifPlayback" in fields and file.gifPlayback
    is_animated = "isAnimated" in fields and (file.isAnimated or file.isLottie)
    return {
        "id": _media_id(media_id),
        "mime_type": clean.mime(file.mimetype),
        "size": size_of(file),
        "sha256": clean.digest(file.fileSHA256),
        "file_name": clean.file_name(file.fileName or file.title) if "fileName" in fields else None,
        "caption": (clean.text(file.caption) or None) if "caption" in fields else None,
        "voice": content.kind is Kind.VOICE,
        "animated": bool(is_gif or is_animated),
    }


def _media_id(found: object) -> str | None:
    if isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) <= 19:
        return found if 0 < int(found) <= _MEDIA_ID else None
    return None


def _location(content: Content) -> Fields:
    place = content.value
    latitude = clean.coordinate(place.degreesLatitude, 90)
    longitude = clean.coordinate(place.degreesLongitude, 180)
    if latitude is None or longitude is None:
        return _unsupported(content.name)
    is_live = content.name == "liveLocationMessage"
    return {
        "location": {
            "latitude": latitude,
            "longitude": longitude,
            "name": None if is_live else clean.line(place.name),
            "address": None if is_live else clean.line(place.address, 4 * clean.MAX_NAME),
            "comment": clean.text(place.caption if is_live else place.comment, 4 * clean.MAX_NAME) or None,
            "accuracy": place.accuracyInMeters if place.HasField("accuracyInMeters") else None,
            "live": is_live or bool(place.isLive),
        }
    }


def _contacts(content: Content) -> Fields:
    value = content.value
    cards = value.contacts if content.name == "contactsArrayMessage" else [value]
    room, found = clean.MAX_TEXT, []
    for card in islice(cards, MAX_CONTACTS):
        text = clean.text(card.vcard)
        fits = len(text) <= room and len(card.vcard) <= clean.MAX_TEXT
        room -= len(text) if fits else 0
        found.append(
            {
                "name": clean.line(card.displayName),
                "phones": list(dict.fromkeys(islice(clean.listed_phones(text), MAX_PHONES))),
                "vcard": (text or None) if fits else None,
            }
        )
    return {"contacts": found}


def _poll(content: Content) -> Fields:
    poll = content.value
    return {
        "poll": {
            "name": clean.text(poll.name, 4 * clean.MAX_NAME),
            "options": [
                clean.text(option.optionName, clean.MAX_NAME) for option in islice(poll.options, MAX_OPTIONS)
            ],
            "selectable": min(poll.selectableOptionsCount, _MAX_NUMBER),
        }
    }


def _buttons(value: Proto) -> Fields:
    header = value.text if value.HasField("text") else ""
    offered = ((one.buttonID, one.buttonText.displayText) for one in value.buttons)
    return _said(header, value.contentText, value.footerText) | _choices(offered)


def _list(value: Proto) -> Fields:
    rows = (row for section in islice(value.sections, _MAX_SECTIONS) for row in section.rows)
    offered = ((row.rowID, row.title) for row in rows)
    return _said(value.title, value.description, value.footerText) | _choices(offered)


def _template(value: Proto) -> Fields:
    part = template(value)
    if part is None:
        return _said()
    name = part.DESCRIPTOR.name
    if name == "InteractiveMessage":
        return _interactive(part)
    if name == "FourRowTemplate":
        title = part.highlyStructuredMessage if part.HasField("highlyStructuredMessage") else None
        return _said(*(_structured_text(one) for one in (title, part.content, part.footer) if one))
    title = part.hydratedTitleText if part.HasField("hydratedTitleText") else ""
    said = _said(title, part.hydratedContentText, part.hydratedFooterText)
    return said | _choices(_of_template(one) for one in islice(part.hydratedButtons, MAX_CHOICES))


def _of_template(button: Proto) -> tuple[str | bytes, str | bytes]:
    if button.HasField("quickReplyButton"):
        return button.quickReplyButton.ID, button.quickReplyButton.displayText
    part = button.urlButton if button.HasField("urlButton") else button.callButton
    return "", part.displayText


def _interactive(value: Proto) -> Fields:
    cards = islice(value.carouselMessage.cards, _MAX_CARDS)
    texts = [*_card(value), *(text for card in cards for text in _card(card))]
    offered = (_of_flow(one) for one in islice(value.nativeFlowMessage.buttons, MAX_CHOICES))
    return _said(*texts) | _choices(offered)


def _card(value: Proto) -> tuple[str | bytes, ...]:
    return value.header.title, value.header.subtitle, value.body.text, value.footer.text


def _of_flow(button: Proto) -> tuple[str | bytes, str | bytes]:
    about = _json(button.buttonParamsJSON)
    return _word(about.get("id")), _word(about.get("display_text")) or button.name


def _structured(value: Proto) -> Fields:
    if value.HasField("hydratedHsm"):
        return _template(value.hydratedHsm)
    return _said(_structured_text(value))


def _structured_text(value: Proto) -> str:
    return "\n".join(clean.text(one, 4 * clean.MAX_NAME) for one in islice(value.params, MAX_CHOICES))


def _buttons_reply(value: Proto) -> Fields:
    return _chosen(value.selectedButtonID, value.selectedDisplayText)


def _list_reply(value: Proto) -> Fields:
    return _chosen(value.singleSelectReply.selectedRowID, value.title)


def _template_reply(value: Proto) -> Fields:
    return _chosen(value.selectedID, value.selectedDisplayText)


def _interactive_reply(value: Proto) -> Fields:
    answer = _json(value.nativeFlowResponseMessage.paramsJSON)
    return _chosen(_word(answer.get("id")), value.body.text)


def _said(*texts: str | bytes) -> Fields:
    parts = (clean.text(text) for text in texts)
    return {"text": "\n".join(part for part in parts if part)[: clean.MAX_TEXT]}


def _choices(offered: Iterator[tuple[str | bytes, str | bytes]]) -> Fields:
    found = [
        {"id": clean.token(one), "title": clean.line(title)} for one, title in islice(offered, MAX_CHOICES)
    ]
    return {"choices": found} if found else {}


def _chosen(identifier: str | bytes, title: str | bytes) -> Fields:
    return _said(title) | {"choice": {"id": clean.token(identifier), "title": clean.line(title)}}


def _json(text: str | bytes) -> dict[str, Any]:
    """Return the object that a peer has written as JSON, an empty one if that is something else."""
    if len(text) > _MAX_JSON:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _word(value: object) -> str:
    return value if isinstance(value, str) else ""


_TEXTS: dict[str, Callable[[Proto], Fields]] = {
    "conversation": _said,
    "extendedTextMessage": lambda value: _said(value.text),
    "buttonsMessage": _buttons,
    "buttonsResponseMessage": _buttons_reply,
    "listMessage": _list,
    "listResponseMessage": _list_reply,
    "templateMessage": _template,
    "templateButtonReplyMessage": _template_reply,
    "interactiveMessage": _interactive,
    "interactiveResponseMessage": _interactive_reply,
    "highlyStructuredMessage": _structured,
}
_MORE: dict[Kind, Callable[[Content], Fields]] = {
    Kind.LOCATION: _location,
    Kind.CONTACT: _contacts,
    Kind.POLL: _poll,
}
