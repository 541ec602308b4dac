"""A service that starts while its store is away waits for it, and says so to whoever asks.

It does not end: to start it again and again would help nobody. `ping` is answered, so that probes find it
alive, and `list` shows every account with the reason. Nothing else can be done yet.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable
from typing import Final

from orchestrator import __version__
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.names import no_such_account
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.control import view
from orchestrator.control.protocol import Json
from orchestrator.control.view import AccountView
from orchestrator.errors import StoreAway
from orchestrator.service.aside import Aside
from orchestrator.service.control.arguments import Arguments
from orchestrator.service.control.commands import Caller
from orchestrator.service.control.listening import ControlSocket
from orchestrator.service.control.server import ControlServer
from orchestrator.service.systemd import Announcer
from orchestrator.store.layout import StatePaths
from orchestrator.store.summary import summarize
from orchestrator.system.clock import iso

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 2.0
"""How often to look whether the store is back."""


class WaitingRoom:
    """Where the service waits. Its socket is then the service's: whoever asks in between gets an answer, too.

    Args:
        settings: The configuration.
        paths: The state folder.
        announcer: Tells systemd.
    """

    def __init__(self, settings: Settings, paths: StatePaths, announcer: Announcer) -> None:
        self._settings = settings
        self._path = paths.control_socket
        self._announcer = announcer
        self._listener: ControlSocket | None = None

    def wait(self, why: StoreAway) -> None:
        """Return when the store may be back. This process holds the state folder's lock.

        Args:
            why: Why the store is away.

        Raises:
            StateError: The control socket cannot be made, or the store is back and cannot be used.
        """
        self._listener = self._listener or ControlSocket(self._path)
        # Whoever reads this can ask.
        log.error("the service waits for its store, and no account is connected: %s", why)
        asyncio.run(_wait(self._listener, _Commands(self._settings, str(why)), self._announcer))
        log.warning("the store is back")

    def control_socket(self) -> ControlSocket:
        """Return the socket for commands, which the service closes.

        Raises:
            AlreadyRunning: Another service listens there.
            StateError: It cannot be made.
        """
        return self._listener or ControlSocket(self._path)

    def close(self) -> None:
        """Close the socket, if the service has not come so far."""
        if self._listener is not None:
            self._listener.close()


async def _wait(listener: ControlSocket, commands: _Commands, announcer: Announcer) -> None:
    server, aside = ControlServer(listener, commands), Aside("store", 1)
    async with announcer.waiting(f"waits for its store: {commands.why}"):
        await server.start()
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                try:
                    await aside.run(commands.look)
                    return
                except StoreAway as error:
                    commands.why = str(error)
        finally:
            aside.close()
            await server.leave()


class _Commands:
    """The commands that are answered meanwhile."""

    def __init__(self, settings: Settings, why: str) -> None:
        self.refused = 0
        self.why = why
        self._settings = settings
        self._since = time.time()

    def look(self) -> None:
        """Look whether the store is there.

        Raises:
            StoreAway: It is not.
        """
        from orchestrator.postgres import dsn
        from orchestrator.postgres.database import Database

        assert self._settings.store is not None
        with Database(dsn.read(self._settings.store)) as database:
            database.connect().close()

    def answer(self, request: Json, caller: Caller | None = None) -> Awaitable[Json]:
        """Answer those who look; nothing else can be done.

        Raises:
            StoreAway: The command needs the store.
        """
        del caller
        match request.get("command"):
            case "ping":
                return self._ping(request)
            case "list":
                return self._list(request)
        raise StoreAway(f"the service waits for its store: {self.why}")

    async def _ping(self, request: Json) -> Json:
        Arguments(request)
        settings = self._settings
        return {
            "version": __version__,
            "view_version": view.VERSION,
            "neonize": "",
            "pid": os.getpid(),
            "started_at": iso(self._since),
            "config_file": str(settings.config_file),
            "state_dir": str(settings.state_dir),
            "accounts": len(settings.accounts),
            "unseen": 0,
            "refused": self.refused,
            "maintenance": None,
        }

    async def _list(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "reveal")
        accounts = self._settings.accounts
        names, reveal = arguments.names() or list(accounts), arguments.flag("reveal")
        if unknown := [name for name in names if name not in accounts]:
            raise no_such_account(*unknown, known=accounts)
        return {"accounts": [self._describe(name, reveal=reveal).as_json() for name in names]}

    def _describe(self, name: str, *, reveal: bool) -> AccountView:
        known = summarize(self._settings.accounts[name], reveal=reveal)
        runs = known.runs_at(time.time())
        return AccountView(
            name,
            State.BACKOFF.value if runs else State.DISABLED.value,
            since=iso(self._since) if runs else None,
            reason=self.why if runs else None,
            kind=Kind.STORE.value if runs else None,
            phone=known.phone,
            tags=known.tags,
            proxy=known.proxy,
            note=known.note,
        )
