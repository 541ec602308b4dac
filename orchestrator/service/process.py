"""The parent's hold on one child: its pipe, its end, its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.accounts import pipe
from orchestrator.accounts.deadlines import REAP_SECONDS
from orchestrator.accounts.pipe import FromChild, FromParent, MessageError
from orchestrator.store import tracebacks
from orchestrator.system.multiprocess_private import EXIT_UNKNOWN, LENGTH

log = logging.getLogger(__name__)
_READ_SIZE = 64 * 1024
_PROCESSES = Path("/proc")


@dataclass(slots=True)
class Callbacks:
    """Whom a child's news is for; both are called in the event loop."""

    said: Callable[[FromChild], None]
    exited: Callable[[int | None], None]


class ChildProcess:
    """A running child.

    Attributes:
        pid: Its process id.
        maker: The process id of the fork server that has made it, 0 if that fork server is gone.
    """

    def __init__(self, process: Any, connection: Any, callbacks: Callbacks, maker: int) -> None:  # noqa: ANN401
        self.pid: int = process.pid
        self.maker = maker
        self._process = process
        self._connection = connection
        self._callbacks = callbacks
        self._buffer = bytearray()
        self._unsent = bytearray()
        self._grace: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._reaping: asyncio.TimerHandle | None = None
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._pidfd = -1  # it is gone already, and reaped by the fork server
        os.set_blocking(connection.fileno(), False)
        self._hears = True
        self._loop.add_reader(connection.fileno(), self._readable)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._gone)
        else:
            self._gone()

    def tell(self, message: FromParent) -> None:
        """Send the child a message; one that cannot be delivered is a child that is about to be killed."""
        data = pipe.encode(message)
        waits = bool(self._unsent)
        self._unsent += LENGTH.pack(len(data)) + data
        if not waits:
            self._writable()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def kill_with_traceback(self, seconds: float) -> str | None:
        """Have the process write down where its threads are and end; after so many seconds, SIGKILL ends it.

        Returns:
            Why there is no traceback to be had, and it was SIGKILL at once; None if there may be one.
        """
        if self._pidfd < 0:
            return None
        why = _why_mute(self.pid, self._pidfd)
        if why is not None:
            self.kill()
        else:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, tracebacks.SIGNAL)
            if self._grace is None:
                self._grace = self._loop.call_later(seconds, self.kill)
        return why

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
            log.error("process %d sent an unreadable message (%s): the process is killed", self.pid, error)
            self._stop_hearing()
            self.kill()
        return self._hears

    def _stop_hearing(self) -> None:
        self._hears = False
        self._loop.remove_reader(self._connection.fileno())

    def _messages(self) -> list[FromChild]:
        found: list[FromChild] = []
        while len(self._buffer) >= LENGTH.size:
            (size,) = LENGTH.unpack_from(self._buffer)
            if not 0 <= size <= pipe.MAX_MESSAGE:
                raise MessageError(f"a message of {size} bytes")
            end = LENGTH.size + size
            if len(self._buffer) < end:
                break
            message = pipe.decode(bytes(self._buffer[LENGTH.size : end]))
            del self._buffer[:end]
            if isinstance(message, FromParent):
                raise MessageError("a message that only the parent sends")
            found.append(message)
        return found

    def _gone(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
        if self._grace is not None:
            self._grace.cancel()
        # The process is gone; its status comes through the fork server's pipe, which may take a moment.
        self._loop.add_reader(self._process.sentinel, self._reap)
        self._reaping = self._loop.call_later(REAP_SECONDS, self._reap)

    def _reap(self) -> None:
        assert self._reaping is not None
        self._reaping.cancel()
        self._loop.remove_reader(self._process.sentinel)
        status: int | None = self._process.exitcode
        try:
            self._drain()
        finally:
            self._let_go(status)

    def _let_go(self, status: int | None) -> None:
        """Close what belongs to a process that is gone, and pass on how it ended."""
        self._stop_hearing()
        self._stop_writing()
        self._connection.close()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if status is not None:
            self._process.close()
        self._callbacks.exited(None if status == EXIT_UNKNOWN else status)

    def _drain(self) -> None:
        """Hear out what it said before it went."""
        while self._hears and self._readable():
            pass


def _why_mute(pid: int, pidfd: int) -> str | None:
    """Tell why a process cannot write its traceback, None if it can, as far as that can be told.

    Under ProtectProc=invisible the kernel shows nothing of a process that keeps out of core files, not even
    to its own user. Such a process is asked for its traceback. If it is stopped, it does not hear of that.

    A stopped one is not made to go on for that: nothing in it hangs, and whatever it did in that moment it
    would do after it was given up.
    """
    try:
        lines = (_PROCESSES / str(pid) / "status").read_text().splitlines()
        facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        state, caught = facts["State"], int(facts["SigCgt"], 16)
    except (FileNotFoundError, ProcessLookupError):
        has_ended = bool(select.select([pidfd], [], [], 0)[0])
        return "it is gone" if has_ended else None
    except (OSError, KeyError, ValueError) as error:
        return f"what it does cannot be told ({error}), so there is no traceback"
    if state.startswith(("T", "t")):
        return "it was stopped by a signal or a debugger, so there is no traceback"
    if not caught >> (tracebacks.SIGNAL - 1) & 1:
        return "it has nothing to write a traceback to"
    return None
