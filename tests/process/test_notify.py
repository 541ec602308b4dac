"""What a service tells the systemd that has started it."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from support.cli import PATIENCE, Cli

WATCHDOG = 4.0
"""Seconds, of which half may pass between two signs of life."""


class Systemd:
    """The other end of a notification socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.senders: set[int] = set()
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": str(int(WATCHDOG * 1e6))}

    def next(self) -> dict[str, str]:
        """Return the variables of the next datagram."""
        self.socket.settimeout(PATIENCE)
        data, ancillary, _, _ = self.socket.recvmsg(4096, 64)
        self.senders.add(int.from_bytes(ancillary[0][2][:4], "little"))
        return dict(line.split("=", 1) for line in data.decode().split("\n"))

    def until(self, wanted: Callable[[dict[str, str]], bool]) -> list[dict[str, str]]:
        """Return what comes up to the first datagram that fits."""
        deadline = time.monotonic() + PATIENCE
        seen = [self.next()]
        while not wanted(seen[-1]):
            assert time.monotonic() < deadline, seen
            seen.append(self.next())
        return seen


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.fixture
def systemd(tmp_path: Path, cli: Cli) -> Iterator[Systemd]:
    systemd = Systemd(tmp_path / "notify")
    cli.environment |= systemd.environment
    with systemd.socket:
        yield systemd


def status(text: str) -> Callable[[dict[str, str]], bool]:
    return lambda told: told.get("STATUS") == text


def test_its_whole_life_is_told(cli: Cli, systemd: Systemd) -> None:
    cli.configure("a: {}", "b: {}", "c: {enabled: false}")
    cli.has_session("a")
    with cli.service() as process:
        *before, ready = systemd.until(lambda told: "READY" in told)
        assert not before
        assert ready["STATUS"].startswith("0/2 connected")
        systemd.until(status("1/2 connected, 1 pairing; 1 disabled"))
        cli("stop", "b")
        systemd.until(status("1/1 connected; 1 stopped, 1 disabled"))

        for _ in range(2):  # signs of life come of themselves; a unit test has how often
            systemd.until(lambda told: "WATCHDOG" in told)
        assert systemd.senders == {process.pid}

        process.send_signal(signal.SIGTERM)
        told = systemd.until(lambda told: "STOPPING" in told)
        assert told[-1] == {"STOPPING": "1", "STATUS": "stopping"}
        process.wait(PATIENCE)


def test_every_reload_is_told_and_ends(cli: Cli, systemd: Systemd) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    with cli.service() as process:
        systemd.until(status("1/1 connected"))

        cli.configure("a: {}", "b: {enabled: false}")
        cli("reload")
        *_, reloading = systemd.until(lambda told: "RELOADING" in told)
        assert int(reloading["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        *between, ready = systemd.until(lambda told: "READY" in told)
        assert not [told for told in between if "RELOADING" in told]
        assert ready["STATUS"] == "1/1 connected; 1 disabled"

        good = cli.config.read_text()
        cli.config.write_text("accounts: nonsense\n")
        cli("reload", code=1)
        systemd.until(lambda told: "RELOADING" in told)
        *_, ready = systemd.until(lambda told: "READY" in told)
        assert ready["STATUS"] == "1/1 connected; 1 disabled; the last reload was refused, see the log"

        cli.config.write_text(good)
        process.send_signal(signal.SIGHUP)
        systemd.until(lambda told: "RELOADING" in told)
        *_, ready = systemd.until(lambda told: "READY" in told)
        assert ready["STATUS"] == "1/1 connected; 1 disabled"


def test_children_are_not_told_where_systemd_listens(cli: Cli, systemd: Systemd) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    # What systemd sets for logging, on the other hand, they need.
    cli.environment["JOURNAL_STREAM"] = "1:2"
    with cli.service() as process:
        systemd.until(status("1/1 connected"))
        others = psutil.Process(process.pid).children(recursive=True)
        assert len(others) >= 3  # the account's, the fork server and its helper
        for other in others:
            names = {
                entry.partition(b"=")[0] for entry in (Path("/proc") / str(other.pid) / "environ")
                .read_bytes().split(b"\0")
            }  # fmt: skip
            assert b"JOURNAL_STREAM" in names
            assert not names & {b"NOTIFY_SOCKET", b"WATCHDOG_USEC", b"WATCHDOG_PID"}


def test_a_service_that_cannot_start_is_never_ready(cli: Cli, systemd: Systemd) -> None:
    cli.config.write_text("accounts: nonsense\n")
    cli("run", code=1)
    systemd.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.socket.recv(4096)
    assert os.path.exists(systemd.environment["NOTIFY_SOCKET"])  # noqa: PTH110 - it is systemd's, and stays
