"""Joins the parts of a shard: the service, the leases in the database, and the loop between them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from orchestrator.cluster.deadlines import QUESTION_SECONDS
from orchestrator.cluster.machine import Limits
from orchestrator.config.settings import Settings
from orchestrator.service.adopting import Adopting
from orchestrator.service.elsewhere import Elsewhere
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

    Attributes:
        elsewhere: The accounts that other machines run.
        orders: What operators want of them.
    """

    def __init__(self, settings: Settings, store: Store, adopting: Adopting) -> None:
        from orchestrator.postgres import fleet_codes
        from orchestrator.postgres.database import Database
        from orchestrator.postgres.fleet import Looks
        from orchestrator.postgres.line import Line
        from orchestrator.postgres.membership import Membership
        from orchestrator.postgres.orders import CHANNEL as ORDERS
        from orchestrator.service.orders import Orders
        from orchestrator.service.shard import Hints, ShardLoop

        assert isinstance(store.ownership, Membership)
        member, cluster = store.ownership, adopting.cluster
        self._adopting = adopting
        self._asyncio: asyncio.AbstractEventLoop | None = None
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
        self._versions = Versions(
            member.leases, adopting.machines, adopting.roster, adopting.library, adopting.aside
        )
        adopting.ready = self._versions.known
        looks = Looks()
        self._line = Line(member.database, "fleet")
        leases = member.leases
        self.orders = Orders(self._name, self._line, lambda: leases.incarnation)
        self._hints = Hints(member.database, self._hear, ORDERS)
        self.elsewhere = Elsewhere(
            self._name,
            adopting.roster,
            lambda: self._line.run(looks.look, patience=QUESTION_SECONDS),
            lambda name: self._line.run(lambda c: fleet_codes.read_one(c, name), patience=QUESTION_SECONDS),
        )
        adopting.figures = self._loop.figures

    def start(self) -> None:
        """Begin to ask for accounts."""
        self._loop.start()
        self._versions.start()
        self._asyncio = asyncio.get_running_loop()
        self.elsewhere.start()
        self.orders.start()
        self._hints.start()

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
        self._hints.close()
        self._asyncio = None
        self.orders.close()
        self.elsewhere.close()
        self._line.close()
        self._loop.close()
        self._database.close()

    def _hear(self) -> None:
        loop = self._asyncio
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it is closed
                loop.call_soon_threadsafe(self.orders.hear)

    def _limits(self, settings: Settings) -> Limits:
        assert settings.cluster is not None
        return Limits(self._name, settings.cluster.failover_parallel)
