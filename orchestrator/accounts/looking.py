"""Whether somebody looks at an account's codes, on which `pairing: on_demand` depends. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

LOOK_SECONDS: Final = 60.0
"""Seconds for which a look is good: whoever goes on looking says so again before."""
RENEW_SECONDS: Final = 20.0
"""How often a command that shows codes says so."""
UNSEEN: Final = "waits until somebody looks at its code"
"""The reason of an account that has to show a code while nobody looks."""


@dataclass(frozen=True, slots=True)
class Looks:
    """Who looks at the codes of an account.

    Attributes:
        until: Monotonic time until which somebody looks, None if nobody has looked.
        asked: Whether an operator has asked for a code. That is good for a whole round of codes: the code may
            be looked at where nobody can notice, as in the folder of codes.
    """

    until: float | None = None
    asked: bool = False

    def at(self, now: float) -> bool:
        """Tell whether somebody looks."""
        return self.asked or (self.until is not None and now < self.until)

    def ends_at(self) -> float | None:
        """Return the monotonic time at which nobody looks any more, None if that does not come by itself."""
        return None if self.asked else self.until

    def looked(self, now: float) -> Looks:
        """Return what follows when somebody looks."""
        return replace(self, until=max(self.until or now, now + LOOK_SECONDS))

    def wanted(self) -> Looks:
        """Return what follows when an operator asks for a code."""
        return replace(self, asked=True)

    def served(self) -> Looks:
        """Return what follows when what an operator has asked for is over."""
        return replace(self, asked=False)

    def later(self, seconds: float) -> Looks:
        """Return what follows when nobody could be heard for so many seconds."""
        return self if self.until is None else replace(self, until=self.until + seconds)
