"""neonize's calls about groups, and what comes back as plain data.

Whatever neonize gives comes from WhatsApp: addresses of another form than ours are left out.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from neonize.utils.enum import ParticipantChange
from neonize.utils.jid import build_jid

from orchestrator.accounts.acts import CHAT, PERSON
from orchestrator.messages.allow import HIDDEN
from orchestrator.messages.allow import PERSON as NUMBERS
from orchestrator.messages.entry import seconds
from orchestrator.sending import asks
from orchestrator.sending.asks import Change, Group, Member

Proto: TypeAlias = Any
"""A message of neonize's, which ship without types."""

_CHANGES: Final = {
    Change.ADD: ParticipantChange.ADD,
    Change.REMOVE: ParticipantChange.REMOVE,
    Change.PROMOTE: ParticipantChange.PROMOTE,
    Change.DEMOTE: ParticipantChange.DEMOTE,
}


class Groups:
    """See `asking.Groups`. Each call waits for WhatsApp's answer, and raises neonize's errors.

    Args:
        client: neonize's client.
    """

    def __init__(self, client: Proto) -> None:
        self._client = client

    def listed(self) -> list[Group]:
        """Return the groups that the account is in."""
        found = map(group, self._client.get_joined_groups())
        return [one for one in found if CHAT.fullmatch(one.id)]

    def show(self, id: str) -> Group:  # noqa: A002 - what it is
        """Return a group with its members."""
        return group(self._client.get_group_info(jid(id)))

    def create(self, subject: str, members: tuple[str, ...]) -> Group:
        """Make a group."""
        return group(self._client.create_group(subject, [*map(jid, members)]))

    def leave(self, group: str) -> None:
        """Leave a group."""
        self._client.leave_group(jid(group))

    def change(self, group: str, change: Change, members: tuple[str, ...]) -> list[Member]:
        """Add people to a group or remove them, or give them rights or take the rights away."""
        changed = self._client.update_group_participants(jid(group), [*map(jid, members)], _CHANGES[change])
        return [*_members(changed)]

    def set_subject(self, group: str, subject: str) -> None:
        """Give a group another subject."""
        self._client.set_group_name(jid(group), subject)

    def set_description(self, group: str, description: str) -> None:
        """Give a group another description. The library asks for the present one first."""
        self._client.set_group_topic(jid(group), "", "", description)

    def invite(self, group: str, *, reset: bool) -> str:
        """Return the link by which people join a group, a new one if wanted."""
        return str(self._client.get_group_invite_link(jid(group), reset))


def group(info: Proto) -> Group:
    """Return a group as plain data."""
    return Group(
        address(info.JID) or "",
        subject=info.GroupName.Name,
        description=info.GroupTopic.Topic,
        created_at=seconds(info.GroupCreated),
        owner=address(info.OwnerJID),
        only_admins_write=info.GroupAnnounce.IsAnnounce,
        only_admins_change=info.GroupLocked.isLocked,
        vanishing=info.GroupEphemeral.DisappearingTimer if info.GroupEphemeral.IsEphemeral else 0,
        members=tuple(_members(info.Participants)),
    )


def _members(participants: Proto) -> list[Member]:
    found = []
    for one in participants:
        places = [address(place) for place in (one.LID, one.JID, one.PhoneNumber)]
        known = [place for place in places if place is not None and PERSON.fullmatch(place)]
        if not known:
            continue
        hidden = next((place for place in known if place.endswith(f"@{HIDDEN}")), None)
        number = next((place for place in known if place.endswith(f"@{NUMBERS}")), None)
        role = "owner" if one.IsSuperAdmin else "admin" if one.IsAdmin else "member"
        phone = None if number is None else number.partition("@")[0]
        found.append(Member(hidden or known[0], phone, role, int(one.Error) or None))
    return found


def found(answers: Proto) -> list[asks.Found]:
    """Return which numbers are on WhatsApp."""
    return [
        asks.Found(str(one.Query).removeprefix("+"), bool(one.IsIn), address(one.JID) if one.IsIn else None)
        for one in answers
    ]


def jid(chat: str) -> Proto:
    """Return an address as the library has it; its form was checked where it came in."""
    user, _, server = chat.rpartition("@")
    return build_jid(user, server)


def address(place: Proto) -> str | None:
    """Return an address of the library's without a device, None if it is of another form than ours."""
    text = f"{place.User}@{place.Server}"
    return text if CHAT.fullmatch(text) else None
