"""What the parent process does before it starts accounts."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import sys
from types import FrameType
from typing import NoReturn

from orchestrator.errors import ExitCode
from orchestrator.service.forkserver import Spawner
from orchestrator.store.layout import StatePaths

OPEN_FILES = 65_536
"""Open files that are enough for some thousand accounts."""


def make_spawner(paths: StatePaths) -> Spawner:
    """Return what starts the accounts' processes."""
    from orchestrator.worker import main

    return Spawner(main.run, paths.meeting_places)


def raise_file_limit() -> None:
    """Allow more open files if the system lets us: each account needs a handful, and the default is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def take_signals() -> None:
    """Make signals that come before the event loop can handle them end the process in good order, too."""

    def end(_number: int, _frame: FrameType | None) -> NoReturn:
        sys.exit(ExitCode.DONE)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the configuration has just been read


def ignore_signals() -> None:
    """Let no signal change how the process ends: what it could ask for is done."""
    loop = asyncio.get_running_loop()
    numbers = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)  # between two handlers is the system's own
    for number in numbers:
        loop.remove_signal_handler(number)  # or it would be set back when the loop is closed
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
