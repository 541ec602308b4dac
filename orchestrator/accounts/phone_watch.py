"""When an account's own phone was last seen, and when somebody should open WhatsApp on it. Pure.

WhatsApp unlinks all devices of a phone that was offline for about 14 days. Nothing tells how long a phone
was offline. What the phone does shows that it is there: it sends, it reads, it confirms what its devices
send. A phone that nobody uses and to which nobody writes does none of that, so this is a warning and no fact.

All times are Unix seconds. If somebody sets the clock, or the machine slept, the times move along: what
passed meanwhile counts for nothing, which at worst makes a warning late.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # commands import this module, and have to start fast
    from orchestrator.accounts.events import Moment

DAY: Final = 86_400.0
WARN_DAYS: Final = (10, 12)
"""Days without a sign of the phone after which somebody is told, each once."""
UNLINK_DAYS: Final = 14
"""Days after which WhatsApp unlinks the devices of a phone."""
GRACE: Final = 30.0
"""Seconds for which an account has to be connected before its phone may be missed: what the phone has done
while nobody was connected comes within a few seconds."""
PHONE_MISSING: Final = "its phone gave no sign"
"""What is said of a phone that is missing begins with this."""
_SLEWED: Final = 60.0
"""Seconds between the two clocks that are no sign of a clock that was set."""


@dataclass(frozen=True, slots=True)
class PhoneWatch:
    """What is known of an account's phone.

    Attributes:
        seen_at: When the phone last gave a sign, None if it never did.
        since: From when on the time without a sign counts, None if it does not: no phone is linked.
        told: The days of `WARN_DAYS` that somebody was told last, 0 if nobody was.
    """

    seen_at: float | None = None
    since: float | None = None
    told: int = 0

    def begins(self, now: float) -> PhoneWatch:
        """Return what is known once the account is connected; the first time, counting begins."""
        seen_at = None if self.seen_at is None else min(self.seen_at, now)
        if self.since is None:
            return PhoneWatch(seen_at, since=now)
        return replace(self, seen_at=seen_at, since=min(self.since, now))

    def saw(self, at: float, now: float) -> PhoneWatch:
        """Return what is known after a sign of the phone; one of the future counts as one of now."""
        at = min(at, now)
        if self.seen_at is not None and at <= self.seen_at:
            return self
        since = at if self.since is None else max(self.since, at)
        return replace(self, seen_at=at, since=since, told=_due(since, now))

    def moved(self, seconds: float) -> PhoneWatch:
        """Return the same by a clock that shows so many seconds more."""
        return replace(
            self,
            seen_at=None if self.seen_at is None else max(0.0, self.seen_at + seconds),
            since=None if self.since is None else max(0.0, self.since + seconds),
        )

    @property
    def next_at(self) -> float | None:
        """When the next warning is due, None if none is."""
        if self.since is None:
            return None
        return next((self.since + days * DAY for days in WARN_DAYS if days > self.told), None)

    @property
    def unlinked_at(self) -> float | None:
        """About when WhatsApp unlinks the account, None while nobody was told that its phone is missing."""
        return self.since + UNLINK_DAYS * DAY if self.told and self.since is not None else None

    def judge(self, now: float) -> PhoneWatch:
        """Return what is known once somebody was told what is due by now."""
        return replace(self, told=max(_due(self.since, now), self.told))

    @property
    def text(self) -> str | None:
        """What is to be said of the phone, for people; None if nothing is."""
        if not self.told:
            return None
        return (
            f"{PHONE_MISSING} for {self.told} days, and WhatsApp unlinks the account after about"
            f" {UNLINK_DAYS}: open WhatsApp on the phone"
        )


def _due(since: float | None, now: float) -> int:
    """Return the days of `WARN_DAYS` that are over."""
    if since is None:
        return 0
    return max((days for days in WARN_DAYS if since + days * DAY <= now), default=0)


def was_set(before: Moment, now: Moment) -> float:
    """Return by how many seconds the wall clock was set forward between two moments, 0 if it was not."""
    by = (now.wall - before.wall) - (now.monotonic - before.monotonic)
    return by if abs(by) > _SLEWED else 0.0
