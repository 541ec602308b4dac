"""What the owner of a phone sees of others besides their messages: ticks, and who is writing."""

from __future__ import annotations

from typing import Any, Final

from orchestrator.sandbox.server import chats, judging, messaging, reading
from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.shelf import Shelf, sent_at
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.content import Message
from orchestrator.sandbox.wire.jid import BROADCAST, GROUP, JID
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.proto import ProtoError

MAX_TICKS: Final = 10_000
"""Messages of which a phone knows who has received and read them. A restart of the sandbox forgets it."""
_DELIVERED: Final = ("delivered", "inactive")
_TICKS: Final = ("", *_DELIVERED, *messaging.READ)
"""What receipts say, each more than those before."""


class Screen:
    """The screen of one phone.

    Args:
        hub: The server's common ground.
        person: Whose phone it is.
        shelf: What the phone has at hand.
    """

    def __init__(self, hub: Hub, person: Person, shelf: Shelf) -> None:
        self._hub = hub
        self._person = person
        self._shelf = shelf
        self._ticks: dict[str, dict[str, str]] = {}
        self._typing: dict[tuple[str, str], str] = {}

    def shows_receipt(self, message_id: str, by: str, kind: str) -> bool:
        """Take what a receipt says of a message; return whether the phone shows something of it.

        Args:
            message_id: The message's id.
            by: Whose receipt it is: a number.
            kind: The receipt's type.
        """
        if kind in messaging.READ and not self._wrote(message_id):
            self._ignore(message_id, "a read mark for no message of this phone")
            return False
        if kind in (*messaging.READ, *_DELIVERED) and by != self._person.number:
            ticks = self._ticks.setdefault(message_id, {})
            if _TICKS.index(ticks.get(f"+{by}", "")) < _TICKS.index(kind):
                ticks[f"+{by}"] = kind
            while len(self._ticks) > MAX_TICKS:
                del self._ticks[next(iter(self._ticks))]
        return True

    def shows(self, message: Any, shown: dict[str, Any], stanza: Node, sender: JID, chat: str) -> bool:  # noqa: ANN401
        """Tell whether the phone shows a message, a protobuf; else the event ``phone-ignored`` says why not.

        Args:
            message: The message.
            shown: What `reading` says of it.
            stanza: The stanza in which it came.
            sender: Who has sent it, and from which device.
            chat: A number with its plus, or a group's address.
        """
        message_id = stanza.text("id")
        where = self._place(chat)
        if where is None:
            self._ignore(message_id, "there is no such chat")
            return False
        by = self._hub.store.person_by_jid(sender)
        group = self._hub.store.group(where.user) if where.server == GROUP else None
        scene = judging.Scene(
            sender=sender.bare,
            chat=where,
            type=stanza.text("type"),
            edit=stanza.text("edit"),
            media_type=next((kind for enc in stanza.all("enc") if (kind := enc.text("mediatype"))), ""),
            now=self._hub.now(),
            people=self._somebody,
            is_admin=bool(group and by and group.members.get(by.number)),
        )
        earlier = self._shelf.earlier(shown["of"]) if shown.get("of") else None
        known = self._shelf.has(message_id, sender)
        why = "it has come before" if known else judging.flaw(message, shown, earlier, scene)
        if why:
            self._ignore(message_id, why)
        return not why

    def _place(self, chat: str) -> JID | None:
        """Return the address of a chat; what a client says of copies of its own messages can be anything."""
        person = self._hub.store.person(chat.removeprefix("+"))
        try:
            address = person.lid_jid if person else JID.parse(chat)
        except ValueError:
            return None
        return address if person or (address.user and address.server in (GROUP, BROADCAST)) else None

    def take_typing(self, sender: Person, group: str, state: str) -> None:
        """Take that somebody types or records, or does no longer."""
        self.wrote(sender.lid_jid, group)
        if state != "paused":
            self._typing[str(sender.lid_jid), group] = state

    def wrote(self, sender: JID, group: str) -> None:
        """Take that somebody is done with writing, since there is a message."""
        self._typing.pop((str(sender.bare), group), None)

    def typing(self) -> list[dict[str, str]]:
        """Return who is shown as writing: ``from``, ``group`` and ``state``."""
        return [
            {"from": self._shelf.name_of(address), "group": group, "state": state}
            for (address, group), state in self._typing.items()
        ]

    def sent(self) -> list[dict[str, Any]]:
        """Return what the phone has sent, oldest first, and who has received and read it."""
        shown = []
        for message_id, chat, _, plain in self._hub.store.sent_messages(self._person.number):
            about = {"id": message_id, "to": self._shelf.name_of(chat)}
            shown.append({**about, **self._content(plain), **self._ticks_of(message_id)})
        return shown

    def messages(self, chat: str) -> list[dict[str, Any]]:
        """Return the messages of all chats, or of one, as the owner sees them now; oldest first.

        Args:
            chat: A number with its plus, or a group's address; empty for all chats.
        """
        received = self._hub.store.inbox(self._person.number)
        sent = [
            {
                "id": message_id,
                "at": sent_at(kind),
                "from": f"+{self._person.number}",
                "chat": self._shelf.name_of(to),
                **self._content(plain),
            }
            for message_id, to, kind, plain in self._hub.store.sent_messages(self._person.number)
        ]
        own = f"+{self._person.number}"
        return [
            {**one, **(self._ticks_of(one["id"]) if one["from"] == own else {})}
            for one in chats.fold(received, sent)
            if not chat or one["chat"] == chat
        ]

    def _content(self, plain: bytes) -> dict[str, Any]:
        try:
            content = reading.read(Message.decode(plain), self._person.lid_jid, self._shelf)
        except ProtoError:
            content = None
        return content or {"kind": "unsupported"}

    def _ticks_of(self, message_id: str) -> dict[str, list[str]]:
        """Return who has received, read and played a message; who has read it has received it, too."""
        ticks = self._ticks.get(message_id, {})
        return {
            "delivered": sorted(ticks),
            "read": sorted(by for by, kind in ticks.items() if kind in messaging.READ),
            "played": sorted(by for by, kind in ticks.items() if kind == "played"),
        }

    def _wrote(self, message_id: str) -> bool:
        """Tell whether the owner has sent a message, from the phone or from a linked device."""
        if self._hub.store.sent(self._person.number, message_id) is not None:
            return True
        record = self._hub.store.inbox_message(self._person.number, message_id)
        return record is not None and record["direction"] == "copy"

    def _somebody(self, address: str) -> Person | None:
        try:
            return self._hub.store.person_by_jid(JID.parse(address))
        except ValueError:
            return None

    def _ignore(self, message_id: str, why: str) -> None:
        """Show nothing of something, as phones do with what fits nothing that they know."""
        self._hub.events.add("phone-ignored", phone=self._person.number, id=message_id, why=why)
