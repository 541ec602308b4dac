"""How a child behaves on the pipe: the order of its messages, and how many they are. Pure.

    Loading, NotLoaded ─► Connecting ─► Code, LinkCode, Paired ─► Connected ◄─► LinkLost

Heartbeat, Sent and Ended may come at any time. What no honest child can say is a breach, and its process is
killed: something of WhatsApp before `Connecting`, one of the first three twice, a code after `Connected`. A
race in the library is no breach: the same state told twice, a code after `Paired`, a second `Paired`. After
`Ended` nothing is heard any more: it is the last word, and it counts.

Too much is a breach, too: for a long time more messages, or more codes, than an honest child has. A link that
comes and goes all the time is no breach: the last change of a while is heard, and the others are counted.
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

_START: Final = (pipe.Loading, pipe.NotLoaded, pipe.Connecting)
_ANY_TIME: Final = (pipe.Heartbeat, pipe.Sent, pipe.Ended)
_LINKING: Final = (pipe.Code, pipe.LinkCode, pipe.Paired)
_LINK: Final = (pipe.Connected, pipe.LinkLost)


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
        self._changes = Meter(CHANGES_A_SECOND, CHANGES_A_SECOND)
        self._held: FromChild | None = None
        self._left_out = 0

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
            self.over, self._held = True, None
        if isinstance(message, pipe.Code | pipe.LinkCode) and not self._codes.admit(now):
            raise MessageError("one code after the other, faster than WhatsApp makes them")
        if isinstance(message, _LINK) and self._hold(message, now):
            return []
        return [message]

    @property
    def holds(self) -> bool:
        """Whether a change of the link waits until it may be heard."""
        return self._held is not None

    def due(self, now: float) -> float:
        """Return the monotonic time from which `release` lets the change through that waits."""
        return self._changes.free_at(now)

    def release(self, now: float) -> tuple[list[FromChild], int]:
        """Let the change through that waits, if it may be heard now.

        Returns:
            What the account is to hear, and how many changes were left out before it.
        """
        held = self._held
        if held is None or self._changes.free_at(now) > now:
            return [], 0
        self._changes.admit(now)
        self._held = None
        count, self._left_out = self._left_out, 0
        return [held], count

    def _hold(self, message: FromChild, now: float) -> bool:
        """Hold a change of the link back, if there were too many; the one held until then is left out."""
        if self._held is not None:
            self._left_out += 1
        elif self._changes.admit(now):
            return False
        self._held = message
        return True

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
