"""Who looks at codes: an account with `pairing: on_demand` shows a code only meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

from orchestrator.accounts.events import Looked
from orchestrator.accounts.looking import RENEW_SECONDS
from orchestrator.service.machines import Machines
from orchestrator.service.roster import Roster


class Looking:
    """Those who look at codes, as the accounts hear of them.

    Args:
        roster: The accounts.
        machines: Feeds their machines.
    """

    def __init__(self, roster: Roster, machines: Machines) -> None:
        self._roster = roster
        self._machines = machines

    def at(self, names: Iterable[str]) -> None:
        """Take note that somebody looks at the codes of accounts: that is good for `LOOK_SECONDS`.

        Args:
            names: The accounts; those that do not exist count for nothing.
        """
        for name in names:
            self._machines.handle(name, Looked())

    @contextlib.asynccontextmanager
    async def on(self, name: str) -> AsyncIterator[None]:
        """Have an account know, as long as the context lasts, that somebody looks at its codes."""

        async def look() -> None:
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                self.at([name])

        self.at([name])
        task = asyncio.get_running_loop().create_task(look())
        try:
            yield
        finally:
            task.cancel()

    def brings(self, name: str) -> bool:
        """Tell whether an account shows a code soon, because somebody looks.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        return self._roster.get(name).account.code_is_coming

    def missed(self) -> int:
        """Return how many accounts wait until somebody looks at their codes."""
        return sum(machine.waits_for_look for machine in self._roster.machines.values())
