"""What clients ask about groups, by ``<iq xmlns="w:g2">``, and the answers."""

from __future__ import annotations

from typing import Final

from orchestrator.sandbox.server import groups
from orchestrator.sandbox.server.contracts import Hub, Session
from orchestrator.sandbox.server.groups import GroupError
from orchestrator.sandbox.server.store import Group, Person
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.node import Node, NodeError

CONFLICT: Final = 409
"""Somebody is in the group already; a description would replace one that its author has not seen."""
GONE: Final = 410
"""An invitation link that was valid once."""


def answer(session: Session, iq: Node) -> None:
    """Answer a client's request about groups.

    Raises:
        NodeError: The request is of no known form.
    """
    if session.device is None or not iq.children:
        raise NodeError("a request about groups needs a child, and comes from a linked client")
    hub = session.hub
    asker = hub.person(session.device.number)
    request = iq.children[0]
    try:
        if iq.jid("to").user:
            group = groups.get(hub, iq.jid("to").user)
            answers = _about_group(hub, asker, group, request, is_set=iq.text("type") == "set")
        else:
            answers = _about_groups(hub, asker, request, is_set=iq.text("type") == "set")
        session.answer(iq, *answers)
    except GroupError as error:
        session.refuse(iq, error.code, str(error))


def _about_groups(hub: Hub, asker: Person, request: Node, *, is_set: bool) -> list[Node]:
    """Answer what is asked of WhatsApp, and not of a group."""
    match request.tag:
        case "create":
            return [groups.describe(hub, _create(hub, asker, request))]
        case "participating":
            found = [groups.describe(hub, group) for group in hub.store.groups(asker.number)]
            return [Node("groups", {}, found)]
        case "leave":
            for part in request.all("group"):
                group = groups.get(hub, part.jid("id").user)
                groups.change_members(hub, asker, group, "remove", [asker])
            return [Node("leave", {}, list(request.all("group")))]
        case "invite":
            group = _group_of_link(hub, request.text("code"))
            if not is_set:
                return [groups.describe(hub, group)]
            groups.join(hub, asker, group, request.text("code"))
            return [Node("group", {"jid": group.jid})]
        case tag:
            raise _unknown(hub, tag)


def _about_group(hub: Hub, asker: Person, group: Group, request: Node, *, is_set: bool) -> list[Node]:
    match request.tag:
        case "query":
            groups.require_member(group, asker)
            return [groups.describe(hub, group)]
        case tag if tag in groups.MEMBER_CHANGES:
            return [_change_members(hub, asker, group, request)]
        case "subject":
            groups.set_subject(hub, asker, group, _text(request))
        case tag if tag in groups.TAGS:
            name, on = groups.TAGS[tag]
            groups.change_setting(hub, asker, group, name, request.text("expiration", "1") if on else "")
        case "description":
            _describe(hub, asker, group, request)
        case "invite":
            return [_link(hub, asker, group, anew=is_set)]
        case "membership_approval_requests":
            groups.require_admin(group, asker)
            return [Node("membership_approval_requests")]
        case tag:
            raise _unknown(hub, tag)
    return []


def _create(hub: Hub, asker: Person, request: Node) -> Group:
    members = [_person(hub, part.jid("jid")) for part in request.all("participant")]
    settings = {}
    for child in request.children:
        name, on = groups.TAGS.get(child.tag, ("", False))
        value = child.text("expiration", "1") if on else ""
        if value not in ("", "0"):
            settings[name] = value
    return groups.create(hub, asker, request.text("subject"), members, settings)


def _change_members(hub: Hub, asker: Person, group: Group, request: Node) -> Node:
    """Change those members who can be changed; the answer says of each of the others why not."""
    groups.require_admin(group, asker)
    codes: dict[JID, int] = {}
    people: dict[JID, Person] = {}
    for part in request.all("participant"):
        address = part.jid("jid")
        person = hub.store.person_by_jid(address)
        codes[address] = groups.flaw_of_change(group, request.tag, person)
        if person is not None and not codes[address]:
            people[address] = person
    if people:
        groups.change_members(hub, asker, group, request.tag, list(people.values()))
    return Node(
        request.tag, {}, [_outcome(address, people.get(address), code) for address, code in codes.items()]
    )


def _outcome(address: JID, person: Person | None, code: int) -> Node:
    if person is None:
        return Node("participant", {"jid": address, "error": str(code)})
    return Node("participant", {"jid": person.lid_jid, "phone_number": person.pn_jid})


def _describe(hub: Hub, asker: Person, group: Group, request: Node) -> None:
    body = request.find("body")
    if request.text("prev") != group.settings.get("description_id", ""):
        groups.require_member(group, asker)
        raise GroupError(CONFLICT, "conflict: somebody else has written another description meanwhile")
    groups.set_description(hub, asker, group, _text(body) if body else "", request.text("id"))


def _link(hub: Hub, asker: Person, group: Group, *, anew: bool) -> Node:
    groups.require_member(group, asker)
    if not group.members[asker.number]:
        raise GroupError(401, "not-authorized: only admins see the link")
    if anew or "invite" not in group.settings:
        group = groups.set_invite(hub, asker, group)
    return Node("invite", {"code": group.settings["invite"]})


def _group_of_link(hub: Hub, code: str) -> Group:
    for group in hub.store.groups() if code else ():
        if group.settings.get("invite") == code:
            return group
        if code in group.settings.get(groups.OLD_LINKS, "").split():
            raise GroupError(GONE, "gone: the link was reset")
    raise GroupError(406, "not-acceptable: no group has this link")


def _person(hub: Hub, address: JID) -> Person:
    person = hub.store.person_by_jid(address)
    if person is None:
        raise GroupError(404, "item-not-found")
    return person


def _text(node: Node) -> str:
    return node.data.decode(errors="replace")


def _unknown(hub: Hub, tag: str) -> GroupError:
    hub.events.add("unknown-request", xmlns="w:g2", child=tag)
    return GroupError(501, "feature-not-implemented")
