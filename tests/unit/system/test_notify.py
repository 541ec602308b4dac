"""What systemd is told, read from a real socket."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.states import State
from orchestrator.service.systemd import status_text
from orchestrator.system.sd_notify import MAX_STATUS, Notifier, watchdog_seconds

Receive = Callable[[], list[str]]


def listen(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.setblocking(False)
    listener.bind(address)
    return listener


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "notify")


@pytest.fixture
def receive(path: str) -> Iterator[Receive]:
    """Return the variables of the next datagram."""
    with listen(path) as listener:
        yield lambda: listener.recv(4096).decode().split("\n")


# The line for people


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({}, "no accounts to connect"),
        ({State.CONNECTED: 47, State.PAIRING: 2, State.BANNED: 1}, "47/50 connected, 2 pairing, 1 banned"),
        ({State.CONNECTED: 2, State.STOPPED: 3, State.DISABLED: 1}, "2/2 connected; 3 stopped, 1 disabled"),
        ({State.DISABLED: 2, State.CONNECTED: 0}, "no accounts to connect; 2 disabled"),
        ({State.STARTING: 1, State.FAILED: 1}, "0/2 connected, 1 starting, 1 failed"),
    ],
)
def test_the_status_counts_by_state(counts: dict[State, int], text: str) -> None:
    assert status_text(counts) == text


@given(st.dictionaries(st.sampled_from(list(State)), st.integers(0, 10_000)))
def test_the_status_leaves_no_account_out(counts: dict[State, int]) -> None:
    text = status_text(counts)
    assert len(text) <= MAX_STATUS
    numbers = {word: int(number) for number, word in (part.split(" ") for part in parts(text))}
    for state, count in counts.items():
        if state is not State.CONNECTED:
            assert numbers.get(state, 0) == count
    wanted = sum(n for state, n in counts.items() if state not in (State.STOPPED, State.DISABLED))
    assert (f"/{wanted} connected" in text) == bool(wanted)


def parts(text: str) -> list[str]:
    """Return what follows the connected ones."""
    return [
        part
        for part in text.replace("; ", ", ").split(", ")
        if " connected" not in part and " to connect" not in part
    ]


# The watchdog


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
    ],
)
def test_the_watchdog_is_for_one_process(environ: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environ, 7) == seconds


# What is sent


@pytest.fixture
def notifier(path: str, receive: Receive) -> Iterator[Notifier]:  # noqa: ARG001 - so that somebody listens
    with contextlib.closing(Notifier(path, watchdog=10)) as notifier:
        yield notifier


def test_what_happens_is_told(notifier: Notifier, receive: Receive) -> None:
    notifier.ready("1/1\nREADY=0 connected")
    assert receive() == ["READY=1", "STATUS=1/1 READY=0 connected"]
    notifier.status("x" * 1000)
    assert receive() == [f"STATUS={'x' * MAX_STATUS}"]
    notifier.reloading()
    reloading, clock = receive()
    assert reloading == "RELOADING=1"
    name, _, microseconds = clock.partition("=")
    assert name == "MONOTONIC_USEC"
    assert int(microseconds) > 0
    notifier.alive()
    assert receive() == ["WATCHDOG=1"]
    notifier.stopping("stopping")
    assert receive() == ["STOPPING=1", "STATUS=stopping"]


def test_a_name_without_a_file_is_a_socket_too() -> None:
    name = f"orchestrator-test-{os.getpid()}"
    with listen(f"\0{name}") as listener, contextlib.closing(Notifier(f"@{name}")) as notifier:
        notifier.ready()
        assert listener.recv(4096) == b"READY=1"


@pytest.mark.parametrize("address", [None, "", "relative", "vsock:2:1", "/nowhere/at/all", "@nobody-is-here"])
def test_nobody_who_listens_does_no_harm(address: str | None) -> None:
    with contextlib.closing(Notifier(address)) as notifier:
        notifier.ready("fine")
        notifier.alive()
    notifier.stopping()


def test_without_a_watchdog_nobody_is_told_of_being_alive(path: str, receive: Receive) -> None:
    with contextlib.closing(Notifier(path)) as notifier:
        notifier.alive()
        with pytest.raises(BlockingIOError):
            receive()


def test_what_could_not_be_sent_goes_along_with_the_next(notifier: Notifier, receive: Receive) -> None:
    sent = 0
    while not notifier._unsent:  # nobody reads, and nothing of this waits
        notifier.status(f"{sent}")
        sent += 1
    notifier.reloading()
    notifier.ready("at last")
    for number in range(sent - 1):
        assert receive() == [f"STATUS={number}"]
    with pytest.raises(BlockingIOError):
        receive()
    notifier.alive()
    assert receive() == ["STATUS=at last", "READY=1", "WATCHDOG=1"]
    notifier.alive()
    assert receive() == ["WATCHDOG=1"]


def test_the_environment_is_cleared_for_children(path: str, receive: Receive) -> None:
    environ = {
        "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/"
    }  # fmt: skip
    with contextlib.closing(Notifier.take(environ)) as notifier:
        assert environ == {"HOME": "/"}
        assert notifier.watchdog == 4.0
        notifier.ready()
    assert receive() == ["READY=1"]
