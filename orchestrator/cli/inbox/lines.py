"""An event in one line for people: what peers have chosen cannot steer a terminal, or pass for a line."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.cli.formatting import local, megabytes, verbatim
from orchestrator.cli.terminal import plain
from orchestrator.messages.rendering import Event

_LABELS: Final = {
    "message.edited": "edited",
    "message.revoked": "revoked",
    "message.reaction": "reaction",
    "message.poll_vote": "vote",
    "message.lost": "lost",
    "message.undecryptable": "undecryptable",
    "call.offered": "call",
    "group.changed": "group",
    "group.joined": "joined",
}
_NAME: Final = 40
"""Characters of a name that are shown."""
_LEAST: Final = 40
"""Columns below which lines are not cut: nothing would be left."""


def line(event: Event, width: int | None = None) -> str:
    """Return an event in one line: time, number, what it is, who, and the text.

    Args:
        event: The event.
        width: Columns of the terminal; None to cut nothing.
    """
    data = event["data"]
    parts = (local(event["timestamp"]), f"{event['seq']:>5}", f"{_label(event):<9}", _who(data), _text(event))
    text = "  ".join(part for part in parts if part)
    return text if width is None or width < _LEAST else cut(text, width)


def flat(text: object) -> str:
    """Return a text in one line, with nothing in it that a terminal does not show as a letter."""
    return verbatim(" ".join(str(text).split()))


def cut(text: str, width: int) -> str:
    """Return the beginning of a text that fits into so many columns."""
    end = plain("…")
    used, fits = 0, 0
    for at, letter in enumerate(text):
        used += _columns(letter)
        if used > width:
            return text[:fits] + end
        if used <= width - len(end):
            fits = at + 1
    return text


def _columns(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def _label(event: Event) -> str:
    kind, data = event["type"], event["data"]
    if kind == "message.received":
        return flat(data["kind"])
    return flat(data["status"]) if kind == "message.status" else _LABELS.get(kind, flat(kind))


def _who(data: Mapping[str, Any]) -> str:
    chat, sender = data.get("chat"), data.get("sender") or data.get("recipient")
    who = "me" if data.get("from_me") else _person(sender)
    if chat is None:
        return who
    if chat["type"] == "group":
        return f"{who} in {_person(chat)}" if who else _person(chat)
    return f"me to {_person(chat)}" if data.get("from_me") else who


def _person(one: Mapping[str, Any] | None) -> str:
    """Name a person or a group: first what nobody can choose, the number or the address, then the name."""
    if one is None:
        return ""
    name = one.get("name")
    shown = flat(one.get("phone") or one["id"])
    return f"{shown} {_quoted(name)}" if name else shown


def _quoted(name: str) -> str:
    found = flat(name).replace('"', "'")
    return f'"{found[:_NAME] + plain("…") if len(found) > _NAME else found}"'


def _text(event: Event) -> str:
    data = event["data"]
    match event["type"]:
        case "message.received":
            return _said(data)
        case "message.edited":
            return f"{_of(data['id'])}{_by(data)}: {_said(data)}"
        case "message.revoked":
            return f"{_of(data['id'])}{_by(data)}"
        case "message.reaction":
            reaction = data["reaction"]
            emoji = flat(reaction["emoji"])
            return (
                f"{emoji} {_of(reaction['message_id'])}" if emoji else f"none {_of(reaction['message_id'])}"
            )
        case "message.poll_vote":
            vote = data["vote"]
            options = ", ".join("?" if one is None else flat(one) for one in vote["options"] or ())
            return f"[{options}] {_of(vote['message_id'])}"
        case "message.status" | "message.lost":
            return _of(data["id"])
        case "message.undecryptable":
            return f"{_of(data['id'])} ({flat(data['reason'])})"
        case "call.offered":
            return "video" if data["call"]["video"] else ""
        case "group.changed":
            return ", ".join(f"{flat(key)}: {_change(value)}" for key, value in data["changes"].items())
        case _:
            return ""


def _of(message: str | None) -> str:
    return f"of {flat(message)}" if message else "of a message without an id"


def _by(data: Mapping[str, Any]) -> str:
    return " by somebody else" if data.get("by_author") is False else ""


def _change(value: object) -> str:
    if isinstance(value, list):
        return str(len(value))
    return "yes" if value is True else "no" if value is False else "none" if value is None else flat(value)


def _said(data: Mapping[str, Any]) -> str:
    """Return what a message says: what there is beside its text in brackets, then the text."""
    if data.get("view_once"):
        return "[can be opened once, on the phone]"
    beside, text = [], data.get("text")
    if media := data.get("media"):
        beside += [media.get("file_name"), media.get("mime_type"), _size(media.get("size"))]
        text = text or media.get("caption")
    if place := data.get("location"):
        beside += [f"{place['latitude']}, {place['longitude']}", place.get("name"), place.get("address")]
        text = text or place.get("comment")
    for contact in data.get("contacts") or ():
        beside.append(" ".join(filter(None, (contact.get("name"), *contact["phones"]))))
    if poll := data.get("poll"):
        beside.append(f"{poll['name']}: {', '.join(poll['options'])}")
    if choices := data.get("choices"):
        beside.append("choices: " + ", ".join(one.get("title") or "?" for one in choices))
    if other := data.get("unsupported"):
        beside.append(other["kind"])
    found = ", ".join(flat(one) for one in beside if one)
    return " ".join(filter(None, (f"[{found}]" if found else "", flat(text or ""))))


def _size(size: int | None) -> str | None:
    if size is None:
        return None
    return megabytes(size) if size >= 1_000_000 else f"{-(-size // 1000)} kB"
