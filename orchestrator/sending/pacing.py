"""How soon the next message may go, by how well its chat is known. Pure.

To known chats: a leaky bucket in the form of the generic cell rate algorithm (ITU-T I.371), which needs one
number only: in any stretch of T seconds at most `known_burst + T / known_every` messages go. To new chats:
one at a time, `new_every` seconds apart, more or less, and only so many within any 24 hours. Nothing keeps
replies waiting. Neither WhatsApp nor anybody else says what is safe; the values are those of `Sending`.
"""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from orchestrator.accounts.settings import Sending
from orchestrator.sending.contacts import DAY
from orchestrator.sending.forms import Kind, Media, Outgoing
from orchestrator.sending.row import Pace

TYPING_BEFORE: Final = 0.5
"""Seconds of typing before the first character."""
TYPING_A_CHARACTER: Final = 0.05
"""Seconds of typing a character: twenty characters a second, faster than people type, but not at once."""

Json: TypeAlias = dict[str, Any]


def typing_time(settings: Sending, outgoing: Outgoing) -> float:
    """Return for how many seconds the account types before a message, or records a voice note."""
    if settings.pacing == "off" or not settings.typing or outgoing.kind.is_repeatable:
        return 0.0
    content = outgoing.content
    if isinstance(content, Media) and content.kind is Kind.VOICE and content.file is not None:
        return min(settings.typing_most, TYPING_BEFORE + content.file.seconds)
    return min(settings.typing_most, TYPING_BEFORE + TYPING_A_CHARACTER * len(outgoing.words))


def new_a_day(settings: Sending, age: float) -> int:
    """Return to how many new chats an account may write within 24 hours.

    Args:
        settings: How the account sends.
        age: Seconds since the account was linked.
    """
    part = min(1.0, max(0.0, age / settings.warm_up)) if settings.warm_up else 1.0
    return int(settings.new_a_day + (settings.new_a_day_later - settings.new_a_day) * part)


@dataclass(frozen=True, slots=True)
class Flow:
    """What is remembered of the messages that went to known and new chats. Times are in Unix seconds.

    Attributes:
        known: When the bucket of known chats is empty again if nothing more goes.
        new: When the next message to a new chat may go, by its distance from the one before.
        first: When messages to new chats went within the last 24 hours, in order.
        linked: When the account was linked, None as long as nobody knows it.
    """

    known: float = 0.0
    new: float = 0.0
    first: tuple[float, ...] = ()
    linked: float | None = None

    def as_json(self) -> Json:
        """Return it as JSON."""
        return {"known": self.known, "new": self.new, "first": list(self.first), "linked": self.linked}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Flow:
        """Read what `as_json` has written.

        Raises:
            KeyError: A part is missing.
            TypeError: A part is something else.
            ValueError: A time is none.
        """
        linked = found["linked"]
        return cls(
            a_time(found["known"]),
            a_time(found["new"]),
            tuple(sorted(a_time(one) for one in found["first"])),
            None if linked is None else a_time(linked),
        )


def a_time(value: object) -> float:
    """Return a time that is one.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("not a time")
    return float(value)


class Pacer:
    """Says when the next message of a pace may go, and remembers those that went."""

    def __init__(self, settings: Sending, flow: Flow, random: Callable[[], float]) -> None:
        """Create one.

        Args:
            settings: How the account sends.
            flow: What went before.
            random: Draws a number from 0 up to 1.
        """
        self._settings = settings
        self._random = random
        self._is_on = settings.pacing == "on"
        self.flow = flow

    def linked(self, at: float) -> None:
        """Note when the account was linked."""
        self.flow = Flow(self.flow.known, self.flow.new, self.flow.first, at)

    def clamp(self, now: float) -> None:
        """Put right what a clock that was put back would stretch: nothing waits longer than it ever may."""
        settings, flow = self._settings, self.flow
        first = bisect.bisect_right(flow.first, now - DAY)
        self.flow = Flow(
            min(flow.known, now + settings.known_burst * settings.known_every),
            min(flow.new, now + settings.new_every * (1 + settings.new_spread)),
            tuple(min(one, now) for one in flow.first[first:]),
            None if flow.linked is None else min(flow.linked, now),
        )

    def take(self, pace: Pace, now: float) -> None:
        """Note that a message goes now."""
        gap = self._settings.new_every * (1 + self._settings.new_spread * (2 * self._random() - 1))
        self.flow = self.after(pace, now, self.flow, gap)

    def give_back(self, at: float) -> None:
        """Note that the message to a new chat of that time did not go: it does not count for the day."""
        left = list(self.flow.first)
        index = bisect.bisect_left(left, at)
        if index < len(left) and left[index] == at:
            del left[index]
            self.flow = Flow(self.flow.known, self.flow.new, tuple(left), self.flow.linked)

    def after(self, pace: Pace, at: float, flow: Flow, gap: float | None = None) -> Flow:
        """Return what is remembered once another message has gone.

        Args:
            pace: Its pace.
            at: When it goes, in Unix seconds.
            flow: What went before.
            gap: Seconds until the next to a new chat, None: as many as on average.
        """
        if not self._is_on or pace is Pace.REPLY:
            return flow
        if pace is Pace.KNOWN:
            known = max(flow.known, at) + self._settings.known_every
            return Flow(known, flow.new, flow.first, flow.linked)
        first = list(flow.first)
        bisect.insort(first, at)
        gap = self._settings.new_every if gap is None else gap
        return Flow(flow.known, max(flow.new, at + gap), tuple(first), flow.linked)

    def free(self, pace: Pace, now: float, flow: Flow | None = None) -> float:
        """Return when the next message may go: now or later, in Unix seconds; infinity if never.

        Args:
            pace: Its pace.
            now: Unix seconds.
            flow: What went before, None: what is remembered.
        """
        if not self._is_on or pace is Pace.REPLY:
            return now
        flow = self.flow if flow is None else flow
        if pace is Pace.KNOWN:
            return max(now, flow.known - (self._settings.known_burst - 1) * self._settings.known_every)
        return self._new(max(now, flow.new), flow)

    def roughly(self, pace: Pace, before: int, now: float) -> float:
        """Return about when a message may go before which others of its pace go, in Unix seconds."""
        if not self._is_on or pace is Pace.REPLY:
            return now
        if pace is Pace.KNOWN:
            return self.free(pace, now) + before * self._settings.known_every
        a_day = new_a_day(self._settings, self._age(now))
        if a_day <= 0:
            return math.inf
        return self.free(pace, now) + before * max(self._settings.new_every, DAY / a_day)

    def left(self, pace: Pace, now: float) -> tuple[int, int] | None:
        """Return how many messages of a pace may go without a longer wait, and how many that may be at most.

        To known chats: at once. To new chats: within the present 24 hours. None: nothing limits the number.
        """
        if not self._is_on or pace is Pace.REPLY:
            return None
        if pace is Pace.NEW:
            return max(0, self._left(now, self.flow)), new_a_day(self._settings, self._age(now))
        most, every = self._settings.known_burst, self._settings.known_every
        if every <= 0:
            return most, most
        # A difference of two times may be a trifle less than it was when they were added up.
        used = math.ceil(max(0.0, self.flow.known - now) / every - 1e-6)
        return max(0, most - used), most

    def _new(self, at: float, flow: Flow) -> float:
        while self._left(at, flow) <= 0:
            leaving = bisect.bisect_right(flow.first, at - DAY)
            leaves = flow.first[leaving] + DAY if leaving < len(flow.first) else math.inf
            later = min(leaves, self._grows(at))
            if later == math.inf:
                return later
            # A sum may be rounded down to where it was: a millisecond more is nothing here.
            at = later if later > at else at + 0.001
        return at

    def _left(self, at: float, flow: Flow) -> int:
        went = len(flow.first) - bisect.bisect_right(flow.first, at - DAY)
        return new_a_day(self._settings, self._age(at, flow)) - went

    def _grows(self, at: float) -> float:
        """Return when one more new chat a day is allowed than at a time."""
        settings = self._settings
        more = settings.new_a_day_later - settings.new_a_day
        next_one = new_a_day(settings, self._age(at)) + 1
        if more <= 0 or next_one > settings.new_a_day_later or self.flow.linked is None:
            return math.inf
        return self.flow.linked + settings.warm_up * (next_one - settings.new_a_day) / more

    def _age(self, at: float, flow: Flow | None = None) -> float:
        linked = (self.flow if flow is None else flow).linked
        return 0.0 if linked is None else at - linked


def written(parts: Mapping[str, Json]) -> str:
    """Return JSON in one line, the same text for the same content."""
    return json.dumps(parts, separators=(",", ":"), sort_keys=True)
