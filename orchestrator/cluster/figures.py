"""Numbers of a shard, for those who watch it from outside. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """How a shard is, and what has happened to it since it started.

    Attributes:
        shard: Its name.
        lease_age: Seconds since the last good renewal was begun, None without a lease.
        accounts: How many accounts it owns.
        shards: How many shards have a lease, as the last renewal has shown.
        waiting: How many accounts of the cluster have no owner, likewise.
        waiting_seconds: For how long the first of those has had none that is for anybody.
        claimed: How many accounts it has claimed.
        taken_over: How many of those ran elsewhere a moment before.
        renewals_missed: How many renewals the database has not answered in time.
        leases_lost: How many leases have ended while the shard ran.
    """

    shard: str
    lease_age: float | None
    accounts: int
    shards: int
    waiting: int
    waiting_seconds: float
    claimed: int
    taken_over: int
    renewals_missed: int
    leases_lost: int

    def as_json(self, capacity: int) -> dict[str, object]:
        """Return them as plain values.

        Args:
            capacity: How many accounts the shard takes at the most.
        """
        return {
            "shard": self.shard,
            "lease_age_seconds": None if self.lease_age is None else round(self.lease_age, 3),
            "accounts": self.accounts,
            "capacity": capacity,
            "shards": self.shards,
            "waiting": self.waiting,
            "waiting_seconds": round(self.waiting_seconds, 3),
            "claimed": self.claimed,
            "taken_over": self.taken_over,
            "renewals_missed": self.renewals_missed,
            "leases_lost": self.leases_lost,
        }
