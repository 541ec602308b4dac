"""Renders what happens to groups, and calls. Pure."""

from __future__ import annotations

from itertools import islice
from typing import Any

from orchestrator.messages.rendering import clean
from orchestrator.messages.rendering.chats import address_of
from orchestrator.messages.rendering.grammar import Proto

MAX_MEMBERS = 1024
"""People who joined or left at once, and changes that the library does not know."""
_MAX_NUMBER = 2**31 - 1
_MOVES = {"joined": "Join", "left": "Leave", "promoted": "Promote", "demoted": "Demote"}


def changes(event: Proto) -> dict[str, Any]:
    """Return what has changed in a group.

    Args:
        event: Neonize_pb2.GroupInfoEvent.
    """
    found: dict[str, Any] = {}
    if event.HasField("Name"):
        found["name"] = clean.line(event.Name.Name)
    if event.HasField("Topic"):
        found["topic"] = None if event.Topic.TopicDeleted else clean.text(event.Topic.Topic)
    if event.HasField("Locked"):
        found["locked"] = bool(event.Locked.isLocked)
    if event.HasField("Announce"):
        found["announce"] = bool(event.Announce.IsAnnounce)
    if event.HasField("Ephemeral"):
        found["expires_in"] = (
            min(event.Ephemeral.DisappearingTimer, _MAX_NUMBER) if event.Ephemeral.IsEphemeral else 0
        )
    if event.HasField("Delete"):
        found["deleted"] = bool(event.Delete.Deleted)
    for key, name in (("linked", "Link"), ("unlinked", "Unlink")):
        if event.HasField(name):
            found[key] = address_of(getattr(event, name).Group.JID)
    if event.HasField("NewInviteLink"):
        found["invite_link"] = True  # whoever has the link can join: consumers learn that there is a new one
    for key, name in _MOVES.items():
        if members := _addresses(getattr(event, name)):
            found[key] = members
    tags = (clean.line(node.Tag, 64) for node in islice(event.UnknownChanges, MAX_MEMBERS))
    if others := list(dict.fromkeys(tag for tag in tags if tag)):
        found["other"] = others[:64]
    return found


def joined(event: Proto) -> dict[str, Any]:
    """Return the group that the account was added to.

    Args:
        event: Neonize_pb2.JoinedGroup.
    """
    group = event.GroupInfo
    return {
        "name": clean.line(group.GroupName.Name),
        "topic": clean.text(group.GroupTopic.Topic) or None,
        "members": len(group.Participants),
        "announce": bool(group.GroupAnnounce.IsAnnounce),
        "locked": bool(group.GroupLocked.isLocked),
        "expires_in": min(group.GroupEphemeral.DisappearingTimer, _MAX_NUMBER),
    }


def call(event: Proto) -> dict[str, Any]:
    """Return what is known of a call that was offered.

    Args:
        event: Neonize_pb2.CallOffer or Neonize_pb2.CallOfferNotice.
    """
    if "media" in event.DESCRIPTOR.fields_by_name:
        kinds = {"audio": False, "video": True}
        return {
            "video": kinds.get(event.media) if isinstance(event.media, str) else None,
            "group": event.type == "group",
        }
    tags = {node.Tag for node in islice(event.data.Nodes, 64)}
    return {"video": "video" in tags, "group": "group_info" in tags}


def _addresses(members: Any) -> list[str]:  # noqa: ANN401 - a repeated field
    found = (address_of(one) for one in islice(members, MAX_MEMBERS))
    return list(dict.fromkeys(one for one in found if one))
