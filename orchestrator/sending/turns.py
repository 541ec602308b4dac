"""Whose turn it is: which rows of an outbox are begun now, and what is said of the others. Pure."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator
from typing import Final

from orchestrator.accounts.settings import Sending
from orchestrator.sending.contacts import Contact, phone_of
from orchestrator.sending.forms import MEDIA, Kind
from orchestrator.sending.pacing import Pacer
from orchestrator.sending.queue import Chat, Item, Line, Queue, Stage
from orchestrator.sending.restrictions import NOT_TO_STRANGERS, TOO_MANY, TOO_MANY_NEW, Restrictions
from orchestrator.sending.row import Pace
from orchestrator.sending.steps import CheckNumber, Expire, Fail, Hand, PutBack, Schedule, ShowTyping, Step

MOST_HANDED: Final = 4
"""Rows that the library has at once, each of another chat. Each takes a thread."""
MOST_FILES: Final = 2
"""Rows with files that the library has at once: files are uploaded one after the other, which may take
minutes, and texts to others do not wait for that."""
MOST_TYPING: Final = 32
"""Chats that are answered and see the account type at once."""
HOLD: Final = 60.0
"""Seconds for which a row in doubt holds its chat. Whether it left is mostly known much sooner."""
RESEND_AFTER: Final = 300.0
"""Seconds online after which a row in doubt is sent again if that is wanted; twice as many each time."""
CHECK_AHEAD: Final = 10.0
"""Seconds before its turn at which a row's number is looked up."""
CHECK_EVERY: Final = 5.0
"""Seconds between two looks, so that a list of numbers that do not exist is not walked through at once."""
VISIBLE: Final = 100
"""Rows at the head of a line that are told anew when their time changes."""
TELL_EVERY: Final = 5.0
"""Seconds between two times that the waiting rows of a line are looked through."""
TELL_FROM: Final = 2.0
"""Seconds of waiting, or of a change to it, of which a row is told."""

NOT_ON_WHATSAPP: Final = "this number is not on WhatsApp"
TAKES_NOTHING: Final = "WhatsApp has just refused a message to this chat"
SENT_AGAIN: Final = "nobody could find out whether it was sent, and it is sent again"
PACED: Final = "the account takes its time between messages"
PACED_NEW: Final = "the account takes its time between messages to people whom it does not know"
DAY_FULL: Final = "the account has begun as many new chats within a day as it may"
CLOSED: Final = {
    NOT_TO_STRANGERS: "WhatsApp takes no messages to people who have not written to the account",
    TOO_MANY_NEW: "WhatsApp takes no new chats: the account has begun too many",
    TOO_MANY: "WhatsApp takes no messages: there were too many",
}

_PACES: Final = {Line.REPLY: Pace.REPLY, Line.KNOWN: Pace.KNOWN, Line.NEW: Pace.NEW}


class Turns:
    """Chooses among the rows of a queue, by its pacer and WhatsApp's restrictions.

    Attributes:
        queue: The rows.
        pacer: How soon messages may go.
        restrictions: What WhatsApp takes no messages of.
        online_since: Since when the account is connected, in Unix seconds; None while it is not.
        is_changed: Whether something has happened since `steps` was called.
        due: When to call it again if nothing happens, in Unix seconds; None if not at all.
    """

    def __init__(self, settings: Sending, pacer: Pacer, restrictions: Restrictions) -> None:
        """Create one without rows, of an account that is not connected.

        Args:
            settings: How the account sends.
            pacer: How soon messages may go.
            restrictions: What WhatsApp takes no messages of.
        """
        self._settings = settings
        self.pacer = pacer
        self.restrictions = restrictions
        self.queue: Queue = Queue(self._line_of)
        self.online_since: float | None = None
        self.is_changed = True
        self.due: float | None = None
        self._untold: list[int] = []
        self._tell_at = dict.fromkeys(Line, 0.0)
        self._is_stale = dict.fromkeys(Line, True)
        self._check_at = 0.0

    def add(self, item: Item, contact: Contact, now: float) -> None:
        """Take in a row."""
        self.queue.add(item, contact, now)
        self._untold.append(item.number)
        self.is_changed = True

    def shift(self, by: float) -> None:
        """Note that the clock was set by so many seconds."""
        self.queue.shift(by)
        self._check_at += by
        self._tell_at = dict.fromkeys(Line, 0.0)
        if self.online_since is not None:
            self.online_since += by

    def steps(self, now: float) -> Iterator[Step]:
        """Yield what is to be done now."""
        if self.is_changed:
            self._is_stale = dict.fromkeys(Line, True)
        self.is_changed, self.due = False, None
        for item in self.queue.expired(now):
            self.queue.remove(item, now)
            yield Expire(item.number)
        self._wake(self.queue.next_expiry())
        yield from self._doubts(now)
        if self.online_since is None:
            return
        self._wake(self.queue.unpark(now))
        if self.restrictions.is_paused(now):
            yield from self._paused(now)
            return
        yield from self._typed(now)
        for line in Line:
            if line is not Line.FREE:
                yield from self._fails(line, now)
            if line in (Line.FREE, Line.REPLY):
                yield from self._at_once(line, now)
            else:
                yield from self._in_turn(line, now)
        yield from self._tell_the_rest(now)

    def _doubts(self, now: float) -> Iterator[Step]:
        """Let chats go on that a row in doubt has held for long enough; send it again if that is wanted."""
        for item in self.queue.all_in(Stage.DOUBTED):
            item.at = min(item.at, now)
            chat = self.chat(item)
            if chat.numbers[:1] == [item.number]:
                if now < item.at + HOLD:
                    self._wake(item.at + HOLD)
                    continue
                self.queue.leave(item, now)
            if self._settings.on_unknown == "resend" and self.online_since is not None:
                again = max(item.at, self.online_since) + RESEND_AFTER * 2 ** min(item.tries, 10)
                if now < again:
                    self._wake(again)
                elif now < item.expires_at:
                    item.tries += 1
                    self.wait_again(item, now)
                    yield PutBack(item.number, SENT_AGAIN, None)

    def _paused(self, now: float) -> Iterator[Step]:
        self.stop_typing(now)
        until = self.restrictions.all.until
        self._wake(until)
        for line in Line:
            for number in self.queue.lines[line][:VISIBLE]:
                item = self.queue.items[number]
                yield from self._tell(item, until, CLOSED[TOO_MANY], now)

    def _typed(self, now: float) -> Iterator[Step]:
        """Hand over the rows before which the account has typed for long enough."""
        for item in self.queue.all_in(Stage.TYPING):
            pace = self.pace(item, now)
            if self._is_closed(item, now):
                self.wait_again(item, now)
                continue
            at = max(item.at, self.pacer.free(pace, now))
            if at > now:
                self._wake(None if at == math.inf else at)
            elif self._has_room(item):
                yield self._hand(item, pace, now)

    def _fails(self, line: Line, now: float) -> Iterator[Step]:
        """Let rows fail of which it is known already that WhatsApp takes them not."""
        for number in self.queue.lines[line][:VISIBLE]:
            item = self.queue.items.get(number)
            if item is None or item.stage is not Stage.WAITING:
                continue
            contact = self.chat(item).contact
            if contact.is_refused(now):
                yield self.fail(item, TAKES_NOTHING, NOT_TO_STRANGERS, now)
            elif self._settings.check_numbers and contact.is_missing(now):
                yield self.fail(item, NOT_ON_WHATSAPP, None, now)

    def _at_once(self, line: Line, now: float) -> Iterator[Step]:
        for number in list(self.queue.lines[line]):
            item = self.queue.items[number]
            if self._line_of(item, now) is not line:  # a day has passed since the chat wrote
                self.queue.place(self.chat(item), now)
            elif item.typing:
                if self.queue.count(Stage.TYPING) >= MOST_TYPING:
                    return
                yield self._type(item, now + item.typing, now)
            elif self._has_room(item):
                yield self._hand(item, self.pace(item, now), now)
            elif self.queue.count(Stage.HANDED) >= MOST_HANDED:
                return

    def _in_turn(self, line: Line, now: float) -> Iterator[Step]:
        """Begin with the rows whose turn it is, and say of the others when theirs is."""
        self._sort_anew(line, now)
        pace, flow = _PACES[line], self.pacer.flow
        numbers, tells = self.queue.lines[line], self._tells(line, now)
        typing = [item.number for item in self.queue.all_in(Stage.TYPING) if self.pace(item, now) is pace]
        for number in sorted([*numbers[:VISIBLE], *typing]):
            item = self.queue.items[number]
            if item.stage is Stage.TYPING:
                flow = self.pacer.after(pace, self.pacer.free(pace, max(item.at, now), flow), flow)
                continue
            if self._is_closed(item, now):
                new = self.restrictions.new
                self._wake(new.until)
                yield from self._tell(item, new.until, CLOSED[new.code], now)
                continue
            free = self.pacer.free(pace, now, flow)
            if not tells and free - self._settings.typing_most - CHECK_AHEAD > now:
                self._wake(free - self._settings.typing_most - CHECK_AHEAD)
                return
            if step := self._begin(item, pace, free, now):
                self._is_stale[line] = True
                self.is_changed = self.is_changed or len(numbers) >= VISIBLE
                yield step
            elif tells:
                yield from self._tell(item, free, _why(pace, free, max(now, flow.new)), now)
            if free < math.inf:
                flow = self.pacer.after(pace, max(free, now + item.typing), flow)

    def _tells(self, line: Line, now: float) -> bool:
        """Tell whether it is time to look through all rows of a line, which takes long of many."""
        if self._is_stale[line] and self._tell_at[line] > now:
            self._wake(self._tell_at[line])
            return False
        if not self._is_stale[line]:
            return False
        self._is_stale[line], self._tell_at[line] = False, now + TELL_EVERY
        return True

    def _begin(self, item: Item, pace: Pace, free: float, now: float) -> Step | None:
        """Begin with a row if it is time: look up its number, type, or hand it over."""
        start = free - item.typing
        if self._needs_check(item, now):
            most = 1 if self._settings.pacing == "on" else MOST_HANDED
            at = max(start - CHECK_AHEAD, self._check_at)
            if at > now:
                self._wake(at)
            elif self.queue.count(Stage.CHECKING) < most:
                return self._check(item, now)
        elif start > now:
            self._wake(start)
        elif item.typing:
            return self._type(item, max(free, now + item.typing), now)
        elif self._has_room(item):
            return self._hand(item, pace, now)
        return None

    def _tell_the_rest(self, now: float) -> Iterator[Step]:
        """Say of rows that are new, and far back in a line, about when their turn is."""
        untold, self._untold = self._untold[:VISIBLE], self._untold[VISIBLE:]
        self.is_changed = self.is_changed or bool(self._untold)
        for number in untold:
            item = self.queue.items.get(number)
            line = None if item is None else self.chat(item).line
            if item is None or line not in _PACES or self.chat(item).numbers[0] != number:
                continue
            before = bisect.bisect_left(self.queue.lines[line], number)
            if self._is_closed(item, now):
                new = self.restrictions.new
                yield from self._tell(item, new.until, CLOSED[new.code], now)
            elif before >= VISIBLE:
                pace = _PACES[line]
                yield from self._tell(item, self.pacer.roughly(pace, before, now), _why(pace, 0, 0), now)

    # What happens to a row

    def _check(self, item: Item, now: float) -> Step:
        self.queue.stage(item, Stage.CHECKING)
        self.queue.place(self.chat(item), now)
        if self._settings.pacing == "on":
            self._check_at = now + CHECK_EVERY
        return CheckNumber(item.number, phone_of(item.chat) or "")

    def _type(self, item: Item, at: float, now: float) -> Step:
        self.queue.stage(item, Stage.TYPING)
        item.at = at
        self.queue.place(self.chat(item), now)
        self._wake(at)
        return ShowTyping(item.number, recording=item.kind is Kind.VOICE)

    def _hand(self, item: Item, pace: Pace, now: float) -> Step:
        self.queue.stage(item, Stage.HANDED)
        item.at = now
        self.queue.place(self.chat(item), now)
        if item.kind is not Kind.READ:
            self.pacer.take(pace, now)
            item.counted_at = now if pace is Pace.NEW else None
        return Hand(item.number, pace)

    def fail(self, item: Item, why: str, code: int | None, now: float) -> Step:
        """Let a row fail."""
        self.queue.remove(item, now)
        self.is_changed = True
        return Fail(item.number, why, code)

    def wait_again(self, item: Item, now: float) -> None:
        """Put a row back among those that wait."""
        self.queue.stage(item, Stage.WAITING)
        item.counted_at = item.told = None
        self.queue.enter(item, now)
        self.is_changed = True

    def stop_typing(self, now: float) -> None:
        """Begin anew, later, with all rows before which the account types."""
        for item in self.queue.all_in(Stage.TYPING):
            self.queue.stage(item, Stage.WAITING)
            self.queue.place(self.chat(item), now)

    def _tell(self, item: Item, until: float, why: str, now: float) -> Iterator[Step]:
        """Say how long a row waits, unless that is not long, or nearly what was said before."""
        pace, before = self.pace(item, now), item.told
        if before is None and until - now < TELL_FROM:
            return
        if before is not None and (before[0], before[2]) == (pace, why):
            is_near = abs(until - before[1]) < max(TELL_FROM, (until - now) / 4)
            if before[1] == until or (is_near and until < math.inf):
                return
        item.told = (pace, until, why)
        yield Schedule(item.number, pace, None if until == math.inf else until, why)

    # What is known

    def _has_room(self, item: Item) -> bool:
        """Tell whether the library may have one more row, and it that one."""
        handed = self.queue.all_in(Stage.HANDED)
        if len(handed) >= MOST_HANDED:
            return False
        return item.kind not in MEDIA or sum(one.kind in MEDIA for one in handed) < MOST_FILES

    def chat(self, item: Item) -> Chat:
        """Return the chat of a row."""
        return self.queue.chats[item.chat]

    def pace(self, item: Item, now: float) -> Pace:
        """Return how well a row's chat is known. A chat that has a message to react to is not new."""
        pace = self.chat(item).contact.pace(item.chat, now)
        return Pace.KNOWN if pace is Pace.NEW and item.kind.is_repeatable else pace

    def _line_of(self, item: Item, now: float) -> Line:
        if item.kind is Kind.READ:
            return Line.FREE
        return Line.NEW if self._is_closed(item, now) else Line(self.pace(item, now))

    def _is_closed(self, item: Item, now: float) -> bool:
        return self.restrictions.is_closed(now) and not self.chat(item).contact.is_warm(item.chat)

    def _needs_check(self, item: Item, now: float) -> bool:
        return (
            self._settings.check_numbers
            and not item.is_checked
            and phone_of(item.chat) is not None
            and self.pace(item, now) is Pace.NEW
            and not self.chat(item).contact.is_found(now)
        )

    def _sort_anew(self, line: Line, now: float) -> None:
        """Let rows change lines of which more, or less, is known than when they came."""
        for number in self.queue.lines[line][:VISIBLE]:
            item = self.queue.items[number]
            if self._line_of(item, now) is not line:
                self.queue.place(self.chat(item), now)
                self.is_changed = True

    def _wake(self, at: float | None) -> None:
        if at is not None and at < math.inf:
            self.due = at if self.due is None else min(self.due, at)


def _why(pace: Pace, free: float, spaced: float) -> str:
    if pace is Pace.KNOWN:
        return PACED
    return DAY_FULL if free > spaced else PACED_NEW
