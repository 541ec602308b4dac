"""What events look like, as a JSON Schema: every field of every type, and its bounds. Pure.

`docs/events.schema.json` is written from here. Consumers can check what they get, and make types from it.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from orchestrator.messages.rendering import clean, groups, parts

Schema: TypeAlias = dict[str, Any]

MAX_EVENT = 2**21
"""Bytes of an event in JSON, written in ASCII; most have 600."""

_TRUE: Schema = {"const": True}
_BOOL: Schema = {"type": "boolean"}
_SECONDS: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def _text(longest: int = clean.MAX_TEXT) -> Schema:
    return {"type": "string", "maxLength": longest}


def _pattern(pattern: str) -> Schema:
    return {"type": "string", "pattern": f"^{pattern}$"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(of: Schema, most: int) -> Schema:
    return {"type": "array", "items": of, "maxItems": most}


def _object(optional: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


_DEFINITIONS: dict[str, Schema] = {}


def _define(name: str, schema: Schema) -> Schema:
    """Give a schema a name, and return what stands in its place."""
    _DEFINITIONS[name] = schema
    return {"$ref": f"#/$defs/{name}"}


_ADDRESS = _define("address", _pattern(r"[0-9A-Za-z._-]{1,64}@[a-z.]{1,32}"))
_PHONE = _define("phone", _pattern(r"\+[0-9]{5,20}"))
_MOMENT = _define("moment", _pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z"))
_MOMENT_MS = _pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
_NAME = {"type": "string", "minLength": 1, "maxLength": clean.MAX_NAME}
_ID = _define("id", _pattern("[!-~]{1,128}"))
_WORD = {"type": "string", "minLength": 1, "maxLength": clean.MAX_ID}
_ADDRESSES = _list(_ADDRESS, groups.MAX_MEMBERS)

_CHAT = _define(
    "chat",
    _object(id=_ADDRESS, type={"enum": ["direct", "group"]}, phone=_or_null(_PHONE), name=_or_null(_NAME)),
)
_PERSON: Schema = {"id": _ADDRESS, "phone": _or_null(_PHONE), "name": _or_null(_NAME)}
_SENDER = _define("sender", _object(("verified_name",), **_PERSON, verified_name=_NAME))
_RECIPIENT = _define("recipient", _object(**_PERSON))
_ABOUT: Schema = {
    "id": _or_null(_ID),
    "chat": _or_null(_CHAT),
    "sender": _or_null(_SENDER),
    "from_me": _BOOL,
    "timestamp": _MOMENT,
}
_MEDIA = _define(
    "media",
    _object(
        id=_or_null(_pattern("[0-9]{1,19}")),
        mime_type=_or_null(_pattern(r"[a-z0-9.+-]+/[a-z0-9.+-]+")),
        size=_or_null({"type": "integer", "minimum": 0, "maximum": 2**63 - 1}),
        sha256=_or_null(_pattern("[0-9a-f]{64}")),
        file_name=_or_null({"type": "string", "minLength": 1, "maxLength": clean.MAX_FILE_NAME}),
        caption=_or_null(_text()),
        voice=_BOOL,
        animated=_BOOL,
    ),
)
_CHOICE = _define("choice", _object(id=_or_null(_WORD), title=_or_null(_NAME)))
_LOCATION = _define(
    "location",
    _object(
        latitude={"type": "number", "minimum": -90, "maximum": 90},
        longitude={"type": "number", "minimum": -180, "maximum": 180},
        name=_or_null(_NAME),
        address=_or_null(_text(4 * clean.MAX_NAME)),
        comment=_or_null(_text(4 * clean.MAX_NAME)),
        accuracy=_or_null({"type": "integer", "minimum": 0}),
        live=_BOOL,
    ),
)
_CONTACT = _define(
    "contact", _object(name=_or_null(_NAME), phones=_list(_PHONE, parts.MAX_PHONES), vcard=_or_null(_text()))
)
_POLL = _define(
    "poll",
    _object(
        name=_text(4 * clean.MAX_NAME),
        options=_list(_text(clean.MAX_NAME), parts.MAX_OPTIONS),
        selectable=_SECONDS,
    ),
)
_SAID: Schema = {
    "kind": {
        "enum": ["text", "image", "video", "audio", "voice", "document", "sticker", "location", "contact",
                 "poll", "unsupported"],
    },
    "text": _or_null(_text()),
    "media": _or_null(_MEDIA),
    "reply_to": _or_null(_object(id=_ID, sender=_or_null(_ADDRESS))),
    "mentions": _list(_ADDRESS, parts.MAX_MENTIONS),
    "forwarded": _BOOL,
    "edited": _BOOL,
    "forwarding_score": _SECONDS,
    "expires_in": _SECONDS,
    "view_once": _TRUE,
    "location": _LOCATION,
    "contacts": _list(_CONTACT, parts.MAX_CONTACTS),
    "poll": _POLL,
    "choices": _list(_CHOICE, parts.MAX_CHOICES),
    "choice": _CHOICE,
    "unsupported": _object(kind=_NAME),
}  # fmt: skip
_SOMETIMES = (
    "forwarding_score", "expires_in", "view_once", "location", "contacts", "poll", "choices", "choice",
    "unsupported",
)  # fmt: skip
_BY_AUTHOR = _or_null(_BOOL)
_VOTE = _define(
    "vote",
    _object(
        message_id=_or_null(_ID),
        hashes=_or_null(_list(_pattern("[A-Za-z0-9+/]{43}="), parts.MAX_OPTIONS)),
        options=_or_null(_list(_or_null(_text(clean.MAX_NAME)), parts.MAX_OPTIONS)),
    ),
)
_CHANGES: Schema = {
    "name": _or_null(_NAME),
    "topic": _or_null(_text()),
    "locked": _BOOL,
    "announce": _BOOL,
    "expires_in": _SECONDS,
    "deleted": _BOOL,
    "linked": _or_null(_ADDRESS),
    "unlinked": _or_null(_ADDRESS),
    "invite_link": _TRUE,
    "joined": _ADDRESSES,
    "left": _ADDRESSES,
    "promoted": _ADDRESSES,
    "demoted": _ADDRESSES,
    "other": _list(_text(64), 64),
}
_GROUP = _define(
    "group",
    _object(
        name=_or_null(_NAME),
        topic=_or_null(_text()),
        members={"type": "integer", "minimum": 0},
        announce=_BOOL,
        locked=_BOOL,
        expires_in=_SECONDS,
    ),
)

DATA: dict[str, Schema] = {
    "message.received": _object(_SOMETIMES, **_ABOUT, **_SAID),
    "message.edited": _object((*_SOMETIMES, "by_author"), **_ABOUT, **_SAID, by_author=_BY_AUTHOR),
    "message.revoked": _object(**_ABOUT, by_author=_BY_AUTHOR),
    "message.reaction": _object(
        **_ABOUT, reaction=_object(message_id=_or_null(_ID), emoji=_text(parts.MAX_EMOJI))
    ),
    "message.poll_vote": _object(**_ABOUT, vote=_VOTE),
    "message.status": _object(
        id=_or_null(_ID),
        chat=_or_null(_CHAT),
        recipient=_or_null(_RECIPIENT),
        timestamp=_MOMENT,
        status={"enum": ["sent", "delivered", "read", "failed"]},
        row=_or_null({"type": "integer", "minimum": 1, "maximum": parts.MAX_ROW}),
        tag=_or_null(_text(parts.MAX_TAG)),
        code=_or_null({"type": "integer", "minimum": 0, "maximum": parts.MAX_CODE}),
        why=_or_null(_text(parts.MAX_WHY)),
    ),
    "message.lost": _object(**_ABOUT),
    "message.undecryptable": _object(**_ABOUT, reason={"enum": ["decryption", "unavailable"]}),
    "call.offered": _object(**_ABOUT, call=_object(video=_or_null(_BOOL), group=_BOOL)),
    "group.changed": _object(**_ABOUT, changes=_object(tuple(_CHANGES), **_CHANGES)),
    "group.joined": _object(**_ABOUT, group=_or_null(_GROUP)),
}
"""The form of `data`, by the type of the event."""


_OF_ACCOUNT = _define(
    "account",
    _object(
        state=_pattern("[a-z_]{1,40}"),
        previous=_or_null(_pattern("[a-z_]{1,40}")),
        kind=_or_null(_pattern("[a-z_]{1,40}")),
        reason=_or_null(_text(500)),
        whatsapp_code=_or_null({"type": "integer", "minimum": 0, "maximum": 9_999_999_999}),
        attempt={"type": "integer", "minimum": 0},
        retry_in=_or_null({"type": "number", "minimum": 0}),
    ),
)
ACCOUNT_DATA: dict[str, Schema] = dict.fromkeys(
    (
        "account.connected", "account.disconnected", "account.code", "account.paired", "account.logged_out",
        "account.banned", "account.replaced", "account.outdated", "account.failed", "account.restricted",
        "account.phone_offline",
    ),
    _OF_ACCOUNT,
)  # fmt: skip
"""The form of `data` of what happens to accounts, which `consumers.lifecycle` makes."""
NOTICE_DATA: dict[str, Schema] = {
    "webhook.disabled": _object(webhook=_text(63), reason=_text(500)),
    "test": _object(webhook=_text(63)),
}
"""The form of `data` of what is about no account, which `consumers.notices` makes."""


def schema(kind: str | None = None) -> Schema:
    """Return the JSON Schema of an event.

    Args:
        kind: The type of the event; by default any.
    """
    null: Schema = {"type": "null"}
    streams = (
        (DATA, r"evt_.+_[0-9]+", _text(), {"type": "integer", "minimum": 0}),
        (ACCOUNT_DATA, r"evt_.+_account_[0-9]+", _text(), null),
        (NOTICE_DATA, r"evt_.+_[0-9]+", null, null),
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of the orchestrator",
        "$defs": _DEFINITIONS,
        "oneOf": [
            _object(
                id=_pattern(pattern),
                type={"const": name},
                timestamp=_MOMENT_MS,
                account=account,
                seq=seq,
                data=data,
            )
            for types, pattern, account, seq in streams
            for name, data in types.items()
            if kind in (None, name)
        ],
    }


def written() -> str:
    """Return the file with the schema."""
    import json

    return json.dumps(schema(), indent=2) + "\n"
