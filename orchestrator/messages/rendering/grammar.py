"""Reads a message of WhatsApp's: what it is, and whether it is anything at all. Pure.

The account's process asks before it stores a message, and whoever renders the message asks again later. Both
get their answers here, so that they cannot differ. The objects are neonize's protobuf messages. Their fields
are found by the names in their descriptors, and neonize is not imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

Proto: TypeAlias = Any
"""A protobuf message of neonize's, which ship without types."""

MAX_DEPTH = 16
"""Wrappers around one message; phones use up to three."""
_MAX_UNKNOWN = 64 * 1024
"""Bytes of a message whose unknown fields are looked through for a number."""


class Place(StrEnum):
    """Where a message was written."""

    CHAT = "chat"
    STATUS = "status"
    BROADCAST = "broadcast"
    """A list of receivers. Whoever gets such a message sees an ordinary one of its sender."""
    NEWSLETTER = "newsletter"
    PEER = "peer"
    """Another device of the account's own, which speaks to this one: never a message."""


class Kind(StrEnum):
    """What a message is. The first ones are the words of `kind` in an event."""

    TEXT = "text"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    VOICE = "voice"
    DOCUMENT = "document"
    STICKER = "sticker"
    LOCATION = "location"
    CONTACT = "contact"
    POLL = "poll"
    UNSUPPORTED = "unsupported"
    POLL_VOTE = "poll_vote"
    REACTION = "reaction"
    EDIT = "edit"
    REVOCATION = "revocation"
    HOUSEKEEPING = "housekeeping"
    """Devices tell each other something that is no message: keys, copies of histories, settings."""
    NOTHING = "nothing"
    """Nothing is left beside the key for later messages of a group's member."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is inside all wrappers.

    Attributes:
        kind: What it is.
        name: The field's name, such as ``imageMessage``; of an unknown field ``field143``; empty for nothing.
        value: What the field holds: a message, or the text of a conversation.
        view_once: Whether it may be opened only once.
        edited: Whether it replaces a message.
    """

    kind: Kind
    name: str
    value: Proto = None
    view_once: bool = False
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What has to be known of a message before it is stored.

    Attributes:
        kind: What it is.
        name: The name of the field that says so, such as ``conversation``; of an unknown one ``field143``.
        place: Where it was written.
        media: Whether there is a file to fetch.
    """

    kind: Kind
    name: str
    place: Place
    media: bool = False

    @property
    def is_poll_vote(self) -> bool:
        """Whether there is a vote that only the account's process can decrypt."""
        return self.kind is Kind.POLL_VOTE

    @property
    def is_message(self) -> bool:
        """Whether it belongs into an inbox: somebody has written it, in a chat."""
        ordinary = self.place in (Place.CHAT, Place.BROADCAST)
        return ordinary and self.kind not in (Kind.NOTHING, Kind.HOUSEKEEPING)


_LIBRARYS_WRAPPERS = (
    "deviceSentMessage",
    "ephemeralMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "lottieStickerMessage",
    "documentWithCaptionMessage",
    "editedMessage",
    "botInvokeMessage",
)
"""The wrappers that the library takes off, one of each, in its order. It keeps what they say as flags."""
_WRAPPERS = (
    *_LIBRARYS_WRAPPERS,
    "groupMentionedMessage",
    "associatedChildMessage",
    "pollCreationMessageV4",
    "eventCoverImage",
    "botTaskMessage",
    "botForwardedMessage",
    "questionMessage",
    "questionReplyMessage",
    "spoilerMessage",
    "limitSharingMessage",
    "audioStickerMessage",
)
_VIEW_ONCE = frozenset({"viewOnceMessage", "viewOnceMessageV2", "viewOnceMessageV2Extension"})
_STATUS = frozenset({"groupStatusMessage", "groupStatusMessageV2"})
"""Status posts of a group, which come by way of the group's chat."""

_BESIDE = frozenset(
    {
        "senderKeyDistributionMessage",
        "fastRatchetKeySenderKeyDistributionMessage",
        "messageContextInfo",
    }
)
"""Fields that come along with a message, or alone, and say nothing."""

_KINDS = {
    "conversation": Kind.TEXT,
    "extendedTextMessage": Kind.TEXT,
    "imageMessage": Kind.IMAGE,
    "videoMessage": Kind.VIDEO,
    "ptvMessage": Kind.VIDEO,
    "audioMessage": Kind.AUDIO,
    "documentMessage": Kind.DOCUMENT,
    "stickerMessage": Kind.STICKER,
    "locationMessage": Kind.LOCATION,
    "liveLocationMessage": Kind.LOCATION,
    "contactMessage": Kind.CONTACT,
    "contactsArrayMessage": Kind.CONTACT,
    "pollCreationMessage": Kind.POLL,
    "pollCreationMessageV2": Kind.POLL,
    "pollCreationMessageV3": Kind.POLL,
    "pollCreationMessageV5": Kind.POLL,
    "pollCreationMessageV6": Kind.POLL,
    "pollUpdateMessage": Kind.POLL_VOTE,
    "reactionMessage": Kind.REACTION,
    "protocolMessage": Kind.HOUSEKEEPING,
    "buttonsMessage": Kind.TEXT,
    "buttonsResponseMessage": Kind.TEXT,
    "listMessage": Kind.TEXT,
    "listResponseMessage": Kind.TEXT,
    "templateMessage": Kind.TEXT,
    "templateButtonReplyMessage": Kind.TEXT,
    "interactiveMessage": Kind.TEXT,
    "interactiveResponseMessage": Kind.TEXT,
    "highlyStructuredMessage": Kind.TEXT,
    "groupRootKeyShare": Kind.HOUSEKEEPING,
    "rootSecretDistributeMessage": Kind.HOUSEKEEPING,
    "messageHistoryBundle": Kind.HOUSEKEEPING,
    "messageHistoryNotice": Kind.HOUSEKEEPING,
    "stickerSyncRmrMessage": Kind.HOUSEKEEPING,
}
"""What a field makes of a message. Every field that is not here is unsupported, and stored."""
MEDIA = (Kind.IMAGE, Kind.VIDEO, Kind.AUDIO, Kind.VOICE, Kind.DOCUMENT, Kind.STICKER)
"""Kinds that are a file."""
_HEADERS = ("imageMessage", "videoMessage", "documentMessage")
"""Files above a text with buttons."""
_MAX_SIZE = 2**63 - 1
"""Bytes of a file: what a database and every reader of JSON can hold."""


def facts(event: Proto) -> Facts:
    """Return what has to be known of a message before it is stored.

    Args:
        event: Neonize_pb2.Message, as the library gives it.
    """
    content, place = read(event), _place(event.Info)
    if place is Place.CHAT and content.name in _STATUS:
        place = Place.STATUS
    return Facts(content.kind, content.name, place, media=media(content) is not None)


def brings_secrets(event: Proto) -> bool:
    """Tell whether an event makes the library store secrets of other messages: of a copied history, say.

    Args:
        event: Neonize_pb2.Message, as the library gives it.
    """
    content = read(event)
    if content.name == "protocolMessage":
        return _has(content.value, "historySyncNotification")
    return content.name == "rootSecretDistributeMessage"


def read(event: Proto) -> Content:
    """Return what is inside all wrappers of an event's message.

    Args:
        event: Neonize_pb2.Message, as the library gives it.
    """
    # The library has taken some wrappers off. If nothing is left by that, `Raw` is what came.
    has_message = event.HasField("Message") or not event.HasField("Raw")
    return unwrap(
        event.Message if has_message else event.Raw,
        view_once=event.IsViewOnce or event.IsViewOnceV2 or event.IsViewOnceV2Extension,
        edited=event.IsEdit,
    )


def unwrap(message: Proto, *, view_once: bool = False, edited: bool = False) -> Content:
    """Return what is inside all wrappers of a message.

    Args:
        message: A message of WhatsApp's, WAWebProtobufsE2E.Message.
        view_once: Whether a wrapper that is off already said that it may be opened only once.
        edited: Whether such a wrapper said that it replaces a message.
    """
    for _ in range(MAX_DEPTH):
        wrapper = next((name for name in _WRAPPERS if _has(message, name)), None)
        if wrapper is None:
            return _innermost(message, view_once, edited)
        view_once = view_once or wrapper in _VIEW_ONCE
        edited = edited or wrapper == "editedMessage"
        inside = getattr(message, wrapper)
        if not inside.HasField("message"):
            return _other(wrapper, view_once, edited)
        message = inside.message
    return _other("tooManyWrappers", view_once, edited)


def media(content: Content) -> Proto | None:
    """Return the part of a message that names a file to fetch, None if there is none.

    What may be opened only once is not fetched.

    Args:
        content: What `read` has returned.
    """
    if content.view_once:
        return None
    if content.kind in MEDIA:
        return content.value
    if content.kind is Kind.TEXT:
        header = _header(content)
        if header is not None:
            return next((getattr(header, name) for name in _HEADERS if _has(header, name)), None)
    return None


def size_of(file: Proto) -> int | None:
    """Return the size that a sender has stated for a file, in bytes, None if there is none.

    Args:
        file: What `media` has returned.
    """
    return min(int(file.fileLength), _MAX_SIZE) if file.HasField("fileLength") else None


def template(message: Proto) -> Proto | None:
    """Return the filled-in part of a template, None if there is none.

    Args:
        message: WAWebProtobufsE2E.TemplateMessage.
    """
    names = ("hydratedTemplate", "hydratedFourRowTemplate", "interactiveMessageTemplate", "fourRowTemplate")
    return next((getattr(message, name) for name in names if _has(message, name)), None)


def _header(content: Content) -> Proto | None:
    """Return what may hold the file of a text with buttons."""
    part = content.value
    if content.name == "templateMessage":
        part = template(part)
    elif content.name not in ("buttonsMessage", "interactiveMessage"):
        return None
    if part is not None and _knows(part, "header") and part.DESCRIPTOR.fields_by_name["header"].message_type:
        return part.header
    return part


def _innermost(message: Proto, view_once: bool, edited: bool) -> Content:
    """Return what a message without wrappers is."""
    for field, value in message.ListFields():
        if field.name in _BESIDE:
            continue
        if field.name in _KINDS:
            kind = _precisely(_KINDS[field.name], value)
            once = view_once or (_knows(value, "viewOnce") and bool(value.viewOnce))
            return Content(kind, field.name, value, once, edited)
        return Content(Kind.UNSUPPORTED, field.name, value, view_once, edited)
    number = _unknown(message)
    if number is None:
        return Content(Kind.NOTHING, "", view_once=view_once, edited=edited)
    return _other(f"field{number}" if number else "unknown", view_once, edited)


def _other(name: str, view_once: bool, edited: bool) -> Content:
    return Content(Kind.UNSUPPORTED, name, None, view_once, edited)


def _precisely(kind: Kind, value: Proto) -> Kind:
    if kind is Kind.AUDIO and value.PTT:
        return Kind.VOICE
    if kind is Kind.REACTION and not value.key.ID:
        return Kind.UNSUPPORTED
    if kind is Kind.HOUSEKEEPING and _knows(value, "editedMessage"):
        return _protocol(value)
    return kind


def _protocol(message: Proto) -> Kind:
    """Return what a protocol message is."""
    if not message.HasField("type") and _unknown(message) is not None:
        # This version of neonize does not know the type, and gives the default instead: a revocation.
        return Kind.UNSUPPORTED
    types = message.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_number
    name = types[message.type].name if message.type in types else ""
    if name == "REVOKE":
        return Kind.REVOCATION if message.key.ID else Kind.HOUSEKEEPING
    if name == "MESSAGE_EDIT":
        return Kind.EDIT if message.key.ID and message.HasField("editedMessage") else Kind.HOUSEKEEPING
    return Kind.HOUSEKEEPING


def _place(info: Proto) -> Place:
    if info.Category == "peer":
        return Place.PEER
    chat = info.MessageSource.Chat
    if chat.Server == "newsletter":
        return Place.NEWSLETTER
    if chat.Server == "broadcast":
        return Place.STATUS if chat.User == "status" else Place.BROADCAST
    return Place.CHAT


def _unknown(message: Proto) -> int | None:
    """Return the number of a field that neonize does not know, 0 if it is not looked for, None for none."""
    if message.ByteSize() > _MAX_UNKNOWN:
        rest = type(message)()
        rest.CopyFrom(message)
        for field, _ in message.ListFields():
            rest.ClearField(field.name)
        return 0 if rest.ByteSize() else None
    from google.protobuf.unknown_fields import UnknownFieldSet  # only where no known field says anything

    fields: Any = UnknownFieldSet(message)  # typed as if one could not go through it
    return min((field.field_number for field in fields), default=None)


def _knows(value: Proto, name: str) -> bool:
    return not isinstance(value, str | bytes) and name in value.DESCRIPTOR.fields_by_name


def _has(message: Proto, name: str) -> bool:
    return name in message.DESCRIPTOR.fields_by_name and bool(message.HasField(name))
