"""How the service hears that a bot lives."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest

from orchestrator.service.companions import bots
from orchestrator.service.companions.bots import Beats


def test_a_bot_that_writes_without_end_takes_no_time_from_anybody() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        beats: list[None] = []
        line = Beats(ours, lambda: beats.append(None), lambda _: None)
        for _ in range(2000):
            with contextlib.suppress(BlockingIOError):
                theirs.send(b"." * 4096)
            await asyncio.sleep(0)
        assert 0 < len(beats) < 100
        line.close()
        theirs.close()

    asyncio.run(run())


def test_every_beat_is_heard_and_so_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bots, "PAUSE_SECONDS", 0.0)

    async def run() -> None:
        ours, theirs = socket.socketpair()
        beats: asyncio.Queue[None] = asyncio.Queue()
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        Beats(ours, lambda: beats.put_nowait(None), lost.set_result)
        for _ in range(3):
            theirs.send(b".")
            await beats.get()
        theirs.close()
        assert await lost == ""
        assert ours.fileno() < 0

    asyncio.run(run())
