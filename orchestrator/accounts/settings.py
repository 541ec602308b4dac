"""What the configuration says of one account, checked and complete."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

Confine = Literal["auto", "required", "off"]
"""Whether the accounts' processes are isolated: as far as the kernel can, not without all of it, or not."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before the next try.

    Attributes:
        base: Seconds before the second try.
        factor: By how much each wait is longer than the one before.
        max: Seconds the wait never exceeds.
        jitter: By which part of itself a wait may be shorter, at random: 0 to 1.
        reset_after: Seconds of being connected after which the count starts again.
    """

    base: float = 3.0
    factor: float = 2.0
    max: float = 300.0
    jitter: float = 0.2
    reset_after: float = 30.0

    def delay(self, attempt: int, random: float) -> float:
        """Return the seconds to wait after that many failed tries (from 1 on).

        The wait is clamped to `max` first and then made shorter by the jitter, so accounts that have
        reached the maximum do not move in step, and none ever waits longer than it.

        Args:
            attempt: How many tries in a row have failed.
            random: A number from 0 up to 1.
        """
        exponent = min(attempt - 1, 64)  # 2**64 s is beyond every maximum, and floats have an end
        return min(self.max, self.base * self.factor**exponent) * (1 - self.jitter * random)


_NEW_PROCESS = {"new_process": True}
_SAME_PROCESS = {"new_process": False}


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """One account. Each field says whether its change needs a new process.

    Attributes:
        name: Its name.
        phone: Digits of the number it must be linked to, or None.
        enabled: Whether it runs at all.
        proxy: URL of its proxy, password and all, or None.
        device_name: What the phone shows under linked devices.
        backoff: How long to wait before a next try.
        max_retries: Tries without a stable connection before it is given up, for kinds that give up.
        pairing_rounds: Rounds of codes that may pass unused before it is given up.
        memory_limit: Bytes its process may use, or None.
    """

    name: str = field(metadata=_NEW_PROCESS)
    phone: str | None = field(default=None, metadata=_NEW_PROCESS)
    enabled: bool = field(default=True, metadata=_SAME_PROCESS)
    proxy: str | None = field(default=None, repr=False, metadata=_NEW_PROCESS)
    device_name: str = field(default="Orchestrator", metadata=_NEW_PROCESS)
    backoff: Backoff = field(default_factory=Backoff, metadata=_SAME_PROCESS)
    max_retries: int = field(default=10, metadata=_SAME_PROCESS)
    pairing_rounds: int = field(default=10, metadata=_SAME_PROCESS)
    memory_limit: int | None = field(default=None, metadata=_SAME_PROCESS)

    def needs_new_process(self, before: AccountSettings) -> bool:
        """Tell whether a running process must be replaced for these settings to take effect.

        Args:
            before: The settings that the process was started with.
        """
        return any(
            getattr(self, one.name) != getattr(before, one.name)
            for one in fields(self)
            if one.metadata["new_process"]
        )
