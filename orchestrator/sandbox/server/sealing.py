"""How a phone encrypts what it sends, and decrypts what it gets: its Signal sessions and group keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.sender_keys import ReceivedSenderKeys, SenderKey
from orchestrator.sandbox.crypto.signal import SignalError, SignalPhone
from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.content import DeviceSent, Message
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.node import Node

SECRET_FIELD = "message_context_info"


class Sealer:
    """The sessions of one phone.

    Args:
        hub: The server's common ground.
        person: Whose phone it is.
    """

    def __init__(self, hub: Hub, person: Person) -> None:
        self._hub = hub
        self._person = person
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
            self._person.number, self._signal.to_state(), {"own": own, "received": received}
        )

    def forget(self) -> None:
        """Lose every session, as a phone does that was set up anew without its old messages."""
        state = self._signal.to_state()
        self._signal = SignalPhone.from_state({**state, "sessions": {}})
        self._received_keys.clear()
        self.save()

    # Encrypting

    def seal(self, address: JID, plain: bytes, *, anew: bool = False, media_type: str = "") -> Node:
        """Encrypt for one device.

        Args:
            address: The device.
            plain: What to encrypt.
            anew: Whether to begin a new session, for a device that has lost the old one.
            media_type: What the receiver's server side is told of an attachment.

        Raises:
            SignalError: The device has gone.
        """
        bundle = None
        if anew or not self._signal.has_session(str(address)):
            person = self._hub.store.person_by_jid(address)
            bundle = self._hub.bundle((person.number, address.device)) if person else None
        kind, data = self._signal.encrypt(str(address), plain, bundle)
        return Node("enc", {"v": "2", "type": kind, "mediatype": media_type}, data)

    def seal_for_people(self, to: JID, people: list[Person], plain: bytes, media_type: str) -> list[Node]:
        """Encrypt for every device of some people; the owner's own devices get a copy."""
        copied = copy_of(plain, str(to))
        parts = []
        for person in dict.fromkeys((*people, self._person)):
            text = copied if person == self._person else plain
            for device in self._hub.device_numbers(person):
                address = person.lid_jid.with_device(device)
                if (person.number, device) != (self._person.number, 0):
                    enc = self.seal(address, text, media_type=media_type)
                    parts.append(Node("to", {"jid": address}, [enc]))
        return parts

    def seal_for_group(
        self, group: JID, devices: list[JID], plain: bytes, media_type: str
    ) -> tuple[list[Node], list[Node]]:
        """Encrypt once for many devices.

        Returns:
            What each device needs that has not got the key yet, and what is for all of them.
        """
        key, given = self._own_keys.get(str(group), (SenderKey.make(), set()))
        key_message = self._key_message(str(group), key)
        parts = []
        for address in devices:
            if address != self._person.lid_jid and str(address) not in given:
                parts.append(Node("to", {"jid": address}, [self.seal(address, key_message)]))
                given.add(str(address))
        self._own_keys[str(group)] = (key, given)
        enc = Node("enc", {"v": "2", "type": "skmsg", "mediatype": media_type}, key.encrypt(plain))
        return parts, [enc]

    def with_group_key(self, group: str, plain: bytes) -> bytes:
        """Return a message together with the owner's key for a group, for a device that asks again."""
        if group not in self._own_keys:
            return plain
        key, _ = self._own_keys[group]
        # Serialised messages join when their bytes are: the key rides with the text.
        return self._key_message(group, key) + plain

    @staticmethod
    def _key_message(group: str, key: SenderKey) -> bytes:
        return Message.encode(sender_key={"group_id": group, "distribution": key.distribution()})

    # Decrypting

    def open(self, sender: JID, group: str, enc: Node) -> tuple[Any, bytes]:
        """Decrypt a part of a message; keep a group's key that is in it.

        Returns:
            The message, and its bytes.

        Raises:
            CryptoError: It cannot be decrypted.
            ProtoError: It is no message.
        """
        if enc.text("type") == "skmsg":
            keys = self._received_keys.get(f"{group} {sender}")
            if keys is None:
                raise SignalError("the sender's key for the group is not known")
            data = keys.decrypt(enc.data)
            return Message.decode(data), data
        data = self._signal.decrypt(str(sender), enc.text("type"), enc.data)
        plain = Message.decode(data)
        if plain.HasField("sender_key"):
            place = f"{plain.sender_key.group_id} {sender}"
            self._received_keys.setdefault(place, ReceivedSenderKeys()).process(plain.sender_key.distribution)
        return plain, data


def copy_of(plain: bytes, chat: str) -> bytes:
    """Return a message as the sender's own devices get it."""
    fields: dict[str, Any] = {"device_sent": {"destination": chat, "message": plain}}
    try:
        message = Message.decode(plain)
    except ValueError:
        return DeviceSent.encode(**fields)
    if message.HasField(SECRET_FIELD):
        fields[SECRET_FIELD] = message.message_context_info.SerializeToString()
    return DeviceSent.encode(**fields)


def spoilt(parts: list[Node], shared: list[Node]) -> tuple[list[Node], list[Node]]:
    """Return parts of a message that linked devices cannot decrypt; what phones get stays as it is.

    What is for all of a group is spoilt for all; a phone asks again, as clients do.
    """
    if shared:
        return parts, [_spoilt(enc) for enc in shared]
    return [
        replace(part, content=[_spoilt(enc) for enc in part.children]) if part.jid("jid").device else part
        for part in parts
    ], []


def _spoilt(enc: Node) -> Node:
    return replace(enc, content=enc.data[:-1] + bytes([enc.data[-1] ^ 0xFF]))
