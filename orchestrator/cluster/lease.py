"""Until when a shard may have links: the lease as its owner sees it. Pure.

Times are seconds of a clock that goes on while the machine sleeps (CLOCK_BOOTTIME). All of them count from
the moment before a good renewal was sent: the database has taken its time after that moment, so what the
owner believes ends earlier than what the database grants, however long the answer was on its way.
"""

from __future__ import annotations

from orchestrator.cluster.deadlines import CHILD_SECONDS, KILL_SECONDS


class Lease:
    """A shard's own lease.

    Attributes:
        incarnation: By what this start of the shard is known; None while it has no row.
    """

    def __init__(self) -> None:
        self.incarnation: str | None = None
        self._begun: float | None = None

    def granted(self, incarnation: str, begun: float) -> None:
        """Note that a renewal, begun at that time, was good. Answers may come late, but not out of order."""
        self.incarnation, self._begun = incarnation, begun

    def ended(self) -> None:
        """Note that the row is gone. The same incarnation never gets a lease again."""
        self.incarnation = self._begun = None

    def is_good(self, now: float) -> bool:
        """Tell whether processes may run."""
        return self._begun is not None and self._begun <= now < self._begun + KILL_SECONDS

    def age(self, now: float) -> float | None:
        """Return for how many seconds the last good renewal has counted, None without a lease."""
        return None if self._begun is None else max(0.0, now - self._begun)

    @property
    def kill_at(self) -> float | None:
        """When the service kills its processes, None without a lease."""
        return None if self._begun is None else self._begun + KILL_SECONDS

    @property
    def children_until(self) -> float | None:
        """When processes that nobody has killed end by themselves, None without a lease."""
        return None if self._begun is None else self._begun + CHILD_SECONDS
