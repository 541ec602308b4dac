"""The HTTP server: uvicorn, on sockets that the service has opened, with an end that has a bound.

The service keeps the sockets: a gateway that takes over goes on with the same ones, and no client is refused
in between. The server has no handlers of signals: whoever runs it says when to stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

import uvicorn

from orchestrator.gateway.http.crowd import MOST, Crowd
from orchestrator.gateway.http.peers import Network
from orchestrator.gateway.http.protocol import GuardedConfig, GuardedProtocol
from orchestrator.gateway.http.sizes import Sizes

log = logging.getLogger(__name__)

DRAIN_SECONDS: Final = 8
"""How long requests that are under way may take when the server stops. Sending a message takes longer only if
WhatsApp does not answer."""
BACKLOG: Final = 512
"""Connections that the kernel keeps for the server while it is busy, or while a new gateway starts."""
_OTHER_FILES: Final = 256
"""Descriptors for everything but clients: databases, webhooks, media, the service."""
_TELL_SECONDS: Final = 60.0


class HttpServer(uvicorn.Server):
    """The HTTP server.

    Args:
        app: The application, as ASGI has it.
        max_body: Bytes that a body may have.
        max_file: Bytes that a file may have that is uploaded.
        trusted: The proxies of which each may have many clients.
        most: Connections at once; fewer if the process may not have so many files open.

    Attributes:
        refused: How many requests and connections the guard refused, by key.
    """

    config: GuardedConfig

    def __init__(
        self,
        app: Any,  # noqa: ANN401 - as uvicorn takes it
        *,
        max_body: int,
        max_file: int = 0,
        trusted: tuple[Network, ...] = (),
        most: int = MOST,
        drain_seconds: int = DRAIN_SECONDS,
    ) -> None:
        # What they log, they log of each bad request or form, and uvicorn also of its own start.
        for one in ("uvicorn", "python_multipart"):
            logging.getLogger(one).setLevel(logging.ERROR)
        self.crowd: Crowd[GuardedProtocol] = Crowd(min(most, _room_for_clients()), max_body)
        config = GuardedConfig(
            app,
            self.crowd,
            trusted,
            Sizes(max_body, max_file),
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            # uvicorn believes X-Forwarded-For from this machine otherwise. `peers` reads it.
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            # The crowd ends what rests too long, earlier than this.
            timeout_keep_alive=24 * 3600,
            timeout_graceful_shutdown=drain_seconds,
        )
        super().__init__(config)
        self.refused = config.refused
        self._stop = asyncio.Event()
        self._up = asyncio.Event()
        self._told = 0

    def set_limits(self, *, max_body: int, max_file: int = 0, trusted: tuple[Network, ...]) -> None:
        """Use other limits from now on."""
        self.crowd.max_body = max_body
        self.config.sizes = Sizes(max_body, max_file)
        self.config.trusted = trusted

    async def run_on(self, sockets: Iterable[socket.socket], stop: asyncio.Event) -> None:
        """Answer requests until told to stop, and then those that are under way.

        Args:
            sockets: The sockets to listen on. They belong to the server from now on.
            stop: When it is set, the server ends.
        """
        self._stop = stop
        await self.serve(sockets=list(sockets))

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Listen on these sockets and on no others. Connections stay.

        Args:
            sockets: They belong to the server from now on.
        """
        await self._up.wait()
        before, loop = self.servers, asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(self._make_protocol, sock=sock, backlog=BACKLOG) for sock in sockets
        ]
        for server in before:
            server.close()

    # What uvicorn calls

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to whoever runs the server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._up.set()

    async def main_loop(self) -> None:
        """Look after connections once a second until told to stop."""
        counter = 0
        while not self._stop.is_set():
            await self.on_tick(0)  # the time in answers
            self._look_after()
            counter += 1
            if counter % _TELL_SECONDS == 0:
                self._tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is under way, for a time that has a bound, and close everything."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self._tell()

    def _look_after(self) -> None:
        for connection, phase in self.crowd.overdue(asyncio.get_running_loop().time()):
            connection.end(phase)

    def _tell(self) -> None:
        """Say how many were refused, once a minute at most: strangers decide how many that are."""
        refused = self.refused.total()
        if refused > self._told:
            reasons = ", ".join(f"{key} {number}" for key, number in sorted(self.refused.items()))
            log.info("requests and connections that were refused, since the start: %s", reasons)
            self._told = refused

    def _make_protocol(self) -> GuardedProtocol:
        return GuardedProtocol(self.config, self.server_state, self.lifespan.state)


def _room_for_clients() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, soft - _OTHER_FILES) if soft > 0 else MOST
