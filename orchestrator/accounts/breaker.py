"""What keeps a fleet in step: starts a few at a time, breakers for what all have in common. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable

PROBE_FIRST = 15 * 60.0
"""Seconds from the refusal of the client to the first probe."""
PROBE_LAST = 6 * 3600.0
"""Seconds between such probes at the most."""
NETWORK_PROBE_FIRST = 15.0
"""Seconds from the loss of a way's network to the first probe."""
NETWORK_PROBE_LAST = 120.0
"""Seconds between such probes at the most; so long may it take to notice that the network is back."""
TOGETHER_SECONDS = 120.0
"""Accounts whose runs end within so many seconds of each other lose the network together. A silent link shows
with the next ping, some 10 s sooner or later with each account; a refused one shows at once."""
TOGETHER_AT_LEAST = 3
"""Fewer accounts than this do not tell the network of their way from their own."""
WORKS_SECONDS = 60.0
"""Seconds after which accounts that are still connected show that the network of their way is not lost: a
silent link shows within 45."""


ALONE_SECONDS = 300.0
"""Seconds between two fork servers that are replaced because of what one and the same account says."""


class Breaker:
    """Holds the fleet while what some accounts were told holds for all, and sends out one probe at a time.

    The accounts probe in turn: one whose process tells lies cannot probe for all others again and again.

    Args:
        first: Seconds until the first probe.
        last: Seconds between two probes at the most.

    Attributes:
        probe_at: Monotonic time of the next probe, None if none is planned.
        canary: Who probes at the moment, None if nobody does.
    """

    def __init__(self, first: float, last: float) -> None:
        self.probe_at: float | None = None
        self.canary: str | None = None
        self._first = self._wait = first
        self._last = last
        self._probes: Counter[str] = Counter()

    @property
    def tripped(self) -> bool:
        """Whether the fleet is held."""
        return self.probe_at is not None or self.canary is not None

    def refused(self, name: str, now: float) -> bool:
        """Note that an account failed for the common reason; return True if that is news to the others."""
        if self.canary == name:
            self._wait = min(self._wait * 2, self._last)
        elif self.tripped:
            return False
        news = not self.tripped
        self.canary = None
        self.probe_at = now + self._wait
        return news

    def probe(self, now: float, candidates: Iterable[str], *, early: bool = False) -> str | None:
        """Return who is to probe now, None if it is not time or there is nobody.

        Args:
            now: Monotonic seconds.
            candidates: Who could, the best first. Those that have probed least often come before.
            early: Before its time, because an operator says so.
        """
        if self.probe_at is None or (now < self.probe_at and not early):
            return None
        self.canary = min(candidates, key=lambda name: self._probes[name], default=None)
        if self.canary is None:
            self.probe_at = now + self._wait
            return None
        self._probes[self.canary] += 1
        self.probe_at = None
        return self.canary

    def connected(self) -> bool:
        """Note that the common reason is gone; return True if that sets the fleet free."""
        if not self.tripped:
            return False
        self.probe_at = self.canary = None
        self._wait = self._first
        self._probes.clear()
        return True

    def canary_ended(self, name: str, now: float, *, soon: float | None = None) -> None:
        """Note that an account's run ended for a reason of its own: the next probe comes as planned.

        Args:
            name: The account.
            now: Monotonic seconds.
            soon: Seconds to the next probe at the most, because this one has told nothing.
        """
        if self.canary == name:
            self.canary = None
            self.probe_at = now + (self._wait if soon is None else min(self._wait, soon))


class Outage:
    """Tells the network of a way out from an account's own: who has lost it, and when."""

    def __init__(self) -> None:
        self._lost: dict[str, float] = {}

    def lost(self, name: str, now: float) -> None:
        """Note that an account could not reach WhatsApp, or no more; once more is no news."""
        self._lost.setdefault(name, now)

    def reached(self, name: str) -> None:
        """Note that an account has heard of WhatsApp, or is gone."""
        self._lost.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forget the losses of all but these accounts."""
        self._lost = {name: at for name, at in self._lost.items() if name in names}

    def clear(self) -> None:
        """Forget all losses."""
        self._lost.clear()

    def settle(self) -> None:
        """Take all losses so far for the accounts' own: they tell nothing until these are back."""
        self._lost = dict.fromkeys(self._lost, -math.inf)

    def is_common(self, now: float, up: int) -> bool:
        """Tell whether most accounts lost the network together.

        Args:
            now: Monotonic seconds.
            up: How many accounts have WhatsApp's word that their link works.
        """
        together = sum(at > now - TOGETHER_SECONDS for at in self._lost.values())
        return together >= max(TOGETHER_AT_LEAST, up + 1)


class Renewals:
    """Says whether what a process says of its start concerns the other accounts. Its word alone does not.

    A fork server may keep half of a library that could not be loaded. It is replaced at once if two accounts
    say so, and for the word of one account only now and then: each replacement costs a second of CPU, and the
    fork server before stays as long as its processes do.

    Attributes:
        proven: How many accounts have connected with new settings since the last reload. So many and one more
            may try theirs at once.
    """

    def __init__(self) -> None:
        self._unloaded: dict[str, float] = {}
        self._followed: dict[str, float] = {}
        self._failed: set[str] = set()
        self.proven = 0

    def reloaded(self) -> None:
        """Note that a configuration was read: what was proven of the one before tells nothing of it."""
        self.proven = 0

    def not_loaded(self, name: str, now: float) -> bool:
        """Note that an account could not load the library; return whether to replace the fork server."""
        others = any(at > now - ALONE_SECONDS for other, at in self._unloaded.items() if other != name)
        self._unloaded[name] = now
        if not others and now < self._followed.get(name, -math.inf) + ALONE_SECONDS:
            return False
        self._unloaded = {} if others else self._unloaded
        self._followed[name] = now
        return True

    def failed(self, name: str, *, seen: bool) -> bool:
        """Note that an account got no new process that works; return whether no other is to be given one.

        Args:
            name: The account.
            seen: Whether the service itself has seen that no process can be made.
        """
        self._failed.add(name)
        if not seen and len(self._failed) < 2:
            return False
        self._failed.clear()
        return True

    def worked(self) -> None:
        """Note that an account's new process works."""
        self._failed.clear()

    def forget(self, name: str) -> None:
        """Note that an account was removed."""
        self._unloaded.pop(name, None)
        self._followed.pop(name, None)
        self._failed.discard(name)
