"""Groups: who is in them, what they are called, and telling the members when that changes."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Collection, Iterable
from dataclasses import replace

from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.store import Group, Person
from orchestrator.sandbox.wire.jid import GROUP, JID
from orchestrator.sandbox.wire.node import Node, NodeError

MEMBER_CHANGES = ("add", "remove", "promote", "demote")
_ROLES = {"promote": "admin", "demote": ""}
MAX_SUBJECT = 100
"""Characters of a group's name."""
MAX_MEMBERS = 1024
"""People in a group."""


class GroupError(Exception):
    """A request about a group cannot be carried out.

    Attributes:
        code: The number that a client gets: 403 not allowed, 404 no such group or person.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def answer(session: Session, iq: Node) -> None:
    """Answer a client's request about groups.

    Raises:
        NodeError: The request is of no known form.
    """
    if session.device is None or not iq.children:
        raise NodeError("a request about groups needs a child, and comes from a linked client")
    hub = session.hub
    asker = hub.person(session.device.number)
    try:
        session.answer(iq, *_answer(hub, asker, iq.jid("to"), iq.children[0]))
    except GroupError as error:
        session.refuse(iq, error.code, str(error))


def _answer(hub: Hub, asker: Person, to: JID, request: Node) -> list[Node]:
    match request.tag:
        case "create":
            members = _people(hub, [part.jid("jid") for part in request.all("participant")])
            return [describe(hub, create(hub, asker, request.text("subject"), members))]
        case "participating":
            groups = [describe(hub, group) for group in hub.store.groups(asker.number)]
            return [Node("groups", {}, groups)]
        case "leave":
            for part in request.all("group"):
                change_members(hub, asker, _get(hub, part.jid("id").user), "remove", [asker])
            return [Node("leave", {}, list(request.all("group")))]
        case "query":
            group = _get(hub, to.user)
            _require_member(group, asker)
            return [describe(hub, group)]
        case tag if tag in MEMBER_CHANGES:
            group = _get(hub, to.user)
            members = _people(hub, [part.jid("jid") for part in request.all("participant")])
            change_members(hub, asker, group, tag, members)
            return [Node(tag, {}, [Node("participant", {"jid": person.lid_jid}) for person in members])]
        case "subject":
            set_subject(hub, asker, _get(hub, to.user), request.data.decode(errors="replace"))
            return []
        case tag:
            hub.events.add("unknown-request", xmlns="w:g2", child=tag)
            raise GroupError(501, "feature-not-implemented")


def create(hub: Hub, creator: Person, subject: str, members: Iterable[Person]) -> Group:
    """Make a group and tell everybody in it.

    Raises:
        GroupError: It has no subject, or too long a one, or too many members.
    """
    _check_subject(subject)
    now = int(time.time())
    roles = {creator.number: "superadmin"} | {
        person.number: "" for person in members if person.number != creator.number
    }
    _check_size(roles)
    group_id = f"120363{secrets.randbelow(10**12):012d}"
    group = Group(group_id, subject, creator.number, now, creator.number, now, roles)
    hub.store.save_group(group)
    hub.events.add("group", id=group.id, change="create", phone=creator.number)
    _tell(hub, group.members, group, creator, Node("create", {"type": "new"}, [describe(hub, group)]))
    return group


def change_members(hub: Hub, actor: Person, group: Group, change: str, people: list[Person]) -> Group:
    """Add, remove, promote or demote members; leaving is removing oneself.

    Raises:
        GroupError: The actor may not do that, or somebody is not in the group.
    """
    _require_member(group, actor)
    leaves = change == "remove" and [person.number for person in people] == [actor.number]
    if not leaves and not group.members[actor.number]:
        raise GroupError(403, "forbidden")
    members = dict(group.members)
    for person in people:
        if change == "add":
            members.setdefault(person.number, "")
        elif person.number not in members:
            raise GroupError(404, "item-not-found")
        elif members[person.number] == "superadmin" and change in ("remove", "demote") and not leaves:
            raise GroupError(406, "not-acceptable: who made the group cannot be removed or demoted")
        elif change == "remove":
            del members[person.number]
        else:
            members[person.number] = _ROLES[change]
    _check_size(members)
    changed = replace(group, members=members)
    hub.store.save_group(changed)
    hub.events.add("group", id=group.id, change=change, phone=actor.number)
    parts = [_participant(person, members.get(person.number, "")) for person in people]
    _tell(hub, group.members | members, changed, actor, Node(change, {}, parts))
    return changed


def set_subject(hub: Hub, actor: Person, group: Group, subject: str) -> Group:
    """Rename a group.

    Raises:
        GroupError: The actor is not in it, or the subject is empty or too long.
    """
    _require_member(group, actor)
    _check_subject(subject)
    now = int(time.time())
    changed = replace(group, subject=subject, subject_by=actor.number, subject_at=now)
    hub.store.save_group(changed)
    hub.events.add("group", id=group.id, change="subject", phone=actor.number)
    news = Node("subject", {"subject": subject, "s_t": str(now), "s_o": actor.lid_jid})
    _tell(hub, changed.members, changed, actor, news)
    return changed


def describe(hub: Hub, group: Group) -> Node:
    """Return the element that says everything about a group."""
    creator = hub.person(group.creator)
    attrs: dict[str, str | JID] = {
        "id": group.id,
        "subject": group.subject,
        "creator": creator.lid_jid,
        "creator_pn": creator.pn_jid,
        "creation": str(group.created),
        "s_t": str(group.subject_at),
        "s_o": hub.person(group.subject_by).lid_jid,
        "addressing_mode": "lid",
        "size": str(len(group.members)),
    }
    return Node(
        "group", attrs, [_participant(hub.person(number), role) for number, role in group.members.items()]
    )


def device_addresses(hub: Hub, group_jid: JID) -> list[JID]:
    """Return the address of every device of every member."""
    group = hub.store.group(group_jid.user)
    people = [hub.person(number) for number in group.members] if group else []
    return list(
        itertools.chain.from_iterable(
            (person.lid_jid.with_device(device) for device in hub.device_numbers(person)) for person in people
        )
    )


def error_for_sender(hub: Hub, group_jid: JID, number: str) -> int:
    """Return the code with which a message to a group is refused, 0 if it is not."""
    group = hub.store.group(group_jid.user)
    if group is None:
        return 404
    return 0 if number in group.members else 403


def _tell(hub: Hub, numbers: Iterable[str], group: Group, actor: Person, *news: Node) -> None:
    for number in numbers:
        for device in hub.store.devices(number):
            hub.notify(
                device.key,
                group.jid,
                "w:gp2",
                *news,
                participant=actor.lid_jid,
                participant_pn=actor.pn_jid,
                notify=actor.name,
                addressing_mode="lid",
            )


def _participant(person: Person, role: str) -> Node:
    return Node("participant", {"jid": person.lid_jid, "phone_number": person.pn_jid, "type": role})


def _people(hub: Hub, addresses: list[JID]) -> list[Person]:
    people = []
    for address in addresses:
        person = hub.store.person_by_jid(address)
        if person is None:
            raise GroupError(404, "item-not-found")
        people.append(person)
    return people


def _get(hub: Hub, group_id: str) -> Group:
    group = hub.store.group(group_id)
    if group is None:
        raise GroupError(404, "item-not-found")
    return group


def _check_subject(subject: str) -> None:
    if not subject:
        raise GroupError(400, "bad-request: a group needs a subject")
    if len(subject) > MAX_SUBJECT:
        raise GroupError(406, f"not-acceptable: a group's subject has at most {MAX_SUBJECT} characters")


def _check_size(members: Collection[str]) -> None:
    if len(members) > MAX_MEMBERS:
        raise GroupError(406, f"not-acceptable: a group has at most {MAX_MEMBERS} members")


def _require_member(group: Group, person: Person) -> None:
    if person.number not in group.members:
        raise GroupError(403, "forbidden")


def address_of(group_id: str) -> JID:
    """Return a group's address from its digits or its written address."""
    return JID(group_id.removesuffix(f"@{GROUP}"), GROUP)
