"""The socket of a service that waits becomes that of the service that runs: all get an answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path

import pytest
from support.fleet import until

from orchestrator.control.protocol import Json
from orchestrator.service.control import server as servers
from orchestrator.service.control.commands import Caller
from orchestrator.service.control.listening import ControlSocket
from orchestrator.service.control.server import ControlServer

PATIENCE = 60.0


class Says:
    """Answers everything with one word."""

    def __init__(self, word: str) -> None:
        self.refused = 0
        self._word = word

    def answer(self, request: Json, caller: Caller | None = None) -> Awaitable[Json]:
        del request, caller

        async def say() -> Json:
            return {"by": self._word}

        return say()


async def connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connection, str(path))
    return connection


async def ask(connection: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    with closing(connection):
        await loop.sock_sendall(connection, b'{"command": "ping"}\n')
        data = b""
        async with asyncio.timeout(PATIENCE):
            while not data.endswith(b"\n") and (more := await loop.sock_recv(connection, 4096)):
                data += more
    return str(json.loads(data)["result"]["by"])


def test_whoever_has_connected_is_answered_by_one_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LEAVE_SECONDS", PATIENCE)
    path = tmp_path / "control.sock"

    async def run() -> None:
        listener = ControlSocket(path)
        first = ControlServer(listener, Says("the one that waits"))
        await first.start()
        early = await connect(path)
        await until(lambda: bool(first._connections), "the server knows of the connection")
        leaving = asyncio.create_task(first.leave())
        await asyncio.sleep(0.05)
        assert not leaving.done()
        late = await connect(path)
        assert await ask(early) == "the one that waits"
        await asyncio.wait_for(leaving, PATIENCE)
        second = ControlServer(listener, Says("the one that runs"))
        await second.start()
        assert await ask(late) == "the one that runs"
        await second.close()
        assert not path.exists()

    asyncio.run(run())


def test_who_says_nothing_does_not_keep_the_service_from_its_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "LEAVE_SECONDS", 0.1)
    path = tmp_path / "control.sock"

    async def run() -> None:
        with closing(ControlSocket(path)) as listener:
            first = ControlServer(listener, Says("the one that waits"))
            await first.start()
            with closing(await connect(path)):
                await until(lambda: bool(first._connections), "the server knows of the connection")
                await asyncio.wait_for(first.leave(), PATIENCE)
                assert path.exists()

    asyncio.run(run())
