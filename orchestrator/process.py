"""The parent's hold on its children. Nothing else in the parent imports multiprocess."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import multiprocess
import multiprocess.connection
from multiprocess import forkserver, resource_tracker

from orchestrator import messages
from orchestrator.messages import FromChild, FromParent, MessageError

log = logging.getLogger(__name__)

PRELOADED = "orchestrator.worker.preload"
"""What the fork server imports before it forks, so that children need not."""
REAP_SECONDS = 5.0
"""How long the exit status of a process that is known to be gone may take to arrive."""
_READ_SIZE = 64 * 1024
_LENGTH = struct.Struct("!i")
"""How multiprocess writes a message's length in front of it."""


class Target(Protocol):
    """What runs in a child: a module-level function, found there by its name."""

    def __call__(self, spec: Any, connection: Any) -> None:  # noqa: ANN401 - the child's own types
        """Run the child with its spec and its end of the pipe."""


@dataclass(slots=True)
class Callbacks:
    """Whom a child's news is for; both are called in the event loop."""

    said: Callable[[FromChild], None]
    exited: Callable[[int | None], None]


class ChildProcess:
    """A running child.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, process: Any, connection: Any, callbacks: Callbacks, pool: ThreadPoolExecutor) -> None:  # noqa: ANN401
        self.pid: int = process.pid
        self._process = process
        self._connection = connection
        self._callbacks = callbacks
        self._pool = pool
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._loop = asyncio.get_running_loop()
        os.set_blocking(connection.fileno(), False)
        self._hears = True
        self._loop.add_reader(connection.fileno(), self._readable)
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._pidfd = -1  # it is gone already, and reaped by the fork server
            self._gone()
        else:
            self._loop.add_reader(self._pidfd, self._gone)

    def tell(self, message: FromParent) -> None:
        """Send the child a message; one that cannot be delivered is a child that is about to be killed."""
        data = messages.encode(message)
        waits = bool(self._unsent)
        self._unsent += _LENGTH.pack(len(data)) + data
        if not waits:
            self._writable()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _writable(self) -> None:
        """Send what waits, as far as the child takes it; half a message would spoil all later ones."""
        try:
            del self._unsent[: os.write(self._connection.fileno(), self._unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self._unsent.clear()
        if self._unsent:
            self._loop.add_writer(self._connection.fileno(), self._writable)
        else:
            self._stop_writing()

    def _stop_writing(self) -> None:
        with contextlib.suppress(OSError):  # the connection is closed
            self._loop.remove_writer(self._connection.fileno())

    def _readable(self) -> bool:
        """Take in what is there; return whether there was anything."""
        try:
            data = os.read(self._connection.fileno(), _READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._stop_hearing()
            return False
        self._buffer += data
        try:
            for message in self._messages():
                self._callbacks.said(message)
        except MessageError as error:
            log.error("process %d does not speak our language (%s): it is ended", self.pid, error)
            self._stop_hearing()
            self.kill()
        return self._hears

    def _stop_hearing(self) -> None:
        self._hears = False
        self._loop.remove_reader(self._connection.fileno())

    def _messages(self) -> list[FromChild]:
        found: list[FromChild] = []
        while len(self._buffer) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self._buffer)
            if not 0 <= size <= messages.MAX_MESSAGE:
                raise MessageError(f"a message of {size} bytes")
            end = _LENGTH.size + size
            if len(self._buffer) < end:
                break
            message = messages.decode(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
            if isinstance(message, FromParent):
                raise MessageError("a message that only the parent sends")
            found.append(message)
        return found

    def _gone(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        self._loop.create_task(self._reap())

    async def _reap(self) -> None:
        # The process is gone; its status comes through the fork server's pipe, which may take a moment.
        await self._loop.run_in_executor(self._pool, self._process.join, REAP_SECONDS)
        status: int | None = self._process.exitcode
        self._drain()
        self._stop_hearing()
        self._stop_writing()
        self._connection.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if status is not None:
            self._process.close()
        self._callbacks.exited(status)

    def _drain(self) -> None:
        """Hear out what it said before it went."""
        while self._hears and self._readable():
            pass


class Spawner:
    """Starts children from a fork server, without ever holding up the event loop.

    Args:
        target: What runs in each child.
        preload: Modules the fork server imports first.
    """

    def __init__(self, target: Target, preload: tuple[str, ...] = (PRELOADED,)) -> None:
        self._target = target
        # The default start method would be fork, and a fork of a process with threads is a gamble.
        self._context = multiprocess.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="spawner")

    async def spawn(self, name: str, spec: Any, callbacks: Callbacks) -> ChildProcess:  # noqa: ANN401
        """Start a child.

        Args:
            name: What the process is called.
            spec: What the target gets; it is pickled, so it must be small and plain.
            callbacks: Whom its news is for.

        Raises:
            OSError: There is no process to be had: no memory, no file descriptors, no fork server.
        """
        loop = asyncio.get_running_loop()
        try:
            process, connection = await loop.run_in_executor(self._pool, self._start, name, spec)
        except (EOFError, ValueError) as error:
            raise OSError(f"the fork server failed: {error}") from None
        return ChildProcess(process, connection, callbacks, self._pool)

    def _start(self, name: str, spec: Any) -> tuple[Any, Any]:  # noqa: ANN401
        ours, theirs = self._context.Pipe(duplex=True)
        try:
            process = self._context.Process(target=self._target, args=(spec, theirs), name=name, daemon=False)
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return process, ours

    def close(self) -> None:
        """End the fork server and its helper; children must be gone before."""
        self._pool.shutdown(wait=True)
        # Both end by themselves once this process is gone; asked to, they are gone before it is.
        # There is no public way to ask.
        for helper in (forkserver._forkserver, resource_tracker._resource_tracker):  # noqa: SLF001
            with contextlib.suppress(OSError):
                helper._stop()  # noqa: SLF001
