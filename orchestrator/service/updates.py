"""Notices that neonize was installed again while the service runs, and checks it before it is used."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable

from orchestrator.service.library import (
    Installed,
    Library,
    LibraryError,
    check_library_aside,
    installed,
)
from orchestrator.service.timers import Timers
from orchestrator.worker.seal import Seal

log = logging.getLogger(__name__)

LIBRARY_SECONDS = 30.0
"""How often to look whether neonize was installed again: 0.4 ms of CPU each, some milliseconds on a busy
machine."""


def is_another(version: str, seal: Seal | None, found: Installed | None) -> bool:
    """Tell whether what is installed is not what processes load.

    Args:
        version: The version that they load.
        seal: The files that they load; None if nobody has checked these.
        found: What is installed; None if that is unknown now, as it is in the middle of an installation.
    """
    if found is None:
        return False
    # What neonize calls itself may differ from what the installer has noted, which the seal has, too.
    return found.version != version if seal is None else found.seal != seal


class Updates:
    """Looks for another neonize, and hands it on once it was checked.

    Args:
        timers: What is planned.
        loads: Returns the version and the files that processes load from now on.
        use: Has later processes load this one.
    """

    def __init__(
        self,
        timers: Timers,
        loads: Callable[[], tuple[str, Seal | None]],
        use: Callable[[Library], None],
    ) -> None:
        self._timers = timers
        self._loads = loads
        self._use = use
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    def mind(self) -> None:
        """Look from now on, again and again."""
        self._timers.later("library", LIBRARY_SECONDS, self.look)

    def look(self) -> None:
        """Look now."""
        self.mind()
        if self._task is None:
            found = installed()
            if found is not None and is_another(*self._loads(), found):
                self._task = asyncio.get_running_loop().create_task(self._check(found))

    async def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _check(self, found: Installed) -> None:
        try:
            library = await check_library_aside()
        except LibraryError as error:
            self._complain(found, str(error))
        else:
            self._said = ""
            self._use(library)
        finally:
            self._task = None

    def _complain(self, found: Installed, why: str) -> None:
        if why != self._said:
            log.error(
                "neonize %s was installed, and is not used: %s; accounts go on with neonize %s as far as"
                " it was loaded before: put neonize in order before the service is restarted",
                found.version,
                why,
                self._loads()[0],
            )
        self._said = why
