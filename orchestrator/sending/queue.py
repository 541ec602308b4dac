"""The rows that wait, by chat: only the first of a chat is in a line, and each line has its own pace. Pure.

A chat without a row in a line is busy with one, waits for its next moment, or is in nobody's way.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from typing import Final

from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import Kind
from orchestrator.sending.row import Pace


class Stage(Enum):
    """What happens to a row."""

    WAITING = auto()
    CHECKING = auto()
    """It is being found out whether the number is on WhatsApp."""
    TYPING = auto()
    """The receiver sees that the account types."""
    HANDED = auto()
    """The library has it."""
    DOUBTED = auto()
    """Nobody knows whether it was sent."""


class Line(StrEnum):
    """Where the first rows of chats wait; paces have one each. The lines are served in this order."""

    FREE = "free"
    """Marks that messages were read: nothing keeps them."""
    REPLY = "reply"
    KNOWN = "known"
    NEW = "new"
    """To new chats, and to all that new ones' restrictions are about."""


@dataclass(slots=True)
class Item:
    """A row.

    Attributes:
        number: Its number.
        chat: The chat's address.
        kind: What is sent.
        typing: Seconds for which the account types before.
        expires_at: Until when it may be sent, in Unix seconds.
        stage: What happens to it.
        at: When it is to be handed over (`TYPING`), was (`HANDED`), or since when it is in doubt (`DOUBTED`).
        counted_at: When it was counted among the new chats of a day, None if it was not.
        is_checked: Whether its number was looked up.
        tries: How often it was put back after something had failed, or nobody could find out.
        told: What was last said of how long it waits.
    """

    number: int
    chat: str = field(repr=False)
    kind: Kind
    typing: float
    expires_at: float
    stage: Stage = Stage.WAITING
    at: float = 0.0
    counted_at: float | None = None
    is_checked: bool = False
    tries: int = 0
    told: tuple[Pace, float, str] | None = None


@dataclass(slots=True)
class Chat:
    """The rows to a chat.

    Attributes:
        name: Its address.
        contact: What is known of it.
        numbers: Its rows in order, without those in doubt that no longer hold it.
        ready_at: When the next is due at the earliest, in Unix seconds.
        line: The line that its first row is in, None if it is in none.
        rows: How many rows it has, with those in doubt that no longer hold it.
        handed: How many of them the library has: one, or none.
    """

    name: str = field(repr=False)
    contact: Contact
    numbers: list[int] = field(default_factory=list)
    ready_at: float = 0.0
    line: Line | None = None
    rows: int = 0
    handed: int = 0


class Queue:
    """The rows, their chats, and the lines."""

    def __init__(self, line_of: Callable[[Item, float], Line]) -> None:
        """Create an empty one.

        Args:
            line_of: Says in which line the first row of a chat belongs, at a time in Unix seconds.
        """
        self._line_of = line_of
        self.items: Final[dict[int, Item]] = {}
        self.chats: Final[dict[str, Chat]] = {}
        self.lines: Final[dict[Line, list[int]]] = {line: [] for line in Line}
        self._parked: list[tuple[float, str]] = []
        self._expiries: list[tuple[float, int]] = []
        self._stages: dict[Stage, set[int]] = {stage: set() for stage in Stage}

    def add(self, item: Item, contact: Contact, now: float) -> None:
        """Take in a row."""
        chat = self.chats.get(item.chat)
        if chat is None:
            chat = self.chats[item.chat] = Chat(item.chat, contact)
        chat.contact = chat.contact.merged(contact)
        chat.rows += 1
        self.items[item.number] = item
        self._stages[item.stage].add(item.number)
        self.enter(item, now)

    def enter(self, item: Item, now: float) -> None:
        """Put a row, new or back again, into its chat. Its time can be over while it waits."""
        heapq.heappush(self._expiries, (item.expires_at, item.number))
        chat = self.chats[item.chat]
        index = bisect.bisect_left(chat.numbers, item.number)
        if chat.numbers[index : index + 1] == [item.number]:
            self.place(chat, now)
            return
        if chat.numbers:
            first = self.items[chat.numbers[0]]
            if index == 0 and first.stage in (Stage.CHECKING, Stage.TYPING):
                self.stage(first, Stage.WAITING)
        self._leave_line(chat)
        chat.numbers.insert(index, item.number)
        self.place(chat, now)

    def remove(self, item: Item, now: float) -> None:
        """Forget a row."""
        del self.items[item.number]
        self._stages[item.stage].discard(item.number)
        self.chats[item.chat].rows -= 1
        self.chats[item.chat].handed -= item.stage is Stage.HANDED
        self.leave(item, now)

    def leave(self, item: Item, now: float) -> None:
        """Take a row out of its chat, which goes on."""
        chat = self.chats[item.chat]
        self._leave_line(chat)
        index = bisect.bisect_left(chat.numbers, item.number)
        if chat.numbers[index : index + 1] == [item.number]:
            del chat.numbers[index]
        self.place(chat, now)

    def stage(self, item: Item, stage: Stage) -> None:
        """Note what happens to a row; whoever changes it from or to `WAITING` calls `place`, too."""
        self._stages[item.stage].discard(item.number)
        self.chats[item.chat].handed += (stage is Stage.HANDED) - (item.stage is Stage.HANDED)
        item.stage = stage
        self._stages[stage].add(item.number)

    def count(self, stage: Stage) -> int:
        """Return to how many rows something happens."""
        return len(self._stages[stage])

    def all_in(self, stage: Stage) -> list[Item]:
        """Return the rows to which something happens, by when it is due, then in order."""
        found = [self.items[number] for number in self._stages[stage]]
        return sorted(found, key=lambda item: (item.at, item.number))

    def place(self, chat: Chat, now: float) -> None:
        """Put the first row of a chat where it belongs: into a line, aside for a while, or nowhere."""
        self._leave_line(chat)
        if not chat.numbers:
            if chat.ready_at > now:
                heapq.heappush(self._parked, (chat.ready_at, chat.name))
            elif not chat.rows:
                del self.chats[chat.name]
            return
        first = self.items[chat.numbers[0]]
        if first.stage is not Stage.WAITING or chat.handed:
            return
        if chat.ready_at > now:
            heapq.heappush(self._parked, (chat.ready_at, chat.name))
            return
        chat.line = self._line_of(first, now)
        bisect.insort(self.lines[chat.line], first.number)

    def unpark(self, now: float) -> float | None:
        """Let chats go on whose moment has come.

        Returns:
            When the next one's moment comes, None if no chat waits for one.
        """
        while self._parked:
            at, name = self._parked[0]
            chat = self.chats.get(name)
            if chat is not None and chat.ready_at == at > now:
                return at
            heapq.heappop(self._parked)
            if chat is not None and chat.ready_at <= now:
                self.place(chat, now)
        return None

    def expired(self, now: float) -> Iterator[Item]:
        """Yield the rows whose time is over, out of those that wait; each must be removed at once."""
        while self._expiries and self._expiries[0][0] <= now:
            _, number = heapq.heappop(self._expiries)
            item = self.items.get(number)
            if item is not None and item.stage not in (Stage.HANDED, Stage.DOUBTED):
                yield item

    def next_expiry(self) -> float | None:
        """Return when the next row's time is over, None if there is none."""
        while self._expiries and self._expiries[0][1] not in self.items:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def shift(self, by: float) -> None:
        """Note that the clock was set: what was so many seconds away still is. Expiries are times of day."""
        for item in self.items.values():
            item.at += by
        self._parked = []
        for chat in self.chats.values():
            chat.ready_at += by
            self._parked.append((chat.ready_at, chat.name))
        heapq.heapify(self._parked)

    def _leave_line(self, chat: Chat) -> None:
        if chat.line is None:
            return
        line = self.lines[chat.line]
        del line[bisect.bisect_left(line, chat.numbers[0])]
        chat.line = None
