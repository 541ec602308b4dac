"""What WhatsApp takes no messages of for a while, by how it refused one. Pure.

463 and 475 close new chats, 429 stops everything. How long is WhatsApp's word if it says one. Otherwise it
is a first guess, and twice as long each time that it happens again soon after.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.sending.contacts import DAY
from orchestrator.sending.pacing import a_time
from orchestrator.sending.steps import Closed, Restriction

NOT_TO_STRANGERS: Final = 463
"""WhatsApp's number: the account may not write to people who have not written to it, or this receiver takes
nothing from it."""
TOO_MANY_NEW: Final = 475
"""WhatsApp's number: the account has begun as many new chats as it may."""
TOO_MANY: Final = 429
"""WhatsApp's number: too many messages."""

NEW_FIRST: Final = DAY
NEW_LONGEST: Final = 7 * DAY
ALL_FIRST: Final = 60.0
ALL_LONGEST: Final = 3600.0
LONGEST_STATED: Final = 90 * DAY
"""Seconds: an end that is stated to be further away is taken for this one."""

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which WhatsApp takes no messages. Times are in Unix seconds.

    Attributes:
        since: When it began.
        until: When it is over; 0 if there was none.
        length: Seconds that were guessed, 0 if WhatsApp said the end.
        code: WhatsApp's number for it.
    """

    since: float = 0.0
    until: float = 0.0
    length: float = 0.0
    code: int = 0

    def again(self, code: int, now: float, first: float, longest: float, stated: float | None) -> Stretch:
        """Return the one that follows when WhatsApp refuses again.

        Args:
            code: WhatsApp's number.
            now: Unix seconds.
            first: Seconds of the first guess.
            longest: Seconds of the longest. Once as much has passed without a refusal, the next is the first.
            stated: The end as WhatsApp says it, in Unix seconds.
        """
        if stated is not None and stated > now:
            return Stretch(now, min(stated, now + LONGEST_STATED), 0.0, code)
        is_first = not self.until or now > self.until + longest
        length = first if is_first else min(longest, max(first, 2 * self.length))
        return Stretch(now, now + length, length, code)

    def clamped(self, now: float, longest: float) -> Stretch:
        """Return it as it is, or over as soon as it can be, for a clock that was put back."""
        return Stretch(min(self.since, now), min(self.until, now + longest), self.length, self.code)

    def as_json(self) -> Json:
        """Return it as JSON."""
        return {"since": self.since, "until": self.until, "length": self.length, "code": self.code}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Stretch:
        """Read what `as_json` has written.

        Raises:
            KeyError: A part is missing.
            TypeError: A part is something else.
            ValueError: A time or the number is none.
        """
        return cls(
            a_time(found["since"]), a_time(found["until"]), a_time(found["length"]), int(found["code"])
        )


class Restrictions:
    """What WhatsApp takes no messages of."""

    def __init__(self, new: Stretch, all_of_them: Stretch) -> None:
        """Create them.

        Args:
            new: The last time that new chats were closed.
            all_of_them: The last time that everything stood still.
        """
        self.new = new
        self.all = all_of_them

    def clamp(self, now: float) -> None:
        """Put right what a clock that was put back would stretch."""
        self.new = self.new.clamped(now, LONGEST_STATED)
        self.all = self.all.clamped(now, LONGEST_STATED)

    def refused(self, code: int, handed: float, stated: float | None, now: float) -> float:
        """Note that WhatsApp refused a message by 463 or 475 in a new chat, or by 429.

        Messages that were under way already when one was refused tell nothing new: they make no wait longer.

        Args:
            code: WhatsApp's number.
            handed: When the message was handed over, in Unix seconds.
            stated: Until when WhatsApp refuses, if it says so, in Unix seconds.
            now: Unix seconds.

        Returns:
            When that is over, in Unix seconds.
        """
        if code == TOO_MANY:
            if handed > self.all.since or now >= self.all.until:
                self.all = self.all.again(code, now, ALL_FIRST, ALL_LONGEST, stated)
            return self.all.until
        is_stated = stated is not None and stated > self.new.until
        if handed > self.new.since or now >= self.new.until or is_stated:
            longest = NEW_LONGEST if code == NOT_TO_STRANGERS else NEW_FIRST
            self.new = self.new.again(code, now, NEW_FIRST, longest, stated)
        return self.new.until

    def is_paused(self, now: float) -> bool:
        """Tell whether nothing is to be sent."""
        return now < self.all.until

    def is_closed(self, now: float) -> bool:
        """Tell whether nothing is to be sent to chats that have never written to the account."""
        return now < self.new.until

    def current(self, now: float) -> Restriction:
        """Return the widest one at the moment."""
        if self.is_paused(now):
            return Restriction(Closed.ALL, self.all.until, self.all.code)
        if self.is_closed(now):
            return Restriction(Closed.NEW, self.new.until, self.new.code)
        return Restriction()
