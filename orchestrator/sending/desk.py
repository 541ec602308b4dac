"""Decides which row of an outbox is sent when: order, pacing, restrictions, expiry. Pure.

The desk has all rows that wait. Whoever keeps it tells it what happens (`add`, `heard`, `ended`, …), asks it
what is to be done (`next`) and when to ask again (`due`), and writes down what it must remember (`memory`,
`take_contacts`) *before* it does what `next` has said. Times are Unix seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.accounts.settings import Sending
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import Kind, Outgoing
from orchestrator.sending.pacing import Flow, Pacer, typing_time, written
from orchestrator.sending.queue import Item, Stage
from orchestrator.sending.restrictions import (
    NOT_TO_STRANGERS,
    TOO_MANY,
    TOO_MANY_NEW,
    Restrictions,
    Stretch,
)
from orchestrator.sending.row import Row, State
from orchestrator.sending.steps import End, EndKind, PutBack, Restriction, Step
from orchestrator.sending.turns import CLOSED, NOT_ON_WHATSAPP, Turns

RETRY_FIRST: Final = 2.0
RETRY_LONGEST: Final = 300.0
"""Seconds until a row is tried again that failed before anything was sent: doubled from first to longest."""

PUT_BACK: Final = "it could not be sent, and is tried again"
REFUSED: Final = "WhatsApp refuses the message"


class Desk:
    """The rows of one account that wait, and when each is sent.

    A row in the states `sending` and `unknown` can be added, too: it holds its chat for a while, until
    `ended` says what became of it (`EndKind.BEFORE`: it never left, and is sent again).
    """

    def __init__(self, settings: Sending, memory: str | None, random: Callable[[], float]) -> None:
        """Create one that is offline.

        Args:
            settings: How the account sends.
            memory: What `memory` was, None at the very first time. What cannot be read counts as None.
            random: Draws a number from 0 up to 1.
        """
        flow, new, all_of_them = remembered(memory)
        self._settings = settings
        self._pacer = Pacer(settings, flow, random)
        self._restrictions = Restrictions(new, all_of_them)
        self._turns = Turns(settings, self._pacer, self._restrictions)
        self._queue = self._turns.queue
        self._news: dict[str, Contact] = {}
        self._now = 0.0

    def add(self, row: Row, outgoing: Outgoing, contact: Contact) -> None:
        """Take in a row that waits. A row that is there already is left as it is."""
        if row.number in self._queue.items:
            return
        item = Item(row.number, row.to, row.kind, typing_time(self._settings, outgoing), row.expires_at)
        if row.state in (State.SENDING, State.UNKNOWN):
            item.stage, item.at = Stage.DOUBTED, row.changed_at
        self._turns.add(item, contact.merged(self._news.get(row.to, contact)), self._now)

    def drop(self, number: int) -> None:
        """Forget a row: taken back, or over without `ended`. One that is not there is none too."""
        if item := self._queue.items.get(number):
            self._queue.remove(item, self._now)
            self._turns.is_changed = True

    def linked(self, at: float) -> None:
        """Note when the account was linked. Without it, its first time online counts."""
        self._pacer.linked(at)
        self._turns.is_changed = True

    def online(self, now: float) -> None:
        """Note that the account is connected."""
        self._tick(now)
        if self._pacer.flow.linked is None:
            self._pacer.linked(now)
        self._turns.online_since = now
        self._turns.is_changed = True

    def offline(self, now: float) -> None:
        """Note that the account is not connected: nothing new is handed over."""
        self._tick(now)
        self._turns.online_since = None
        self._turns.stop_typing(now)
        self._turns.is_changed = True

    def heard(self, chat: str, now: float) -> None:
        """Note that a chat has written. Of a person with two addresses, it is to be called for each."""
        self._tick(now)
        self._learn(chat, Contact(heard_at=now), now)

    def next(self, now: float) -> list[Step]:
        """Return what is to be done now, in this order; the desk takes it for done."""
        self._tick(now)
        return list(self._turns.steps(now))

    def due(self, now: float) -> float | None:
        """Return when `next` is to be called again if nothing else happens; None: not at all."""
        return now if self._turns.is_changed or now < self._now else self._turns.due

    def checked(self, number: int, exists: bool | None, now: float) -> list[Step]:
        """Note whether a number is on WhatsApp; None: that could not be found out.

        Returns:
            `Fail` if it is not.
        """
        self._tick(now)
        item = self._queue.items.get(number)
        if item is None or item.stage is not Stage.CHECKING:
            return []
        item.is_checked = exists is not None or self._turns.online_since is not None
        self._turns.is_changed = True
        self._queue.stage(item, Stage.WAITING)
        if exists is None:
            self._queue.place(self._turns.chat(item), now)
            return []
        self._learn(item.chat, Contact(found_at=now) if exists else Contact(missing_at=now), now)
        return [] if exists else [self._turns.fail(item, NOT_ON_WHATSAPP, None, now)]

    def ended(self, number: int, end: End, now: float) -> list[Step]:
        """Note how the try to send a row ended, or, of a row in doubt, what became of it.

        Returns:
            `Fail` or `PutBack` of a row that was not sent; nothing of one that was sent, or is in doubt.
        """
        self._tick(now)
        item = self._queue.items.get(number)
        if item is None:
            return []
        self._turns.is_changed = True
        self._turns.chat(item).ready_at = max(self._turns.chat(item).ready_at, now + self._gap(item))
        if end.kind is EndKind.UNKNOWN:
            if item.stage is not Stage.DOUBTED:
                item.at = now
            self._queue.stage(item, Stage.DOUBTED)
            self._queue.place(self._turns.chat(item), now)
            return []
        if end.kind is EndKind.SENT:
            self._learn(item.chat, Contact(sent_at=now), now)
            self._queue.remove(item, now)
            return []
        if item.counted_at is not None:
            self._pacer.give_back(item.counted_at)
        return [self._back(item, end, now) if end.kind is EndKind.BEFORE else self._refused(item, end, now)]

    def restriction(self, now: float) -> Restriction:
        """Return what WhatsApp takes no messages of at the moment."""
        return self._restrictions.current(now)

    def take_contacts(self) -> dict[str, Contact]:
        """Return what is new of chats since the last call, to be merged into what is kept."""
        found, self._news = self._news, {}
        return found

    @property
    def memory(self) -> str:
        """What must outlast a restart, as JSON in one line. It holds no address and no text."""
        return written(
            {
                "flow": self._pacer.flow.as_json(),
                "new": self._restrictions.new.as_json(),
                "all": self._restrictions.all.as_json(),
            }
        )

    def _back(self, item: Item, end: End, now: float) -> Step:
        """Put a row back that failed before anything was sent. Only if the account is connected, it waits.

        One that was in doubt has waited already; so it waits from its second time on.
        """
        until, was_in_doubt = None, item.stage is not Stage.HANDED
        if was_in_doubt and not item.tries:
            item.tries = 1
        elif self._turns.online_since is not None:
            until = now + min(RETRY_LONGEST, RETRY_FIRST * 2 ** min(item.tries, 10))
            item.tries += 1
            self._turns.chat(item).ready_at = max(until, self._turns.chat(item).ready_at)
        self._turns.wait_again(item, now)
        return PutBack(item.number, end.why or PUT_BACK, until)

    def _refused(self, item: Item, end: End, now: float) -> Step:
        is_warm = self._turns.chat(item).contact.is_warm(item.chat)
        if end.code == TOO_MANY or (end.code in (NOT_TO_STRANGERS, TOO_MANY_NEW) and not is_warm):
            until = self._restrictions.refused(end.code, item.at, end.until, now)
            self._turns.wait_again(item, now)
            return PutBack(item.number, CLOSED[end.code], until)
        if end.code == NOT_TO_STRANGERS:
            self._learn(item.chat, Contact(refused_at=now), now)
        return self._turns.fail(item, end.why or REFUSED, end.code, now)

    def _learn(self, name: str, contact: Contact, now: float) -> None:
        self._news[name] = contact.merged(self._news.get(name, contact))
        if chat := self._queue.chats.get(name):
            chat.contact = chat.contact.merged(contact)
            self._queue.place(chat, now)
            self._turns.is_changed = True

    def _gap(self, item: Item) -> float:
        is_paced = self._settings.pacing == "on" and item.kind is not Kind.READ
        return self._settings.chat_gap if is_paced else 0.0

    def _tick(self, now: float) -> None:
        """Take notice of the time, also of a clock that was put back."""
        if by := min(0.0, now - self._now):
            self._turns.shift(by)
        self._now = now
        self._pacer.clamp(now)
        self._restrictions.clamp(now)


def remembered(memory: str | None) -> tuple[Flow, Stretch, Stretch]:
    """Return what `Desk.memory` was written of: what went, and when new chats and everything was closed last.

    Args:
        memory: The text. What cannot be read counts as None, which is nothing.
    """
    try:
        found: Mapping[str, Any] = json.loads(memory or "{}")
        return (
            Flow.from_json(found["flow"]),
            Stretch.from_json(found["new"]),
            Stretch.from_json(found["all"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return Flow(), Stretch(), Stretch()
