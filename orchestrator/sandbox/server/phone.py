"""The phone of a number: links clients, and sends and receives messages itself, end-to-end encrypted."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from typing import Any, get_args

from orchestrator.sandbox.crypto import linking, media
from orchestrator.sandbox.crypto.keys import CryptoError, KeyPair
from orchestrator.sandbox.crypto.media import MediaKind
from orchestrator.sandbox.crypto.sender_keys import ReceivedSenderKeys, SenderKey
from orchestrator.sandbox.crypto.signal import PreKeyMessage, SignalError, SignalPhone
from orchestrator.sandbox.server import groups, messaging
from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.media import direct_path, media_id, stored_url
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire import proto
from orchestrator.sandbox.wire.jid import GROUP, JID
from orchestrator.sandbox.wire.node import Node, NodeError
from orchestrator.sandbox.wire.proto import ProtoError

MAX_RETRIES = 5
"""How often a phone sends a message again to a device that cannot decrypt it."""
MEDIA_KINDS: tuple[MediaKind, ...] = get_args(MediaKind)


class Phone:
    """The phone of one person: device 0.

    Attributes:
        person: Whose it is.
        linking: Held while it links a client.
    """

    def __init__(self, hub: Hub, person: Person) -> None:
        self.person = person
        self.linking = asyncio.Lock()
        self._hub = hub
        self._signal = SignalPhone.from_state(hub.store.signal_state(person.number))
        keys = hub.store.sender_keys(person.number)
        self._own_keys = {
            group: (SenderKey.from_state(entry["key"]), set(entry["given"]))
            for group, entry in keys.get("own", {}).items()
        }
        self._received_keys = {
            place: ReceivedSenderKeys.from_state(state) for place, state in keys.get("received", {}).items()
        }

    @property
    def identity(self) -> KeyPair:
        """The account's identity key, with which it signs its linked devices."""
        return self._signal.identity

    @property
    def signal(self) -> SignalPhone:
        """The phone's end of its Signal sessions."""
        return self._signal

    def save(self) -> None:
        """Keep the sessions for a restart."""
        own = {
            group: {"key": key.to_state(), "given": sorted(given)}
            for group, (key, given) in self._own_keys.items()
        }
        received = {place: keys.to_state() for place, keys in self._received_keys.items()}
        self._hub.store.save_signal(
            self.person.number, self._signal.to_state(), {"own": own, "received": received}
        )

    def forget_sessions(self) -> None:
        """Lose every session, as a phone does that was set up anew without its old messages."""
        state = self._signal.to_state()
        self._signal = SignalPhone.from_state({**state, "sessions": {}})
        self._received_keys.clear()
        self.save()

    # Sending

    def send_text(self, to: JID, text: str) -> str:
        """Send a text to a person or a group; return the message's id."""
        return self._send(to, "text", {"conversation": text})

    def send_media(
        self, to: JID, kind: MediaKind, data: bytes, *, mime: str, caption: str = "", file_name: str = ""
    ) -> str:
        """Send an attachment to a person or a group; return the message's id."""
        sealed = media.encrypt(data, kind)
        blob_id = media_id(sealed.blob_sha256)
        self._hub.store.save_media(blob_id, kind, sealed.blob)
        fields: dict[str, Any] = {
            "url": stored_url(blob_id),
            "direct_path": direct_path(blob_id),
            "mime": mime,
            "sha256": sealed.sha256,
            "blob_sha256": sealed.blob_sha256,
            "key": sealed.key,
            "length": sealed.length,
        }
        if caption and kind in ("image", "video", "document"):
            fields["caption"] = caption
        if file_name and kind == "document":
            fields["file_name"] = file_name
        return self._send(to, "media", {kind: fields})

    def _send(self, to: JID, kind: str, content: dict[str, Any]) -> str:
        message_id = "3EB0" + secrets.token_hex(9).upper()
        plain = proto.PlainMessage.encode(**content)
        copy = proto.PlainMessage.encode(device_sent={"destination": str(to), "message": content})
        self._hub.store.remember_sent(self.person.number, message_id, str(to), kind, plain)
        if to.server == GROUP:
            parts, shared = self._seal_for_group(to, plain)
        else:
            parts, shared = self._seal_for_person(to, plain, copy), []
        attrs: dict[str, str | JID] = {"id": message_id, "type": kind, "to": to}
        message = Node("message", attrs, [Node("participants", {}, parts), *shared])
        self.save()
        self._hub.events.add("phone-sent", phone=self.person.number, id=message_id, type=kind)
        messaging.route(self._hub, self.person, 0, message)
        return message_id

    def _seal_for_person(self, to: JID, plain: bytes, copy: bytes) -> list[Node]:
        receiver = self._hub.store.person_by_jid(to)
        assert receiver is not None, "the caller looks people up"
        parts = []
        for person in dict.fromkeys((receiver, self.person)):
            text = copy if person == self.person else plain
            for device in self._hub.device_numbers(person):
                address = person.lid_jid.with_device(device)
                if (person.number, device) != (self.person.number, 0):
                    parts.append(Node("to", {"jid": address}, [self._seal(address, text)]))
        return parts

    def _seal_for_group(self, group: JID, plain: bytes) -> tuple[list[Node], list[Node]]:
        key, given = self._own_keys.get(str(group), (SenderKey.make(), set()))
        distribution = {"group_id": str(group), "distribution": key.distribution()}
        key_message = proto.PlainMessage.encode(sender_key=distribution)
        parts = []
        for address in groups.device_addresses(self._hub, group):
            if address != self.person.lid_jid and str(address) not in given:
                parts.append(Node("to", {"jid": address}, [self._seal(address, key_message)]))
                given.add(str(address))
        self._own_keys[str(group)] = (key, given)
        return parts, [Node("enc", {"v": "2", "type": "skmsg"}, key.encrypt(plain))]

    def _seal(self, address: JID, plain: bytes, *, anew: bool = False) -> Node:
        bundle = None
        if anew or not self._signal.has_session(str(address)):
            person = self._hub.store.person_by_jid(address)
            bundle = self._hub.bundle((person.number, address.device)) if person else None
        kind, data = self._signal.encrypt(str(address), plain, bundle)
        return Node("enc", {"v": "2", "type": kind}, data)

    def read(self, message_id: str) -> bool:
        """Show the sender of a received message that it was read; return False if there is no such one."""
        for message in self._hub.store.inbox(self.person.number):
            if message["id"] == message_id and message["direction"] == "in":
                receipt = Node("receipt", {"id": message_id})
                self._send_receipt(JID.parse(message["address"]), receipt, "read", message["group"])
                return True
        return False

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
            plains = [self._open(sender, group, enc) for enc in stanza.all("enc")]
        except (CryptoError, ProtoError) as error:
            # A second time nothing decrypts: each key is used once.
            if self._has(sender, stanza.text("id")):
                self._send_receipt(sender, stanza, kind, group)
                return
            self._hub.events.add(
                "phone-undecryptable", phone=self.person.number, id=stanza.text("id"), error=str(error)
            )
            self._ask_again(sender, stanza, group)
            return
        self.save()
        for plain in plains:
            self._keep(sender, stanza, group, plain)
        self._send_receipt(sender, stanza, kind, group)

    def _has(self, sender: JID, message_id: str) -> bool:
        messages = self._hub.store.inbox(self.person.number)
        return any((one["id"], one["address"]) == (message_id, str(sender)) for one in messages)

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

    def _open(self, sender: JID, group: str, enc: Node) -> Any:  # noqa: ANN401 - protobuf
        if enc.text("type") == "skmsg":
            keys = self._received_keys.get(f"{group} {sender}")
            if keys is None:
                raise SignalError("the sender's key for the group is not known")
            return proto.PlainMessage.decode(keys.decrypt(enc.data))
        plain = proto.PlainMessage.decode(self._signal.decrypt(str(sender), enc.text("type"), enc.data))
        if plain.HasField("sender_key"):
            place = f"{plain.sender_key.group_id} {sender}"
            self._received_keys.setdefault(place, ReceivedSenderKeys()).process(plain.sender_key.distribution)
        return plain

    def _keep(self, sender: JID, stanza: Node, group: str, plain: Any) -> None:  # noqa: ANN401 - protobuf
        chat, inner = group, plain
        person = self._hub.store.person_by_jid(sender)
        direction = "copy" if person == self.person else "in"
        if plain.HasField("device_sent"):
            inner = plain.device_sent.message
            chat = self._number_of(JID.parse(plain.device_sent.destination))
        elif not group:
            chat = f"+{person.number}" if person else str(sender)
        content = self._content(inner)
        if content is None:
            return  # a sender key, or something else without anything to show
        record = {
            "id": stanza.text("id"),
            "at": round(time.time(), 3),
            "direction": direction,
            "from": f"+{person.number}" if person else str(sender),
            "address": str(sender),
            "chat": chat,
            "group": group,
            **content,
        }
        seq = self._hub.store.add_inbox(self.person.number, record)
        self._hub.events.add(
            "received", phone=self.person.number, id=record["id"], kind=content["kind"], inbox=seq
        )

    def _number_of(self, address: JID) -> str:
        person = self._hub.store.person_by_jid(address)
        return f"+{person.number}" if person else str(address)

    def _content(self, message: Any) -> dict[str, Any] | None:  # noqa: ANN401 - protobuf
        if message.HasField("conversation"):
            return {"kind": "text", "text": message.conversation}
        if message.HasField("extended_text"):
            return {"kind": "text", "text": message.extended_text.text}
        for kind in MEDIA_KINDS:
            if message.HasField(kind):
                return self._media_content(kind, getattr(message, kind))
        return None

    def _media_content(self, kind: MediaKind, part: Any) -> dict[str, Any]:  # noqa: ANN401 - protobuf
        content: dict[str, Any] = {
            "kind": kind,
            "mime": part.mime,
            "caption": getattr(part, "caption", ""),
            "file_name": getattr(part, "file_name", ""),
        }
        blob = self._hub.store.media(media_id(part.blob_sha256))
        try:
            if blob is None:
                raise CryptoError("nothing was uploaded for it")
            data = media.decrypt(blob, part.key, kind, sha256=part.sha256, blob_sha256=part.blob_sha256)
        except CryptoError as error:
            return {**content, "error": str(error)}
        digest = hashlib.sha256(data).hexdigest()
        return {**content, "sha256": digest, "size": len(data), "media_key": part.key.hex(),
                "media_id": media_id(part.blob_sha256)}  # fmt: skip

    def attachment(self, seq: int) -> bytes | None:
        """Return the clear bytes of a received attachment by its number in the inbox."""
        for message in self._hub.store.inbox(self.person.number, seq - 1):
            if message["seq"] == seq and "media_key" in message:
                blob = self._hub.store.media(message["media_id"])
                return (
                    media.decrypt(blob, bytes.fromhex(message["media_key"]), message["kind"])
                    if blob
                    else None
                )
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
        """Tell the sender that its message could not be decrypted, with what it needs to begin anew."""
        bundle = self._signal.bundle()
        skey = [
            Node("id", {}, bundle.signed_prekey_id.to_bytes(3)),
            Node("value", {}, bundle.signed_prekey),
            Node("signature", {}, bundle.signature),
        ]
        keys = [Node("type", {}, b"\x05"), Node("identity", {}, bundle.identity), Node("skey", {}, skey)]
        message_id, now = message.text("id"), str(int(time.time()))
        self._send_receipt(
            sender,
            message,
            "retry",
            group,
            Node("retry", {"count": "1", "id": message_id, "t": now, "v": "1"}),
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
            self._hub.events.add("receipt", phone=self.person.number, id=message_id, type=kind, by=by)
        retry = receipt.find("retry")
        count = retry.text("count", "1") if retry else "1"
        if kind == "retry" and count.isdecimal() and int(count) <= MAX_RETRIES:
            self._send_again(sender, receipt.text("id"))

    def _send_again(self, receiver: JID, message_id: str) -> None:
        remembered = self._hub.store.sent(self.person.number, message_id)
        if remembered is None:
            return
        chat, kind, plain = remembered
        if not self._is_in(chat, receiver):
            return
        if self._hub.store.person_by_jid(receiver) == self.person and not chat.endswith(f"@{GROUP}"):
            inner = proto.InnerMessage.decode(plain)
            plain = proto.PlainMessage.encode(device_sent={"destination": chat, "message": inner})
        if chat.endswith(f"@{GROUP}") and str(JID.parse(chat)) in self._own_keys:
            key, _ = self._own_keys[chat]
            distribution = {"group_id": chat, "distribution": key.distribution()}
            # Serialised messages join when their bytes are: the key rides with the text.
            plain = proto.PlainMessage.encode(sender_key=distribution) + plain
        try:
            enc = self._seal(receiver, plain, anew=True)
        except SignalError:
            return  # the device has gone
        self.save()
        attrs: dict[str, str | JID] = {
            "id": message_id,
            "type": kind,
            "to": JID.parse(chat),
            "participant": receiver,
        }
        messaging.route(self._hub, self.person, 0, Node("message", attrs, [enc]))

    def _is_in(self, chat: str, address: JID) -> bool:
        """Tell whether a message to a chat was for that device's person, too."""
        person = self._hub.store.person_by_jid(address)
        if person is None:
            return False
        group = self._hub.store.group(JID.parse(chat).user) if chat.endswith(f"@{GROUP}") else None
        if group is not None:
            return person.number in group.members
        return person in (self.person, self._hub.store.person_by_jid(JID.parse(chat)))


def kind_of(name: str) -> MediaKind:
    """Return the kind of attachment of that name.

    Raises:
        NodeError: There is none.
    """
    for kind in MEDIA_KINDS:
        if kind == name:
            return kind
    raise NodeError(f"{name!r} is no kind of attachment: {', '.join(MEDIA_KINDS)}")
