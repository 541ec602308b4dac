"""What the configuration says of a shard. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NAME: Final = re.compile("[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
"""The form of a shard's name, which a host's name has, too."""
NAME_RULE: Final = "up to 63 small letters, digits, dots and dashes, with a letter or digit at both ends"


@dataclass(frozen=True, slots=True)
class Cluster:
    """This machine as a part of a cluster.

    Attributes:
        shard: By what name the others know it; None: by the host's name.
        capacity: How many accounts it takes at the most.
        failover_parallel: How many accounts that ran elsewhere may be starting or connecting at once.
        failover_spread: Seconds, the most that each of their starts is put off at random.
    """

    shard: str | None = None
    capacity: int = 200
    failover_parallel: int = 8
    failover_spread: float = 0.1
