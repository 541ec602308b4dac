"""Has all shards of a cluster know whether WhatsApp refuses the version of the client."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from orchestrator.accounts.among_machines import AmongMachines
from orchestrator.accounts.refusal import Refusal, Word
from orchestrator.errors import Disowned, NotRunning, StateError
from orchestrator.service.aside import Aside
from orchestrator.service.machines import Machines
from orchestrator.service.roster import Roster

log = logging.getLogger(__name__)

EVERY: Final = 3.0
"""Seconds between two words with the others."""
QUESTION_SECONDS: Final = 3.0
"""For the database to answer."""


class Notes(Protocol):
    """Where the shards have their notes; see `postgres.leases.Leases`."""

    @property
    def incarnation(self) -> str | None:
        """By what this start of the shard is known, None while it has no lease."""

    def tell(self, library: str, word: Word, seconds: float) -> tuple[Refusal | None, float]:
        """Tell the others what this shard knows of a version; return what all of them know, and the time."""


class Versions:
    """Tells the others what this shard knows of the client's version, and hears what all of them know.

    Args:
        notes: Where the shards have their notes.
        machines: The accounts' machines.
        roster: The accounts that run here.
        library: Returns the version that accounts load from now on.
        aside: Asks the database.
    """

    def __init__(
        self, notes: Notes, machines: Machines, roster: Roster, library: Callable[[], str], aside: Aside
    ) -> None:
        self._notes = notes
        self._machines = machines
        self._library = library
        self._aside = aside
        self._task: asyncio.Task[None] | None = None
        self._known = asyncio.Event()
        self._among = AmongMachines(machines.fleet, roster.machines, log.warning)

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def known(self) -> None:
        """Wait until it is known what the others know: before, no account of this shard may start."""
        await self._known.wait()

    def close(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        while True:
            if self._notes.incarnation is not None:
                try:
                    await self._turn()
                except NotRunning:
                    return
                except Exception:
                    log.exception("a bug in the service: nobody knows what other machines know of neonize")
            await asyncio.sleep(EVERY if self._known.is_set() else EVERY / 10)

    async def _turn(self) -> None:
        among, library, who = self._among, self._library(), self._notes.incarnation or ""
        word = among.word()
        try:
            known, at = await self._aside.run(lambda: self._notes.tell(library, word, QUESTION_SECONDS))
        except BaseException as error:
            if library == self._library():
                among.unheard(word)
            if isinstance(error, StateError | Disowned):
                return  # the lease says that the database is away
            raise
        if library == self._library():  # or it is of a version that nobody loads any more
            among.heard(known, who, at, time.monotonic())
            self._known.set()
            self._machines.dispatch()
