"""When a process has last talked with the database, as the kernel knows it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.linked import wait_until

from orchestrator.worker.library.traffic import Traffic

SILENT = 0.3


class Talk:
    """A connection of this process to a port, and the other end of it."""

    def __init__(self, server: socket.socket, open_: ExitStack) -> None:
        self.ours = open_.enter_context(socket.create_connection(server.getsockname()[:2]))
        self.theirs = open_.enter_context(server.accept()[0])
        host, port = server.getsockname()[:2]
        self.traffic = Traffic(f"postgres:///main?host={host}&port={port}&user=a_0&password=%26port%3D1")


@pytest.fixture
def talk() -> Iterator[Talk]:
    with ExitStack() as open_:
        yield Talk(open_.enter_context(socket.create_server(("127.0.0.1", 0))), open_)


def since(before: float) -> float:
    """Return the seconds since then, and one tick of the kernel's clock."""
    return time.monotonic() - before + 0.02


def be_silent(talk: Talk) -> None:
    wait_until(lambda: talk.traffic.idle_seconds() > SILENT, "there is no silence")


def test_what_is_said_and_heard_ends_the_silence(talk: Talk) -> None:
    for end in (talk.ours, talk.theirs):
        be_silent(talk)
        before = time.monotonic()
        end.sendall(b"SELECT 1")
        wait_until(lambda: talk.traffic.idle_seconds() <= since(before), "nothing is seen")  # noqa: B023


def test_other_connections_are_nobodys_business(talk: Talk) -> None:
    be_silent(talk)
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as open_:
        other = Talk(server, open_)
        before = time.monotonic()
        other.ours.sendall(b"SELECT 1")
        assert other.traffic.idle_seconds() <= since(before)
        assert talk.traffic.idle_seconds() > SILENT


def test_there_may_be_no_connection_and_much_else() -> None:
    ends = socket.socketpair()
    reader, writer = os.pipe()
    with ends[0], ends[1], socket.socket(), socket.socket(type=socket.SOCK_DGRAM):
        assert Traffic("postgres:///main?host=127.0.0.1&port=1").idle_seconds() == float("inf")
    os.close(reader)
    os.close(writer)


def test_nothing_is_left_open_and_nothing_is_changed(talk: Talk) -> None:
    talk.ours.settimeout(5.0)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        talk.traffic.idle_seconds()
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    talk.theirs.sendall(b"1")
    assert talk.ours.recv(1) == b"1"
