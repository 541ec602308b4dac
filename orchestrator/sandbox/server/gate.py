"""The gate: what becomes of a client's message before anybody gets it, by faults and by WhatsApp's rules."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from orchestrator.sandbox.server import groups
from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.faults import NEW, Fault
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.jid import GROUP, JID, SERVER
from orchestrator.sandbox.wire.node import Node

NOT_ON_WHATSAPP: Final = 404
BAD: Final = 400
UNFIT: Final = 479
"""The stanza has a form that WhatsApp does not know."""
TYPES: Final = frozenset({"text", "media", "reaction", "poll"})
"""What a stanza can announce; a medium says more in `MEDIA_TYPES`."""
MEDIA_TYPES: Final = frozenset(
    {
        *("image", "video", "gif", "ptv", "audio", "ptt", "document", "sticker", "url", "vcard"),
        *("contact_array", "location", "livelocation", "list", "list_response", "buttons_response", "order"),
        *("product", "native_flow_response"),
    }
)
"""What whatsmeow and WhatsApp's clients say in ``mediatype``."""
EDITS: Final = frozenset({"", "1", "2", "7", "8"})
"""What a stanza can do to an earlier message: nothing, edit, pin, delete by its author, by an admin."""
RESTRICTED: Final = 463
"""The account may not write to this receiver now, or to nobody who has not written to the account."""


def refusal(session: Session, message: Node, to: JID, sender: str) -> int:
    """Return the code with which a message is refused, 0 if it is not.

    A message that a fault refuses counts as struck.
    """
    hub = session.hub
    if fault := hub.strikes("send-error", session.who, to=_chooser(hub, to, sender)):
        _announce_restriction(hub, fault, sender)
        return int(fault.params["code"])
    if to.server == GROUP:
        if code := groups.error_for_sender(hub, to, sender):
            return code
    elif hub.store.person_by_jid(to) is None:
        return NOT_ON_WHATSAPP
    if not _are_addressed(hub, message, to, sender):
        return BAD
    return _flaw_of_form(hub, message, to, sender)


def _flaw_of_form(hub: Hub, message: Node, to: JID, sender: str) -> int:
    """Return the code with which a stanza of a wrong form is refused, 0 for one in order."""
    kind, edit = message.text("type"), message.text("edit")
    media_types = {name for enc in _encs(message) if (name := enc.text("mediatype"))}
    if kind not in TYPES or edit not in EDITS or not media_types <= MEDIA_TYPES or not _encs(message):
        return UNFIT
    if (kind == "media") != bool(media_types) or len(media_types) > 1:
        return UNFIT
    if edit == "8":
        group = hub.store.group(to.user) if to.server == GROUP else None
        return 0 if group and group.members.get(sender) else 403
    return 0


def _encs(message: Node) -> list[Node]:
    """Return all that is encrypted in a message, for whomever."""
    participants = message.find("participants")
    parts = participants.all("to") if participants else ()
    return [*message.all("enc"), *(enc for part in parts for enc in part.all("enc"))]


def lost_ack(session: Session, to: JID, sender: str) -> Fault | None:
    """Return the fault that loses the acknowledgment of a message, None if it is sent."""
    return session.hub.strikes("lost-ack", session.who, to=_chooser(session.hub, to, sender))


def _chooser(hub: Hub, to: JID, sender: str) -> Callable[[str], bool]:
    """Return what tells whether a fault means the receiver by what it says in ``to``."""

    def is_meant(wanted: str) -> bool:
        if to.server == GROUP:
            return wanted == str(to.bare)
        person = hub.store.person_by_jid(to)
        if wanted != NEW:
            return person is not None and wanted == f"+{person.number}"
        return person is None or _is_new(hub, sender, person)

    return is_meant


def _is_new(hub: Hub, account: str, person: Person) -> bool:
    """Tell whether somebody has never written to an account."""
    if person.number == account:
        return False
    by = f"+{person.number}"
    return not any(
        (one["direction"], one["from"], one["group"]) == ("in", by, "") for one in hub.store.inbox(account)
    )


def _announce_restriction(hub: Hub, fault: Fault, account: str) -> None:
    """Tell an account's devices that it is restricted, and until when, if the fault says so.

    The form is that of the notifications which whatsmeow reads: types/events, NotifyAccountReachoutTimelock.
    """
    ends = fault.params["ends"]
    if ends is None or fault.params["code"] != RESTRICTED:
        return
    lock = {
        "is_active": True,
        "enforcement_type": "RESTRICT_ALL_COMPANIONS",
        "time_enforcement_ends": str(int(hub.now()) + ends),
    }
    news = json.dumps({"data": {"xwa2_notify_account_reachout_timelock": lock}})
    update = Node("update", {"op_name": "NotificationUserReachoutTimelockUpdate"}, news.encode())
    for device in hub.store.devices(account):
        hub.notify(device.key, SERVER, "mex", update)


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
