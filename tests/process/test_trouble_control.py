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
from support.fleet import PATIENCE, Fleet, asynchronous, until
from support.trouble import no_descriptors

from orchestrator.control import server
from orchestrator.settings import AccountSettings
from orchestrator.states import State

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
    await until(lambda: fleet.server.connections == 0, "all have gone")
    await is_served(fleet)


@asynchronous
async def test_a_client_that_floods_with_connections(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", control=True)
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        stop = False

        def flood() -> int:
            count = 0
            while not stop:
                with contextlib.suppress(OSError), raw(fleet) as connection:
                    connection.sendall(PING)
                    count += 1
            return count

        flooding = [asyncio.ensure_future(asyncio.to_thread(flood)) for _ in range(2)]
        for _ in range(20):
            await is_served(fleet)
        # Nor is an account held up.
        pid = fleet.pid("a")
        await fleet.call("restart", names=["a"])
        await fleet.until("a", State.CONNECTED, after=pid)
        stop = True
        assert sum(await asyncio.gather(*flooding)) > 100
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
            assert fleet.server.connections <= 2 * server.MAX_CONNECTIONS
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
            await until(lambda: fleet.server.connections == 20, "all watch")
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
                await until(lambda: "commands have to wait" in caplog.text, "it was noticed")
                first = fleet.server._retry
                await until(lambda: fleet.server._retry is not first, "it was tried again")
                # It is said once, with what to do, however long it takes.
                assert caplog.text.count("commands have to wait: too many open files") == 1
                assert "LimitNOFILE=" in caplog.text
            answer = json.loads(await asyncio.to_thread(client.recv, 4096))
            assert answer["result"]["accounts"] == 1
        assert "commands are taken again" in caplog.text
        assert "Traceback" not in caplog.text
        await is_served(fleet)
