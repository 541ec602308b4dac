"""What a shard knows of the accounts that it owns, or still has processes of. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import Enum

from orchestrator.cluster.actions import Parcel
from orchestrator.cluster.board import Condition, Holding
from orchestrator.cluster.deadlines import FAILOVER_SECONDS


class Stage(Enum):
    """How far a shard is with an account."""

    CLAIMED = "claimed"
    """The database says that it is the shard's; others may still write in its session."""
    FENCING = "fencing"
    """The others are being shut out."""
    READY = "ready"
    """It could run."""
    ADOPTED = "adopted"
    """It runs."""
    DROPPING = "dropping"
    """Its process is to end, and then it is released."""
    RELEASING = "releasing"
    """It has no process, and the database is to be told."""


@dataclass(slots=True)
class Held:
    """An account of this shard.

    Attributes:
        holding: What the database says of it.
        since: When the shard has learned that it owns it.
        stage: How far the shard is with it.
        retry_at: Before that time, a fence that has failed is not tried again.
        target: For whom it is released.
        condition: What it does.
    """

    holding: Holding
    since: float
    stage: Stage = Stage.CLAIMED
    retry_at: float = 0.0
    target: str | None = None
    condition: Condition = Condition.TRYING

    def fails_over(self, now: float) -> bool:
        """Tell whether it is on its way to run here, and has not been for too long."""
        if now > self.since + FAILOVER_SECONDS:
            return False
        waits = self.stage in (Stage.CLAIMED, Stage.FENCING, Stage.READY)
        return waits or (
            self.stage is Stage.ADOPTED and self.holding.urgent and self.condition is Condition.TRYING
        )


class Holdings:
    """All of them.

    Attributes:
        by_account: The accounts that the shard owns as far as it knows.
        dying: Accounts that have a process which is to end, whoever owns them.
        claimed: How many the database has given to the shard so far.
        taken_over: How many of those ran elsewhere a moment before.
    """

    def __init__(self) -> None:
        self.by_account: dict[str, Held] = {}
        self.dying: set[str] = set()
        self.claimed = 0
        self.taken_over = 0

    def at(self, *stages: Stage) -> list[Held]:
        """Return the accounts at these stages."""
        return [held for held in self.by_account.values() if held.stage in stages]

    def take(self, holdings: Iterable[Holding], now: float) -> None:
        """Note accounts that the database has given to the shard."""
        for holding in holdings:
            known = self.by_account.get(holding.account)
            if known is None or known.holding.epoch != holding.epoch:
                self.by_account[holding.account] = Held(holding, now)
                self.claimed += 1
                self.taken_over += holding.urgent

    def compare(self, mine: Iterable[Holding], now: float) -> list[str]:
        """Believe the database, and return the accounts with a process that are not the shard's any more.

        An account that comes in another epoch had another owner meanwhile: its process ends, too.
        """
        owned = {holding.account: holding for holding in mine}
        lost = []
        for account, held in list(self.by_account.items()):
            holding = owned.get(account)
            if holding is not None and holding.epoch == held.holding.epoch:
                held.holding = holding
                continue
            del self.by_account[account]
            if held.stage in (Stage.ADOPTED, Stage.DROPPING):
                lost.append(account)
        self.dying.update(lost)
        self.take(owned.values(), now)
        return lost

    def end(self) -> list[str]:
        """Forget all of them: the lease is lost. Return those that have a process."""
        running = [held.holding.account for held in self.at(Stage.ADOPTED, Stage.DROPPING)]
        self.dying.update(running)
        self.by_account.clear()
        return running

    def suspend(self) -> list[str]:
        """Note that nothing may run for now, and return the accounts that have a process."""
        running = self.at(Stage.ADOPTED, Stage.DROPPING)
        for held in running:
            self.dying.add(held.holding.account)
            if held.stage is Stage.ADOPTED:
                held.stage = Stage.READY
        return [held.holding.account for held in running]

    def gone(self, account: str) -> None:
        """Note that an account has no process any more, whoever wanted that.

        One that nobody wanted to drop is not in the configuration of this shard, or not any more.
        """
        held = self.by_account.get(account)
        asked = account in self.dying
        self.dying.discard(account)
        if held is not None and (held.stage is Stage.DROPPING or (held.stage is Stage.ADOPTED and not asked)):
            held.stage = Stage.RELEASING

    def released(self, parcels: Iterable[Parcel], kept: Container[str]) -> None:
        """Note that the database has taken accounts back, but for those that are kept."""
        for parcel in parcels:
            held = self.by_account.get(parcel.account)
            if held is None or held.holding.epoch != parcel.epoch:
                continue
            if parcel.account in kept:
                held.stage, held.target = Stage.CLAIMED, None
            else:
                del self.by_account[parcel.account]
