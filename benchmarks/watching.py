"""How fluent the service is for those who look: what its answers take, and `list --watch` on a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from benchmarks.meter import cpu_seconds
from orchestrator.control.client import Client
from orchestrator.system import interpreter

ROWS, COLUMNS = 50, 160
"""The terminal's size."""
PAUSE = 0.25
"""Seconds between two questions."""
_HEADER = b"NAME"
_STOP_SECONDS = 10.0


@dataclass(slots=True)
class Seen:
    """What was seen of a service.

    Attributes:
        asked: Seconds that each answer to a question for all accounts took, over the control socket.
        commands: Seconds that each `orchestrator list --json` took, with the start of its process.
        frames: Monotonic times of the frames of `orchestrator list --watch`.
        started: Monotonic time at which that was started.
        cpu: CPU seconds it took.
        looked: Seconds it was looked at.
    """

    asked: list[float] = field(default_factory=list)
    commands: list[float] = field(default_factory=list)
    frames: list[float] = field(default_factory=list)
    started: float = 0.0
    cpu: float = 0.0
    looked: float = 0.0

    @property
    def first_frame(self) -> float | None:
        """Seconds from the start of the command to its first frame; None if it was too late to be seen."""
        return self.frames[0] - self.started if self.frames else None

    @property
    def longest_gap(self) -> float:
        """The longest time between two frames."""
        return max((later - earlier for earlier, later in pairwise(self.frames)), default=0.0)

    @property
    def frames_per_second(self) -> float:
        """How many frames there were a second."""
        return len(self.frames) / self.looked


@contextmanager
def watching(client: Client, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Seen]:
    """Look at a service all the time: ask it, and run `list --watch` on a terminal of its own.

    Args:
        client: What asks.
        command: How a command is given to this service.
        environment: That of the commands.
    """
    seen = Seen()
    over = threading.Event()
    threads = [
        threading.Thread(target=_ask, args=(client, seen.asked, over)),
        threading.Thread(target=_command, args=([*command, "list", "--json"], environment, seen, over)),
        threading.Thread(target=_watch, args=([*command, "list", "--watch"], environment, seen, over)),
    ]
    began = seen.started = time.monotonic()
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()
        seen.looked = time.monotonic() - began


def _ask(client: Client, took: list[float], over: threading.Event) -> None:
    while not over.wait(PAUSE):
        began = time.monotonic()
        client.call("list")
        took.append(time.monotonic() - began)


def _command(
    command: Sequence[str], environment: Mapping[str, str], seen: Seen, over: threading.Event
) -> None:
    while not over.wait(8 * PAUSE):
        began = time.monotonic()
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        seen.commands.append(time.monotonic() - began)


def _watch(command: Sequence[str], environment: Mapping[str, str], seen: Seen, over: threading.Event) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**environment, "TERM": "xterm-256color"},
        start_new_session=True,
    )
    os.close(theirs)
    seen.started = time.monotonic()
    end = b""
    try:
        while not over.is_set():
            if not select.select([ours], [], [], PAUSE)[0]:
                continue
            # A frame begins with the table's header, which may come in two parts.
            end += os.read(ours, 65536)
            seen.frames += [time.monotonic()] * end.count(_HEADER)
            end = end[end.rfind(_HEADER) + len(_HEADER) :] if _HEADER in end else end[-len(_HEADER) :]
        seen.cpu = cpu_seconds(process.pid)
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)
        os.close(ours)


def command_line(config: Path, state: Path) -> list[str]:
    """Return how a command is given to the service of a configuration and a state folder."""
    return interpreter.program("--config", str(config), "--state-dir", str(state))
