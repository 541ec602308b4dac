"""Who may start when: a few at a time, apart, and nobody while WhatsApp refuses the client. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

PROBE_FIRST = 15 * 60.0
"""Seconds from the refusal of the client to the first probe."""
PROBE_LAST = 6 * 3600.0
"""Seconds between probes at the most."""


class Ramp:
    """The queue of accounts that want to start.

    Args:
        parallel: How many may be starting or connecting at once.
        spread: Seconds, the most by which a start follows the one before, at random.
        random: Returns numbers from 0 up to 1.
    """

    def __init__(self, parallel: int, spread: float, random: Callable[[], float]) -> None:
        self.parallel = parallel
        self.spread = spread
        self._random = random
        self._waiting: dict[str, None] = {}
        self._not_before = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def queue(self, name: str) -> None:
        """Let an account wait for its turn; one that waits already keeps its place."""
        self._waiting.setdefault(name)

    def unqueue(self, name: str) -> None:
        """Let it wait no longer."""
        self._waiting.pop(name, None)

    def next(self, now: float, dialling: int) -> str | None:
        """Return whose turn it is, None if it is nobody's yet; that one waits no longer.

        Args:
            now: Monotonic seconds.
            dialling: How many accounts are starting or connecting.
        """
        if not self._waiting or dialling >= self.parallel or now < self._not_before:
            return None
        name = next(iter(self._waiting))
        del self._waiting[name]
        self._not_before = now + self.spread * self._random()
        return name

    def wakes_at(self, dialling: int) -> float | None:
        """Return the monotonic time from which `next` may have somebody; None if not by time alone."""
        return self._not_before if self._waiting and dialling < self.parallel else None


class Breaker:
    """Holds the fleet while WhatsApp refuses this version of the client, and sends out one probe at a time.

    Every account runs the same client, so what one was told holds for all: more of them dialling would
    only be noted as an attack.
    """

    def __init__(self) -> None:
        self.probe_at: float | None = None
        self.canary: str | None = None
        self._wait = PROBE_FIRST

    @property
    def tripped(self) -> bool:
        """Whether the fleet is held."""
        return self.probe_at is not None or self.canary is not None

    def refused(self, name: str, now: float) -> bool:
        """Note that an account was refused; return True if that is news, so that the others must be held."""
        if self.canary == name:
            self._wait = min(self._wait * 2, PROBE_LAST)
        elif self.tripped:
            return False
        news = not self.tripped
        self.canary = None
        self.probe_at = now + self._wait
        return news

    def probe(self, now: float, candidates: Iterable[str]) -> str | None:
        """Return who is to probe now, None if it is not time or there is nobody."""
        if self.probe_at is None or now < self.probe_at:
            return None
        self.canary = next(iter(candidates), None)
        if self.canary is None:
            self.probe_at = now + self._wait
            return None
        self.probe_at = None
        return self.canary

    def connected(self) -> bool:
        """Note that an account has connected; return True if that sets the fleet free."""
        if not self.tripped:
            return False
        self.probe_at = self.canary = None
        self._wait = PROBE_FIRST
        return True

    def canary_ended(self, name: str, now: float) -> None:
        """Note that an account's run ended otherwise than by a refusal: the next probe comes as planned."""
        if self.canary == name:
            self.canary = None
            self.probe_at = now + self._wait
