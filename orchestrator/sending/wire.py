"""The words in which a client asks an account to send something. Pure.

A client asks in JSON (see docs/sending.md). What it says comes from outside, and an answer may be shown to
others than who asked: the errors name the field that is wrong, and never quote it. The same JSON goes from
the service to the account's process, and lies in the outbox; `from_text` reads it each time.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from orchestrator.accounts import attachments, phones
from orchestrator.accounts.acts import (
    MAX_MARKED,
    MAX_MENTIONS,
    MESSAGE,
    PERSON,
    BadAct,
    check_chat,
    check_text,
    is_emoji,
)
from orchestrator.sending.forms import (
    MAX_BODY,
    MAX_CAPTION,
    MAX_CONTACTS,
    MAX_LINK,
    MAX_NAME,
    MAX_OPTIONS,
    MAX_PHONES,
    MAX_QUESTION,
    MAX_TAG,
    MAX_THUMBNAIL,
    MAX_VCARD,
    MEDIA,
    REPEATABLE,
    Contact,
    Contacts,
    Content,
    Edit,
    File,
    Kind,
    Location,
    Media,
    Outgoing,
    Poll,
    Preview,
    Reaction,
    Read,
    Revocation,
    Text,
)

Json: TypeAlias = dict[str, Any]

_MIME: Final = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,100}(?:; codecs=opus)?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def parse(asked: object, *, checked: bool = False) -> Outgoing:
    """Return what a client asks an account to send.

    Args:
        asked: What its JSON holds: an object with `to`, `kind`, and what the kind takes.
        checked: Whether the service has written it: then a file is there instead of where to get it.

    Raises:
        BadAct: The request is something else. The keys `bad_number` and `bad_text` say so of a number with +
            and of a text.
    """
    if not isinstance(asked, Mapping):
        raise BadAct("the message must be an object")
    kind = asked.get("kind", "text")
    if not isinstance(kind, str) or kind not in _READERS:
        raise BadAct(f"kind must be one of {', '.join(_READERS)}")
    read, known = _READERS[kind]
    allowed = known | {"to", "kind", "tag"} | (_REPLIES if Kind(kind) in _ANSWERS else frozenset())
    if checked:
        allowed |= _CHECKED.get(Kind(kind), frozenset())
    if asked.keys() - allowed:
        raise BadAct(f"a message of kind {kind} takes only {', '.join(sorted(allowed - _WRITTEN_HERE))}")
    content = read(asked)
    if isinstance(content, Text) and checked:
        content = replace(content, preview=_preview(asked.get("preview")))
    if isinstance(content, Media):
        content = _located(content, asked, checked=checked)
    reply_to = asked.get("reply_to")
    return Outgoing(
        check_chat(asked.get("to"), "to"),
        content,
        None if reply_to is None else _message(reply_to, "reply_to"),
        _text_or_none(asked, "tag", MAX_TAG),
    )


def from_text(body: str) -> Outgoing:
    """Return what the service has written by `as_text`.

    Raises:
        BadAct: It is something else.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise BadAct("the message is not JSON") from None
    return parse(asked, checked=True)


def as_text(outgoing: Outgoing) -> str:
    """Return it as JSON in one line, for `from_text`: the same text for the same message.

    Raises:
        BadAct: It is longer than `MAX_BODY`, all in all.
    """
    body = json.dumps(as_json(outgoing), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if len(body.encode()) > MAX_BODY:
        raise BadAct("the message is too long, all in all", key="bad_text")
    return body


def as_json(outgoing: Outgoing) -> Json:
    """Return it in the words of a client."""
    found: Json = {"to": outgoing.to, "kind": str(outgoing.kind)}
    match outgoing.content:
        case Text(text, mentions, link_preview, preview):
            found |= {"text": text, "mentions": [*mentions], "link_preview": link_preview}
            if preview is not None:
                found["preview"] = {
                    "url": preview.url, "title": preview.title, "description": preview.description,
                    "thumbnail": base64.b64encode(preview.thumbnail).decode(),
                }  # fmt: skip
        case Media():
            found |= _media_json(outgoing.content)
        case Location(latitude, longitude, name, address):
            place = {"latitude": latitude, "longitude": longitude, "name": name, "address": address}
            found["location"] = place
        case Contacts(contacts):
            found["contacts"] = [
                {"name": one.name, "phones": [*one.phones], "vcard": one.vcard} for one in contacts
            ]
        case Poll(name, options, selectable):
            found["poll"] = {"name": name, "options": [*options], "selectable": selectable}
        case Reaction(message, emoji):
            found |= {"message": message, "emoji": emoji}
        case Edit(message, text, mentions):
            found |= {"message": message, "text": text, "mentions": [*mentions]}
        case Revocation(message):
            found["message"] = message
        case Read(messages):
            found["messages"] = [*messages]
    if outgoing.reply_to is not None:
        found["reply_to"] = outgoing.reply_to
    if outgoing.tag is not None:
        found["tag"] = outgoing.tag
    return found


def _media_json(media: Media) -> Json:
    found: Json = {"caption": media.caption, "file_name": media.file_name, "mentions": [*media.mentions]}
    found |= {key: value for key in ("media", "link") if (value := getattr(media, key)) is not None}
    if (file := media.file) is not None:
        found["file"] = {
            "id": file.id, "sha256": file.sha256, "size": file.size, "mime_type": file.mime_type,
            "name": file.name, "width": file.width, "height": file.height, "seconds": file.seconds,
            "animated": file.animated, "thumbnail": base64.b64encode(file.thumbnail).decode(),
            "waveform": base64.b64encode(file.waveform).decode(),
        }  # fmt: skip
    return {key: value for key, value in found.items() if value not in (None, [])}


# Reading


def _text(asked: Mapping[str, Any]) -> Text:
    return Text(_words(asked), _mentions(asked), _flag(asked, "link_preview"))


def _preview(value: object) -> Preview | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise BadAct("preview must be an object")
    url, title = _text_or_none(value, "url", MAX_LINK), _text_or_none(value, "title", MAX_CAPTION)
    if not url or title is None:
        raise BadAct("a preview takes url and title")
    description = _text_or_none(value, "description", MAX_CAPTION)
    return Preview(url, title, description, _bytes(value, "thumbnail", MAX_THUMBNAIL))


def _media(asked: Mapping[str, Any]) -> Media:
    kind = Kind(asked["kind"])
    caption = _text_or_none(asked, "caption", MAX_CAPTION)
    return Media(
        kind,
        caption=caption or None,
        file_name=_line_or_none(asked, "file_name"),
        mentions=_mentions(asked),
    )


def _located(media: Media, asked: Mapping[str, Any], *, checked: bool) -> Media:
    if checked:
        return replace(media, file=_file(asked.get("file")))
    upload, link = asked.get("media"), asked.get("link")
    if (upload is None) == (link is None):
        raise BadAct("a message with a file takes one of media and link")
    if upload is not None:
        if not isinstance(upload, str) or not attachments.is_id(upload):
            raise BadAct("media must be the identifier of an upload")
        return replace(media, media=upload)
    if not isinstance(link, str) or not 1 <= len(link) <= MAX_LINK:
        raise BadAct("link must be a URL")
    return replace(media, link=link)


def _file(value: object) -> File:
    if not isinstance(value, Mapping):
        raise BadAct("file must be an object")
    id_, sha256, mime = value.get("id"), value.get("sha256"), value.get("mime_type")
    if not isinstance(id_, str) or not attachments.is_id(id_):
        raise BadAct("file.id must be a number")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BadAct("file.sha256 must be a hash")
    if not isinstance(mime, str) or not _MIME.fullmatch(mime):
        raise BadAct("file.mime_type must be a type of files")
    return File(
        id_,
        sha256,
        _count(value, "size", 2**40),
        mime,
        _line_or_none(value, "name"),
        _count(value, "width", 2**20),
        _count(value, "height", 2**20),
        _count(value, "seconds", 2**20),
        _flag(value, "animated"),
        _bytes(value, "thumbnail", MAX_THUMBNAIL),
        _bytes(value, "waveform", 64),
    )


def _location(asked: Mapping[str, Any]) -> Location:
    place = _object(asked, "location", {"latitude", "longitude", "name", "address"})
    return Location(
        _degrees(place, "latitude", 90),
        _degrees(place, "longitude", 180),
        _line_or_none(place, "name"),
        _text_or_none(place, "address", 4 * MAX_NAME) or None,
    )


def _contacts(asked: Mapping[str, Any]) -> Contacts:
    found = _listed(asked, "contacts", MAX_CONTACTS)
    if not found:
        raise BadAct("contacts must name at least one contact")
    return Contacts(tuple(map(_contact, found)))


def _contact(value: object) -> Contact:
    if not isinstance(value, Mapping) or value.keys() - {"name", "phones", "vcard"}:
        raise BadAct("a contact takes name, and phones or vcard")
    name = _line_or_none(value, "name")
    numbers = tuple(f"+{_phone(one)}" for one in _listed(value, "phones", MAX_PHONES))
    vcard = _text_or_none(value, "vcard", MAX_VCARD)
    if name is None or bool(numbers) == bool(vcard):
        raise BadAct("a contact takes name, and phones or vcard")
    if vcard and not vcard.lstrip().upper().startswith("BEGIN:VCARD"):
        raise BadAct("vcard must begin with BEGIN:VCARD")
    return Contact(name, numbers, vcard or None)


def _phone(value: object) -> str:
    try:
        return phones.parse(value) if isinstance(value, str) else phones.parse("")
    except phones.NotANumber:
        raise BadAct(f"each of phones must be {phones.EXPECTED}", key="bad_number") from None


def _poll(asked: Mapping[str, Any]) -> Poll:
    poll = _object(asked, "poll", {"name", "options", "selectable"})
    name = _text_or_none(poll, "name", MAX_QUESTION)
    options = tuple(_option(one) for one in _listed(poll, "options", MAX_OPTIONS))
    if not name or not name.strip() or len(options) < 2 or len(set(options)) != len(options):
        raise BadAct("a poll takes name, and two options or more that differ")
    selectable = _count(poll, "selectable", MAX_OPTIONS, default=1)
    if selectable > len(options):
        raise BadAct("selectable must not be more than there are options")
    return Poll(name, options, selectable)


def _option(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME:
        raise BadAct(f"options must be texts of at most {MAX_NAME} characters")
    return _encodable(value, "options")


def _reaction(asked: Mapping[str, Any]) -> Reaction:
    emoji = asked.get("emoji")
    if not isinstance(emoji, str) or (emoji and not is_emoji(emoji)):
        raise BadAct("emoji must be one emoji, or empty to take a reaction back")
    return Reaction(_message(asked.get("message"), "message"), emoji)


def _edit(asked: Mapping[str, Any]) -> Edit:
    return Edit(_message(asked.get("message"), "message"), _words(asked), _mentions(asked))


def _revocation(asked: Mapping[str, Any]) -> Revocation:
    return Revocation(_message(asked.get("message"), "message"))


def _read(asked: Mapping[str, Any]) -> Read:
    messages = tuple(
        dict.fromkeys(_message(one, "messages") for one in _listed(asked, "messages", MAX_MARKED))
    )
    if not messages:
        raise BadAct("messages must name at least one message")
    return Read(messages)


# Parts


def _words(asked: Mapping[str, Any]) -> str:
    text = asked.get("text")
    if not isinstance(text, str):
        raise BadAct("text must be a text", key="bad_text")
    return check_text(text)


def _mentions(asked: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_mention(one) for one in _listed(asked, "mentions", MAX_MENTIONS)))


def _mention(value: object) -> str:
    found = check_chat(value, "mentions")
    if not PERSON.fullmatch(found):
        raise BadAct("mentions must be addresses or numbers of people")
    return found


def _message(value: object, name: str) -> str:
    if not isinstance(value, str) or not MESSAGE.fullmatch(value):
        raise BadAct(f"{name} must be the identifier of a message, as `data.id` of a message has it")
    return value


def _listed(asked: Mapping[str, Any], name: str, most: int) -> list[object]:
    value = asked.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > most:
        raise BadAct(f"{name} must be a list of at most {most}")
    return value


def _object(asked: Mapping[str, Any], name: str, known: set[str]) -> Mapping[str, Any]:
    value = asked.get(name)
    if not isinstance(value, Mapping) or value.keys() - known:
        raise BadAct(f"{name} must be an object with {', '.join(sorted(known))}")
    return value


def _flag(asked: Mapping[str, Any], name: str) -> bool:
    value = asked.get(name)
    if not (value is None or isinstance(value, bool)):
        raise BadAct(f"{name} must be true or false")
    return bool(value)


def _count(asked: Mapping[str, Any], name: str, most: int, default: int = 0) -> int:
    value = asked.get(name, default)
    if type(value) is not int or not 0 <= value <= most:
        raise BadAct(f"{name} must be a whole number from 0 to {most}")
    return value


def _degrees(asked: Mapping[str, Any], name: str, most: int) -> float:
    value = asked.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most:
        return float(value)
    raise BadAct(f"{name} must be a number of degrees from {-most} to {most}")


def _bytes(asked: Mapping[str, Any], name: str, most: int) -> bytes:
    value = asked.get(name, "")
    try:
        found = base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (binascii.Error, ValueError):
        found = None
    if found is None or len(found) > most:
        raise BadAct(f"{name} must be at most {most} bytes in base64")
    return found


def _text_or_none(asked: Mapping[str, Any], name: str, longest: int) -> str | None:
    value = asked.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest:
        raise BadAct(f"{name} must be a text of at most {longest} characters", key="bad_text")
    return _encodable(value, name)


def _line_or_none(asked: Mapping[str, Any], name: str) -> str | None:
    value = _text_or_none(asked, name, MAX_NAME)
    if value and not value.isprintable():
        raise BadAct(f"{name} must be one line of printable characters", key="bad_text")
    return (value or "").strip() or None


def _encodable(value: str, name: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadAct(f"{name} is not valid UTF-8", key="bad_text") from None
    return value


_REPLIES: Final = frozenset({"reply_to"})
_CHECKED: Final = {Kind.TEXT: frozenset({"preview"})} | dict.fromkeys(MEDIA, frozenset({"file"}))
"""What a message has besides once the service has written it."""
_WRITTEN_HERE: Final = frozenset({"file", "preview"})
_ANSWERS: Final = frozenset(Kind) - REPEATABLE
"""What can answer a message."""
_WITH_CAPTION: Final = frozenset({"media", "link", "caption", "mentions"})
_PLAIN: Final = frozenset({"media", "link"})
_READERS: Final[Mapping[str, tuple[Callable[[Mapping[str, Any]], Content], frozenset[str]]]] = {
    "text": (_text, frozenset({"text", "mentions", "link_preview"})),
    "image": (_media, _WITH_CAPTION),
    "video": (_media, _WITH_CAPTION),
    "audio": (_media, _PLAIN),
    "voice": (_media, _PLAIN),
    "document": (_media, _WITH_CAPTION | {"file_name"}),
    "sticker": (_media, _PLAIN),
    "location": (_location, frozenset({"location"})),
    "contact": (_contacts, frozenset({"contacts"})),
    "poll": (_poll, frozenset({"poll"})),
    "reaction": (_reaction, frozenset({"message", "emoji"})),
    "edit": (_edit, frozenset({"message", "text", "mentions"})),
    "revocation": (_revocation, frozenset({"message"})),
    "read": (_read, frozenset({"messages"})),
}
