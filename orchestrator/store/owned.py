"""What the database says of an account of a cluster, for machines that do not run the account."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestrator.store import status


@dataclass(frozen=True, slots=True)
class Owned:
    """What the database says of an account.

    Attributes:
        shard: The machine that owns it; None if none does.
        lease_age: Seconds since that machine has renewed its lease, by the database's clock.
        waiting: Seconds since it lost the owner that it had before, or since it is known.
        is_new: Whether its owner has written nothing down of it yet.
        written_at: When something was written down of it last, by the database's clock; None if nothing was.
        age: How many seconds ago that was.
        kept: What that is.
    """

    shard: str | None = None
    lease_age: float | None = None
    waiting: float = 0.0
    is_new: bool = True
    written_at: float | None = None
    age: float = 0.0
    kept: status.Kept = field(default_factory=status.Kept)
