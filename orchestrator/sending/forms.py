"""What an account can send. `sending.wire` has the words in which a client asks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

MAX_BODY: Final = 96 * 1024
"""Bytes of a message to be sent, in JSON and UTF-8."""
MAX_CAPTION: Final = 1024
"""Characters of a caption. WhatsApp's own clients cut longer ones."""
MAX_NAME: Final = 200
"""Characters of the name of a place, a contact or a choice of a poll, and of a file."""
MAX_CONTACTS: Final = 20
MAX_PHONES: Final = 10
MAX_VCARD: Final = 8192
"""Characters of a contact's card."""
MAX_OPTIONS: Final = 12
"""Choices of a poll, as WhatsApp's clients allow."""
MAX_QUESTION: Final = 255
MAX_THUMBNAIL: Final = 16 * 1024
"""Bytes of a thumbnail, a small JPEG."""
MAX_TAG: Final = 512
"""Characters of a text of the client's own that comes back with each status."""
MAX_LINK: Final = 2048


class Kind(StrEnum):
    """What is sent."""

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
    REACTION = "reaction"
    EDIT = "edit"
    REVOCATION = "revocation"
    READ = "read"

    @property
    def is_repeatable(self) -> bool:
        """Whether doing it twice is the same as doing it once: then nothing about it stays unknown."""
        return self in REPEATABLE


MEDIA: Final = frozenset({Kind.IMAGE, Kind.VIDEO, Kind.AUDIO, Kind.VOICE, Kind.DOCUMENT, Kind.STICKER})
REPEATABLE: Final = frozenset({Kind.REACTION, Kind.EDIT, Kind.REVOCATION, Kind.READ})


@dataclass(frozen=True, slots=True)
class File:
    """A file to be sent, as the service has checked it. Clients never write this.

    Attributes:
        id: What it is called in the folder `outgoing` beside the outbox.
        sha256: Its hash, in hexadecimal digits.
        size: Its bytes.
        mime_type: Its type, by its content.
        name: The name that the receiver sees, of documents.
        width: Pixels, 0 if they are not known.
        height: The same.
        seconds: The length of a sound or a video, 0 if it is not known.
        animated: Whether a sticker moves.
        thumbnail: A small JPEG, empty without one.
        waveform: The loudness of a voice note in 64 steps from 0 to 100, empty without one.
    """

    id: str
    sha256: str
    size: int
    mime_type: str
    name: str | None = field(default=None, repr=False)
    width: int = 0
    height: int = 0
    seconds: int = 0
    animated: bool = False
    thumbnail: bytes = field(default=b"", repr=False)
    waveform: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a link. The gateway fetches it. Clients never write this.

    Attributes:
        url: The link, as it stands in the text.
        title: The page's title.
        description: What the page says of itself, None if it says nothing.
        thumbnail: A small JPEG, empty without one.
    """

    url: str = field(repr=False)
    title: str = field(repr=False)
    description: str | None = field(default=None, repr=False)
    thumbnail: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text.

    Attributes:
        text: What it says.
        mentions: Addresses of the people whom it mentions.
        link_preview: Whether the first link of the text is shown with title and picture, if there is one.
        preview: What is shown of the link, once the gateway has fetched it; None without.
    """

    text: str = field(repr=False)
    mentions: tuple[str, ...] = field(default=(), repr=False)
    link_preview: bool = False
    preview: Preview | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Media:
    """A file.

    Attributes:
        kind: What it is shown as.
        media: The identifier of an upload, None otherwise.
        link: Where it is to be fetched, None otherwise. The gateway fetches it, and nobody else.
        file: The file itself, once the service has it.
        caption: A text that belongs to it, of images, videos and documents.
        file_name: The name that the receiver sees, of documents.
        mentions: Addresses of the people whom the caption mentions.
    """

    kind: Kind
    media: str | None = None
    link: str | None = field(default=None, repr=False)
    file: File | None = field(default=None, repr=False)
    caption: str | None = field(default=None, repr=False)
    file_name: str | None = field(default=None, repr=False)
    mentions: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Location:
    """A place, in degrees."""

    latitude: float = field(repr=False)
    longitude: float = field(repr=False)
    name: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Contact:
    """A person in an address book: a name and numbers with +, or a whole card (RFC 6350)."""

    name: str = field(repr=False)
    phones: tuple[str, ...] = field(default=(), repr=False)
    vcard: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Contacts:
    """One contact or more."""

    contacts: tuple[Contact, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll. `selectable` is how many options a vote may choose; 0: as many as there are."""

    name: str = field(repr=False)
    options: tuple[str, ...] = field(repr=False)
    selectable: int = 1


@dataclass(frozen=True, slots=True)
class Reaction:
    """A reaction to a message; an empty emoji takes it back."""

    message: str = field(repr=False)
    emoji: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Edit:
    """Another text in place of one that the account has sent."""

    message: str = field(repr=False)
    text: str = field(repr=False)
    mentions: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A message is deleted for everyone: an own one, or anybody's in a group that the account governs."""

    message: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Read:
    """Messages are marked as read: their senders see it."""

    messages: tuple[str, ...] = field(repr=False)


Content: TypeAlias = Text | Media | Location | Contacts | Poll | Reaction | Edit | Revocation | Read


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to be sent to a chat.

    Attributes:
        to: The chat's address.
        content: What is sent.
        reply_to: Identifier of the message of that chat that it answers, None for none.
        tag: A text of the client's own that comes back with each status, None for none.
    """

    to: str = field(repr=False)
    content: Content
    reply_to: str | None = field(default=None, repr=False)
    tag: str | None = field(default=None, repr=False)

    @property
    def kind(self) -> Kind:
        """What is sent."""
        return self.content.kind if isinstance(self.content, Media) else _KINDS[type(self.content)]

    @property
    def words(self) -> str:
        """The text that people read in it, by which the time of typing is counted."""
        match self.content:
            case Text(text) | Edit(text=text):
                return text
            case Media(caption=caption):
                return caption or ""
            case Poll(name):
                return name
        return ""


_KINDS: Final[Mapping[type[Any], Kind]] = {
    Text: Kind.TEXT, Location: Kind.LOCATION, Contacts: Kind.CONTACT, Poll: Kind.POLL,
    Reaction: Kind.REACTION, Edit: Kind.EDIT, Revocation: Kind.REVOCATION, Read: Kind.READ,
}  # fmt: skip
