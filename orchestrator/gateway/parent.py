"""How the gateway asks the service: always for somebody, whose rights the service checks again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final, TypeAlias

from orchestrator.access.scopes import Principal
from orchestrator.control.port import MAX_CALLS, SECONDS, Port
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError

Who: TypeAlias = Json
"""For whom something is asked, as the service reads it."""
GATEWAY: Final[Who] = {"gateway": True}
"""The gateway itself asks, and no client."""
MOST_FOR_OTHERS: Final = MAX_CALLS * 3 // 4
"""What may be under way for clients and bots at once. The rest of the port is the gateway's own: without its
signs of life the service would end it, and WhatsApp may leave many texts without an answer for a minute."""
BUSY_SECONDS: Final = 5.0
"""How long a client or bot waits for its turn."""


def who(principal: Principal) -> Who:
    """Return for whom something is asked."""
    match principal.kind:
        case "token":
            return {"token": principal.id}
        case "bot":
            return {"bot": principal.id}
        case "local":
            return {"local": True}
        case _:
            return GATEWAY


class Parent:
    """The service, as the gateway sees it.

    Args:
        port: Leads there.
    """

    def __init__(self, port: Port) -> None:
        self._port = port
        self._room = asyncio.Semaphore(MOST_FOR_OTHERS)

    async def ask(
        self,
        asker: Who | Principal,
        command: str,
        /,
        *,
        seconds: float | None = SECONDS,
        fds: Sequence[int] = (),
        **arguments: object,
    ) -> Json:
        """Ask for something and return the answer; see `Port.call`.

        Raises:
            NotRunning: The service is gone.
            OrchestratorError: The service refuses, or does not answer in time; or too much is under way for
                clients and bots.
        """
        given = self._with(asker, arguments)
        async with contextlib.nullcontext() if given["as"] == GATEWAY else self._turn():
            return await self._port.call(command, seconds=seconds, fds=fds, **given)

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(BUSY_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise OrchestratorError(
                "too much is under way already: try again in a moment", key="service_busy"
            ) from None
        try:
            yield
        finally:
            self._room.release()

    def stream(
        self, asker: Who | Principal, command: str, /, **arguments: object
    ) -> AsyncGenerator[Json, None]:
        """Ask for something that goes on; see `Port.stream`."""
        return self._port.stream(command, **self._with(asker, arguments))

    def _with(self, asker: Who | Principal, arguments: Json) -> dict[str, Any]:
        return {**arguments, "as": who(asker) if isinstance(asker, Principal) else asker}
