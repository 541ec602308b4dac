"""What people do with their phones: write, read, type, call. The part of `SandboxClient` about messages."""

from __future__ import annotations

import base64
from typing import Final, Literal, TypeAlias

from orchestrator.sandbox.requests import Json, Requests, in_base64

MediaKind: TypeAlias = Literal["image", "sticker", "video", "audio", "document", "voice", "video_note"]

CHANNEL: Final = "120363400000000001@newsletter"
"""The address of a channel."""


class Talking(Requests):
    """Messages of phones: what they send, and what they have received."""

    # Messages

    def send(
        self,
        sender: str,
        to: str,
        kind: str = "text",
        *,
        data: bytes | None = None,
        message: bytes | None = None,
        **content: object,
    ) -> str:
        """Send a message of any kind from a phone; return the message's ID.

        The table of kinds, each with what it takes, is in docs/sandbox.md. An example:
        ``send(ada, bot, "poll", question="Lunch?", options=["yes", "no"])``.

        Args:
            sender: The phone's number.
            to: A number, a group's address, or ``status``.
            kind: The kind of message.
            data: The bytes of an attachment, at most some 48 MB.
            message: The bytes of a message of the kind ``raw``, which is protobuf.
            **content: What the kind takes besides, and what every kind takes.
        """
        body: Json = {key: value for key, value in content.items() if value is not None}
        body |= {"from": sender, "to": to, "kind": kind}
        if data is not None:
            body["data"] = in_base64(data)
        if message is not None:
            body["message"] = in_base64(message)
        return str(self._object("POST", "/send", body)["id"])

    def send_text(self, sender: str, to: str, text: str) -> str:
        """Send a text from a phone to a number or a group's address; return the message's ID."""
        return self.send(sender, to, text=text)

    def send_media(
        self,
        sender: str,
        to: str,
        kind: MediaKind,
        data: bytes,
        *,
        mime: str | None = None,
        caption: str | None = None,
        file_name: str | None = None,
    ) -> str:
        """Send an attachment from a phone; return the message's ID.

        Args:
            sender: The phone's number.
            to: A number or a group's address.
            kind: What the receiver shows the attachment as.
            data: The attachment's bytes, at most some 48 MB.
            mime: The attachment's type; what is usual for the kind if not given.
            caption: The text below an image, video or document.
            file_name: The name of a document.
        """
        captioned = kind in ("image", "video", "document")
        return self.send(
            sender,
            to,
            kind,
            data=data,
            mime=mime,
            caption=(caption or None) if captioned else None,
            file_name=(file_name or None) if kind == "document" else None,
        )

    def send_burst(
        self, sender: str, to: str, count: int, rate: float = 0, *, text: str = "message"
    ) -> list[str]:
        """Begin to send many texts, numbered ``message 1 of 200``; return their IDs at once, in order.

        The event ``burst`` tells when all are sent, with the ID of the last one as ``last``.

        Args:
            sender: The phone's number.
            to: A number or a group's address.
            count: How many texts.
            rate: Texts a second; 0 is as fast as possible.
            text: What stands before the number. ``{now}`` in it is when a message is sent, in Unix
                seconds.
        """
        body: Json = {"from": sender, "to": to, "count": count, "rate": rate, "text": text}
        return list(self._object("POST", "/burst", body)["ids"])

    def send_unavailable(
        self, sender: str, to: str, why: Literal["view_once", "fanout"] = "view_once"
    ) -> str:
        """Send a message that linked devices hear of, but do not get; return the message's ID."""
        body = {"from": sender, "to": to, "type": why}
        return str(self._object("POST", "/unavailable", body)["id"])

    def post_in_channel(self, to: str, text: str, channel: str = CHANNEL) -> str:
        """Post in a channel that a number follows: its linked devices get the post; return the post's ID.

        Args:
            to: The number that follows the channel.
            text: What is posted.
            channel: The channel's address.
        """
        return str(self._object("POST", "/channel", {"to": to, "text": text, "channel": channel})["id"])

    def read(
        self,
        phone: str,
        message_id: str,
        kind: Literal["read", "played", "server-error", "enc_rekey_retry"] = "read",
        *,
        secretly: bool = False,
    ) -> None:
        """Open a message that the phone has received.

        The message's sender gets a read receipt, and the phone's linked devices hear of it.

        Args:
            phone: The phone's number.
            message_id: The message.
            kind: ``played`` for a voice note that the owner has listened to; the others for what the phone
                could not use.
            secretly: The owner does not let others know: only the linked devices hear of it.
        """
        self._ask("POST", "/read", {"phone": phone, "id": message_id, "type": kind, "secretly": secretly})

    def show_typing(
        self, sender: str, to: str, state: Literal["composing", "recording", "paused"] = "composing"
    ) -> int:
        """Show the clients of a chat that somebody types there; return how many are told.

        Only clients are told that have said that they are available, as with WhatsApp.
        """
        return int(self._object("POST", "/typing", {"from": sender, "to": to, "state": state})["told"])

    def show_presence(self, phone: str, *, available: bool, last_seen: int | None = None) -> int:
        """Show the clients that have subscribed to it whether a phone is online; return how many are told."""
        body = {"phone": phone, "available": available, "last_seen": last_seen}
        return int(self._object("POST", "/presence", body)["told"])

    def call(
        self,
        sender: str,
        to: str,
        *,
        video: bool = False,
        group: str | None = None,
        notice: bool = False,
        seconds: float | None = None,
    ) -> str:
        """Call a number: all its linked devices ring; return the call's ID.

        The event ``call-rejected`` tells that a client has declined, ``call-ended`` that the call is over.

        Args:
            sender: Who calls.
            to: Who is called.
            video: With a picture.
            group: The group that the call is for.
            notice: The devices are only told that there is a call, as in a large group.
            seconds: How long the call rings; 30 if not given.
        """
        body: Json = {"from": sender, "to": to, "video": video, "group": group, "notice": notice}
        if seconds is not None:
            body["seconds"] = seconds
        return str(self._object("POST", "/call", body)["call"])

    def hang_up(self, call: str) -> None:
        """End a call that rings, as the caller does."""
        self._ask("POST", "/call/end", {"call": call})

    def set_clock(self, ahead: float) -> float:
        """Let WhatsApp's clock be so many seconds ahead, or behind if less than 0; return its time.

        All times that the sandbox tells clients move with the clock. Codes, faults and time-outs do not.
        """
        return float(self._object("POST", "/clock", {"ahead": ahead})["now"])

    def inbox(self, phone: str, after: int = 0) -> list[Json]:
        """Return what a phone has received, decrypted, oldest first.

        Keys: seq, id, at, direction (``in``, or ``copy`` of what a linked device of its own has sent), from,
        chat, group, kind; text for a text; mime, caption, file_name, sha256, size or error for an attachment.

        Args:
            phone: The phone's number.
            after: A seq: only what came later.
        """
        return self._list("GET", "/inbox", query={"phone": phone, "after": after})

    def sent(self, phone: str) -> list[Json]:
        """Return what a phone has sent, oldest first, and who has received and read it.

        Keys: id, to, kind and what the kind has, as in `inbox`; delivered, read and played: numbers.
        """
        return self._list("GET", "/sent", query={"phone": phone})

    def messages(self, phone: str, chat: str | None = None) -> list[Json]:
        """Return the messages of a phone's chats as its owner sees them now, oldest first.

        What was said of a message is in the message: ``text`` or ``caption`` after the last edit, and
        ``edits``, their number; ``reactions``, number to emoji; ``votes``, number to options; ``pinned_by``;
        ``deleted_by``, without any content. The owner's own messages have ``delivered``, ``read`` and
        ``played``: numbers.

        Args:
            phone: The phone's number.
            chat: Only the chat with this number, or of this group.
        """
        return self._list("GET", "/messages", query={"phone": phone, **({"chat": chat} if chat else {})})

    def typing(self, phone: str) -> list[Json]:
        """Return who is shown as writing on a phone.

        Keys: from, group (empty in a chat with one person), state (``composing`` or ``recording``).
        """
        return self._list("GET", "/typing", query={"phone": phone})

    def attachment(self, phone: str, seq: int) -> bytes:
        """Return the decrypted bytes of an attachment, by its seq in the phone's inbox."""
        answer = self._object("GET", "/attachment", query={"phone": phone, "seq": seq})
        return base64.b64decode(answer["data"])
