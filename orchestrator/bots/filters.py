"""Which events a handler is for. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.bots.events import ChatEvent, Event, Message, Reaction, Status
from orchestrator.consumers import event_types

Names: TypeAlias = str | Iterable[str] | None
"""One of these, any of these, or whatever (None)."""
Pattern: TypeAlias = str | re.Pattern[str] | None
"""A regular expression, which `re.search` must find in the text."""


@dataclass(frozen=True, slots=True)
class Filter:
    """What an event must be. Everything that is None may be anything.

    Attributes:
        types: Patterns of types, of which one must match.
        accounts: Names of accounts.
        chats: Chats by address, by number with +, or by type: "direct" and "group".
        kinds: What messages are.
        text: What must be in a text.
        from_me: Whether the account itself did it, from its phone.
        emojis: What somebody reacted with.
        statuses: How far a message has come.
    """

    types: frozenset[str]
    accounts: frozenset[str] | None = None
    chats: frozenset[str] | None = None
    kinds: frozenset[str] | None = None
    text: re.Pattern[str] | None = None
    from_me: bool | None = None
    emojis: frozenset[str] | None = None
    statuses: frozenset[str] | None = None

    def matches(self, event: Event) -> bool:
        """Tell whether an event is one of these. A message keeps what the pattern has found in its text."""
        return (
            event_types.chosen(self.types, event.type)
            and (self.accounts is None or event.account in self.accounts)
            and (self.chats is None or self._is_in_chat(event))
            and (self.from_me is None or getattr(event, "from_me", None) is self.from_me)
            and (self.kinds is None or (isinstance(event, Message) and event.kind in self.kinds))
            and (self.emojis is None or (isinstance(event, Reaction) and event.emoji in self.emojis))
            and (self.statuses is None or (isinstance(event, Status) and event.status in self.statuses))
            and self._has_text(event)
        )

    def _is_in_chat(self, event: Event) -> bool:
        if self.chats is None or not isinstance(event, ChatEvent | Status):
            return False
        chat = event.chat
        return not self.chats.isdisjoint({chat.id, chat.phone or "", chat.type} - {""})

    def _has_text(self, event: Event) -> bool:
        if not isinstance(event, Message):
            return self.text is None
        event.match = None if self.text is None else self.text.search(event.text)
        return self.text is None or event.match is not None


def names(given: Names, what: str, check: Callable[[str], bool] = bool) -> frozenset[str] | None:
    """Return what a handler was registered for.

    Args:
        given: What the bot's code says.
        what: What that is called, for errors.
        check: Tells whether one is possible.

    Raises:
        ValueError: It can never match.
    """
    if given is None:
        return None
    found = frozenset([given] if isinstance(given, str) else given)
    wrong = sorted(repr(one) for one in found if not isinstance(one, str) or not check(one))
    if wrong or not found:
        raise ValueError(f"{what} can never be {', '.join(wrong) or 'one of nothing'}")
    return found


def pattern(given: Pattern) -> re.Pattern[str] | None:
    """Return a pattern, compiled."""
    return re.compile(given) if isinstance(given, str) else given
