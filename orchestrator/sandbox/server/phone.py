"""The phone of a number: links clients, and sends and receives messages itself, end-to-end encrypted."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections import Counter
from collections.abc import Sequence
from typing import Any

from orchestrator.sandbox.crypto import linking
from orchestrator.sandbox.crypto.keys import CryptoError, KeyPair
from orchestrator.sandbox.crypto.signal import PreKeyMessage, SignalError, SignalPhone
from orchestrator.sandbox.server import contents, groups, messaging, reading
from orchestrator.sandbox.server.contents import Content
from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.desk import Desk, verified
from orchestrator.sandbox.server.faults import Who
from orchestrator.sandbox.server.fields import Bad, Field, parse_number
from orchestrator.sandbox.server.screen import Screen
from orchestrator.sandbox.server.sealing import Sealer, copy_of, spoilt
from orchestrator.sandbox.server.shelf import Shelf
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.jid import GROUP, JID, STATUS
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.proto import ProtoError

MAX_RETRIES = 5
"""How often a phone sends a message again to a device that cannot decrypt it."""
MAX_ID = 128
"""Characters of a message's id."""


def new_id() -> str:
    """Return a new id for a message."""
    return "3EB0" + secrets.token_hex(9).upper()


class Phone:
    """The phone of one person: device 0.

    Attributes:
        person: Whose it is.
        linking: Held while it links a client.
        screen: What its owner sees of others besides their messages.
    """

    def __init__(self, hub: Hub, person: Person) -> None:
        self.person = person
        self.linking = asyncio.Lock()
        self._hub = hub
        self._sealer = Sealer(hub, person)
        self._shelf = Shelf(hub, person)
        self.screen = Screen(hub, person, self._shelf)
        self._unrepaired: set[str] = set()
        self._asked: Counter[tuple[str, str]] = Counter()

    @property
    def identity(self) -> KeyPair:
        """The account's identity key, with which it signs its linked devices."""
        return self._sealer.identity

    @property
    def signal(self) -> SignalPhone:
        """The phone's end of its Signal sessions."""
        return self._sealer.signal

    def save(self) -> None:
        """Keep the sessions for a restart."""
        self._sealer.save()

    def forget_sessions(self) -> None:
        """Lose every session, as a phone does that was set up anew without its old messages."""
        self._sealer.forget()

    # Sending

    def send_text(self, to: JID, text: str) -> str:
        """Send a text to a person or a group; return the message's id."""
        return self.send(to, Field({"kind": "text", "text": text}))

    def send(self, to: JID, given: Field) -> str:
        """Send a message of any kind; return the message's id.

        Args:
            to: A person, a group, or `STATUS`.
            given: What `orchestrator.sandbox.server.contents` knows: the kind, and the kind's options.

        Raises:
            Bad: A value is missing or wrong.
            NotPossible: WhatsApp would not let the phone do that.
        """
        content = contents.compose(given, Desk(self._hub, self.person, self._shelf, to))
        message_id = given.optional("id") or new_id()
        if len(message_id) > MAX_ID:
            raise Bad(f"'id' must have at most {MAX_ID} characters")
        stamp = verified(name) if (name := given.optional("business")) else ()
        viewers = given.texts("viewers") if given.body.get("viewers") is not None else None
        self._send(to, message_id, content, stamp=stamp, viewers=viewers)
        self.save()
        return message_id

    def _send(
        self,
        to: JID,
        message_id: str,
        content: Content,
        *,
        stamp: Sequence[Node] = (),
        viewers: list[str] | None = None,
    ) -> None:
        kind = json.dumps({"type": content.kind, "edit": content.edit, "at": round(self._hub.now(), 3)})
        self._hub.store.remember_sent(self.person.number, message_id, str(to), kind, content.plain)
        parts, shared = self._seal(to, content, viewers)
        attrs: dict[str, str | JID] = {"id": message_id, "type": content.kind, "edit": content.edit, "to": to}
        if content.peer:
            attrs["category"] = "peer"
        if fault := self._hub.strikes("undecryptable", Who(0, None, True, self.person.number, 0)):
            parts, shared = spoilt(parts, shared)
            if not fault.params["repair"]:
                self._unrepaired.add(message_id)
        meta = [Node("meta", content.meta)] if content.meta else []
        message = Node("message", attrs, [Node("participants", {}, parts), *shared, *meta])
        self._hub.events.add("phone-sent", phone=self.person.number, id=message_id, type=content.kind)
        messaging.route(self._hub, self.person, 0, message, stamp=stamp)

    def _seal(self, to: JID, content: Content, viewers: list[str] | None) -> tuple[list[Node], list[Node]]:
        plain, media_type = content.plain, content.media_type
        if to == STATUS:
            return self._seal_status(content, viewers)
        if to.server == GROUP:
            devices = groups.device_addresses(self._hub, to)
            return self._sealer.seal_for_group(to, devices, plain, media_type)
        if content.peer:
            own = [device.device for device in self._hub.store.devices(self.person.number)]
            addresses = [self.person.lid_jid.with_device(number) for number in own]
            parts = [Node("to", {"jid": one}, [self._sealer.seal(one, plain)]) for one in addresses]
            return parts, []
        receiver = self._hub.store.person_by_jid(to)
        assert receiver is not None, "the caller looks people up"
        return self._sealer.seal_for_people(to, [receiver], plain, media_type), []

    def _seal_status(self, content: Content, viewers: list[str] | None) -> tuple[list[Node], list[Node]]:
        """Encrypt a status post, which names everybody who may see it."""
        store = self._hub.store
        people = (
            store.people() if viewers is None else [self._hub.person(parse_number(one)) for one in viewers]
        )
        devices = [
            person.lid_jid.with_device(number)
            for person in dict.fromkeys((*people, self.person))
            for number in self._hub.device_numbers(person)
        ]
        keyed, shared = self._sealer.seal_for_group(STATUS, devices, content.plain, content.media_type)
        named = {part.jid("jid") for part in keyed}
        rest = [
            Node("to", {"jid": one}) for one in devices if one not in named and one != self.person.lid_jid
        ]
        return [*keyed, *rest], shared

    def send_unavailable(self, to: JID, kind: str) -> str:
        """Send a message that linked devices are told of, but do not get; return its id.

        Args:
            to: A person or a group.
            kind: Why: ``view_once`` or ``fanout``.
        """
        message_id = new_id()
        attrs: dict[str, str | JID] = {"id": message_id, "type": "media" if kind == "view_once" else "text"}
        if to.server == GROUP:
            devices = groups.device_addresses(self._hub, to)
        else:
            receiver = self._hub.store.person_by_jid(to)
            numbers = self._hub.device_numbers(receiver) if receiver else []
            devices = [to.with_device(number) for number in numbers]
        parts = [Node("to", {"jid": device}) for device in devices if device.device]
        message = Node("message", {**attrs, "to": to}, [Node("participants", {}, parts)])
        notice = [Node("unavailable", {"type": kind})]
        self._hub.events.add("phone-sent", phone=self.person.number, id=message_id, type="unavailable")
        messaging.route(self._hub, self.person, 0, message, stamp=notice, linked_only=True)
        return message_id

    def read(self, message_id: str, kind: str = "read", *, tell_sender: bool = True) -> bool:
        """Open a received message: its sender is told, and the owner's linked devices are.

        Args:
            message_id: The message's id.
            kind: ``read``, ``played`` for a voice note, or what a phone says of a message that it cannot use.
            tell_sender: Whether the owner lets others know what was read.

        Returns:
            False if there is no such message.
        """
        record = self._hub.store.inbox_message(self.person.number, message_id)
        if record is None or record["direction"] != "in":
            return False
        receipt = Node("receipt", {"id": message_id})
        if tell_sender:
            self._send_receipt(JID.parse(record["sender"]), receipt, kind, record["group"])
        if kind in messaging.READ:
            messaging.tell_own_devices(self._hub, self.person, record, f"{kind}-self")
        return True

    # Receiving

    def receive(self, stanza: Node) -> None:
        """Take a message in: decrypt it, keep it in clear text, and confirm it to its sender.

        One that came before is only confirmed: clients send again what was cut off before its ack.
        """
        sender = stanza.jid("participant" if "participant" in stanza.attrs else "from")
        group = str(stanza.jid("from")) if "participant" in stanza.attrs else ""
        kind = "sender" if self._hub.store.person_by_jid(sender) == self.person else ""
        try:
            self._check_device(sender, stanza)
            plains = [self._sealer.open(sender, group, enc) for enc in stanza.all("enc")]
        except (CryptoError, ProtoError) as error:
            # A second time nothing decrypts: each key is used once.
            if self._shelf.has(stanza.text("id"), sender):
                self._send_receipt(sender, stanza, kind, group)
                return
            self._hub.events.add(
                "phone-undecryptable", phone=self.person.number, id=stanza.text("id"), error=str(error)
            )
            self._ask_again(sender, stanza, group)
            return
        self.save()
        for plain in plains:
            self._keep(sender, stanza, group, *plain)
        self._send_receipt(sender, stanza, kind, group)

    def _check_device(self, sender: JID, stanza: Node) -> None:
        """See that a session is begun by a device that the sender's account has linked.

        Raises:
            SignalError: The message does not prove it.
        """
        first = next((enc for enc in stanza.all("enc") if enc.text("type") == "pkmsg"), None)
        if first is None or sender.device == 0:
            return
        person = self._hub.store.person_by_jid(sender)
        account = self._hub.phone(person.number).identity.public if person else b""
        identity = stanza.find("device-identity")
        device = PreKeyMessage.parse(first.data).identity
        if identity is None or not linking.is_companion(account, device, identity.data):
            raise SignalError("the message does not prove that its sender is a linked device")

    def _keep(self, sender: JID, stanza: Node, group: str, plain: Any, data: bytes) -> None:  # noqa: ANN401
        chat, inner = group, plain
        person = self._hub.store.person_by_jid(sender)
        direction = "copy" if person == self.person else "in"
        if plain.HasField("device_sent") and person == self.person:  # from others it is a forgery
            inner = plain.device_sent.message
            data = inner.SerializeToString()
            chat = self._shelf.name_of(plain.device_sent.destination)
        elif not group:
            chat = f"+{person.number}" if person else str(sender)
        if stanza.text("category") == "peer":
            return  # what a linked device asks of its phone is no message
        content = reading.read(inner, sender, self._shelf)
        if content is None:
            return  # a sender key, or something else without anything to show
        if not self.screen.shows(inner, content, stanza, sender, chat):
            return
        self.screen.wrote(sender, group)
        record = {
            "id": stanza.text("id"),
            "at": round(self._hub.now(), 3),
            "direction": direction,
            "from": f"+{person.number}" if person else str(sender),
            "sender": str(sender),
            "chat": chat,
            "group": group,
            **content,
            "plain": base64.b64encode(data).decode(),
        }
        seq = self._hub.store.add_inbox(self.person.number, record)
        self._hub.events.add(
            "received", phone=self.person.number, id=record["id"], kind=content["kind"], inbox=seq
        )

    def attachment(self, seq: int) -> bytes | None:
        """Return the clear bytes of a received attachment by its number in the inbox."""
        for message in self._hub.store.inbox(self.person.number, seq - 1):
            if message["seq"] == seq:
                return reading.attachment(message, self._shelf)
        return None

    # Receipts

    def _send_receipt(self, to: JID, message: Node, kind: str, group: str, *children: Node) -> None:
        attrs: dict[str, str | JID] = {"id": message.text("id")}
        address = to
        if group:
            attrs["participant"] = to
            address = JID.parse(group)
        if kind == "sender" and "recipient" in message.attrs:
            attrs["recipient"] = message.attrs["recipient"]
        receipt = Node("receipt", attrs, list(children) or None)
        messaging.pass_receipt(self._hub, self.person, 0, receipt, address, kind)

    def _ask_again(self, sender: JID, message: Node, group: str) -> None:
        """Tell the sender that its message could not be decrypted, with what it needs to begin anew.

        What is no message the second time is none for ever: a phone gives up, as it does on its own messages.
        """
        self._asked[str(sender), message.text("id")] += 1
        count = self._asked[str(sender), message.text("id")]
        if count > MAX_RETRIES:
            return
        bundle = self.signal.bundle()
        skey = [
            Node("id", {}, bundle.signed_prekey_id.to_bytes(3)),
            Node("value", {}, bundle.signed_prekey),
            Node("signature", {}, bundle.signature),
        ]
        keys = [Node("type", {}, b"\x05"), Node("identity", {}, bundle.identity), Node("skey", {}, skey)]
        message_id, now = message.text("id"), str(int(self._hub.now()))
        self._send_receipt(
            sender,
            message,
            "retry",
            group,
            Node("retry", {"count": str(count), "id": message_id, "t": now, "v": "1"}),
            Node("registration", {}, bundle.registration_id.to_bytes(4)),
            Node("keys", {}, keys),
        )

    def take_receipt(self, receipt: Node) -> None:
        """Take a receipt for a message of this phone; one that asks for it again is answered."""
        sender = receipt.jid("participant" if "participant" in receipt.attrs else "from")
        kind = receipt.text("type") or "delivered"
        person = self._hub.store.person_by_jid(sender)
        by = person.number if person else str(sender)
        for message_id in messaging.receipt_ids(receipt):
            if self.screen.shows_receipt(message_id, by, kind):
                self._hub.events.add("receipt", phone=self.person.number, id=message_id, type=kind, by=by)
        retry = receipt.find("retry")
        count = retry.text("count", "1") if retry else "1"
        if kind == "retry" and count.isdecimal() and int(count) <= MAX_RETRIES:
            self._send_again(sender, receipt.text("id"))

    def _send_again(self, receiver: JID, message_id: str) -> None:
        remembered = self._hub.store.sent(self.person.number, message_id)
        if remembered is None or message_id in self._unrepaired:
            return
        chat, kind, plain = remembered
        if not self._is_in(chat, receiver):
            return
        if self._hub.store.person_by_jid(receiver) == self.person and not chat.endswith(f"@{GROUP}"):
            plain = copy_of(plain, chat)
        elif chat.endswith(f"@{GROUP}") or chat == str(STATUS):
            plain = self._sealer.with_group_key(chat, plain)
        try:
            enc = self._sealer.seal(receiver, plain, anew=True)
        except SignalError:
            return  # the device has gone
        self.save()
        attrs: dict[str, str | JID] = {
            "id": message_id,
            **_stanza_facts(kind),
            "to": JID.parse(chat),
            "participant": receiver,
        }
        messaging.route(self._hub, self.person, 0, Node("message", attrs, [enc]))

    def _is_in(self, chat: str, address: JID) -> bool:
        """Tell whether a message to a chat was for that device's person, too."""
        person = self._hub.store.person_by_jid(address)
        if person is None:
            return False
        if chat == str(STATUS):
            return True
        group = self._hub.store.group(JID.parse(chat).user) if chat.endswith(f"@{GROUP}") else None
        if group is not None:
            return person.number in group.members
        return person in (self.person, self._hub.store.person_by_jid(JID.parse(chat)))


def _stanza_facts(kind: str) -> dict[str, str]:
    """Return what the stanza of a remembered message says; of earlier versions, only the type is known."""
    facts = json.loads(kind) if kind.startswith("{") else {"type": kind}
    return {name: facts[name] for name in ("type", "edit") if name in facts}
