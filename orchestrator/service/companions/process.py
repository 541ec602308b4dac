"""The service's hold on one companion's process: how it is made, its output, its line, its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator.service.aside import Aside
from orchestrator.service.companions.output import Output
from orchestrator.system import interpreter

_NOT_FOR_COMPANIONS: Final = (
    "GO", "ORCHESTRATOR_LIBRARY", "JOURNAL_STREAM",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
    "http_proxy", "https_proxy", "all_proxy", "no_proxy",
)  # fmt: skip
"""How variables begin that only accounts' processes need. A proxy's address may have a password."""


class Line(Protocol):
    """What a companion's process is heard by, over a socket pair."""

    def close(self) -> None:
        """Hear nothing any more."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What a companion's process is started with.

    Attributes:
        module: The package that is run, such as ``orchestrator.gateway``.
        variables: Returns variables of its environment beside the usual ones, from the descriptor of its end
            of the line.
        given: Further sockets that it gets, under the descriptors that they have here. They are closed here.
        is_foreign: Whether it runs code that is not of this program, which gets even less of the environment.
    """

    module: str
    variables: Callable[[int], Mapping[str, str]] = lambda _: {}
    given: Sequence[socket.socket] = ()
    is_foreign: bool = False

    def close(self) -> None:
        """Close what the process was given."""
        for one in self.given:
            one.close()


def environment(base: Mapping[str, str], launch: Launch, line: int) -> dict[str, str]:
    """Return the environment of a companion: a list of what it needs, and nothing else of the operator's."""
    if launch.is_foreign:
        return interpreter.bot_environment(base) | dict(launch.variables(line))
    usual = {
        name: value
        for name, value in interpreter.helper_environment(base).items()
        if not name.startswith(_NOT_FOR_COMPANIONS)
    }
    return usual | dict(launch.variables(line))


class CompanionProcess:
    """A running companion.

    Attributes:
        pid: Its process id.
        line: This end of its line.
    """

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        output: int,
        line: Line,
        exited: Callable[[int], None],
    ) -> None:
        self.pid = process.pid
        self.line = line
        self._process = process
        self._exited = exited
        self._loop = asyncio.get_running_loop()
        self._output = Output(name, output)
        self._pidfd = os.pidfd_open(process.pid)  # it is this process's own child, so it is there
        self._loop.add_reader(self._pidfd, self._gone)

    @classmethod
    async def start(
        cls,
        name: str,
        launch: Launch,
        aside: Aside,
        connect: Callable[[socket.socket], Line],
        exited: Callable[[int], None],
    ) -> CompanionProcess:
        """Start a process, without ever holding up the event loop.

        Args:
            name: Under which name its lines are logged.
            launch: What it is started with; this closes what the process is given.
            aside: Does what takes time beside the event loop.
            connect: Makes this end of its line.
            exited: Hears that it is gone, and its status, with signals below 0.

        Raises:
            OSError: There is no process to be had.
        """
        try:
            process, output, ours = await aside.run(lambda: _launch(launch))
        finally:
            launch.close()
        line = connect(ours)
        try:
            return cls(name, process, output, line, exited)
        except OSError:
            line.close()
            process.kill()
            process.wait()
            raise

    def kill(self) -> None:
        """End it with SIGKILL, and all processes that it has made."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end by SIGTERM."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGTERM)

    def _gone(self) -> None:
        self.kill()  # what it has made; its number is nobody else's before it is reaped
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        status = self._process.wait()
        self.line.close()
        self._output.close()
        self._exited(status)


def how_it_ended(status: int, known: Mapping[int, str]) -> str:
    """Say how a process has ended, for people.

    Args:
        status: The exit code, or a signal below 0.
        known: What exit codes of its own mean.
    """
    if status in known:
        return known[status]
    if status >= 0:
        return f"its process has ended with exit code {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"its process was ended by {name}"


def _launch(launch: Launch) -> tuple[subprocess.Popen[bytes], int, socket.socket]:
    """Return the process, the reading end of its output, and our end of its line."""
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            process = subprocess.Popen(
                interpreter.module(launch.module),
                stdin=subprocess.DEVNULL,
                stdout=write,
                stderr=write,
                pass_fds=(theirs.fileno(), *(one.fileno() for one in launch.given)),
                env=environment(os.environ, launch, theirs.fileno()),
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the service, which ends it in its turn
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    with contextlib.suppress(OSError):  # its first step is the same; this holds if it has none
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
    return process, read, ours
