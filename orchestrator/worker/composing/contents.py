"""Messages as the library's protobufs: one for each kind, without what belongs to all. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from orchestrator.sending.forms import Contact, Contacts, File, Kind, Location, Media, Poll, Text
from orchestrator.worker.composing.quoting import empty

Proto: TypeAlias = Any
"""A protobuf of the library's, which ship without types."""

VOICE_TYPE: Final = "audio/ogg; codecs=opus"
"""What WhatsApp's clients call the type of a voice note."""
_EDIT: Final = "MESSAGE_EDIT"
_REVOKE: Final = "REVOKE"


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that lies encrypted on WhatsApp's server.

    Attributes:
        url: Where it lies.
        direct_path: The same without the host.
        key: What it is encrypted with.
        encrypted_sha256: The hash of what lies there.
        sha256: The hash of the file.
        size: The file's bytes.
    """

    url: str = field(repr=False)
    direct_path: str = field(repr=False)
    key: bytes = field(repr=False)
    encrypted_sha256: bytes = field(repr=False)
    sha256: bytes = field(repr=False)
    size: int


def text(content: Text, *, plain: bool) -> Proto:
    """Return a text.

    Args:
        content: What it says.
        plain: Whether nothing else belongs to it: no quote, no mention, no time after which it vanishes.
    """
    message = empty()
    if plain and not content.mentions and content.preview is None:
        message.conversation = content.text
        return message
    about = message.extendedTextMessage
    about.text = content.text
    if (preview := content.preview) is not None:
        about.matchedText = preview.url
        about.title = preview.title
        if preview.description is not None:
            about.description = preview.description
        if preview.thumbnail:
            about.JPEGThumbnail = preview.thumbnail
    return message


def media(content: Media, file: File, uploaded: Uploaded) -> Proto:
    """Return a message with a file that was uploaded."""
    message = empty()
    match content.kind:
        case Kind.IMAGE:
            about = message.imageMessage
        case Kind.VIDEO:
            about = message.videoMessage
        case Kind.AUDIO | Kind.VOICE:
            about = message.audioMessage
        case Kind.STICKER:
            about = message.stickerMessage
        case _ if content.caption:  # clients show the caption of a document only in this wrapper
            about = message.documentWithCaptionMessage.message.documentMessage
        case _:
            about = message.documentMessage
    about.URL, about.directPath, about.mediaKey = uploaded.url, uploaded.direct_path, uploaded.key
    about.fileEncSHA256, about.fileSHA256 = uploaded.encrypted_sha256, uploaded.sha256
    about.fileLength = uploaded.size
    _describe(content, file, about)
    return message


def pictured(content: Media) -> Proto:
    """Return what is shown of a file that an answer quotes: its kind, its caption, and no way to fetch it."""
    message = empty()
    match content.kind:
        case Kind.IMAGE:
            about = message.imageMessage
        case Kind.VIDEO:
            about = message.videoMessage
        case Kind.AUDIO | Kind.VOICE:
            about = message.audioMessage
        case Kind.STICKER:
            about = message.stickerMessage
        case _:
            about = message.documentMessage
    if content.file is not None:
        _describe(content, content.file, about)
    about.SetInParent()
    return message


def _describe(content: Media, file: File, about: Proto) -> None:
    about.mimetype = VOICE_TYPE if content.kind is Kind.VOICE else file.mime_type
    if content.kind in (Kind.IMAGE, Kind.VIDEO, Kind.STICKER) and file.width and file.height:
        about.width, about.height = file.width, file.height
    if content.kind in (Kind.VIDEO, Kind.AUDIO, Kind.VOICE) and file.seconds:
        about.seconds = file.seconds
    if content.kind in (Kind.IMAGE, Kind.VIDEO, Kind.DOCUMENT):
        if content.caption:
            about.caption = content.caption
        if file.thumbnail:
            about.JPEGThumbnail = file.thumbnail
    if content.kind is Kind.VOICE and file.waveform:
        about.waveform = file.waveform
    if content.kind in (Kind.AUDIO, Kind.VOICE):
        about.PTT = content.kind is Kind.VOICE
    if content.kind is Kind.STICKER:
        about.isAnimated = file.animated
    if content.kind is Kind.DOCUMENT:
        about.fileName = about.title = content.file_name or file.name or "file"


def location(content: Location) -> Proto:
    """Return a place."""
    message = empty()
    about = message.locationMessage
    about.degreesLatitude, about.degreesLongitude = content.latitude, content.longitude
    if content.name is not None:
        about.name = content.name
    if content.address is not None:
        about.address = content.address
    return message


def contacts(content: Contacts) -> Proto:
    """Return contacts."""
    message = empty()
    cards = [(one.name, one.vcard or vcard(one)) for one in content.contacts]
    if len(cards) == 1:
        message.contactMessage.displayName, message.contactMessage.vcard = cards[0]
        return message
    message.contactsArrayMessage.displayName = f"{len(cards)} contacts"
    for name, card in cards:
        message.contactsArrayMessage.contacts.add(displayName=name, vcard=card)
    return message


def vcard(contact: Contact) -> str:
    """Return a card of a contact (RFC 2426), as WhatsApp's clients write them."""
    name = _escaped(contact.name)
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:;{name};;;", f"FN:{name}"]
    lines += [f"TEL;type=CELL;waid={one.removeprefix('+')}:{one}" for one in contact.phones]
    return "\n".join([*lines, "END:VCARD"])


def _escaped(value: str) -> str:
    for one in ("\\", ";", ","):
        value = value.replace(one, f"\\{one}")
    return value


def poll(content: Poll) -> Proto:
    """Return a poll. Its votes are encrypted with the message's secret."""
    message = empty()
    about = message.pollCreationMessage
    about.name, about.selectableOptionsCount = content.name, content.selectable
    for option in content.options:
        about.options.add(optionName=option)
    return message


def reaction(chat: str, message_id: str, author: str | None, emoji: str, now: float) -> Proto:
    """Return a reaction.

    Args:
        chat: The chat's address.
        message_id: The identifier of the message.
        author: The address of who has written it, None for the account itself.
        emoji: The emoji; empty to take a reaction back.
        now: The present time in Unix seconds.
    """
    message = empty()
    about = message.reactionMessage
    _name(about.key, chat, message_id, author)
    about.text = emoji
    about.senderTimestampMS = int(now * 1000)
    return message


def edit(chat: str, message_id: str, new: Proto, now: float) -> Proto:
    """Return an edit of an own message, which has the new message in it."""
    message = empty()
    about = message.editedMessage.message.protocolMessage
    _name(about.key, chat, message_id, None)
    about.type = about.Type.Value(_EDIT)
    about.editedMessage.CopyFrom(new)
    about.timestampMS = int(now * 1000)
    return message


def revocation(chat: str, message_id: str, author: str | None) -> Proto:
    """Return what deletes a message for everyone; the author is None for the account itself."""
    message = empty()
    about = message.protocolMessage
    _name(about.key, chat, message_id, author)
    about.type = about.Type.Value(_REVOKE)
    return message


def _name(key: Proto, chat: str, message_id: str, author: str | None) -> None:
    key.remoteJID, key.ID, key.fromMe = chat, message_id, author is None
    if author is not None and chat.endswith("@g.us"):
        key.participant = author
