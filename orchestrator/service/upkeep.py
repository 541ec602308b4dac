"""What concerns the fleet as a whole: the maintenance switch, and facts for operators."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from orchestrator import __version__
from orchestrator.accounts.fleet import Fleet
from orchestrator.accounts.fleet_facts import FleetFacts, Probing
from orchestrator.control.protocol import Json
from orchestrator.errors import NotRunning, StateError, StoreAway
from orchestrator.service import room, who
from orchestrator.service.aside import Aside
from orchestrator.service.machines import Machines
from orchestrator.service.roster import Roster
from orchestrator.service.store_watch import StoreWatch
from orchestrator.service.strips import Strips
from orchestrator.service.timers import now
from orchestrator.store.protocols import Store

log = logging.getLogger(__name__)

VERSION = "version"
"""What a breaker is called that holds accounts because of the version of the client."""
FOLLOW_SECONDS: Final = 3.0
"""Seconds between two looks at whether another machine of the cluster has turned maintenance on or off."""


class Upkeep:
    """Looks after the fleet as a whole.

    Args:
        roster: The accounts.
        store: What is kept.
        machines: The machines of the accounts.
        aside: Does what takes time beside the event loop.
        library: Returns the version of neonize that processes load from now on.

    Attributes:
        strips: How the accounts were over the last hours.
    """

    def __init__(
        self, roster: Roster, store: Store, machines: Machines, aside: Aside, library: Callable[[], str]
    ) -> None:
        self.strips = Strips(roster, store.record, aside)
        self._roster = roster
        self._store = store
        self._machines = machines
        self._aside = aside
        self._library = library
        self._started_at = time.time()
        self._turning = asyncio.Lock()
        self._following: asyncio.Task[None] | None = None
        self._watch = None if store.presence is None else StoreWatch(store.presence, machines)

    @property
    def _fleet(self) -> Fleet:
        return self._machines.fleet

    @property
    def since(self) -> float | None:
        """Unix time since when maintenance is on, None while it is off."""
        return self._fleet.maintenance.since

    def begin(self) -> None:
        """Go on with maintenance if it was on when the service last ended, before any account is taken up.

        Raises:
            StateError: Nobody can tell whether it was.
        """
        self._fleet.maintenance.since = self._store.record.maintenance()
        if self._watch is not None:
            self._watch.start()
        if self.since is not None:
            log.warning("maintenance is on: no account starts by itself until `orchestrator maintenance off`")
        if self._is_shared:
            self._following = asyncio.get_running_loop().create_task(self._follow())

    def end(self) -> None:
        """Look after nothing any more; all accounts have stopped."""
        if self._following is not None:
            self._following.cancel()
        if self._watch is not None:
            self._watch.stop()

    def need_store(self) -> None:
        """See that what somebody wants can be kept.

        Raises:
            StoreAway: The database is away, and what was begun now would be done by half.
        """
        if self._fleet.store.is_away:
            raise StoreAway("the database of `store:` is away: nothing was done, try again when it is back")

    def database(self) -> dict[str, object] | None:
        """Say whether the database is there, and how often it was away; None where all is kept in files."""
        if self._watch is None:
            return None
        store = self._fleet.store
        return {"up": not store.is_away, "outages": store.outages}

    async def maintain(self, *, on: bool) -> None:
        """Turn maintenance on or off, on all machines of a cluster. Nothing happens if it is so already.

        Raises:
            StateError: It cannot be written down, and stays as it was.
        """
        async with self._turning:
            if self._is_shared:
                self.need_store()
                await self._hear()
            if on is (self.since is not None):
                return
            self.need_store()
            since = now().wall if on else None
            await self._aside.run(lambda: self._store.record.keep_maintenance(since))
            self._turn(since, who.by())

    @property
    def _is_shared(self) -> bool:
        """Whether this machine is one of a cluster."""
        return self._roster.owned is not None

    async def _follow(self) -> None:
        """Take over what other machines turn on and off."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            try:
                async with self._turning:
                    if not self._fleet.store.is_away:
                        await self._hear()
            except NotRunning:
                return
            except StateError:
                pass  # the lease says that the database is away
            except Exception:
                log.exception("a bug in the service: nobody knows whether other machines turn maintenance on")

    async def _hear(self) -> None:
        since = await self._aside.run(self._store.record.maintenance)
        if (since is None) is not (self.since is None):
            self._turn(since, " by another machine")

    def _turn(self, since: float | None, by: str) -> None:
        self._fleet.maintenance.since = since
        said = f",{by}" if by else ""
        if since is not None:
            log.warning("maintenance is on%s: what runs goes on, and no account starts by itself", said)
        else:
            log.warning("maintenance is off%s: the accounts that waited start in their turn", said)
        self._machines.dispatch()

    def maintenance(self) -> Json:
        """Return whether maintenance is ``on``, ``since`` when, and how many accounts are ``waiting``."""
        waiting = self._fleet.maintenance.waiting(self._roster.machines)
        return _switch(self.since, waiting)

    async def facts(self) -> Json:
        """Return what is known of the fleet as a whole; `gateway.page.facts` has the form."""
        disk, memory = await self._aside.run(lambda: (room.disk(self._store.paths.root), room.memory()))
        used = sum(one.memory_bytes or 0 for one in self._roster.machines.values())
        moment = now()
        found = self._fleet.facts(moment.monotonic)

        def probing(of: Probing) -> Json:
            at = None if of.probe_at is None else round(moment.wall_at(of.probe_at))
            return {"probe_at": at, "canary": of.canary}

        return {
            "service": {"version": __version__, "started_at": round(self._started_at)},
            "library": {
                "version": self._library(),
                "refused": found.version.is_holding,
                "accounts": found.outdated,
                **probing(found.version),
            },
            "ways": [
                {
                    "way": way.name,
                    "state": way.works,
                    "members": list(way.members.items()),
                    **probing(way.probing),
                }
                for way in sorted(found.ways, key=lambda way: way.name)
            ],
            "starting": {"queued": found.queued, "dialing": found.dialing, "parallel": found.parallel},
            "disk": disk,
            "memory": {"accounts": used, **memory},
            "breakers": [{"what": what, **probing(of)} for what, of in _breakers(found)],
            "maintenance": _switch(found.maintenance_since, found.waiting),
        }


def _breakers(found: FleetFacts) -> list[tuple[str, Probing]]:
    all_ = [(VERSION, found.version), *((way.name, way.probing) for way in found.ways)]
    return [(what, of) for what, of in all_ if of.is_holding]


def _switch(since: float | None, waiting: int) -> Json:
    return {"on": since is not None, "since": None if since is None else round(since), "waiting": waiting}
