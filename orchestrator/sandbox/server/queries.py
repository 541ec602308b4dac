"""Requests: everything a client asks by ``<iq>``, and the answers.

A request nobody here knows is recorded and answered, since a client waits 75 seconds for an answer.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeAlias

from orchestrator.sandbox.crypto import linking
from orchestrator.sandbox.server import group_requests, media, messaging
from orchestrator.sandbox.server.contracts import Session
from orchestrator.sandbox.server.store import Device, Person
from orchestrator.sandbox.wire.jid import JID, PN
from orchestrator.sandbox.wire.node import Node, NodeError

Answer: TypeAlias = "Callable[[Session, Node], Awaitable[None] | None]"

PRIVACY = ("readreceipts", "profile", "last", "online", "groupadd", "status", "calladd")

KEY_TYPE = b"\x05"


async def answer(session: Session, iq: Node) -> None:
    """Answer a client's request.

    Raises:
        NodeError: The request lacks what its kind must have.
    """
    namespace = iq.text("xmlns")
    child = iq.children[0].tag if iq.children else ""
    if session.device is not None and (
        fault := session.hub.strikes("request-error", session.who, xmlns=namespace)
    ):
        session.refuse(iq, fault.params["code"], "refused by a fault")
        return
    known = _UNPAIRED if session.device is None else _PAIRED
    handler = known.get((namespace, child)) or known.get((namespace, "*"))
    if handler is None:
        kind = iq.text("type")
        session.hub.events.add(
            "unknown-request", connection=session.number, xmlns=namespace, child=child, type=kind
        )
        if session.device is None:
            session.refuse(iq, 401, "not-authorized")
        elif kind == "get":
            session.refuse(iq, 501, "feature-not-implemented")
        else:
            session.answer(iq)
        return
    outcome = handler(session, iq)
    if outcome is not None:
        await outcome


def _empty(session: Session, iq: Node) -> None:
    session.answer(iq)


# Linking


def _link_code(session: Session, iq: Node) -> None:
    if session.pairing is None:
        raise NodeError("the client is linked already")
    match iq.need("link_code_companion_reg").text("stage"):
        case "companion_hello":
            session.pairing.hello(iq)
        case "companion_finish":
            session.pairing.finish(iq)
        case stage:
            raise NodeError(f"unknown stage {stage!r} of linking by code")


def _logout(session: Session, iq: Node) -> None:
    device = _device(session)
    asked = iq.need("remove-companion-device").jid("jid")
    person = session.hub.store.person_by_jid(asked)
    if person is None or (person.number, asked.device) != device.key:
        session.refuse(iq, 403, "forbidden")  # only the phone can unlink other devices
        return
    session.answer(iq)
    session.hub.forget_device(device.key)
    session.end_if_it_stays()


# Coming online


def _activate(session: Session, iq: Node) -> None:
    session.answer(iq)
    if not session.active:
        session.active = True
        messaging.deliver_queue(session)


def _deactivate(session: Session, iq: Node) -> None:
    session.active = False
    session.answer(iq)


# Keys


def _count_prekeys(session: Session, iq: Node) -> None:
    count = session.hub.store.prekey_count(_device(session).key)
    session.answer(iq, Node("count", {"value": str(count)}))


def _upload_prekeys(session: Session, iq: Node) -> None:
    device, skey = _device(session), iq.need("skey")
    prekeys = [
        (key.need_data("id", size=3), key.need_data("value", size=32)) for key in iq.need("list").all("key")
    ]
    registration, identity = iq.need_data("registration", size=4), iq.need_data("identity", size=32)
    key_id, value = skey.need_data("id", size=3), skey.need_data("value", size=32)
    signature = skey.need_data("signature", size=64)
    if (registration, identity) != (device.registration, device.identity):
        raise NodeError("the keys are of another device than the one that was linked")
    if not linking.is_signed_prekey(identity, value, signature):
        raise NodeError("the signed prekey is not signed by the device's identity")
    session.hub.store.save_keys(
        device.key,
        registration=registration,
        identity=identity,
        skey=(key_id, value, signature),
        prekeys=prekeys,
    )
    session.hub.events.add("prekeys", connection=session.number, count=len(prekeys))
    session.answer(iq)


def _fetch_keys(session: Session, iq: Node) -> None:
    users = [_keys_of(session, user.jid("jid")) for user in iq.need("key").all("user")]
    session.answer(iq, Node("list", {}, users))


def _keys_of(session: Session, address: JID) -> Node:
    person = session.hub.store.person_by_jid(address)
    bundle = session.hub.bundle((person.number, address.device)) if person else None
    if bundle is None:
        error = Node("error", {"code": "404", "text": "item-not-found"})
        return Node("user", {"jid": address}, [error])
    children = [
        Node("registration", {}, bundle.registration_id.to_bytes(4)),
        Node("type", {}, KEY_TYPE),
        Node("identity", {}, bundle.identity),
        Node(
            "skey",
            {},
            [
                Node("id", {}, bundle.signed_prekey_id.to_bytes(3)),
                Node("value", {}, bundle.signed_prekey),
                Node("signature", {}, bundle.signature),
            ],
        ),
    ]
    if bundle.prekey_id is not None and bundle.prekey is not None:
        key_id = Node("id", {}, bundle.prekey_id.to_bytes(3))
        children.append(Node("key", {}, [key_id, Node("value", {}, bundle.prekey)]))
    return Node("user", {"jid": address, "t": str(int(time.time()))}, children)


# People


def _usync(session: Session, iq: Node) -> None:
    usync = iq.need("usync")
    asked = [child.tag for child in usync.need("query").children]
    users = [_looked_up(session, user, asked) for user in usync.need("list").all("user")]
    attrs = {name: usync.text(name) for name in ("sid", "mode", "context")}
    session.answer(
        iq,
        Node(
            "usync",
            {**attrs, "last": "true", "index": "0"},
            [Node("result", {}, [Node(tag) for tag in asked]), Node("list", {}, users)],
        ),
    )


def _looked_up(session: Session, user: Node, asked: list[str]) -> Node:
    contact = user.find("contact")
    if contact is not None and contact.data:
        return _looked_up_by_number(session, contact.data)
    address = user.jid("jid")
    person = session.hub.store.person_by_jid(address)
    if person is None:
        return Node("user", {"jid": address}, [Node("contact", {"type": "out"})])
    return Node("user", {"jid": address}, list(_facts(session, person, asked)))


def _looked_up_by_number(session: Session, written: bytes) -> Node:
    number = written.decode("ascii", "replace").partition("@")[0].lstrip("+")
    person = session.hub.store.person(number)
    asker = _device(session).number
    session.hub.events.add("looked-up", phone=asker, number=f"+{number}", exists=person is not None)
    if person is None:
        address = JID(number, PN)
        return Node("user", {"jid": address, "pn_jid": address}, [Node("contact", {"type": "out"}, written)])
    addresses = {"jid": person.lid_jid, "pn_jid": person.pn_jid}
    return Node("user", addresses, [Node("contact", {"type": "in"}, written)])


def _facts(session: Session, person: Person, asked: list[str]) -> Iterator[Node]:
    if "devices" in asked:
        session.hub.store.watch(person.number, _device(session).key)
        devices = [
            Node("device", {"id": str(number), **({"key-index": str(number)} if number else {})})
            for number in session.hub.device_numbers(person)
        ]
        yield Node(
            "devices",
            {},
            [
                Node("device-list", {"hash": f"2:{secrets.token_urlsafe(6)}"}, devices),
                Node("key-index-list", {"ts": str(int(session.hub.now()))}),
            ],
        )
    if "lid" in asked:
        yield Node("lid", {"val": person.lid_jid})
    if "status" in asked:
        yield Node("status", {}, b"")


# The rest


def _privacy(session: Session, iq: Node) -> None:
    if iq.text("type") == "set":
        session.answer(iq)
        return
    categories = [Node("category", {"name": name, "value": "all"}) for name in PRIVACY]
    session.answer(iq, Node("privacy", {}, categories))


def _media_connection(session: Session, iq: Node) -> None:
    attrs = {"auth": session.hub.media_passes.issue(), "ttl": "300", "auth_ttl": "21600", "max_buckets": "12"}
    session.answer(iq, Node("media_conn", attrs, [Node("host", {"hostname": media.HOST})]))


def _not_found(session: Session, iq: Node) -> None:
    session.refuse(iq, 404, "item-not-found")


def _blocklist(session: Session, iq: Node) -> None:
    session.answer(iq, Node("list", {"dhash": "0"}))


def _app_state(session: Session, iq: Node) -> None:
    collections = [
        Node("collection", {"name": c.text("name"), "version": c.text("version", "0"), "type": "result"})
        for c in iq.need("sync").all("collection")
    ]
    session.answer(iq, Node("sync", {}, collections))


def _device(session: Session) -> Device:
    if session.device is None:
        raise NodeError("only a linked client may ask this")
    return session.device


_UNPAIRED: dict[tuple[str, str], Answer] = {
    ("md", "link_code_companion_reg"): _link_code,
    ("w:p", "*"): _empty,
    ("w:p", ""): _empty,
}
_PAIRED: dict[tuple[str, str], Answer] = {
    ("w:p", "*"): _empty,
    ("passive", "active"): _activate,
    ("passive", "passive"): _deactivate,
    ("encrypt", "count"): _count_prekeys,
    ("encrypt", "list"): _upload_prekeys,
    ("encrypt", "registration"): _upload_prekeys,
    ("encrypt", "key"): _fetch_keys,
    ("usync", "usync"): _usync,
    ("privacy", "*"): _privacy,
    ("w:m", "media_conn"): _media_connection,
    ("md", "remove-companion-device"): _logout,
    ("w:profile:picture", "*"): _not_found,
    ("blocklist", "*"): _blocklist,
    ("w:sync:app:state", "sync"): _app_state,
    ("urn:xmpp:whatsapp:dirty", "*"): _empty,
    ("status", "*"): _empty,
    ("w:g2", "*"): group_requests.answer,
}
"""What is answered, by namespace and first child; ``*`` stands for any."""
