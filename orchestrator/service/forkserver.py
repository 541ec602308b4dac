"""Starts the accounts' processes from a fork server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import multiprocess
import multiprocess.connection

from orchestrator.accounts import deadlines
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.service.isolation import Isolation
from orchestrator.service.meeting_place import MeetingPlace
from orchestrator.service.process import Callbacks, ChildProcess
from orchestrator.system import multiprocess_private, threads
from orchestrator.system.os_errors import shortage
from orchestrator.worker import trial
from orchestrator.worker.spec import VARIABLE

log = logging.getLogger(__name__)

PRELOADED = "orchestrator.worker.library.preload"
"""What the fork server imports before it forks, so that children need not."""
GO_DEFAULTS: Mapping[str, str] = MappingProxyType({"GOGC": "50", "GOMAXPROCS": "1"})
"""How Go runs in the accounts' processes, where an operator has not set the variable.

GOGC: by how many hundredths the heap may grow before Go cleans it up; Go's own value is 100. GOMAXPROCS: how
many threads run Go's code at a time; Go keeps free memory for each, and takes one for each core unless told.
"""
END_SECONDS = 1.0
"""How long a fork server that has hung up may take to end; it takes some thousandths."""
SPAWN_SECONDS = deadlines.SPAWNING.inner
"""How long the fork server may take to make a process."""
TRIAL_SECONDS = 20.0
"""How long a process that does nothing may take to end; it takes hundredths."""
_THREADS = 2
"""One is not enough: a start that hangs must not hold up the others, nor the end of the service."""

T = TypeVar("T")


class Target(Protocol):
    """What runs in a child: a module-level function, found there by its name."""

    def __call__(self, spec: Any, connection: Any) -> None:  # noqa: ANN401 - the child's own types
        """Run the child with its spec and its end of the pipe."""


class _Unreachable(Exception):  # noqa: N818 - named for what it says
    """The fork server did not make a process, and the machine lacks nothing; the text says what happened."""


class Spawner:
    """Starts children from a fork server, without ever holding up the event loop.

    Whether the fork server works is told by using it, not by its process: one that lives and cannot be
    reached, because its socket was removed, makes no children.

    Args:
        target: What runs in each child.
        folders: Where the fork server may listen, the best place first; see `StatePaths.meeting_places`.
        preload: Modules the fork server imports first.

    Attributes:
        isolation: How the fork server is confined, None for not at all.

    Raises:
        StateError: The system lets this process have no threads.
    """

    def __init__(
        self, target: Target, folders: Sequence[Path], preload: tuple[str, ...] = (PRELOADED,)
    ) -> None:
        self.isolation: Isolation | None = None
        self._known_files: object = None
        self._target = target
        self._place = MeetingPlace(folders)
        self._placing = threading.Lock()
        # The default start method would be fork, and a fork of a process with threads is a gamble.
        self._context = multiprocess.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        multiprocess_private.start_helpers_guarded()
        for variable, value in GO_DEFAULTS.items():
            multiprocess_private.suggest_to_helpers(variable, value)
        self._pool = threads.pool(_THREADS, "spawner")
        self._closed = False
        self._free = asyncio.Semaphore(_THREADS)
        self._starting = 0
        self._quiet = asyncio.Event()
        self._outdated = False
        self._children: Counter[int] = Counter()
        self._retired: dict[int, int] = {}
        self._ending: dict[int, int] = {}

    async def spawn(
        self,
        name: str,
        spec: Any,  # noqa: ANN401
        callbacks: Callbacks,
        *,
        target: Target | None = None,
    ) -> ChildProcess:
        """Start a child.

        A fork server that cannot be reached is replaced at once, and the start repeated: the children that it
        has made keep it until they end, and notice nothing.

        Args:
            name: What the process is called.
            spec: What the target gets; it is pickled, so it must be small and plain.
            callbacks: Whom its news is for.
            target: What runs in the child; by default what runs in all.

        Raises:
            OSError: There is no process to be had: no memory, no file descriptors, no fork server.
        """
        try:
            process, connection = await self._try(name, spec, target or self._target)
        except _Unreachable as error:
            log.warning("the fork server cannot be used (%s): another takes its place", error)
            try:
                process, connection = await self._try(name, spec, target or self._target)
            except _Unreachable as again:
                raise OSError(f"the fork server cannot be used: {again}") from None
        # None: the fork server died after it made this child, and another thread is replacing it.
        server = multiprocess_private.fork_server_pid() or 0

        def exited(status: int | None) -> None:
            self._children[server] -= 1
            self._dismiss(server)
            callbacks.exited(status)

        try:
            child = ChildProcess(process, connection, replace(callbacks, exited=exited), server)
            self._children[server] += 1
            return child
        except OSError:
            # Nobody would know of it any more, and it would hold the account's session.
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            connection.close()
            raise

    async def try_out(self) -> None:
        """Start a process that does nothing, and wait until it has ended.

        Raises:
            OSError: There is no process to be had.
        """
        over = asyncio.Event()
        child = await self.spawn(
            "trial", None, Callbacks(lambda _: None, lambda _: over.set()), target=trial.run
        )
        try:
            async with asyncio.timeout(TRIAL_SECONDS):
                await over.wait()
        except TimeoutError:
            child.kill()
            raise OSError(f"a process that does nothing did not end within {TRIAL_SECONDS:g} s") from None

    async def _try(self, name: str, spec: Any, target: Target) -> tuple[Any, Any]:  # noqa: ANN401
        if self._closed:
            raise OSError("the service stops")
        await self._tell_maker()
        while self._outdated and self._starting:
            await self._quiet.wait()
        if self._closed:
            raise OSError("the service stops")
        self._retire()
        self._starting += 1
        self._quiet.clear()
        server: int | None = None
        try:
            async with self._free:
                try:
                    return await self._make(name, spec, target)
                except _Unreachable:
                    server = multiprocess_private.fork_server_pid()
                    raise
        except (ValueError, MemoryError) as error:
            raise OSError(f"the fork server cannot be asked: {shortage(error) or error}") from None
        finally:
            self._starting -= 1
            if not self._starting:
                self._quiet.set()
            if server is not None:
                self.renew(server)

    async def _make(self, name: str, spec: Any, target: Target) -> tuple[Any, Any]:  # noqa: ANN401
        started = asyncio.get_running_loop().run_in_executor(self._pool, self._start, name, spec, target)
        hung = False
        while not started.done():
            await asyncio.wait((started,), timeout=SPAWN_SECONDS)
            if not started.done():
                log.error(
                    "the fork server does not answer for %g s: it is ended, another follows", SPAWN_SECONDS
                )
                # The next start brings another one, and children do not need this one.
                _kill(multiprocess_private.fork_server_pid())
                hung = True
        try:
            return await started
        except _Unreachable:
            if hung:
                raise _Unreachable(f"it did not answer for {SPAWN_SECONDS:g} s and was ended") from None
            raise

    def _start(self, name: str, spec: Any, target: Target) -> tuple[Any, Any]:  # noqa: ANN401
        with self._placing:
            multiprocess_private.set_temporary_folder(self._place.path())
        ours, theirs = self._context.Pipe(duplex=True)
        try:
            process = self._context.Process(target=target, args=(spec, theirs), name=name, daemon=False)
            process.start()
            multiprocess_private.forget_child(process)
        except BaseException as error:
            ours.close()
            if isinstance(error, EOFError):
                raise _Unreachable(_how_it_ended(error)) from None
            if isinstance(error, OSError) and shortage(error) is None:
                raise _Unreachable(error.strerror or str(error)) from None
            raise
        finally:
            theirs.close()
        return process, ours

    async def _tell_maker(self) -> None:
        """Have the next fork server confine itself as it should now, and be made if that has changed."""
        if self.isolation is not None:
            # Hundreds of looks at files: 4 ms where nothing holds up the disk.
            text, known = await self.aside(self.isolation.maker)
            multiprocess_private.tell_helpers(VARIABLE, text)
            if known != self._known_files:
                self._known_files = known
                self.renew()

    def renew(self, maker: int | None = None) -> None:
        """Have the next children made by a new fork server, which imports what is installed by then.

        Those of the old one do not notice: it ends after the last of them, for it alone is told how they end.

        Args:
            maker: The process id of the fork server that is to be replaced; nothing is done if another has
                taken its place already. None: whichever there is.
        """
        if maker in (None, multiprocess_private.fork_server_pid()):
            self._outdated = True
            self._retire()

    def _retire(self) -> None:
        """Let go of a fork server that is to be replaced, unless it is making a child."""
        if not self._outdated or self._starting:
            return
        pid = multiprocess_private.fork_server_pid()
        if pid is None:
            self._outdated = False
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            pidfd = None  # somebody else has reaped it
        except OSError:
            return  # no descriptor is left: the next start tries again
        self._outdated = False
        former = multiprocess_private.let_go_of_fork_server()
        assert former is not None
        if pidfd is None:
            os.close(former.alive)
            return
        self._ending[pid] = pidfd
        self._retired[pid] = former.alive
        asyncio.get_running_loop().add_reader(self._ending[pid], self._has_ended, pid)
        self._dismiss(pid)

    def _dismiss(self, pid: int) -> None:
        """End a fork server that makes no children any more, once it has none."""
        if pid in self._retired and not self._children[pid]:
            # It ends when nobody has the other end of this pipe.
            os.close(self._retired.pop(pid))

    def _has_ended(self, pid: int) -> None:
        pidfd = self._ending.pop(pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        os.close(pidfd)
        self._children[pid] = 0
        self._dismiss(pid)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    async def aside(self, call: Callable[[], T]) -> T:
        """Return what a call returns that may take a moment, made in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    async def close(self) -> None:
        """End the fork server and its helper; children must be gone before. A second time does nothing."""
        if not self._closed:
            self._closed = True
            for pid in list(self._ending):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._has_ended(pid)
            await self.aside(self._end_helpers)
            self._pool.shutdown(wait=False)
            multiprocess_private.forget_temporary_folder()
            self._place.close()

    @staticmethod
    def _end_helpers() -> None:
        # Both end by themselves once this process is gone; ended here, they are gone before it is.
        # One that hangs would not hear a request, and the resource tracker has nothing to clean up: no
        # resource was ever registered.
        _kill(multiprocess_private.fork_server_pid())
        _kill(multiprocess_private.resource_tracker_pid())
        multiprocess_private.reap_helpers()


def _how_it_ended(error: EOFError) -> str:
    """Say why the fork server has made no process; this may take a moment."""
    status = _exit_status(multiprocess_private.fork_server_pid())
    if status is None:
        return f"it has made no process ({error})"
    if status == EXIT_CODES[Kind.MACHINE]:
        return "it has ended, for want of memory, processes or descriptors"
    if status == -signal.SIGKILL:
        return "it has ended by SIGKILL, from somebody or from the kernel for want of memory"
    if status < 0:
        return f"it has ended by {signal.Signals(-status).name}, see the lines above in the log"
    return f"it has ended with exit code {status}, see the lines above in the log"


def _exit_status(pid: int | None) -> int | None:
    """Return how a child of this process has ended, with signals below 0; None if that cannot be told.

    It is left to be reaped by multiprocess. What it had open may be closed a moment before it has ended.
    """
    ended = None
    with contextlib.suppress(OSError):
        if pid is not None:
            pidfd = os.pidfd_open(pid)
            try:
                poll = select.poll()
                poll.register(pidfd, select.POLLIN)
                poll.poll(END_SECONDS * 1000)
            finally:
                os.close(pidfd)
            ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _kill(pid: int | None) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
