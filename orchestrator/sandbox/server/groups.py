"""Groups: who is in them, what they are called, and telling the members when that changes."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.store import Group, Person
from orchestrator.sandbox.wire.jid import GROUP, JID
from orchestrator.sandbox.wire.node import Node

SETTINGS = {
    "announcement": ("announcement", "not_announcement"),
    "locked": ("locked", "unlocked"),
    "ephemeral": ("ephemeral", "not_ephemeral"),
}
"""What can be on or off in a group, and the stanzas that say so.

Only admins write; only admins change what the group is called; messages disappear.
"""
CHANGES = (*SETTINGS, "description", "invite", "join", "delete")
"""Changes besides those of the subject and of members."""
MEMBER_CHANGES = ("add", "remove", "promote", "demote")
_ROLES = {"promote": "admin", "demote": ""}
MAX_SUBJECT = 100
"""Characters of a group's name."""
MAX_MEMBERS = 1024
"""People in a group."""
MAX_DESCRIPTION = 2048
"""Characters of what a group is about."""
OLD_LINKS = "invite_before"
"""The setting that has invitation links which were valid once."""
MAX_OLD_LINKS = 50
HIDDEN_SETTINGS = ("description_id", "description_by", OLD_LINKS)
"""Settings that nobody sees."""


class GroupError(Exception):
    """A request about a group cannot be carried out.

    Attributes:
        code: The number that a client gets: 403 not allowed, 404 no such group or person.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def create(
    hub: Hub,
    creator: Person,
    subject: str,
    members: Iterable[Person],
    settings: Mapping[str, str] | None = None,
) -> Group:
    """Make a group and tell everybody in it.

    Raises:
        GroupError: It has no subject, or too long a one, or too many members.
    """
    _check_subject(subject)
    now = int(hub.now())
    roles = {creator.number: "superadmin"} | {
        person.number: "" for person in members if person.number != creator.number
    }
    _check_size(roles)
    group_id = f"120363{secrets.randbelow(10**12):012d}"
    group = Group(group_id, subject, creator.number, now, creator.number, now, roles, dict(settings or {}))
    hub.store.save_group(group)
    hub.events.add("group", id=group.id, change="create", phone=creator.number)
    _tell(hub, group.members, group, creator, Node("create", {"type": "new"}, [describe(hub, group)]))
    return group


def change_members(hub: Hub, actor: Person, group: Group, change: str, people: list[Person]) -> Group:
    """Add, remove, promote or demote members; leaving is removing oneself.

    Raises:
        GroupError: The actor may not do that, or somebody is not in the group.
    """
    require_member(group, actor)
    leaves = change == "remove" and [person.number for person in people] == [actor.number]
    if not leaves and not group.members[actor.number]:
        raise GroupError(403, "forbidden")
    members = dict(group.members)
    for person in people:
        if change == "add":
            members.setdefault(person.number, "")
        elif not leaves and (code := flaw_of_change(group, change, person)):
            raise GroupError(code, _FLAWS[code])
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


def flaw_of_change(group: Group, change: str, person: Person | None) -> int:
    """Return the code with which a change of one member is refused, 0 if it can be made by an admin."""
    if person is None:
        return 404
    if change == "add":
        return 409 if person.number in group.members else 0
    if person.number not in group.members:
        return 404
    is_owner = group.members[person.number] == "superadmin"
    return 406 if is_owner and change in ("remove", "demote") else 0


_FLAWS: Final = {
    404: "item-not-found",
    406: "not-acceptable: who made the group cannot be removed or demoted",
}


def set_subject(hub: Hub, actor: Person, group: Group, subject: str) -> Group:
    """Rename a group.

    Raises:
        GroupError: The actor is not in it, or the subject is empty or too long.
    """
    _require_editor(group, actor)
    _check_subject(subject)
    now = int(hub.now())
    changed = replace(group, subject=subject, subject_by=actor.number, subject_at=now)
    hub.store.save_group(changed)
    hub.events.add("group", id=group.id, change="subject", phone=actor.number)
    news = Node("subject", {"subject": subject, "s_t": str(now), "s_o": actor.lid_jid})
    _tell(hub, changed.members, changed, actor, news)
    return changed


def change_setting(hub: Hub, actor: Person, group: Group, name: str, value: str) -> Group:
    """Turn a setting of a group on or off.

    Args:
        hub: The server.
        actor: Who does it.
        group: The group.
        name: A key of `SETTINGS`.
        value: The seconds of ``ephemeral``, ``1`` for another one, or nothing to turn it off.

    Raises:
        GroupError: The actor may not do that.
    """
    if name == "ephemeral" and not group.settings.get("locked"):
        require_member(group, actor)
    else:
        require_admin(group, actor)
    on, off = SETTINGS[name]
    changed = _with_settings(hub, group, {name: value})
    hub.events.add("group", id=group.id, change=name, phone=actor.number, value=value)
    _tell(hub, changed.members, changed, actor, Node(on if value else off, _facts(name, value)))
    return changed


def _facts(name: str, value: str) -> dict[str, str]:
    """Return what a stanza says of a setting besides that it is on or off."""
    match name:
        case "announcement":
            return {"v_id": str(secrets.randbelow(10**15))}  # clients insist on the number of the change
        case "ephemeral" if value:
            return {"expiration": value}
        case _:
            return {}


def set_description(hub: Hub, actor: Person, group: Group, text: str, text_id: str = "") -> Group:
    """Say what a group is about; nothing removes what is said.

    Raises:
        GroupError: The actor may not do that, or the text is too long.
    """
    _require_editor(group, actor)
    if len(text) > MAX_DESCRIPTION:
        raise GroupError(406, f"not-acceptable: a description has at most {MAX_DESCRIPTION} characters")
    text_id = (text_id or secrets.token_hex(8).upper()) if text else ""
    facts = {"description": text, "description_id": text_id, "description_by": actor.number if text else ""}
    changed = _with_settings(hub, group, facts)
    hub.events.add("group", id=group.id, change="description", phone=actor.number)
    _tell(hub, changed.members, changed, actor, _description(hub, changed))
    return changed


def set_invite(hub: Hub, actor: Person, group: Group) -> Group:
    """Make a new invitation link for a group.

    Raises:
        GroupError: The actor is no admin.
    """
    require_admin(group, actor)
    old = [*group.settings.get(OLD_LINKS, "").split(), *group.settings.get("invite", "").split()]
    links = {"invite": secrets.token_urlsafe(16), OLD_LINKS: " ".join(old[-MAX_OLD_LINKS:])}
    changed = _with_settings(hub, group, links)
    hub.events.add("group", id=group.id, change="invite", phone=actor.number)
    _tell(hub, changed.members, changed, actor, Node("invite", {"code": changed.settings["invite"]}))
    return changed


def join(hub: Hub, person: Person, group: Group, code: str) -> Group:
    """Join a group by its invitation link.

    Raises:
        GroupError: The link is not the group's.
    """
    if not code or group.settings.get("invite") != code:
        raise GroupError(406, "not-acceptable: the invitation link is not valid")
    members = {**group.members}
    members.setdefault(person.number, "")
    _check_size(members)
    changed = replace(group, members=members)
    hub.store.save_group(changed)
    hub.events.add("group", id=group.id, change="join", phone=person.number)
    news = Node("add", {"reason": "invite"}, [_participant(person, members[person.number])])
    _tell(hub, members, changed, person, news)
    return changed


def delete(hub: Hub, actor: Person, group: Group) -> Group:
    """Delete a group for everybody.

    Raises:
        GroupError: The actor is no admin.
    """
    require_admin(group, actor)
    _tell(hub, group.members, group, actor, Node("delete", {"reason": "admin"}))
    hub.store.delete_group(group.id)
    hub.events.add("group", id=group.id, change="delete", phone=actor.number)
    return replace(group, members={})


def _with_settings(hub: Hub, group: Group, news: Mapping[str, str]) -> Group:
    settings = {name: value for name, value in ({**group.settings, **news}).items() if value}
    changed = replace(group, settings=settings)
    hub.store.save_group(changed)
    return changed


def _description(hub: Hub, group: Group) -> Node:
    text = group.settings.get("description")
    if not text:
        return Node("description", {"id": secrets.token_hex(8).upper()}, [Node("delete")])
    author = hub.person(group.settings["description_by"])
    attrs: dict[str, str | JID] = {
        "id": group.settings["description_id"],
        "participant": author.lid_jid,
        "participant_pn": author.pn_jid,
        "t": str(int(hub.now())),
    }
    return Node("description", attrs, [Node("body", {}, text.encode())])


def require_admin(group: Group, person: Person) -> None:
    """See that somebody is an admin of a group.

    Raises:
        GroupError: It is not so.
    """
    require_member(group, person)
    if not group.members[person.number]:
        raise GroupError(403, "forbidden: only admins do that")


def _require_editor(group: Group, person: Person) -> None:
    """See that somebody may change what the group is called and is about."""
    if group.settings.get("locked"):
        require_admin(group, person)
    require_member(group, person)


TAGS = {tag: (name, tag == on) for name, (on, off) in SETTINGS.items() for tag in (on, off)}
"""What stanzas say of settings: the setting, and whether it is on."""


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
    parts = [_participant(hub.person(number), role) for number, role in group.members.items()]
    for name, (on, _) in SETTINGS.items():
        if value := group.settings.get(name):
            parts.append(Node(on, _facts(name, value)))
    if "description" in group.settings:
        parts.append(_description(hub, group))
    return Node("group", attrs, parts)


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
    if number not in group.members or (group.settings.get("announcement") and not group.members[number]):
        return 403
    return 0


def check_sender(hub: Hub, chat: JID, number: str) -> None:
    """See that somebody may write in a chat, if the chat is a group.

    Raises:
        GroupError: The group does not exist, or somebody is not in it or no admin.
    """
    if chat.server == GROUP and (code := error_for_sender(hub, chat, number)):
        group = hub.store.group(chat.user)
        inside = group is not None and number in group.members
        why = "only admins may write there" if inside else "not a member of the group"
        raise GroupError(code, "no such group" if code == 404 else why)


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


def get(hub: Hub, group_id: str) -> Group:
    """Return a group.

    Raises:
        GroupError: There is none of that id.
    """
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


def require_member(group: Group, person: Person) -> None:
    """See that somebody is in a group.

    Raises:
        GroupError: It is not so.
    """
    if person.number not in group.members:
        raise GroupError(403, "forbidden")


def address_of(group_id: str) -> JID:
    """Return a group's address from its digits or its written address."""
    return JID(group_id.removesuffix(f"@{GROUP}"), GROUP)
