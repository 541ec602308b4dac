"""What no event tells, but every heartbeat: a library that is logged out, or stands still. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.worker import deadlines


@dataclass(slots=True)
class Checkup:
    """What was found so far.

    Attributes:
        unsure: How many checks in a row have found the library not logged in while the link was up.
        callback: The callback that runs since `since`, and was seen `beats` times again; None for none.
    """

    unsure: int = 0
    callback: int | None = None
    since: float = 0.0
    beats: int = 0

    def is_logged_out(self, *, online: bool, logged_in: bool) -> bool:
        """Take in whether the library is logged in; tell whether the link is to be taken for lost."""
        self.unsure = self.unsure + 1 if online and not logged_in else 0
        return self.unsure >= deadlines.MAX_UNSURE

    def stands_still(self, callback: int | None, now: float) -> float | None:
        """Take in which callback runs; return for how many seconds, if that is too long."""
        if callback is None or callback != self.callback:
            self.callback, self.since, self.beats = callback, now, 0
            return None
        self.beats += 1
        waited = now - self.since
        long = self.beats >= deadlines.CALLBACK_BEATS and waited >= deadlines.CALLBACK_SECONDS
        return waited if long else None
