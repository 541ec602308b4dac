"""How a child behaves on the pipe: the order of its messages, and how many they are. Pure.

    Loading, NotLoaded ─► Connecting ─► Code, LinkCode, Paired ─► Connected ◄─► LinkLost

Heartbeat, answers (Acted, Queued, Fetched), what becomes of messages that are sent (Moved, Unsettled,
Restricted) and Ended may come at any time, PhoneSeen after `Connecting`. What no honest child can say is a
breach, and its process is killed: something of WhatsApp before `Connecting`, one of the first three twice, a
code after `Connected`. A race in the library is no breach: the same state told twice, a code after `Paired`,
a second `Paired`. After `Ended` nothing is heard any more: it is the last word, and counts.

Signs of the phone are heard now and then only: one that comes too early is left out, for the next one says
the same.

Too much is a breach, too: for a long time more messages, more codes, or more questions about secrets than an
honest child has. A link that comes and goes all the time is no breach: the last change of a while is heard,
and the others are counted. The same holds of what an account may not send.
"""

from __future__ import annotations

from typing import Final

from orchestrator.accounts import pipe
from orchestrator.accounts.flood import Meter
from orchestrator.accounts.pipe import FromChild, MessageError

MESSAGES_A_SECOND: Final = 1000.0
"""Messages that a child may send all the time. An honest one sends a heartbeat every 10 s."""
MESSAGES_AT_ONCE: Final = 5000.0
"""Messages above that; a pipe that was not read for a while holds about 2,000."""
CODES_A_SECOND: Final = 0.5
"""Codes that a child may show all the time. WhatsApp has one every 20 s."""
CODES_AT_ONCE: Final = 20.0
CHANGES_A_SECOND: Final = 20.0
"""Changes of the link that are heard, all the time and at once. An honest link has one in some seconds."""

QUESTIONS_A_SECOND: Final = 0.2
"""Questions about secrets that a child may have all the time. Each has the service read the session."""
QUESTIONS_AT_ONCE: Final = 50.0
LIMITS_A_SECOND: Final = 0.2
"""Changes of what may not be sent that are heard all the time. Each goes into the account's timeline."""
LIMITS_AT_ONCE: Final = 20.0

SIGNS_A_SECOND: Final = 0.1
"""Signs of the phone that are heard all the time. An honest child tells one a minute."""
SIGNS_AT_ONCE: Final = 5.0

_START: Final = (pipe.Loading, pipe.NotLoaded, pipe.Connecting)
_ANSWERS: Final = (pipe.Acted, pipe.Queued, pipe.Fetched)
_ANY_TIME: Final = (
    *(pipe.Heartbeat, pipe.Moved, pipe.Unsettled, pipe.Restricted, pipe.Ended),
    *_ANSWERS,
)
_LINKING: Final = (pipe.Code, pipe.LinkCode, pipe.Paired)
_LINK: Final = (pipe.Connected, pipe.LinkLost)


class _Last:
    """Lets so many messages of one sort through; of those that are too many, the last one waits.

    Args:
        rate: How many a second.
        burst: How many at once, after a quiet time.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.held: FromChild | None = None
        self._meter = Meter(rate, burst)
        self._left_out = 0

    def admit(self, message: FromChild, now: float) -> bool:
        """Tell whether a message is heard now; one that is not waits in the place of the one before it."""
        if self.held is not None:
            self._left_out += 1
        elif self._meter.admit(now):
            return True
        self.held = message
        return False

    def due(self, now: float) -> float:
        """Return the moment from which one more may be heard."""
        return self._meter.free_at(now)

    def release(self, now: float) -> tuple[list[FromChild], int]:
        """Return the message that waits, if it may be heard now, and how many were left out before it."""
        held = self.held
        if held is None or self.due(now) > now:
            return [], 0
        self._meter.admit(now)
        self.held = None
        count, self._left_out = self._left_out, 0
        return [held], count

    def forget(self) -> None:
        """Let nothing wait any more."""
        self.held = None


class Conduct:
    """The behavior of one child.

    Attributes:
        over: Whether it has said its last word, so that nothing it says counts any more.
    """

    def __init__(self) -> None:
        self.over = False
        self._said: set[type[FromChild]] = set()
        self._messages = Meter(MESSAGES_A_SECOND, MESSAGES_AT_ONCE)
        self._codes = Meter(CODES_A_SECOND, CODES_AT_ONCE)
        self._questions = Meter(QUESTIONS_A_SECOND, QUESTIONS_AT_ONCE)
        self._signs = Meter(SIGNS_A_SECOND, SIGNS_AT_ONCE)
        self._changes = _Last(CHANGES_A_SECOND, CHANGES_A_SECOND)
        self._limits = _Last(LIMITS_A_SECOND, LIMITS_AT_ONCE)

    def hear(self, message: FromChild, now: float) -> list[FromChild]:
        """Take a message in; return what the account is to hear of it now.

        Args:
            message: What the child says.
            now: Monotonic seconds.

        Raises:
            MessageError: The child may not say that, or not so much; the text says why.
        """
        if self.over:
            return []
        if not self._messages.admit(now):
            raise MessageError(f"more than {MESSAGES_A_SECOND:.0f} messages a second")
        self._check_order(message)
        self._said.add(type(message))
        if isinstance(message, pipe.Ended):
            self.over = True
            self._changes.forget()
            self._limits.forget()
        if isinstance(message, pipe.Code | pipe.LinkCode) and not self._codes.admit(now):
            raise MessageError("one code after the other, faster than WhatsApp makes them")
        if isinstance(message, pipe.Unsettled) and not self._questions.admit(now):
            raise MessageError("one question about secrets after the other")
        if isinstance(message, _LINK):
            return [message] if self._changes.admit(message, now) else []
        if isinstance(message, pipe.Restricted):
            return [message] if self._limits.admit(message, now) else []
        if isinstance(message, pipe.PhoneSeen) and not self._signs.admit(now):
            return []
        return [message]

    @property
    def holds(self) -> bool:
        """Whether a change waits until it may be heard."""
        return any(one.held is not None for one in (self._changes, self._limits))

    def due(self, now: float) -> float:
        """Return the monotonic time from which `release` lets a change through that waits."""
        return min(
            (one.due(now) for one in (self._changes, self._limits) if one.held is not None), default=now
        )

    def release(self, now: float) -> tuple[list[FromChild], int]:
        """Let the changes through that wait, if they may be heard now.

        Returns:
            What the account is to hear, and how many changes of the link were left out before it.
        """
        changes, count = self._changes.release(now)
        limits, _ = self._limits.release(now)
        return changes + limits, count

    def _check_order(self, message: FromChild) -> None:
        kind = type(message)
        if isinstance(message, _ANY_TIME):
            return
        if isinstance(message, _START):
            if kind in self._said:
                raise MessageError(f"a second {kind.__name__}")
            if pipe.Connecting in self._said:
                raise MessageError(f"a {kind.__name__} after a Connecting")
            return
        if pipe.Connecting not in self._said:
            raise MessageError(f"a {kind.__name__} before a Connecting")
        if isinstance(message, _LINKING) and pipe.Connected in self._said:
            raise MessageError(f"a {kind.__name__} after a Connected")
