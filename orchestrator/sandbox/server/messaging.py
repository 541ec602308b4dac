"""Messages and receipts on their way from one device to another. Nothing in them is readable here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from orchestrator.sandbox.server import gate, groups
from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.store import Device, DeviceKey, Person
from orchestrator.sandbox.wire.jid import GROUP, JID, SERVER, STATUS
from orchestrator.sandbox.wire.node import Node, NodeError

PASSED_ON = ("device-identity", "meta", "biz", "bot")
"""Children of a message that every receiving device gets as they are."""
READ = ("read", "played")
"""Receipts that say what a person did, where all others say what a device did."""


async def from_client(session: Session, message: Node) -> None:
    """Acknowledge a client's message and bring it to every device it names, unless `gate` refuses it.

    Raises:
        NodeError: It has no id, no receiver, or an address that is none.
    """
    device = _logged_in(session)
    to, message_id = message.jid("to"), message.text("id")
    if not message_id:
        raise NodeError("<message> has no id")
    hub = session.hub
    ack: dict[str, str | JID] = {"class": "message", "id": message_id, "from": to, "t": str(int(hub.now()))}
    about = {"phone": device.number, "id": message_id, "to": _name(hub, to)}
    if code := gate.refusal(session, message, to, device.number):
        hub.events.add("send-refused", connection=session.number, **about, code=code)
        session.send(Node("ack", {**ack, "error": str(code)}))
        return
    lost = gate.lost_ack(session, to, device.number)
    if lost is None or lost.params["delivered"]:
        kind = message.text("type")
        hub.events.add("message", connection=session.number, device=device.device, **about, type=kind)
        route(hub, hub.person(device.number), device.device, message)
    if lost is None:
        session.send(Node("ack", ack))
        return
    hub.events.add("ack-lost", connection=session.number, **about, delivered=lost.params["delivered"])
    if lost.params["cut"]:
        session.reset()


def route(
    hub: Hub,
    sender: Person,
    sender_device: int,
    message: Node,
    *,
    stamp: Sequence[Node] = (),
    linked_only: bool = False,
) -> None:
    """Bring a message to every device it has a part for: linked ones by the queue, phones directly.

    Args:
        hub: The server.
        sender: Who sends it.
        sender_device: From which device.
        message: The stanza as a client sends it.
        stamp: What the server itself says of the message.
        linked_only: Whether phones get nothing.
    """
    to = message.jid("to")
    for address, encs in _parts(hub, message, to, (sender.number, sender_device)):
        receiver = hub.store.person_by_jid(address)
        if receiver is None or (receiver.number, address.device) == (sender.number, sender_device):
            continue
        stanza = _for_device(hub, sender, sender_device, receiver, message, [*encs, *stamp])
        if address.device == 0:
            if not linked_only:
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
    elif to == STATUS and isinstance(message.attrs.get("participant"), JID):
        yield message.jid("participant"), shared
    elif to == STATUS:
        yield from ((address, [*encs, *shared]) for address, encs in named.items())
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
    attrs.update(t=str(int(hub.now())), notify=sender.name, addressing_mode="lid")
    own = sender.lid_jid.with_device(sender_device)
    if to.server == GROUP or to == STATUS:
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
        NodeError: It has no receiver, or marks something as read in a chat that there is not.
    """
    device = _logged_in(session)
    to, kind = receipt.jid("to"), receipt.text("type")
    if kind in READ:
        _check_read(session.hub, receipt, to, device.number)
    session.hub.store.confirm(device.key, "message", receipt_ids(receipt))
    ack: dict[str, str | JID] = {"class": "receipt", "id": receipt.text("id"), "from": to}
    for name in ("type", "participant"):
        if name in receipt.attrs:
            ack[name] = receipt.attrs[name]
    session.send(Node("ack", {**ack, "t": str(int(session.hub.now()))}))
    pass_receipt(session.hub, session.hub.person(device.number), device.device, receipt, to, kind)


def _check_read(hub: Hub, receipt: Node, to: JID, reader: str) -> None:
    """See that a client marks as read what it can have received.

    Raises:
        NodeError: There is no such chat, or the author of the message is not named, or not in it.
    """
    if not all(receipt_ids(receipt)):
        raise NodeError("a read receipt names no message")
    group = hub.store.group(to.user) if to.server == GROUP else None
    author = hub.store.person_by_jid(receipt.jid("participant") if to.server == GROUP else to)
    if to.server == GROUP and (group is None or reader not in group.members):
        raise NodeError("a read receipt for a group that the reader is not in")
    if author is None or (group is not None and author.number not in group.members):
        raise NodeError("a read receipt for the messages of nobody")


def pass_receipt(hub: Hub, sender: Person, device: int, receipt: Node, to: JID, kind: str) -> None:
    """Bring a receipt to the device whose message it is about; one that says read, to all of its person's."""
    own = sender.lid_jid.with_device(device)
    attrs: dict[str, str | JID] = {"id": receipt.text("id"), "t": str(int(hub.now()))}
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


def tell_own_devices(hub: Hub, person: Person, message: Mapping[str, str], kind: str) -> None:
    """Tell somebody's linked devices what was done with a message on the phone."""
    sender = JID.parse(message["sender"]).bare
    attrs: dict[str, str | JID] = {"id": message["id"], "type": kind, "t": str(int(hub.now()))}
    if message["group"]:
        attrs |= {"from": JID.parse(message["group"]), "participant": person.lid_jid}
    else:
        attrs |= {"from": person.lid_jid, "recipient": sender}
    for device in hub.store.devices(person.number):
        hub.deliver(device.key, Node("receipt", attrs))


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
