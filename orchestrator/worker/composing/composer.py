"""Makes things ready to be sent: finds the messages that they are about, uploads files, builds messages."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.messages.allow import HIDDEN, PERSON
from orchestrator.messages.entry import Stored
from orchestrator.messages.loss import bare
from orchestrator.sending.forms import (
    Contacts,
    Edit,
    Kind,
    Location,
    Media,
    Outgoing,
    Poll,
    Reaction,
    Read,
    Revocation,
    Text,
)
from orchestrator.store.layout import OUTGOING
from orchestrator.worker import addresses
from orchestrator.worker.composing import contents, files, finding, quoting
from orchestrator.worker.composing.contents import Uploaded
from orchestrator.worker.composing.finding import Nothing, Own
from orchestrator.worker.intake import Intake

Proto: TypeAlias = Any
"""A protobuf of the library's, which ship without types."""

EDIT_SECONDS: Final = 20 * 60
"""Seconds in which a message can be edited: whatsmeow's EditWindow. Phones leave out later edits silently."""
_REFUSED_UPLOAD: Final = re.compile(r"status code (?:400|403|413|415)\b")


class Library(addresses.Library, Protocol):
    """What is needed of the library; see `library.client`. Its calls block, and raise what they like."""

    def upload(self, data: bytes, kind: Kind) -> Uploaded:
        """Put a file of a message of that kind on WhatsApp's server, encrypted."""

    def own_addresses(self) -> list[str]:
        """Return the account's own addresses."""

    def send(self, chat: str, message: Proto) -> tuple[str, float]:
        """Send a message; return its identifier and WhatsApp's time in Unix seconds."""

    def mark_read(self, chat: str, sender: str, ids: tuple[str, ...]) -> None:
        """Tell the sender of messages that they were read."""


class Unsendable(Exception):  # noqa: N818 - what it is
    """It cannot be sent, now or later.

    Args:
        why: Why not, in plain words that quote nothing.
        key: The same for programs, one of `errors.KEYS`.
    """

    def __init__(self, why: str, key: str) -> None:
        super().__init__(why)
        self.why = why
        self.key = key


@dataclass(frozen=True, slots=True)
class Marks:
    """Messages of one sender that are marked as read."""

    chat: str = field(repr=False)
    sender: str = field(repr=False)
    messages: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """What only needs to be handed to the library.

    Attributes:
        chat: The address to which it goes. The same person has two, and an answer goes where the message is.
        message: The message; None of read marks, which are none.
        marks: What is marked as read.
    """

    chat: str = field(repr=False)
    message: Proto = field(repr=False)
    marks: tuple[Marks, ...] = field(default=(), repr=False)

    def hand_over(self, library: Library) -> tuple[str, float] | None:
        """Have it sent; wait for WhatsApp's word.

        Returns:
            The identifier that the library has chosen, and WhatsApp's time in Unix seconds; None of marks.

        Raises:
            Exception: Whatever the library raises.
        """
        if self.message is not None:
            return library.send(self.chat, self.message)
        for one in self.marks:
            library.mark_read(one.chat, one.sender, one.messages)
        return None


class Composer:
    """Makes things ready to be sent. Its method may be called from several threads at once.

    Args:
        library: Uploads files, and knows who is who.
        intake: Where messages are stored.
        folder: The folder of the account's messages, with the files that wait.
        own: What the account has sent.
    """

    def __init__(self, library: Library, intake: Intake, folder: Path, own: Own | None = None) -> None:
        self._library = library
        self._intake = intake
        self._outgoing = folder / OUTGOING
        self._own = own or Nothing()
        self._one_file = threading.Lock()

    def make(self, outgoing: Outgoing, secret: bytes, now: float) -> Ready:
        """Make it ready. Blocks: the library may upload a file, or ask WhatsApp.

        Args:
            outgoing: What is to be sent.
            secret: What the library writes down before it sends, with the identifier that it has chosen.
            now: The present time in Unix seconds.

        Raises:
            Unsendable: It cannot be sent, now or later.
            Exception: Whatever the library, the disk or the inbox raises. Nothing was sent.
        """
        names = addresses.names_of(self._library, outgoing.to)
        match outgoing.content:
            case Read(messages):
                return self._marks(names, messages)
            case Reaction(id_, emoji):
                chat, author = self._about(names, id_)
                return self._ready(chat, contents.reaction(chat, id_, author, emoji, now), secret)
            case Revocation(id_):
                return self._ready(*self._revocation(names, id_), secret)
            case Edit():
                return self._ready(*self._edit(names, outgoing.content, now), secret)
        quoted = self._quoted(names, outgoing.reply_to)
        chat = outgoing.to if quoted is None else quoted.chat
        context = self._context(names, outgoing, quoted)
        message = self._content(outgoing.content, plain=context is None)
        if context is not None:
            _body(message).contextInfo.CopyFrom(context)
        return self._ready(chat, message, secret)

    def _ready(self, chat: str, message: Proto, secret: bytes) -> Ready:
        message.messageContextInfo.messageSecret = secret
        return Ready(chat, message)

    # What is said

    def _content(self, content: object, *, plain: bool) -> Proto:
        match content:
            case Text():
                return contents.text(content, plain=plain)
            case Media():
                return self._media(content)
            case Location():
                return contents.location(content)
            case Contacts():
                return contents.contacts(content)
            case Poll():
                return contents.poll(content)
        raise TypeError(f"nothing is known of a {type(content).__name__}")

    def _media(self, content: Media) -> Proto:
        if content.file is None:
            raise Unsendable("the file is not there", "file_missing")
        with self._one_file:  # the library holds each one twice while it encrypts it
            try:
                data = files.read(self._outgoing, content.file)
            except files.FileGone as error:
                raise Unsendable(str(error), "file_missing") from None
            try:
                uploaded = self._library.upload(data, content.kind)
            except Exception as error:
                if _REFUSED_UPLOAD.search(str(error)):
                    raise Unsendable("WhatsApp does not take the file", "file_unfit") from None
                raise
        return contents.media(content, content.file, uploaded)

    def _context(self, names: tuple[str, ...], outgoing: Outgoing, quoted: _Quoted | None) -> Proto | None:
        """Return what a message says of others, None if that is nothing."""
        context = quoting.empty().extendedTextMessage.contextInfo
        if isinstance(outgoing.content, Text | Media):
            context.mentionedJID.extend(outgoing.content.mentions)
        if quoted is not None:
            context.stanzaID, context.participant = quoted.id, quoted.author
            context.quotedMessage.CopyFrom(quoting.quotation(quoted.message))
        self._let_vanish(names, context)
        return context if context.ListFields() else None

    def _let_vanish(self, names: tuple[str, ...], context: Proto) -> None:
        """Have a message vanish after the time after which the others of its chat do.

        What came last there says it. Phones warn of messages that stay in such a chat.
        """
        stored = finding.last(self._intake.messages, names)
        there = None if stored is None else quoting.context_of(quoting.said(stored))
        if there is not None and there.expiration:
            context.expiration = there.expiration
            context.ephemeralSettingTimestamp = there.ephemeralSettingTimestamp

    # What it is about

    def _quoted(self, names: tuple[str, ...], message: str | None) -> _Quoted | None:
        if message is None:
            return None
        if (stored := self._stored(names, message)) is not None:
            return _Quoted(message, stored.chat, stored.sender, quoting.said(stored))
        if (row := finding.sent(self._own, names, message)) is not None:
            return _Quoted(message, names[0], self._me(names[0]), finding.shown(self._own, row))
        if self._has_sent(names, message):
            return _Quoted(message, names[0], self._me(names[0]), quoting.empty())
        raise _unknown()

    def _about(self, names: tuple[str, ...], message: str) -> tuple[str, str | None]:
        """Return the chat of a message and who has written it, None for the account itself."""
        if (stored := self._stored(names, message)) is not None:
            return stored.chat, None if quoting.is_own(stored) else stored.sender
        if finding.sent(self._own, names, message) is not None or self._has_sent(names, message):
            return names[0], None
        raise _unknown()

    def _revocation(self, names: tuple[str, ...], message: str) -> tuple[str, Proto]:
        chat, author = self._about(names, message)
        if author is not None and not chat.endswith("@g.us"):
            raise Unsendable(
                "in a chat with one person, an account can delete for everyone only what it has written",
                "not_sent",
            )
        return chat, contents.revocation(chat, message, author)

    def _edit(self, names: tuple[str, ...], content: Edit, now: float) -> tuple[str, Proto]:
        chat, author = self._about(names, content.message)
        if author is not None:
            raise Unsendable("an account can edit only what it has written itself", "not_sent")
        stored = self._stored(names, content.message)
        row = finding.sent(self._own, names, content.message)
        at = row.changed_at if row is not None else now if stored is None else stored.at
        if now - at > EDIT_SECONDS:
            raise Unsendable("a message can be edited for 20 minutes, and they are over", "not_sent")
        if not (row is None or row.kind is Kind.TEXT) or not (stored is None or _is_text(stored)):
            raise Unsendable("only texts can be edited", "not_sent")
        new = contents.text(Text(content.text), plain=not content.mentions)
        if content.mentions:
            new.extendedTextMessage.contextInfo.mentionedJID.extend(content.mentions)
        return chat, contents.edit(chat, content.message, new, now)

    def _marks(self, names: tuple[str, ...], messages: tuple[str, ...]) -> Ready:
        by_sender: dict[tuple[str, str], list[str]] = {}
        with finding.inbox(self._intake.messages, names) as find:
            for message in messages:
                if (one := find(message)) is None:
                    raise _unknown()
                if not quoting.is_own(one):
                    by_sender.setdefault((one.chat, one.sender), []).append(one.id)
        marks = tuple(Marks(chat, sender, tuple(ids)) for (chat, sender), ids in by_sender.items())
        return Ready(names[0], None, marks)

    def _stored(self, names: tuple[str, ...], message: str) -> Stored | None:
        with finding.inbox(self._intake.messages, names) as find:
            return find(message)

    def _has_sent(self, names: tuple[str, ...], message: str) -> bool:
        """Tell whether the inbox knows that the account has sent a message, whose row is gone."""
        inbox = self._intake.inbox
        return inbox is not None and inbox.ledger.sent_chats([message]).get(message) in names

    def _me(self, chat: str) -> str:
        """Return the address by which the account is known in a chat."""
        found = [bare(one) for one in self._library.own_addresses()]
        wanted = PERSON if chat.endswith(f"@{PERSON}") else HIDDEN
        return next((one for one in found if one.endswith(f"@{wanted}")), found[0] if found else "")


@dataclass(frozen=True, slots=True)
class _Quoted:
    """A message that is answered."""

    id: str
    chat: str
    author: str
    message: Proto


def _unknown() -> Unsendable:
    return Unsendable("the account knows no such message in this chat", "message_unknown")


def _is_text(stored: Stored) -> bool:
    message = quoting.said(stored)
    return any(message.HasField(one) for one in ("conversation", "extendedTextMessage"))


def _body(message: Proto) -> Proto:
    """Return the part of a message that says what it says of others."""
    if message.HasField("documentWithCaptionMessage"):
        return message.documentWithCaptionMessage.message.documentMessage
    return next(
        part
        for field, part in message.ListFields()
        if field.message_type is not None and "contextInfo" in field.message_type.fields_by_name
    )
