"""What the gateway knows of the accounts' states: what the service tells it, as it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable

from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.gateway.parent import GATEWAY, Parent

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""How long the gateway waits before it asks again, after the service did not answer."""


class Accounts:
    """The accounts as they were last described.

    Args:
        parent: The service.
        changed: Called with the names of accounts that have changed or are new, and of those that are gone.
        own_changed: Likewise, of the accounts that run on this machine. One that another machine of the
            cluster runs from now on is gone.

    Attributes:
        views: The accounts by name, in a cluster those of all machines; numbers in them are masked.
        own: Those that run on this machine.
    """

    def __init__(
        self,
        parent: Parent,
        changed: Callable[[list[str], list[str]], None] = lambda *_: None,
        own_changed: Callable[[list[str], list[str]], None] = lambda *_: None,
    ) -> None:
        self.views: dict[str, AccountView] = {}
        self.own: dict[str, AccountView] = {}
        self._parent = parent
        self._changed = changed
        self._own_changed = own_changed

    async def run(self) -> None:
        """Listen to the service for as long as it is there."""
        while True:
            try:
                await self._listen()
            except NotRunning:
                return
            except OrchestratorError as error:
                log.warning("the service does not tell how the accounts are: %s", error)
            await asyncio.sleep(RETRY_SECONDS)

    async def _listen(self) -> None:
        known = set(self.views)
        async for event in self._parent.stream(GATEWAY, "watch", numbers=True):
            changed = [AccountView.from_json(one) for one in event.get("accounts", ())]
            gone: set[str] = {name for name in event.get("gone", ()) if name in self.views}
            if known:  # the first event has all accounts there are
                gone |= known - {view.name for view in changed}
                known = set()
            self.views |= {view.name: view for view in changed}
            for name in gone:
                del self.views[name]
            self._changed([view.name for view in changed], sorted(gone))
            self._sort_out(changed, gone, event.get("elsewhere", ()))

    def _sort_out(
        self, changed: Iterable[AccountView], gone: Iterable[str], elsewhere: Collection[str]
    ) -> None:
        """Take in which accounts run on this machine.

        Args:
            changed: Accounts that have changed or are new.
            gone: Names of those that are gone.
            elsewhere: Names of those that have changed and that do not run here.
        """
        own = {view.name: view for view in changed if view.name not in elsewhere}
        left = {view.name for view in changed if view.name not in own} | {*gone}
        left &= self.own.keys()
        self.own |= own
        for name in left:
            del self.own[name]
        if own or left:
            self._own_changed([*own], sorted(left))
