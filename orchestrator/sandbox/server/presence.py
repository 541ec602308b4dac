"""What people do besides writing: they type, come online and go. Nothing of this waits for a client."""

from __future__ import annotations

from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.jid import GROUP, JID
from orchestrator.sandbox.wire.node import Node, NodeError

TYPING = ("composing", "recording", "paused")
"""What a phone can say that its owner does in a chat."""


def show_typing(hub: Hub, person: Person, to: JID, what: str) -> int:
    """Tell the clients of a chat what somebody does there; return how many were told.

    As with WhatsApp, only clients are told that have said that somebody is looking.
    """
    state = Node("composing", {"media": "audio"}) if what == "recording" else Node(what)
    attrs: dict[str, str | JID] = {"from": person.lid_jid}
    if to.server == GROUP:
        attrs = {"from": to, "participant": person.lid_jid}
        group = hub.store.group(to.user)
        numbers = set(group.members) if group else set()
    else:
        receiver = hub.store.person_by_jid(to)
        numbers = {receiver.number} if receiver else set()
    told = 0
    for (number, _), session in list(hub.online.items()):
        if number in numbers - {person.number} and session.present:
            session.send(Node("chatstate", attrs, [state]))
            told += 1
    return told


def show_presence(hub: Hub, person: Person, *, available: bool, last_seen: int | None) -> int:
    """Tell the clients that want to know whether somebody is online; return how many were told."""
    attrs: dict[str, str | JID] = {"from": person.lid_jid}
    if not available:
        attrs |= {"type": "unavailable", "last": "deny" if last_seen is None else str(last_seen)}
    told = 0
    for session in list(hub.online.values()):
        if person.number in session.watched:
            session.send(Node("presence", attrs))
            told += 1
    return told


def from_client(session: Session, stanza: Node) -> None:
    """Take what a client says of its user: there, gone, typing; and of whom it wants to hear.

    Raises:
        NodeError: It types in no chat of its user's.
    """
    kind = stanza.text("type") or "available"
    if stanza.tag == "chatstate":
        _note_typing(session, stanza)
    elif kind == "subscribe":
        to = stanza.attrs.get("to")
        person = session.hub.store.person_by_jid(to) if isinstance(to, JID) else None
        if person is not None:
            session.watched.add(person.number)
    elif kind in ("available", "unavailable"):
        session.present = kind == "available"
        session.hub.events.add("presence", phone=session.who.number, state=kind)


def _note_typing(session: Session, stanza: Node) -> None:
    """Take what a client says that its user does in a chat, and show it to the phones there.

    Raises:
        NodeError: There is no such chat, the user is not in it, or nobody does such a thing.
    """
    hub, to = session.hub, stanza.jid("to")
    state = stanza.children[0] if stanza.children else None
    if session.device is None or state is None or state.tag not in ("composing", "paused"):
        raise NodeError("<chatstate> says nothing that is known")
    if state.text("media") not in ("", "audio"):
        raise NodeError("<chatstate> has an unknown medium")
    sender = hub.person(session.device.number)
    numbers = people_of(hub, to, sender)
    what = "recording" if state.text("media") == "audio" else state.tag
    person = hub.store.person_by_jid(to)
    hub.events.add("typing", phone=sender.number, to=person.number if person else str(to), state=what)
    for number in numbers:
        hub.phone(number).screen.take_typing(sender, str(to) if to.server == GROUP else "", what)


def people_of(hub: Hub, chat: JID, sender: Person) -> list[str]:
    """Return the numbers of the others in a chat.

    Raises:
        NodeError: There is no such chat, or somebody is not in it.
    """
    if chat.server == GROUP:
        group = hub.store.group(chat.user)
        if group is None or sender.number not in group.members:
            raise NodeError("there is no such group, or the user is not in it")
        return [number for number in group.members if number != sender.number]
    person = hub.store.person_by_jid(chat)
    if person is None:
        raise NodeError("nobody has this address")
    return [person.number]
