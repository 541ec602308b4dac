"""Messages and receipts on their way from one device to another. Nothing in them is readable here."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from orchestrator.sandbox.server import groups
from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.store import Device, DeviceKey, Person
from orchestrator.sandbox.wire.jid import GROUP, JID, SERVER
from orchestrator.sandbox.wire.node import Node, NodeError

PASSED_ON = ("device-identity", "meta", "biz", "bot")
"""Children of a message that every receiving device gets as they are."""
READ = ("read", "played")
"""Receipts that say what a person did, where all others say what a device did."""


async def from_client(session: Session, message: Node) -> None:
    """Acknowledge a client's message and bring it to every device it names.

    Raises:
        NodeError: It has no id, no receiver, or an address that is none.
    """
    device = _logged_in(session)
    to, message_id = message.jid("to"), message.text("id")
    if not message_id:
        raise NodeError("<message> has no id")
    hub = session.hub
    ack: dict[str, str | JID] = {"class": "message", "id": message_id, "from": to, "t": str(int(time.time()))}
    if fault := hub.strikes("send-error", session.who):
        session.send(Node("ack", {**ack, "error": str(fault.params["code"])}))
        return
    if to.server == GROUP:
        error = groups.error_for_sender(hub, to, device.number)
        if error:
            session.send(Node("ack", {**ack, "error": str(error)}))
            return
    elif hub.store.person_by_jid(to) is None:
        session.send(Node("ack", {**ack, "error": "404"}))
        return
    if not _are_addressed(hub, message, to, device.number):
        session.send(Node("ack", {**ack, "error": "400"}))
        return
    hub.events.add(
        "message",
        connection=session.number,
        phone=device.number,
        device=device.device,
        id=message_id,
        to=_name(hub, to),
        type=message.text("type"),
    )
    route(hub, hub.person(device.number), device.device, message)
    session.send(Node("ack", ack))


def _are_addressed(hub: Hub, message: Node, to: JID, sender: str) -> bool:
    """Tell whether all whom a message has a part for are in its chat: the receiver, the sender, the group."""
    group = hub.store.group(to.user) if to.server == GROUP else None
    receiver = hub.store.person_by_jid(to)
    inside = {sender, *(group.members if group else ()), *((receiver.number,) if receiver else ())}
    if message.text("category") == "peer":
        inside = {sender}  # it is for the sender's own devices
        if receiver is None or receiver.number != sender:
            return False
    participants = message.find("participants")
    named = [part.jid("jid") for part in participants.all("to")] if participants else []
    if isinstance(message.attrs.get("participant"), JID):
        named.append(message.jid("participant"))
    people = [hub.store.person_by_jid(address) for address in named]
    return all(person is not None and person.number in inside for person in people)


def route(hub: Hub, sender: Person, sender_device: int, message: Node) -> None:
    """Bring a message to every device it has a part for: linked ones by the queue, phones directly.

    Args:
        hub: The server.
        sender: Who sends it.
        sender_device: From which device.
        message: The stanza as a client sends it.
    """
    to = message.jid("to")
    for address, encs in _parts(hub, message, to, (sender.number, sender_device)):
        receiver = hub.store.person_by_jid(address)
        if receiver is None or (receiver.number, address.device) == (sender.number, sender_device):
            continue
        stanza = _for_device(hub, sender, sender_device, receiver, message, encs)
        if address.device == 0:
            hub.phone(receiver.number).receive(stanza)
        elif (known := hub.store.device((receiver.number, address.device))) and not known.removed:
            hub.deliver(known.key, stanza)


def _parts(hub: Hub, message: Node, to: JID, sender: DeviceKey) -> Iterator[tuple[JID, list[Node]]]:
    """Yield for each receiving device what is encrypted for it."""
    shared = list(message.all("enc"))
    named = {}
    participants = message.find("participants")
    for part in participants.all("to") if participants else ():
        address = part.jid("jid")
        named[address] = list(part.all("enc"))
    if to.server == GROUP and isinstance(message.attrs.get("participant"), JID):
        yield message.jid("participant"), shared  # sent again to the one device that asked
    elif to.server == GROUP:
        own_part = {}
        for address, encs in named.items():
            person = hub.store.person_by_jid(address)
            if person is not None:
                own_part[person.number, address.device] = encs
        for address in groups.device_addresses(hub, to):
            person = hub.store.person_by_jid(address)
            key = (person.number if person else "", address.device)
            if key != sender:
                yield address, [*own_part.get(key, []), *shared]
    elif named:
        yield from named.items()
    elif isinstance(message.attrs.get("participant"), JID):
        yield message.jid("participant"), shared
    else:
        yield to, shared


def _for_device(
    hub: Hub, sender: Person, sender_device: int, receiver: Person, message: Node, encs: list[Node]
) -> Node:
    to = message.jid("to")
    attrs: dict[str, str | JID] = {
        name: message.attrs[name] for name in ("id", "type", "edit", "category") if name in message.attrs
    }
    attrs.update(t=str(int(time.time())), notify=sender.name, addressing_mode="lid")
    own = sender.lid_jid.with_device(sender_device)
    if to.server == GROUP:
        attrs.update({"from": to.bare, "participant": own, "participant_pn": sender.pn_jid})
    else:
        attrs.update({"from": own, "sender_pn": sender.pn_jid})
        chat = hub.store.person_by_jid(to)
        if receiver.number == sender.number and chat and message.text("category") != "peer":
            attrs.update({"recipient": chat.lid_jid, "peer_recipient_pn": chat.pn_jid})
    passed_on = [child for child in message.children if child.tag in PASSED_ON]
    return Node("message", attrs, [*encs, *passed_on])


async def receipt_from_client(session: Session, receipt: Node) -> None:
    """Take a client's receipt: what it confirms need not be kept, and its sender is told.

    Raises:
        NodeError: It has no receiver.
    """
    device = _logged_in(session)
    to, kind = receipt.jid("to"), receipt.text("type")
    session.hub.store.confirm(device.key, "message", receipt_ids(receipt))
    ack: dict[str, str | JID] = {"class": "receipt", "id": receipt.text("id"), "from": to}
    for name in ("type", "participant"):
        if name in receipt.attrs:
            ack[name] = receipt.attrs[name]
    session.send(Node("ack", {**ack, "t": str(int(time.time()))}))
    pass_receipt(session.hub, session.hub.person(device.number), device.device, receipt, to, kind)


def pass_receipt(hub: Hub, sender: Person, device: int, receipt: Node, to: JID, kind: str) -> None:
    """Bring a receipt to the device whose message it is about; one that says read, to all of its person's."""
    own = sender.lid_jid.with_device(device)
    attrs: dict[str, str | JID] = {"id": receipt.text("id"), "t": str(int(time.time()))}
    if kind:
        attrs["type"] = kind
    if to.server == GROUP:
        target = receipt.attrs.get("participant")
        if not isinstance(target, JID):
            return
        attrs.update({"from": to, "participant": own, "participant_pn": sender.pn_jid})
    else:
        target = to
        attrs.update({"from": own})
        if isinstance(recipient := receipt.attrs.get("recipient"), JID):
            attrs["recipient"] = recipient
    receiver = hub.store.person_by_jid(target)
    if receiver is None or target == SERVER:
        return
    stanza = Node("receipt", attrs, receipt.content)
    for number in _receipt_devices(hub, receiver, target.device, kind):
        if number == 0:
            hub.phone(receiver.number).take_receipt(stanza)
        elif (known := hub.store.device((receiver.number, number))) and not known.removed:
            hub.deliver(known.key, stanza)


def receipt_ids(receipt: Node) -> list[str]:
    """Return the messages that a receipt is about: one, and any number of others in a list."""
    listed = receipt.find("list")
    return [receipt.text("id"), *(item.text("id") for item in (listed.all("item") if listed else ()))]


def _receipt_devices(hub: Hub, receiver: Person, addressed: int, kind: str) -> list[int]:
    """Return which devices of a message's sender get a receipt for it."""
    if kind in READ:
        return hub.device_numbers(receiver)  # clients address the person, and every device shows it as read
    return [] if addressed == 0 and kind == "sender" else [addressed]


def ack_from_client(session: Session, ack: Node) -> None:
    """Take a client's word that a stanza has arrived."""
    if session.key:
        session.hub.store.confirm(session.key, ack.text("class"), [ack.text("id")])


def deliver_queue(session: Session) -> None:
    """Send what has waited for a client, and say how much it was.

    Raises:
        NodeError: The client is not linked.
    """
    device, hub = _logged_in(session), session.hub
    waiting = hub.store.queued(device.key)
    if waiting:
        kinds = Counter(item.kind for item in waiting)
        counts = {kind: str(kinds[kind]) for kind in ("message", "receipt", "notification")}
        preview = Node("offline_preview", {"count": str(len(waiting)), **counts, "appdata": "0"})
        session.send(Node("ib", {"from": SERVER}, [preview]))
    for place, item in enumerate(waiting):
        stanza = hub.storage_codec.decode(item.stanza)
        session.send(replace(stanza, attrs={**stanza.attrs, "offline": str(place)}))
    session.send(Node("ib", {"from": SERVER}, [Node("offline", {"count": str(len(waiting))})]))
    hub.events.add(
        "online",
        connection=session.number,
        phone=device.number,
        device=device.device,
        queued=len(waiting),
    )


async def acknowledge(session: Session, node: Node) -> None:
    """Acknowledge a stanza of a kind that nothing here handles, such as a call."""
    to = node.attrs.get("to", SERVER)
    session.send(Node("ack", {"class": node.tag, "id": node.text("id"), "from": to}))


def _logged_in(session: Session) -> Device:
    if session.device is None:
        raise NodeError("only a linked client may send this")
    return session.device


def _name(hub: Hub, address: JID) -> str:
    """Return how events name a receiver: by number, or by a group's address."""
    person = hub.store.person_by_jid(address)
    return person.number if person else str(address)
