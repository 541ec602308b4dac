"""What a bot can send beside a text: `message.reply(Image("cat.jpg"))`, `bot.send("support", to, Poll(…))`.

A file is bytes, or a path that the bot's process opens. A link is fetched by the service, which does so only
from public addresses. Which types and sizes WhatsApp takes is in docs/sending.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

Json: TypeAlias = dict[str, Any]
Source: TypeAlias = "bytes | str | Path | None"


@dataclass(frozen=True, slots=True)
class _File:
    """A file.

    Attributes:
        file: Its bytes, or where it is; None with a link.
        link: Where the service fetches it, None with a file.
    """

    kind: ClassVar[str]
    file: Source = field(default=None, repr=False)
    link: str | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if (self.file is None) == (self.link is None):
            raise ValueError("either a file or a link is sent")

    def as_json(self) -> Json:
        """Return it in the words of the service, without its file."""
        return {"kind": self.kind} | ({} if self.link is None else {"link": self.link})


@dataclass(frozen=True, slots=True)
class _Captioned(_File):
    """A file with a text beside it.

    Attributes:
        caption: The text, 1,024 characters at most.
        mentions: Addresses or numbers of the people whom it mentions.
    """

    caption: str | None = field(default=None, repr=False)
    mentions: Sequence[str] = field(default=(), repr=False, kw_only=True)

    def as_json(self) -> Json:
        """Return it in the words of the service, without its file."""
        return {**_File.as_json(self), "caption": self.caption, "mentions": [*self.mentions]}


@dataclass(frozen=True, slots=True)
class Image(_Captioned):
    """A picture: JPEG, PNG or WebP."""

    kind: ClassVar[str] = "image"


@dataclass(frozen=True, slots=True)
class Video(_Captioned):
    """A video: MP4 or 3GPP."""

    kind: ClassVar[str] = "video"


@dataclass(frozen=True, slots=True)
class Document(_Captioned):
    """Any file.

    Attributes:
        name: What the receiver sees it is called; None for the name of the file.
    """

    kind: ClassVar[str] = "document"
    name: str | None = field(default=None, repr=False, kw_only=True)

    def as_json(self) -> Json:
        """Return it in the words of the service, without its file."""
        return {**_Captioned.as_json(self), "file_name": self.name}


@dataclass(frozen=True, slots=True)
class Audio(_File):
    """A piece of music or the like: AAC, MP4, MP3, AMR or Ogg."""

    kind: ClassVar[str] = "audio"


@dataclass(frozen=True, slots=True)
class Voice(_File):
    """A voice note: Ogg with Opus."""

    kind: ClassVar[str] = "voice"


@dataclass(frozen=True, slots=True)
class Sticker(_File):
    """A sticker: WebP."""

    kind: ClassVar[str] = "sticker"


@dataclass(frozen=True, slots=True)
class Location:
    """A place, in degrees."""

    latitude: float = field(repr=False)
    longitude: float = field(repr=False)
    name: str | None = field(default=None, repr=False)
    address: str | None = field(default=None, repr=False)

    def as_json(self) -> Json:
        """Return it in the words of the service."""
        place = {"latitude": self.latitude, "longitude": self.longitude}
        return {"kind": "location", "location": place | {"name": self.name, "address": self.address}}


@dataclass(frozen=True, slots=True)
class Contact:
    """A person in an address book.

    Attributes:
        name: What the person is called.
        phones: Numbers with +.
        vcard: A whole card (RFC 6350) instead.
    """

    name: str = field(repr=False)
    phones: Sequence[str] = field(default=(), repr=False)
    vcard: str | None = field(default=None, repr=False)

    def as_json(self) -> Json:
        """Return it in the words of the service."""
        card: Json = {"name": self.name, "phones": [*self.phones]}
        if self.vcard is not None:
            card = {"name": self.name, "vcard": self.vcard}
        return {"kind": "contact", "contacts": [card]}


@dataclass(frozen=True, slots=True)
class Poll:
    """A poll.

    Attributes:
        question: What is asked.
        options: 2 to 12 answers.
        selectable: How many one may choose, 0 for all.
    """

    question: str = field(repr=False)
    options: Sequence[str] = field(repr=False)
    selectable: int = 1

    def as_json(self) -> Json:
        """Return it in the words of the service."""
        poll = {"name": self.question, "options": [*self.options], "selectable": self.selectable}
        return {"kind": "poll", "poll": poll}


Content: TypeAlias = Image | Video | Document | Audio | Voice | Sticker | Location | Contact | Poll


def file_of(content: str | Content) -> tuple[Source, str | None]:
    """Return the file of what is sent, and what it is called."""
    if not isinstance(content, _File):
        return None, None
    file = content.file
    return file, Path(file).name if isinstance(file, str | Path) else None
