"""The gateway as a companion: what its process is started with, told, and asked for."""

from __future__ import annotations

import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from orchestrator.accounts import deadlines
from orchestrator.config.settings import Settings
from orchestrator.consumers import wire
from orchestrator.consumers.settings import Listen, Systemd
from orchestrator.consumers.wire import GatewaySettings, Keep
from orchestrator.control.companions import GATEWAY, VARIABLE, GatewaySpec
from orchestrator.control.port import MOST_BYTES_A_SECOND, Port, Request, Serve
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError
from orchestrator.service import isolation
from orchestrator.service.companions.companion import Nature
from orchestrator.service.companions.listeners import Listener, Listeners
from orchestrator.service.companions.process import Launch, Line
from orchestrator.service.isolation import Isolation
from orchestrator.store.layout import StatePaths
from orchestrator.system.os_errors import trouble

log = logging.getLogger(__name__)

MODULE: Final = "orchestrator.gateway"
BEAT: Final = "beat"
"""What the gateway asks for again and again, to show that it lives."""
CONFIGURE_SECONDS: Final = 30.0
"""How long the gateway may take to take over the configuration."""
_LACKS: Final = re.compile("(?:[a-z]{1,16}(?: [a-z]{1,16}){0,7})?")


class Gateway(Nature):
    """The gateway's process.

    Args:
        settings: Returns the configuration in use.
        paths: The state folder.
        listeners: Where it listens.
        serve: Answers what it asks for.
        configured: Is called when a new process has taken over the configuration.
        ended: Is called when its process is gone.
        log_level: What it logs.
        stored: Whether messages are in a database, and not in files.
    """

    name = GATEWAY

    def __init__(
        self,
        settings: Callable[[], Settings],
        paths: StatePaths,
        listeners: Listeners,
        serve: Serve,
        *,
        configured: Callable[[], None],
        ended: Callable[[], None],
        log_level: str,
        stored: bool = False,
    ) -> None:
        self._stored = stored
        self.missing: str | None = None
        self.read_at = time.time()
        self._settings = settings
        self._paths = paths
        self._listeners = listeners
        self._serve = serve
        self._configured = configured
        self._ended = ended
        self._log_level = log_level

    def launch(self) -> Launch:
        """Return what its process is started with."""
        settings, paths = self._settings(), self._paths
        closed = Isolation.of(settings, paths).closed
        self.missing = None

        def variables(fd: int) -> dict[str, str]:
            spec = GatewaySpec(
                port=fd,
                messages=paths.messages,
                tokens=paths.tokens,
                folder=paths.gateway,
                closed=closed,
                confine=settings.confine,
                log_level=self._log_level,
                log_format="journal",  # the service reads the lines and logs them in its own form
                stored=self._stored,
            )
            return {VARIABLE: spec.as_text()}

        return Launch(MODULE, variables)

    def connect(self, sock: socket.socket, beat: Callable[[], None], lost: Callable[[str], None]) -> Port:
        """Make this end of its port."""

        async def take_beat(request: Request) -> Json:
            beat()
            lacks = request.arguments.get("lacks", "")
            if isinstance(lacks, str) and _LACKS.fullmatch(lacks):
                self.missing = lacks
            return {}

        def serve(request: Request) -> object:
            return take_beat(request) if request.command == BEAT else self._serve(request)

        port = Port(
            sock,
            serve,  # type: ignore[arg-type]
            lambda: lost(port.why),
            peer="the gateway",
            most_bytes_a_second=MOST_BYTES_A_SECOND,
        )
        return port

    async def begin(self, line: Line) -> None:
        """Tell a new process the configuration, and once more if that has changed meanwhile.

        The process answers when its imports are done, which takes seconds, and until then nobody else tells
        it about a reload. Bots that are new begin only when it knows them.
        """
        while await self.configure(line) != self._present():
            pass
        self._configured()

    async def configure(self, line: Line) -> tuple[GatewaySettings, list[Listener]]:
        """Tell the process the configuration, and hand it the sockets on which it listens.

        The sockets come each time, all of them: the gateway closes those whose number is not there any more,
        and keeps those that it has.

        Returns:
            What it was told.

        Raises:
            OrchestratorError: It does not take that.
        """
        assert isinstance(line, Port)
        with contextlib.ExitStack() as stack:
            async with self._listeners.turn:
                settings, listeners = self._present()
                try:
                    sockets = [stack.enter_context(one.socket.dup()) for one in listeners]
                except OSError as error:
                    raise OrchestratorError(
                        f"the sockets cannot be handed over: {trouble(error)}", key="machine_unfit"
                    ) from None
            await line.call(
                "configure",
                fds=[one.fileno() for one in sockets],
                seconds=CONFIGURE_SECONDS,
                settings=wire.dump(settings),
                listeners=[
                    {"address": one.address, "kind": one.kind, "number": one.number} for one in listeners
                ],
            )
        return settings, listeners

    def _present(self) -> tuple[GatewaySettings, list[Listener]]:
        """Return what a process is to know now."""
        return of(self._settings(), self._listeners.given, self.read_at), self._listeners.all()

    async def drain(self, line: Line, seconds: float) -> None:
        """Have it finish the requests and deliveries that are on their way."""
        assert isinstance(line, Port)
        await line.call("drain", seconds=seconds, within=min(seconds, deadlines.DRAINING.inner))

    def gone(self) -> None:
        """Take note that its process is gone."""
        self._ended()

    def about(self) -> Json:
        """Return what others see of it beside what they see of any companion."""
        settings = self._settings()
        return {
            "webhooks": len(settings.webhooks),
            "isolation": None if self.missing is None else isolation.describe(self.missing),
            "listens": [one.address for one in self._listeners.all()],
            "problems": list(self._listeners.problems),
        }


def of(settings: Settings, given: Sequence[Listen] = (), read_at: float = 0.0) -> GatewaySettings:
    """Return what the gateway knows of a configuration: no proxies, and no variables of bots. Pure.

    Args:
        settings: The configuration.
        given: Where the sockets of systemd listen.
        read_at: When the configuration was read, in Unix seconds.
    """
    http = settings.http
    if http is not None and Systemd() in http.listen:
        others = [one for one in http.listen if not isinstance(one, Systemd)]
        http = replace(http, listen=tuple(dict.fromkeys([*others, *given])))
    return GatewaySettings(
        http,
        settings.webhooks,
        {name: replace(bot, env=()) for name, bot in settings.bots.items()},
        {
            name: Keep(one.messages.keep, one.messages.keep_at_most, one.sending)
            for name, one in settings.accounts.items()
        },
        read_at,
        settings.start_parallel,
    )
