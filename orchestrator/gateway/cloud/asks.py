"""What a client of the Cloud API asks by `POST /ID/messages`, in our own words. Pure.

A client's values come from outside: errors name the field that is wrong, and never quote it. Whatever is not
refused here is checked once more by `sending.wire`, which has all limits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from orchestrator.gateway.cloud import cards, faults, ids

Json: TypeAlias = dict[str, Any]

_MEDIA: Final = ("image", "video", "audio", "document", "sticker")
_CAPTIONED: Final = ("image", "video", "document")
_NO_TEXT: Final = "buttons, lists and the like cannot be sent; `http.interactive: text` sends them as text"


@dataclass(frozen=True, slots=True)
class Send:
    """Something is to be sent.

    Attributes:
        message: It, in the words of `sending.wire`.
        to: What the client calls the receiver.
    """

    message: Json = field(repr=False)
    to: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """A message is to be marked as read.

    Attributes:
        message: Its id.
        typing: Whether its chat is to be shown that the account types.
    """

    message: str = field(repr=False)
    typing: bool = False


def parse(asked: object, *, as_text: bool = False) -> Send | Mark:
    """Return what a client asks for.

    Args:
        asked: The JSON of its request.
        as_text: Whether buttons and lists are sent as numbered text.

    Raises:
        FaultError: The request has another form, or an account cannot send that.
    """
    if not isinstance(asked, Mapping):
        raise faults.invalid("the body must be an object")
    if asked.get("messaging_product", "whatsapp") != "whatsapp":
        raise faults.invalid("messaging_product must be whatsapp")
    if "status" in asked:
        return _mark(asked)
    to = _receiver(asked)
    message: Json = {"to": to} | _content(asked, as_text=as_text)
    if asked.get("context") is not None and message["kind"] != "reaction":
        message["reply_to"] = _word(_object(asked, "context"), "message_id", "context.message_id")
    if (tag := asked.get("biz_opaque_callback_data")) is not None:
        if not isinstance(tag, str):
            raise faults.invalid("biz_opaque_callback_data must be a text")
        message["tag"] = tag
    return Send(message, _named(asked))


def _mark(asked: Mapping[str, Any]) -> Mark:
    if asked["status"] != "read":
        raise faults.invalid("status must be read")
    return Mark(_word(asked, "message_id"), bool(asked.get("typing_indicator")))


def _named(asked: Mapping[str, Any]) -> str:
    name = asked.get("to")
    if name is None or name == "":
        name = asked.get("recipient")
    if name is None or name == "":
        raise faults.missing("to")
    if type(name) is int:
        name = str(name)
    if not isinstance(name, str):
        raise faults.invalid("to must be a text")
    return name


def _receiver(asked: Mapping[str, Any]) -> str:
    try:
        chat = ids.chat_of(_named(asked))
    except ids.NotSomebodyError as error:
        raise faults.invalid(f"to: {error}") from None
    if asked.get("recipient_type") == "group" and not ids.is_group(chat):
        raise faults.invalid("to must be the id of a group, as group_id of a message has it")
    return chat


def _content(asked: Mapping[str, Any], *, as_text: bool) -> Json:
    kind = asked.get("type", "text")
    if kind in _MEDIA:
        return _media(kind, _object(asked, kind))
    if kind == "interactive":
        if not as_text:
            raise faults.unsupported(_NO_TEXT)
        return _interactive(_object(asked, "interactive"))
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        # A word of the client's own could be anything: it is not repeated.
        known = f"type must be one of {', '.join((*_READERS, *_MEDIA))}"
        raise faults.unsupported("there are no templates here" if kind == "template" else known)
    return reader(asked)


def _text(asked: Mapping[str, Any]) -> Json:
    text = _object(asked, "text")
    preview = text.get("preview_url")
    return {"kind": "text", "text": _word(text, "body", "text.body"), "link_preview": _is_true(preview)}


def _media(kind: str, media: Mapping[str, Any]) -> Json:
    found: Json = {"kind": "voice" if kind == "audio" and _is_true(media.get("voice")) else kind}
    upload, link = media.get("id"), media.get("link")
    if type(upload) is int:
        upload = str(upload)
    if upload:
        found["media"] = upload
    elif link:
        found["link"] = link
    else:
        raise faults.missing(f"{kind}.id or {kind}.link")
    if kind in _CAPTIONED and media.get("caption"):
        found["caption"] = media["caption"]
    if kind == "document" and media.get("filename"):
        found["file_name"] = media["filename"]
    return found


def _location(asked: Mapping[str, Any]) -> Json:
    place = _object(asked, "location")
    found: Json = {key: _degrees(place, key) for key in ("latitude", "longitude")}
    return {"kind": "location", "location": found | {key: place.get(key) for key in ("name", "address")}}


def _degrees(place: Mapping[str, Any], key: str) -> object:
    """Return degrees, which Meta's own examples write as texts, too."""
    value = place.get(key)
    if value is None:
        raise faults.missing(f"location.{key}")
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise faults.invalid(f"location.{key} must be a number") from None
    return value


def _contacts(asked: Mapping[str, Any]) -> Json:
    listed = asked.get("contacts")
    if not isinstance(listed, list) or not all(isinstance(one, Mapping) for one in listed):
        raise faults.invalid("contacts must be a list of objects")
    return {
        "kind": "contact",
        "contacts": [{"name": cards.name_of(one), "vcard": cards.card(one)} for one in listed],
    }


def _reaction(asked: Mapping[str, Any]) -> Json:
    reaction = _object(asked, "reaction")
    emoji = reaction.get("emoji")
    target = _word(reaction, "message_id", "reaction.message_id")
    return {"kind": "reaction", "message": target, "emoji": "" if emoji is None else emoji}


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Json]]] = {
    "text": _text,
    "reaction": _reaction,
    "location": _location,
    "contacts": _contacts,
}


# Buttons and lists, as text


def _interactive(asked: Mapping[str, Any]) -> Json:
    """Return buttons or a list as a text with numbers, below the picture, video or file if there is one."""
    header = asked.get("header")
    parts = [_part(asked, "body")]
    choices = _choices(asked.get("action"))
    parts.append("\n".join(f"{number}. {title}" for number, title in enumerate(choices, 1)))
    parts.append(_part(asked, "footer"))
    if isinstance(header, Mapping) and header.get("type") in _CAPTIONED:
        kind = header["type"]
        media = dict(_object(header, kind))
        return _media(kind, media | {"caption": _joined(parts)})
    if isinstance(header, Mapping) and isinstance(header.get("text"), str):
        parts.insert(0, f"*{header['text']}*")
    return {"kind": "text", "text": _joined(parts)}


def _part(asked: Mapping[str, Any], key: str) -> str:
    part = asked.get(key)
    text = part.get("text") if isinstance(part, Mapping) else None
    return text if isinstance(text, str) else ""


def _choices(action: object) -> list[str]:
    if not isinstance(action, Mapping):
        raise faults.missing("interactive.action")
    found: list[object] = []
    for button in _objects(action.get("buttons")):
        reply = button.get("reply")
        found.append(reply.get("title") if isinstance(reply, Mapping) else None)
    for section in _objects(action.get("sections")):
        for row in _objects(section.get("rows")):
            about = row.get("description")
            title = row.get("title")
            found.append(f"{title}: {about}" if isinstance(title, str) and isinstance(about, str) else title)
    titles = [one for one in found if isinstance(one, str) and one.strip()]
    parameters = action.get("parameters")
    if isinstance(parameters, Mapping) and isinstance(url := parameters.get("url"), str):
        label = parameters.get("display_text")
        titles.append(f"{label}: {url}" if isinstance(label, str) else url)
    if not titles or len(titles) != len(found) + (parameters is not None):
        raise faults.unsupported("only reply buttons, lists and links can be sent as text")
    return titles


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _joined(parts: list[str]) -> str:
    return "\n\n".join(part for part in parts if part.strip())


# Parts


def _object(asked: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = asked.get(key)
    if value is None:
        raise faults.missing(key)
    if not isinstance(value, Mapping):
        raise faults.invalid(f"{key} must be an object")
    return value


def _word(asked: Mapping[str, Any], key: str, name: str = "") -> str:
    value = asked.get(key)
    if value is None:
        raise faults.missing(name or key)
    if not isinstance(value, str):
        raise faults.invalid(f"{name or key} must be a text")
    return value


def _is_true(value: object) -> bool:
    """Tell whether a flag is set: some clients send it as a text."""
    return value is True or value == "true"
