"""How often systemd is told what, with a supervisor whose accounts change faster than anybody reads."""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from orchestrator.accounts.states import State
from orchestrator.service import systemd as announce
from orchestrator.service.supervisor import Supervisor
from orchestrator.service.systemd import Announcer
from orchestrator.system.sd_notify import Notifier

ACCOUNTS = 200
PATIENCE = 30.0


class Fleet:
    """What an announcer sees of a supervisor."""

    def __init__(self) -> None:
        self.version = 0
        self.connected = 0
        self.counted = 0
        self._changed = asyncio.Event()

    def counts(self) -> Counter[State]:
        self.counted += 1
        starting = ACCOUNTS - self.connected
        return Counter({State.CONNECTED: self.connected, State.STARTING: starting})

    async def wait_for_change(self) -> None:
        await self._changed.wait()

    def connect_one(self) -> None:
        self.connected += 1
        self.change()

    def change(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed.clear()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as listener:
        listener.bind(str(tmp_path / "notify"))
        yield listener


async def told(systemd: socket.socket, last: str) -> list[str]:
    """Return all that is told up to something."""
    loop = asyncio.get_running_loop()
    seen: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while not seen or last not in seen[-1]:
            seen.append((await loop.sock_recv(systemd, 4096)).decode())
    return seen


def announcing(
    systemd: socket.socket, story: Callable[[Announcer, Fleet], Coroutine[Any, Any, None]]
) -> None:
    """Run a story with an announcer that has said that the service is ready."""

    async def run() -> None:
        fleet = Fleet()
        announcer = Announcer(Notifier(systemd.getsockname()))
        announcer.ready(cast("Supervisor", fleet))
        assert await told(systemd, "READY=1") == [
            f"READY=1\nSTATUS=0/{ACCOUNTS} connected, {ACCOUNTS} starting"
        ]
        try:
            await story(announcer, fleet)
        finally:
            await announcer.close()

    asyncio.run(run())


def test_what_changes_often_is_told_now_and_then(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "STATUS_SECONDS", 0.5)

    async def story(_announcer: Announcer, fleet: Fleet) -> None:
        reading = asyncio.create_task(told(systemd, f"{ACCOUNTS}/{ACCOUNTS}"))
        for _ in range(ACCOUNTS):
            fleet.connect_one()
            for _ in range(4):  # so that everybody has a turn
                await asyncio.sleep(0)
        assert len(await reading) < ACCOUNTS / 10

    announcing(systemd, story)


def test_a_sign_of_life_comes_twice_in_the_time_that_systemd_waits(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await pause(0 if seconds == 2.0 else seconds)

    async def run() -> None:
        announcer = Announcer(Notifier(systemd.getsockname(), watchdog=4.0))
        announcer.ready(cast("Supervisor", Fleet()))
        for _ in range(3):
            assert (await told(systemd, "WATCHDOG=1"))[-1] == "WATCHDOG=1"
        await announcer.close()

    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(run())
    assert waits.count(2.0) >= 3
    assert set(waits) <= {2.0, announce.STATUS_SECONDS}


def test_what_makes_no_difference_is_not_told(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announce, "STATUS_SECONDS", 0.01)

    async def story(_announcer: Announcer, fleet: Fleet) -> None:
        async with asyncio.timeout(PATIENCE):
            while fleet.counted < 5:
                fleet.change()
                await asyncio.sleep(0.01)
        fleet.connect_one()
        (only,) = await told(systemd, "STATUS=")
        assert only.startswith(f"STATUS=1/{ACCOUNTS} connected")

    announcing(systemd, story)


def test_a_reload_while_the_service_stops_is_not_announced(systemd: socket.socket) -> None:
    async def story(announcer: Announcer, _: Fleet) -> None:
        with announcer.reload():
            announcer.stopping()
        with announcer.reload():
            pass
        seen = await told(systemd, "STOPPING=1")
        assert [one.partition("=")[0] for one in seen] == ["RELOADING", "STOPPING"]
        with pytest.raises(BlockingIOError):  # or it would be ready once more
            systemd.recv(4096)

    announcing(systemd, story)


def test_a_service_that_waits_for_its_store_lives_and_says_why(systemd: socket.socket) -> None:
    async def run() -> None:
        announcer = Announcer(Notifier(systemd.getsockname(), watchdog=0.1))
        async with announcer.waiting("waits for its store"):
            assert await told(systemd, "WATCHDOG=1") == ["READY=1\nSTATUS=waits for its store", "WATCHDOG=1"]
        announcer.ready(cast("Supervisor", Fleet()))
        ready = f"READY=1\nSTATUS=0/{ACCOUNTS} connected, {ACCOUNTS} starting"
        assert (await told(systemd, ready))[-1] == ready
        await announcer.close()

    asyncio.run(run())
