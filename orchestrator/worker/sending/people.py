"""Which address each row's chat goes by: a person has two, and rows to one person wait in one line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from orchestrator.sending.row import Row, State


class Directory(Protocol):
    """Knows who is who; see `courier.Courier`."""

    def usual(self, chat: str) -> str:
        """Return the address of a chat as it stands in what comes from there."""

    def names_of(self, chat: str) -> tuple[str, ...]:
        """Return all addresses of a chat, the usual one first."""


class People:
    """The chats of the rows that wait.

    Args:
        directory: Knows who is who.

    Attributes:
        can_ask: Whether the library can be asked: it cannot before the account was connected.
    """

    def __init__(self, directory: Directory) -> None:
        self.can_ask = False
        self._directory = directory
        self._chats: dict[int, str] = {}
        self._held: set[int] = set()

    def enter(self, row: Row) -> str:
        """Take in a row; return the address that its chat goes by."""
        self._chats[row.number] = chat = self._place_of(row)
        if row.state is not State.QUEUED:
            self._held.add(row.number)
        return chat

    def hold(self, number: int) -> None:
        """Note that a row is being sent: all that follows to its person waits where the row is."""
        self._held.add(number)

    def let_go(self, number: int) -> None:
        """Note that a row waits again."""
        self._held.discard(number)

    def leave(self, number: int) -> None:
        """Forget a row."""
        self._chats.pop(number, None)
        self._held.discard(number)

    def chat_of(self, row: Row) -> str:
        """Return the address that a row's chat goes by."""
        return self._chats.get(row.number) or self.usual(row.to)

    def at(self, number: int) -> str | None:
        """Return the address that the chat of a row goes by, None if the row is not there."""
        return self._chats.get(number)

    def goes_by_another(self, row: Row) -> bool:
        """Tell whether another row to the same chat goes by another address than this one does."""
        others = {*self.names_of(row.to)} - {self._chats.get(row.number)}
        return not others.isdisjoint(self._chats.values())

    def outdated(self, rows: Iterable[Row]) -> list[Row]:
        """Return those rows that wait and whose chats are to go by another address, as is known now."""
        return [
            row
            for row in rows
            if row.state is State.QUEUED
            and row.number in self._chats
            and self._place_of(row) != self._chats[row.number]
        ]

    def _place_of(self, row: Row) -> str:
        """Return the address that the chat of a row is to go by.

        The usual one may become known while a row is being sent under the other.
        """
        held = {self._chats[one] for one in self._held if one != row.number and one in self._chats}
        return next((name for name in self.names_of(row.to) if name in held), self.usual(row.to))

    def usual(self, chat: str) -> str:
        """Return the address of a chat as it stands in what comes from there, as far as that is known."""
        return self._directory.usual(chat) if self.can_ask else chat

    def names_of(self, chat: str) -> tuple[str, ...]:
        """Return all addresses of a chat, as far as they are known."""
        return self._directory.names_of(chat) if self.can_ask else (chat,)
