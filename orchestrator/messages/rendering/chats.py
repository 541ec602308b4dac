"""Says who is meant: chats and people, by what the entry and its message know of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.messages.rendering import clean
from orchestrator.messages.rendering.grammar import Proto

_GROUP = "@g.us"
_LID = "@lid"


class People:
    """Who is meant in one entry.

    Args:
        notes: What the account's process knew: numbers in `phones`, names in `names`, by address.
        source: Neonize_pb2.MessageSource, None if the entry has none.
    """

    def __init__(self, notes: Mapping[str, Any], source: Proto | None = None) -> None:
        self._phones = _object(notes.get("phones"))
        self._names = _object(notes.get("names"))
        self._others: dict[str, str] = {}
        if source is not None:
            self._learn(source.Sender, source.SenderAlt)
            if source.IsFromMe:
                self._learn(source.Chat, source.RecipientAlt)

    def chat(self, address: str) -> dict[str, Any] | None:
        """Return a chat, None if it is not known which one."""
        found = _known(address)
        if found is None:
            return None
        is_group = found.endswith(_GROUP)
        return {
            "id": found,
            "type": "group" if is_group else "direct",
            "phone": None if is_group else self.phone(found),
            "name": self._name(found),
        }

    def person(self, address: str, name: str | None = None) -> dict[str, Any] | None:
        """Return a person, None if it is not known who.

        Args:
            address: The person's address.
            name: What the person calls itself.
        """
        found = _known(address)
        if found is None:
            return None
        return {"id": found, "phone": self.phone(found), "name": name or self._name(found)}

    def phone(self, address: str) -> str | None:
        """Return a person's phone number, None if it is not known."""
        return clean.phone(self._phones.get(address)) or clean.phone_of(address) or self._others.get(address)

    def _name(self, address: str) -> str | None:
        name = self._names.get(address)
        return clean.line(name) if isinstance(name, str) else None

    def _learn(self, one: Proto, other: Proto) -> None:
        """Take from a message that two addresses are one person's."""
        address, phone = address_of(one), clean.phone_of(address_of(other) or "")
        if address is not None and address.endswith(_LID) and phone is not None:
            self._others[address] = phone


def address_of(jid: Proto) -> str | None:
    """Return the address without a device of an address of the library's, None if it is empty.

    Args:
        jid: Neonize_pb2.JID.
    """
    return clean.known_address(jid.User, jid.Server)


def _known(address: str) -> str | None:
    user, _, server = address.rpartition("@")
    return clean.known_address(user, server)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
