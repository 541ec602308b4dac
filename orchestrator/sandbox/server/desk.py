"""What building a message needs of the phone that writes it, and of the server."""

from __future__ import annotations

import secrets

from orchestrator.sandbox.server.contracts import Hub
from orchestrator.sandbox.server.fields import parse_number
from orchestrator.sandbox.server.shelf import Shelf
from orchestrator.sandbox.server.store import Person
from orchestrator.sandbox.wire.content import VerifiedName, VerifiedNameDetails
from orchestrator.sandbox.wire.jid import JID
from orchestrator.sandbox.wire.node import Node


class Desk:
    """What building a message needs of a phone; see `contents.Desk`."""

    def __init__(self, hub: Hub, person: Person, shelf: Shelf, chat: JID) -> None:
        self._hub = hub
        self._person = person
        self.chat = chat
        self.own = person.lid_jid
        self.upload = shelf.upload
        self.earlier = shelf.earlier

    def address(self, number: str) -> JID:
        """Return the hidden address of a number."""
        return self._hub.person(parse_number(number)).lid_jid

    def is_admin(self) -> bool:
        """Tell whether the phone's owner is an admin of the chat, a group."""
        group = self._hub.store.group(self.chat.user)
        return group is not None and bool(group.members.get(self._person.number))

    def expiry(self) -> int:
        """Return the seconds after which messages of the chat disappear; 0 if they stay."""
        group = self._hub.store.group(self.chat.user)
        return int(group.settings.get("ephemeral", "0")) if group is not None else 0

    def now(self) -> float:
        """Return the present time, in seconds."""
        return self._hub.now()


def verified(name: str) -> list[Node]:
    """Return what WhatsApp says of a business whose name it has verified."""
    details = VerifiedNameDetails.encode(serial=secrets.randbits(60), issuer="ent:wa", verified_name=name)
    certificate = VerifiedName.encode(details=details, signature=bytes(64))
    biz = Node("biz", {"actual_actors": "1", "host_storage": "1"})
    return [Node("verified_name", {"v": "1"}, certificate), biz]
