"""Renders entries of the inbox as events. Pure.

An entry can be rendered at any time, in any process, and gives the same event again. Nothing that a peer has
sent makes an event invalid: what cannot be read is an event that says so.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from orchestrator.messages.entry import Stored
from orchestrator.messages.rendering import classes, clean, grammar, groups, parts
from orchestrator.messages.rendering.chats import People
from orchestrator.messages.rendering.grammar import Content, Kind, Proto

Event: TypeAlias = dict[str, Any]

UNREADABLE = "unreadable"
"""What an unsupported message is called that is no valid message of WhatsApp's."""
TOO_LARGE = "tooLarge"
"""What an unsupported message is called that was too large to be stored."""
MAX_VOTES = parts.MAX_OPTIONS
"""Options that one vote names."""

_STATUSES = frozenset({"sent", "delivered", "read", "failed"})
_OF_WHATSAPP = frozenset({"sent", "failed"})
"""What nobody's phone says, so the entry names no recipient."""
_OF_RECEIPTS = {"DELIVERED": "delivered", "INACTIVE": "delivered", "READ": "read", "PLAYED": "read"}
"""What receipts of others say. All others concern the account's own devices."""


Lookup: TypeAlias = Callable[[str, str], Stored | None]
"""Returns the message of a chat by the chat's address and the message's id, None if the inbox has none."""


def render(stored: Stored, account: str, lookup: Lookup | None = None) -> Event | None:
    """Return the event of an entry, None if the entry says nothing to a consumer.

    Args:
        stored: The entry.
        account: The account's name.
        lookup: Finds other entries: the poll that a vote is for, the message that an edit replaces.

    Raises:
        RuntimeError: This process has not loaded neonize's definitions, see `classes`.
        MemoryError: The machine lacks memory.
        Exception: Whatever `lookup` raises.
    """
    asked = None if lookup is None else _Asked(lookup)
    try:
        found = _SOURCES.get(stored.source, _unknown)(stored, asked)
    except MemoryError:
        raise
    except Exception:  # an entry that upsets this program must not hold up those behind it
        if classes.find() is None or (asked is not None and asked.failed):
            raise  # the entry is as it should be
        found = _unreadable(stored)
    if found is None:
        return None
    kind, data = found
    return {
        "id": f"evt_{account}_{stored.seq}",
        "type": kind,
        "timestamp": clean.moment_ms(stored.stored_at),
        "account": account,
        "seq": stored.seq,
        "data": data,
    }


class _Asked:
    """Looks up entries, and remembers whether that failed.

    Args:
        lookup: Finds them.
    """

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self.failed = False

    def __call__(self, chat: str, message_id: str) -> Stored | None:
        try:
            return self._lookup(chat, message_id)
        except BaseException:
            self.failed = True
            raise


_Found: TypeAlias = tuple[str, Event] | None


def _message(stored: Stored, lookup: Lookup | None) -> _Found:
    if not stored.raw:
        return _unreadable(stored, TOO_LARGE if "too_large" in stored.notes else UNREADABLE)
    event = _parse("Message", stored.raw)
    if event is None:
        return _unreadable(stored)
    if not grammar.facts(event).is_message:
        return None
    content = grammar.read(event)
    about = _about(stored, People(stored.notes, event.Info.MessageSource), event.Info)
    media_id = stored.notes.get("media")
    match content.kind:
        case Kind.EDIT:
            target = _target(stored, event, content, lookup)
            return "message.edited", about | target | parts.edit(content.value.editedMessage, media_id)
        case Kind.REVOCATION:
            return "message.revoked", about | _target(stored, event, content, lookup)
        case Kind.REACTION:
            reaction = {
                "message_id": clean.message_id(content.value.key.ID),
                "emoji": clean.line(content.value.text, parts.MAX_EMOJI) or "",
            }
            return "message.reaction", about | {"reaction": reaction}
        case Kind.POLL_VOTE:
            return "message.poll_vote", about | {"vote": _vote(stored, content, lookup)}
        case _:
            kind = "message.edited" if content.edited else "message.received"
            return kind, about | parts.render(content, media_id)


def _about(stored: Stored, people: People, info: Proto | None = None) -> Event:
    """Return what every message says: which one it is, where, by whom, and when."""
    name = clean.line(info.Pushname) if info is not None else None
    sender = people.person(stored.sender, name)
    if sender is not None and info is not None and info.HasField("VerifiedName"):
        verified = clean.line(info.VerifiedName.Details.verifiedName)
        sender |= {"verified_name": verified} if verified else {}
    from_me = info.MessageSource.IsFromMe if info is not None else stored.notes.get("from_me") is True
    return {
        "id": clean.message_id(stored.id),
        "chat": people.chat(stored.chat),
        "sender": sender,
        "from_me": bool(from_me),
        "timestamp": clean.moment(stored.at),
    }


def _target(stored: Stored, event: Proto, content: Content, lookup: Lookup | None) -> Event:
    """Return which message is edited or revoked, and whether its author does that.

    Whoever sends an edit names the message freely, so it may be another one's.
    """
    target = clean.message_id(content.value.key.ID)
    found = _look_up(lookup, stored, target)
    return {"id": target, "by_author": None if found is None else _same(stored, event, found)}


def _same(stored: Stored, event: Proto, other: Stored) -> bool | None:
    """Tell whether two messages are of one person, who may have two addresses; None if nobody can tell."""
    if stored.sender == other.sender:
        return True
    if stored.sender.partition("@")[2] == other.sender.partition("@")[2]:
        return False
    mine = People(stored.notes, event.Info.MessageSource).phone(stored.sender)
    original = _parse("Message", other.raw) if other.source == "message" else None
    source = None if original is None else original.Info.MessageSource
    theirs = People(other.notes, source).phone(other.sender)
    return None if mine is None or theirs is None else mine == theirs


def _vote(stored: Stored, content: Content, lookup: Lookup | None) -> Event:
    """Return what somebody has chosen in a poll, by name where the poll is known."""
    target = clean.message_id(content.value.pollCreationMessageKey.ID)
    hashes = _hashes(stored.notes.get("vote"))
    poll = None if hashes is None else _look_up(lookup, stored, target)
    event = None if poll is None or poll.source != "message" else _parse("Message", poll.raw)
    options = None
    if event is not None and hashes is not None:
        created = grammar.read(event)
        names = {
            hashlib.sha256(name).digest(): clean.text(name, clean.MAX_NAME)
            for name in parts.poll_options(created)
        }
        options = [names.get(one) for one in hashes] if created.kind is Kind.POLL else None
    return {
        "message_id": target,
        "hashes": None if hashes is None else [base64.b64encode(one).decode() for one in hashes],
        "options": options,
    }


def _hashes(vote: object) -> list[bytes] | None:
    """Return the hashes of a vote that the account's process has decrypted, None if it has not."""
    if not isinstance(vote, list):
        return None
    found = []
    for one in vote[:MAX_VOTES]:
        try:
            found.append(base64.b64decode(one, validate=True))
        except (TypeError, ValueError):
            continue
    return [one for one in found if len(one) == 32]


def _look_up(lookup: Lookup | None, stored: Stored, target: str | None) -> Stored | None:
    return None if lookup is None or target is None else lookup(stored.chat, target)


def _receipt(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001 - as all sources
    event = _parse("Receipt", stored.raw)
    people = People(stored.notes, None if event is None else event.MessageSource)
    status = stored.notes.get("status")
    if status is None and event is not None:
        types = event.DESCRIPTOR.fields_by_name["Type"].enum_type.values_by_number
        status = _OF_RECEIPTS.get(types[event.Type].name) if event.HasField("Type") else None
    if not isinstance(status, str) or status not in _STATUSES:
        return None
    chat = people.chat(stored.chat)
    if status in _OF_WHATSAPP:
        recipient = people.person(stored.chat) if chat is not None and chat["type"] == "direct" else None
    else:
        recipient = people.person(stored.sender)
    return "message.status", {
        "id": clean.message_id(stored.id),
        "chat": chat,
        "recipient": recipient,
        "timestamp": clean.moment(stored.at),
        "status": status,
        **_row(stored.notes),
    }


def _row(notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of the row of the outbox that a status is about."""
    row, tag, code, why = (notes.get(key) for key in ("row", "tag", "code", "why"))
    return {
        "row": row if _is_number(row, 1, parts.MAX_ROW) else None,
        "tag": clean.text(tag, parts.MAX_TAG) if isinstance(tag, str) else None,
        "code": code if _is_number(code, 0, parts.MAX_CODE) else None,
        "why": clean.text(why, parts.MAX_WHY) if isinstance(why, str) else None,
    }


def _is_number(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _undecryptable(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001
    event = _parse("UndecryptableMessage", stored.raw)
    if event is None:
        return "message.undecryptable", _about(stored, People(stored.notes)) | {"reason": "decryption"}
    about = _about(stored, People(stored.notes, event.Info.MessageSource), event.Info)
    return "message.undecryptable", about | {"reason": "unavailable" if event.IsUnavailable else "decryption"}


def _lost(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001
    return "message.lost", _about(stored, People(stored.notes))


def _call(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001
    event = _parse("CallOffer" if stored.source == "call" else "CallOfferNotice", stored.raw)
    about = _about(stored, People(stored.notes))
    return "call.offered", about | {
        "call": {"video": None, "group": False} if event is None else groups.call(event)
    }


def _group(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001
    event = _parse("GroupInfoEvent", stored.raw)
    about = _about(stored, People(stored.notes))
    if stored.sender == stored.chat:
        about["sender"] = None  # nobody is named, and the entry has the group there
    return "group.changed", about | {"changes": {} if event is None else groups.changes(event)}


def _joined(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001
    event = _parse("JoinedGroup", stored.raw)
    about = _about(stored, People(stored.notes))
    if stored.sender == stored.chat:
        about["sender"] = None
    return "group.joined", about | {"group": None if event is None else groups.joined(event)}


def _unknown(stored: Stored, lookup: Lookup | None) -> _Found:  # noqa: ARG001
    return _unreadable(stored)


def _unreadable(stored: Stored, why: str = UNREADABLE) -> _Found:
    return "message.received", _about(stored, People(stored.notes)) | parts.unsupported(why)


def _parse(name: str, raw: bytes) -> Proto | None:
    """Return one of neonize's messages, None if the bytes are none."""
    kind = getattr(classes.get(), name)
    try:
        return kind.FromString(raw)
    except Exception as error:  # protobuf's error, without an import of protobuf
        if type(error).__name__ != "DecodeError":
            raise
        return None


_SOURCES: dict[str, Callable[[Stored, Lookup | None], _Found]] = {
    "message": _message,
    "receipt": _receipt,
    "undecryptable": _undecryptable,
    "call": _call,
    "call_notice": _call,
    "group": _group,
    "joined": _joined,
    "lost": _lost,
}
