"""What handlers are given: events, as Python objects with types.

The objects show no text, name or number when they are printed: what is printed ends in a log. New fields and
types of events may come with later versions; `Event.data` has all that an event has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from orchestrator.bots.actions import Done, File, Sent, Turn, Typing
from orchestrator.bots.contents import Content

if TYPE_CHECKING:
    from typing import Self

Kind: TypeAlias = Literal[
    "text", "image", "video", "audio", "voice", "document", "sticker", "location", "contact", "poll",
    "unsupported",
]  # fmt: skip
"""What a message is."""
Delivery: TypeAlias = Literal["sent", "delivered", "read", "failed"]
"""How far a message that the account sent has come."""

_EPOCH: Final = "1970-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Chat:
    """A chat.

    Attributes:
        id: Its address, empty if it is not known.
        type: Whether it is with one person, or a group.
        phone: The number of the other person, with +; None for a group, and if it is not known.
        name: Its name, if there is one.
    """

    id: str = field(repr=False)
    type: Literal["direct", "group"] = "direct"
    phone: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)

    @property
    def is_group(self) -> bool:
        """Whether it is a group."""
        return self.type == "group"

    @classmethod
    def of(cls, value: object) -> Self:
        """Read it from an event."""
        said = _mapping(value)
        kind: Literal["direct", "group"] = "group" if said.get("type") == "group" else "direct"
        return cls(_text(said.get("id")) or "", kind, _text(said.get("phone")), _text(said.get("name")))


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody.

    Attributes:
        id: The address, empty if it is not known.
        phone: The number, with +; None if it is not known.
        name: What the person calls itself. Anybody can call themselves anything.
    """

    id: str = field(repr=False)
    phone: str | None = field(default=None, repr=False)
    name: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, value: object) -> Self:
        """Read it from an event."""
        said = _mapping(value)
        return cls(_text(said.get("id")) or "", _text(said.get("phone")), _text(said.get("name")))


@dataclass(frozen=True, slots=True)
class Media:
    """The file of a message. Type, size and name are what its sender says.

    Attributes:
        id: By what the service knows the file; None if there is none to fetch, as of view-once messages.
        mime_type: Its type.
        size: Bytes.
        sha256: The hash of its content.
        file_name: What the sender calls it. It is no path: do not write to it.
        caption: The text beside it.
        voice: Whether it is a voice message.
        animated: Whether it moves.
    """

    id: str | None
    mime_type: str | None = None
    size: int | None = None
    sha256: str | None = field(default=None, repr=False)
    file_name: str | None = field(default=None, repr=False)
    caption: str | None = field(default=None, repr=False)
    voice: bool = False
    animated: bool = False

    @classmethod
    def of(cls, value: object) -> Self | None:
        """Read it from an event; None if there is none."""
        if not isinstance(value, Mapping):
            return None
        size = value.get("size")
        return cls(
            id=_text(value.get("id")),
            mime_type=_text(value.get("mime_type")),
            size=size if isinstance(size, int) else None,
            sha256=_text(value.get("sha256")),
            file_name=_text(value.get("file_name")),
            caption=_text(value.get("caption")),
            voice=value.get("voice") is True,
            animated=value.get("animated") is True,
        )


@dataclass(frozen=True, slots=True)
class Quoted:
    """The message that a message answers.

    Attributes:
        id: WhatsApp's id of it.
        sender: The address of who wrote it, None if that is not known.
    """

    id: str
    sender: str | None = field(default=None, repr=False)


class Event:
    """Anything that happened.

    Args:
        raw: The event, in the form of docs/messages.md.
        turn: In which attempt it is handled.

    Attributes:
        event_id: By what the event is known. It stays the same however often the event comes.
        type: Such as `message.received`.
        account: The name of the account.
        seq: Its number in the account's inbox; None if it is about the account itself.
        stored_at: When the service stored it.
        data: All that it says.
    """

    __slots__ = ("_turn", "account", "data", "event_id", "seq", "stored_at", "type")

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        self._turn = turn
        self.event_id: str = str(raw.get("id", ""))
        self.type: str = str(raw.get("type", ""))
        self.account: str = str(raw.get("account", ""))
        seq = raw.get("seq")
        self.seq: int | None = seq if isinstance(seq, int) else None
        self.stored_at: datetime = _moment(raw.get("timestamp"))
        self.data: Mapping[str, Any] = _mapping(raw.get("data"))

    @property
    def attempt(self) -> int:
        """Which attempt this is to handle the event, from 1 on."""
        return self._turn.attempt

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.event_id} {self.type}>"


class ChatEvent(Event):
    """Something that happened in a chat.

    Attributes:
        id: WhatsApp's id of the message that it is about, empty if that is not known.
        chat: The chat.
        sender: Who did it.
        from_me: Whether that was the account itself, from its phone.
        sent_at: When, as WhatsApp says.
    """

    __slots__ = ("chat", "from_me", "id", "sender", "sent_at")

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(raw, turn)
        self.id: str = _text(self.data.get("id")) or ""
        self.chat: Chat = Chat.of(self.data.get("chat"))
        self.sender: Person = Person.of(self.data.get("sender"))
        self.from_me: bool = self.data.get("from_me") is True
        self.sent_at: datetime = _moment(self.data.get("timestamp"))


class Message(ChatEvent):
    """A message.

    What its methods ask for has begun when they return. A plain function then has the result. A coroutine
    awaits it: ``sent = await message.reply("Hello")``. What a coroutine forgets to await is done all the
    same, and the event counts as handled only after that.

    Attributes:
        kind: What it is.
        text: Its text, or the caption of its file; empty if there is none.
        media: Its file, None if there is none.
        reply_to: The message that it answers, None if there is none.
        mentions: Addresses of the people whom it mentions.
        forwarded: Whether it was passed on.
        edited: Whether this is the text after an edit.
        match: What the handler's pattern found in the text, None if the handler has no pattern.
    """

    __slots__ = ("edited", "forwarded", "kind", "match", "media", "mentions", "reply_to", "text")

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(raw, turn)
        said = self.data
        self.kind: Kind = cast("Kind", _text(said.get("kind")) or "unsupported")
        self.media: Media | None = Media.of(said.get("media"))
        self.text: str = _text(said.get("text")) or (self.media.caption if self.media else None) or ""
        quoted = _mapping(said.get("reply_to"))
        self.reply_to: Quoted | None = (
            Quoted(str(quoted["id"]), _text(quoted.get("sender"))) if quoted.get("id") else None
        )
        mentions = said.get("mentions")
        self.mentions: tuple[str, ...] = tuple(map(str, mentions)) if isinstance(mentions, list) else ()
        self.forwarded: bool = said.get("forwarded") is True
        self.edited: bool = said.get("edited") is True
        self.match: re.Match[str] | None = None

    def reply(
        self,
        content: str | Content,
        *,
        quote: bool = True,
        mentions: Sequence[str] = (),
        link_preview: bool = False,
        tag: str | None = None,
    ) -> Sent:
        """Answer in the same chat: ``message.reply("Hello")``, ``message.reply(Image("cat.jpg"))``.

        An event that is brought again sends no reply twice: the first message of a handler to a chat is the
        first one in each attempt, whatever it says, and so on.

        Args:
            content: A text of 4,096 characters at most, or an `Image`, a `Poll` and so on.
            quote: Whether it shows this message above.
            mentions: Addresses or numbers of the people whom a text mentions.
            link_preview: Whether the first link of a text is shown with title and picture.
            tag: A text of your own, which `Status` has again.

        Raises:
            ActionError: It was not sent. A coroutine gets that when it awaits.
        """
        return self._turn.send(
            self.account,
            self.chat.id,
            content,
            reply_to=self.id if quote and self.id else None,
            mentions=mentions,
            link_preview=link_preview,
            tag=tag,
        )

    def react(self, emoji: str) -> Sent:
        """React to the message.

        Args:
            emoji: One emoji; empty to take a reaction back.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.react(self.account, self.chat.id, self.id, emoji)

    def mark_read(self) -> Done:
        """Mark the message as read: its sender sees blue ticks. Nothing else does.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.mark_read(self.account, self.chat.id, [self.id])

    def revoke(self) -> Sent:
        """Delete the message for everyone, in a group that the account governs, or if the account wrote it.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.revoke(self.account, self.chat.id, self.id)

    def typing(self) -> Typing:
        """Show in the chat that the account is typing, for some seconds.

        As a context manager, it does so for as long as the block takes: ``async with message.typing():`` in
        a coroutine, ``with message.typing():`` in a plain function. Such a block never fails because of it.

        Raises:
            ActionError: It was not done. A coroutine gets that when it awaits.
        """
        return self._turn.typing(self.account, self.chat.id)

    def download(self, to: str | Path | None = None) -> File:
        """Fetch the file of the message, by way of the account if it was not fetched before.

        Args:
            to: Where to write it, None to keep it in memory. A bot of the service can write to its scratch
                folder only, which is the current folder.

        Raises:
            ActionError: It could not be fetched, or there is none. A coroutine gets that when it awaits.
        """
        return self._turn.download(self.account, self.media.id if self.media else None, to)


class Edit(Message):
    """A message as it is after an edit. `id` is that of the message that was edited.

    Attributes:
        by_author: Whether its author edited it; None if that is not known.
    """

    __slots__ = ("by_author",)

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(raw, turn)
        self.by_author: bool | None = _bool(self.data.get("by_author"))


class Revocation(ChatEvent):
    """A message was taken back. `id` is that of the message.

    Attributes:
        by_author: Whether its author took it back, or an administrator of the group; None if that is not
            known.
    """

    __slots__ = ("by_author",)

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(raw, turn)
        self.by_author: bool | None = _bool(self.data.get("by_author"))


class Reaction(ChatEvent):
    """Somebody reacted to a message.

    Attributes:
        message_id: WhatsApp's id of the message, empty if that is not known.
        emoji: The emoji; empty if the reaction was taken back.
    """

    __slots__ = ("emoji", "message_id")

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(raw, turn)
        said = _mapping(self.data.get("reaction"))
        self.message_id: str = _text(said.get("message_id")) or ""
        self.emoji: str = _text(said.get("emoji")) or ""


class Status(Event):
    """What became of a message that the account sent.

    Attributes:
        id: WhatsApp's id of the message, as `Sent.id` has it.
        chat: The chat.
        recipient: Who has it, or whom it is for; None for a group as a whole.
        status: How far it has come.
        row: Its row in the outbox, as `Sent.row` has it; None of messages that others have sent.
        tag: The text that the bot gave along with it.
        code: WhatsApp's number for why it failed.
        why: Why it failed, in plain words.
    """

    __slots__ = ("chat", "code", "id", "recipient", "row", "status", "tag", "why")

    def __init__(self, raw: Mapping[str, Any], turn: Turn) -> None:
        super().__init__(raw, turn)
        self.id: str = _text(self.data.get("id")) or ""
        self.chat: Chat = Chat.of(self.data.get("chat"))
        recipient = self.data.get("recipient")
        self.recipient: Person | None = None if recipient is None else Person.of(recipient)
        self.status: Delivery = cast("Delivery", _text(self.data.get("status")) or "sent")
        self.row: int | None = _number(self.data.get("row"))
        self.tag: str | None = _text(self.data.get("tag"))
        self.code: int | None = _number(self.data.get("code"))
        self.why: str | None = _text(self.data.get("why"))


_CLASSES: Final[Mapping[str, type[Event]]] = {
    "message.received": Message,
    "message.edited": Edit,
    "message.revoked": Revocation,
    "message.reaction": Reaction,
    "message.status": Status,
}


def make(raw: Mapping[str, Any], turn: Turn) -> Event:
    """Make the object for an event, by its type."""
    return _CLASSES.get(str(raw.get("type")), Event)(raw, turn)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _bool(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _moment(value: object) -> datetime:
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else _EPOCH)
    except ValueError:
        return datetime.fromisoformat(_EPOCH)
