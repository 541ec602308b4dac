"""Whose messages an account keeps. Pure.

Deny by default: what is not allowed is not stored. Updates of status and channels are never messages, whoever
is allowed. A broadcast list is no chat: what is sent to one belongs to the chat with its sender.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from orchestrator.accounts import phones
from orchestrator.accounts.settings import Messages

EVERYBODY: Final = "*"
GROUP: Final = "g.us"
"""The server of the addresses of groups."""
PERSON: Final = "s.whatsapp.net"
"""The server of addresses that are phone numbers."""
HIDDEN: Final = "lid"
"""The server of addresses that hide a phone number (LID)."""
_LISTS: Final = "broadcast"
_STATUS: Final = "status"

_PEOPLE: Final = (PERSON, HIDDEN)


@dataclass(frozen=True, slots=True)
class Allow:
    """A list of allowed people and groups.

    Attributes:
        everybody: Whether everybody may write.
        groups: Whether everybody means groups, too.
        from_me: Whether what the account's own phone sends is kept.
        numbers: Numbers that may write, in the form that `phones.canonical` makes.
        addresses: Addresses of groups and people that may write.
    """

    everybody: bool = False
    groups: bool = False
    from_me: bool = False
    numbers: frozenset[str] = field(default=frozenset(), repr=False)
    addresses: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def of(cls, settings: Messages) -> Allow:
        """Return what an account's settings allow."""
        listed = [one for one in settings.allow if one != EVERYBODY]
        return cls(
            everybody=EVERYBODY in settings.allow,
            groups=settings.groups,
            from_me=settings.from_me,
            numbers=frozenset(phones.canonical(one) for one in listed if "@" not in one),
            addresses=frozenset(one for one in listed if "@" in one),
        )

    @property
    def nobody(self) -> bool:
        """Whether nobody is allowed, so that nothing is ever stored."""
        return not (self.everybody or self.numbers or self.addresses)

    @property
    def knows_numbers(self) -> bool:
        """Whether a number decides: then the number behind a hidden address has to be found."""
        return bool(self.numbers) and not self.everybody

    def admits(self, chat: str, others: Iterable[str] = (), *, from_me: bool = False) -> bool:
        """Tell whether messages of a chat are kept.

        Args:
            chat: The chat's address without a device, such as ``269139479534551@lid``.
            others: Further addresses of the same person, such as the one with the number.
            from_me: Whether the account's own phone has sent the message.
        """
        if from_me and not self.from_me:
            return False
        server = chat.rpartition("@")[2]
        if server == GROUP:
            return (self.everybody and self.groups) or chat in self.addresses
        if server not in _PEOPLE:
            return False
        return self.everybody or any(map(self._lists, (chat, *others)))

    def _lists(self, address: str) -> bool:
        user, _, server = address.rpartition("@")
        return address in self.addresses or (server == PERSON and phones.canonical(user) in self.numbers)


def chat_of(chat: str, sender: str, *, from_me: bool) -> str:
    """Return the address of the chat that a message belongs to.

    Whoever is in a list of receivers gets a message of the sender's, and sees no list.

    Args:
        chat: Where WhatsApp says that the message was written.
        sender: Who has sent the message.
        from_me: Whether the account's own phone has sent the message.
    """
    user, _, server = chat.rpartition("@")
    return sender if server == _LISTS and user != _STATUS and not from_me else chat
