"""Keeps systemd informed while the service runs: is it ready, how are its accounts, does it hang."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Final

from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.service.supervisor import Supervisor
from orchestrator.system.sd_notify import Notifier

STATUS_SECONDS = 1.0
"""Seconds between two changes of the status; what changes meanwhile is told together."""
RETRY_SECONDS = 5.0
"""Seconds after which something is told again that could not be told, where no watchdog asks more often."""


class Announcer:
    """Tells a notifier what goes on.

    Args:
        notifier: Whom to tell.
    """

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._count: Callable[[], Counter[State]] = Counter
        self._tasks: list[asyncio.Task[None]] = []
        self._told = ""
        self._refused = False
        self._stopping = False

    @contextlib.asynccontextmanager
    async def waiting(self, why: str) -> AsyncIterator[None]:
        """Say that the service lives and what it waits for before it is ready, until the end of the context.

        systemd is told that the service has started all the same: to start it anew would help nobody.

        Args:
            why: What it waits for.
        """
        if not self._notifier.listens:
            yield
            return
        self._notifier.ready(why)
        alive = asyncio.get_running_loop().create_task(self._stay_alive())
        try:
            yield
        finally:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)

    def ready(self, supervisor: Supervisor) -> None:
        """Say that the service takes commands; from now on also how its accounts are, and that it lives.

        Args:
            supervisor: Of the running loop.
        """
        if not self._notifier.listens:
            return
        self._count = supervisor.counts
        self._told = self._text()
        self._notifier.ready(self._told)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._keep_status(supervisor)), loop.create_task(self._stay_alive())]

    @contextlib.contextmanager
    def reload(self) -> Iterator[None]:
        """Announce a reading of the configuration around it, and whether the last one was refused."""
        if self._stopping:
            yield
            return
        self._notifier.reloading()
        try:
            yield
            self._refused = False
        except OrchestratorError:
            self._refused = True
            raise
        finally:
            if not self._stopping:
                self._told = self._text()
                self._notifier.ready(self._told)

    def stopping(self) -> None:
        """Say that the service ends."""
        self._stopping = True
        self._notifier.stopping("stopping")

    async def close(self) -> None:
        """Tell nothing any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._notifier.close()

    async def _keep_status(self, supervisor: Supervisor) -> None:
        while not self._stopping:
            version = supervisor.version
            if (text := self._text()) != self._told:
                self._told = text
                self._notifier.status(text)
            await asyncio.sleep(STATUS_SECONDS)
            while supervisor.version == version:
                await supervisor.wait_for_change()

    async def _stay_alive(self) -> None:
        # Half of the time, as sd_watchdog_enabled(3) advises; in this loop, so that it stops when that hangs.
        seconds = self._notifier.watchdog / 2 if self._notifier.watchdog else RETRY_SECONDS
        while True:
            self._notifier.alive()
            await asyncio.sleep(seconds)

    def _text(self) -> str:
        text = status_text(self._count())
        return f"{text}; the last reload was refused, see the log" if self._refused else text


_UNWANTED: Final = (State.STOPPED, State.DISABLED)


def status_text(counts: Mapping[State, int]) -> str:
    """Say in a line how the accounts are, such as ``47/50 connected, 2 pairing, 1 banned; 3 stopped``.

    Those that are not to run, because an operator stopped or disabled them, do not count among those that
    should be connected.

    Args:
        counts: How many accounts are in which state.
    """
    wanted = {state: counts.get(state, 0) for state in State if state not in _UNWANTED}
    connected = wanted.pop(State.CONNECTED)
    total = connected + sum(wanted.values())
    parts = [f"{connected}/{total} connected"] if total else ["no accounts to connect"]
    parts += [f"{count} {state}" for state, count in wanted.items() if count]
    unwanted = [f"{counts[state]} {state}" for state in _UNWANTED if counts.get(state)]
    return "; ".join([", ".join(parts), *([", ".join(unwanted)] if unwanted else [])])
