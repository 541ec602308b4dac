"""When an event is tried again that a consumer did not take. Pure."""

from __future__ import annotations

import math
from typing import Final

DELAYS: Final = (0.0, 5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, 72000.0, 86400.0)
"""Seconds before each try, the first one included: about three days in all. The contract on messages, 4.1."""
TRIES: Final = len(DELAYS)
"""After so many tries, an event is a dead letter."""
JITTER: Final = 0.2
"""The share by which a delay is longer or shorter at random: what failed together returns apart."""
LONGEST: Final = 86400.0
"""Seconds that a consumer may ask for with Retry-After, at most."""


def wait(failures: int, random: float, retry_after: float | None = None) -> float | None:
    """Return how many seconds the next try of an event is away, None if there is none.

    Args:
        failures: How often the event has failed.
        random: A number from 0 up to 1.
        retry_after: Seconds that the consumer asked for.
    """
    if failures >= TRIES:
        return None
    delay = DELAYS[max(0, failures)] * (1 - JITTER + 2 * JITTER * random)
    return max(delay, asked(retry_after))


def asked(retry_after: float | None) -> float:
    """Return for how many seconds a consumer may have its way, 0 if it has no wish that can be granted."""
    if retry_after is None or math.isnan(retry_after):
        return 0.0
    return min(LONGEST, max(0.0, retry_after))
