"""The gateway's reader as the gateway starts it: processes of its own that are confined."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.control.companions import GatewaySpec
from orchestrator.gateway.reader.client import HandOn, ReaderClient
from orchestrator.gateway.reader.maker import ReaderHandle, start_reader
from orchestrator.gateway.reader.wire import Answer, Ask, body


def spec(state: Path) -> GatewaySpec:
    """Return what a gateway of a state folder is started with."""
    return GatewaySpec(-1, state / "messages", state / "tokens", state / "gateway", (state,))


@asynccontextmanager
async def reading(
    state: Path,
    again: Callable[[str], object] = lambda _: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    hand_on: HandOn | None = None,
) -> AsyncIterator[ReaderClient]:
    """Have a reader read the messages of a state folder.

    Args:
        state: The folder.
        again: Told which account can be read again.
        clock: Returns monotonic seconds.
        hand_on: Gets the socket by which a reader asks for messages; None: they are in the folder.
    """
    # As the service does before it starts a gateway: a reader may read what is there when it confines itself.
    (state / "messages").mkdir(mode=0o700, exist_ok=True)
    handle = start_reader(replace(spec(state), stored=hand_on is not None))
    client = ReaderClient(handle, again, clock, hand_on or socket.socket.close)
    running = asyncio.create_task(client.run())
    try:
        yield client
    finally:
        running.cancel()
        try:
            with suppress(asyncio.CancelledError):
                await running
        finally:
            client.close()
            reap(handle)


def reap(handle: ReaderHandle) -> None:
    """Leave no dead process behind: a gateway ends itself then, a test goes on."""
    with suppress(ChildProcessError):  # somebody else has waited for it
        os.waitpid(handle.pid, 0)


async def after(client: ReaderClient, account: str, seq: int = 0, limit: int = 100) -> Answer:
    return await client.ask(Ask("after", account, seq, limit))


async def bodies(client: ReaderClient, account: str) -> list[bytes]:
    answer = await after(client, account)
    return [body(account, item) for item in answer.items]
