"""Joins the parts of a shard: the service, the leases in the database, and the loop between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.cluster.machine import Limits
from orchestrator.config.settings import Settings
from orchestrator.service.adopting import Adopting
from orchestrator.service.versions import Versions
from orchestrator.store.protocols import Store

if TYPE_CHECKING:
    from orchestrator.service.shard import ShardLoop

LEAVING_SECONDS: Final = 12.0
"""For all accounts to be given up when the service stops."""


class Joined:
    """The service as a shard.

    Args:
        settings: The configuration, which has a cluster.
        store: The store, which is a database.
        adopting: Takes accounts up and gives them up.
    """

    def __init__(self, settings: Settings, store: Store, adopting: Adopting) -> None:
        from orchestrator.postgres.database import Database
        from orchestrator.postgres.membership import Membership
        from orchestrator.service.shard import ShardLoop

        assert isinstance(store.ownership, Membership)
        member, cluster = store.ownership, adopting.cluster
        self._adopting = adopting
        self._name = member.leases.me.name
        self._database = Database(
            member.database.dsn, name="orchestrator lease", size=cluster.failover_parallel + 4
        )
        member.leases.use(self._database)
        self._loop: ShardLoop = ShardLoop(
            self._limits(settings),
            member.leases,
            self._database,
            lambda name: Database(member.database.dsn, name=name, size=1),
            adopting,
        )
        self._loop.configure(self._limits(settings), cluster.capacity, settings.accounts)
        adopting.gone, adopting.replaced = self._loop.gone, self._loop.doubt
        self._versions = Versions(member.leases, adopting.machines, adopting.library, adopting.aside)
        adopting.ready = self._versions.known
        adopting.figures = self._loop.figures

    def start(self) -> None:
        """Begin to ask for accounts."""
        self._loop.start()
        self._versions.start()

    def reloaded(self, settings: Settings) -> None:
        """Take over what a new configuration says."""
        if settings.cluster is not None:
            self._adopting.cluster = settings.cluster
            self._loop.configure(self._limits(settings), settings.cluster.capacity, settings.accounts)

    async def leave(self) -> None:
        """Give all accounts up, so that other machines get them at once."""
        await self._loop.leave(LEAVING_SECONDS)

    def close(self) -> None:
        """Ask for nothing any more."""
        self._versions.close()
        self._loop.close()
        self._database.close()

    def _limits(self, settings: Settings) -> Limits:
        assert settings.cluster is not None
        return Limits(self._name, settings.cluster.failover_parallel)
