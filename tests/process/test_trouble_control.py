"""Bad clients of the control socket, and a machine that has no descriptors for good ones."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest
from support.fleet import PATIENCE, Fleet, asynchronous, open_files, until
from support.trouble import no_descriptors

from orchestrator.accounts.events import Configured
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.service.control import server

IDLE = AccountSettings("a", enabled=False)
PING = b'{"command": "ping"}\n'
WATCH = b'{"command": "watch"}\n'
ROOM = 24 * 1024 * 1024
"""Bytes by which the service may grow under attack: what it holds of each connection has a limit."""


@contextmanager
def raw(fleet: Fleet) -> Iterator[socket.socket]:
    """A connection without a client: what is sent over it is the test's own."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(os.fspath(fleet.paths.control_socket))
        yield connection


def memory() -> int:
    return int(psutil.Process().memory_info().rss)


async def is_served(fleet: Fleet) -> None:
    """Give a command as anybody would."""
    assert (await fleet.call("ping"))["accounts"] == len(fleet.supervisor.names())


async def is_over(fleet: Fleet) -> None:
    await until(lambda: fleet.connections == 0, "all have gone")
    await is_served(fleet)


@asynchronous
async def test_a_client_that_floods_with_connections(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", control=True)
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        stop = False
        counts = [0, 0]

        def flood(number: int) -> None:
            while not stop:
                with contextlib.suppress(OSError), raw(fleet) as connection:
                    connection.sendall(PING)
                    counts[number] += 1

        flooding = [asyncio.ensure_future(asyncio.to_thread(flood, number)) for number in range(2)]
        for _ in range(20):
            await is_served(fleet)
        # Nor is an account held up.
        pid = fleet.pid("a")
        await fleet.call("restart", names=["a"])
        await fleet.until("a", State.CONNECTED, after=pid)
        await until(lambda: sum(counts) > 100, "it was a flood")
        stop = True
        await asyncio.gather(*flooding)
        await is_over(fleet)


@asynchronous
async def test_clients_that_send_half_a_line_keep_nobody_out(tmp_path: Path) -> None:
    # Ten times as many as may be connected at once.
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        with ExitStack() as halves:
            for number in range(10 * server.MAX_CONNECTIONS):
                await asyncio.to_thread(
                    lambda: halves.enter_context(raw(fleet)).sendall(b'{"command": "stop", "all"')
                )
                if number % 50 == 0:
                    await is_served(fleet)
            assert fleet.connections <= 2 * server.MAX_CONNECTIONS
            for _ in range(5):
                await is_served(fleet)
        await is_over(fleet)
        assert fleet.state("a") is State.DISABLED


@asynchronous
async def test_a_client_that_was_turned_away_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        with raw(fleet) as silent:
            await until(lambda: len(fleet.server._silent) == 1, "it is there")
            await is_served(fleet)
            said = json.loads(await asyncio.to_thread(silent.recv, 4096))
            assert "too many commands" in said["error"]


@asynchronous
async def test_clients_that_never_read_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SEND_SECONDS", 0.5)
    accounts = [AccountSettings(f"account-{number}", enabled=False) for number in range(1500)]
    async with Fleet(tmp_path, *accounts, "busy", control=True) as fleet:
        with ExitStack() as deaf:
            for _ in range(20):
                connection = deaf.enter_context(raw(fleet))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.sendall(WATCH)
                assert await asyncio.to_thread(connection.recv, 1) == b"{"  # so much each reads
            await is_served(fleet)
            await fleet.until("busy", State.PAIRING)  # so that there is more to say
            await is_over(fleet)


@asynchronous
async def test_a_client_that_sends_a_gigabyte_without_an_end(tmp_path: Path) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        await is_served(fleet)
        before = memory()
        sent = 0

        def send() -> None:
            nonlocal sent
            block = b"x" * (1024 * 1024)
            with raw(fleet) as connection, contextlib.suppress(OSError):
                while sent < 1024**3:
                    connection.sendall(block)
                    sent += len(block)

        await asyncio.to_thread(send)
        assert sent < ROOM, "it was cut off"
        await is_over(fleet)
        assert memory() - before < ROOM


@asynchronous
async def test_no_file_descriptors_for_commands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING")
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        await is_served(fleet)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(PATIENCE)
            with no_descriptors():
                client.connect(os.fspath(fleet.paths.control_socket))
                client.sendall(PING)
                await until(lambda: "the service cannot accept commands" in caplog.text, "it was noticed")
                first = fleet.server._retry
                await until(lambda: fleet.server._retry is not first, "it was tried again")
                # It is said once, with what to do, however long it takes.
                assert (
                    caplog.text.count("the service cannot accept commands for now: too many open files") == 1
                )
                assert "LimitNOFILE=" in caplog.text
            answer = json.loads(await asyncio.to_thread(client.recv, 4096))
            assert answer["result"]["accounts"] == 1
        assert "the service accepts commands again" in caplog.text
        assert "Traceback" not in caplog.text
        await is_served(fleet)


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that looks after its socket more often than every ten seconds."""
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.05)


@pytest.mark.usefixtures("watchful")
@asynchronous
async def test_a_socket_that_was_removed_is_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        path = fleet.paths.control_socket
        with raw(fleet) as watching:
            watching.sendall(WATCH)
            assert b"disabled" in await asyncio.to_thread(watching.recv, 65536)
            files = open_files()
            path.unlink()
            await until(path.exists, "it is made anew")
            assert path.stat().st_mode & 0o777 == 0o600
            await is_served(fleet)
            await until(lambda: open_files() <= files, "the old one is closed")
            # Whoever came by that goes on.
            fleet.supervisor._machines.handle("a", Configured(AccountSettings("a")))
            assert b'"accounts"' in await asyncio.to_thread(watching.recv, 65536)
        assert caplog.text.count("the service has made the socket anew") == 1


@pytest.mark.usefixtures("watchful")
@asynchronous
async def test_a_socket_that_cannot_be_made_anew_is_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with Fleet(tmp_path, IDLE, control=True) as fleet:
        path = fleet.paths.control_socket
        away = path.parent.rename(tmp_path / "away")
        await until(lambda: "no command can reach the service" in caplog.text, "it is said")
        tries = fleet.server._look_again
        await until(lambda: fleet.server._look_again is not tries, "it was tried again")
        assert caplog.text.count("no command can reach the service") == 1
        (away / path.name).unlink()
        away.rename(path.parent)
        await until(path.exists, "it is made anew")
        await is_served(fleet)
