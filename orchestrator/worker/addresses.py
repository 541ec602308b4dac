"""The two addresses of a person: the number, and the one that hides it. The library knows who is who."""

from __future__ import annotations

import contextlib
from typing import Protocol

from orchestrator.accounts.acts import person
from orchestrator.messages.allow import HIDDEN, PERSON


class Library(Protocol):
    """What is asked of the library; see `library.client`. Its calls raise what they like."""

    def hidden_address_of(self, digits: str) -> str | None:
        """Return the address that hides a number, None if it is not known."""

    def number_of(self, user: str) -> str | None:
        """Return the digits of the number behind a hidden address, None if it is not known."""


def usual(library: Library, chat: str) -> str:
    """Return the address of a chat as it stands in what comes from there."""
    user, _, server = chat.rpartition("@")
    if server == PERSON:
        with contextlib.suppress(Exception):  # then the number is the address
            return library.hidden_address_of(user) or chat
    return chat


def names_of(library: Library, chat: str) -> tuple[str, ...]:
    """Return all addresses of a chat, the usual one first."""
    user, _, server = chat.rpartition("@")
    other = None
    with contextlib.suppress(Exception):
        if server == PERSON:
            other = library.hidden_address_of(user)
        elif server == HIDDEN and (number := library.number_of(user)):
            other = person(number)
    names = (other, chat) if server == PERSON else (chat, other)
    return tuple(one for one in names if one is not None)
