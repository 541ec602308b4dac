"""The parent's hold on one child: its pipe, its end, its exit status."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.accounts import pipe
from orchestrator.accounts.conduct import Conduct
from orchestrator.accounts.deadlines import REAP_SECONDS
from orchestrator.accounts.pipe import FromChild, FromParent, MessageError
from orchestrator.store import tracebacks
from orchestrator.system.multiprocess_private import EXIT_UNKNOWN, LENGTH
from orchestrator.worker.spec import LAST_CALL_SIGNAL

_READ_SIZE = 64 * 1024
_TURN = 50
"""Messages of one child that are heard in one turn of the event loop. Then it is the turn of others."""
_MAX_UNSENT = 16 * pipe.MAX_MESSAGE
"""Bytes that may wait for a child to read them: all that may be on its way at once needs less."""
_PROCESSES = Path("/proc")


@dataclass(slots=True)
class Callbacks:
    """Whom a child's news is for; all are called in the event loop.

    Attributes:
        said: Hears what it says.
        exited: Hears of its end, and with which status.
        broke: Hears that it broke the rules of the pipe and was killed, and how.
        left_out: Hears how many changes of its link were too many to be heard.
    """

    said: Callable[[FromChild], None]
    exited: Callable[[int | None], None]
    broke: Callable[[str], None] = lambda _: None
    left_out: Callable[[int], None] = lambda _: None


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
        self._conduct = Conduct()
        self._release: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._reaping: asyncio.TimerHandle | None = None
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._pidfd = -1  # it is gone already, and reaped by the fork server
        os.set_blocking(connection.fileno(), False)
        self._hears = True
        self._pauses = False
        self._loop.add_reader(connection.fileno(), self._readable)
        if self._pidfd >= 0:
            self._loop.add_reader(self._pidfd, self._gone)
        else:
            self._gone()

    def tell(self, message: FromParent) -> None:
        """Send the child a message; one that cannot be delivered is a child that is about to be killed."""
        data = pipe.encode(message)
        waits = bool(self._unsent)
        if len(self._unsent) + len(data) > _MAX_UNSENT:
            # Not at once: whoever tells it something is in the midst of deciding about it.
            self._loop.call_soon(self._break, "it does not read what it is told")
            return
        self._unsent += LENGTH.pack(len(data)) + data
        if not waits:
            self._writable()

    def kill(self) -> None:
        """End the process with SIGKILL."""
        if self._pidfd >= 0:
            self._send(signal.SIGKILL)

    def give_up(self, patience: float, seconds: float) -> str | None:
        """End a process that hangs: what it can still do by itself first, and SIGKILL in any case.

        Args:
            patience: Seconds for it to take what its library holds, 0 for none. It ends by itself after that.
            seconds: Seconds for it to write down where its threads are, and to end.

        Returns:
            Why there is no traceback to be had; None if there may be one.
        """
        if self._pidfd < 0:
            return None
        why, hears = _look(self.pid, self._pidfd)
        if self._grace is not None:
            return why
        if patience > 0 and hears:
            self._send(LAST_CALL_SIGNAL)
            self._grace = self._loop.call_later(patience, self._kill_with_traceback, seconds)
        else:
            self._kill_with_traceback(seconds)
        return why

    def _kill_with_traceback(self, seconds: float) -> None:
        why, _ = _look(self.pid, self._pidfd)
        if why is not None:
            self.kill()
        else:
            self._send(tracebacks.SIGNAL)
            self._grace = self._loop.call_later(seconds, self.kill)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

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

    def _readable(self) -> None:
        """Take in what is there, and let the account hear it."""
        if self._read():
            self._go_on()

    def _read(self) -> bool:
        """Take in what is there; return whether there was anything."""
        try:
            data = os.read(self._connection.fileno(), _READ_SIZE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._stop_hearing()
        self._buffer += data
        return bool(data)

    def _go_on(self) -> None:
        """Let the account hear some messages; nothing is read before all are heard that were read."""
        if not self._hears:
            return
        if self._hear(_TURN):
            if not self._pauses:
                self._loop.remove_reader(self._connection.fileno())
            self._pauses = True
            self._loop.call_soon(self._go_on)
        elif self._hears and self._pauses:
            self._pauses = False
            self._loop.add_reader(self._connection.fileno(), self._readable)

    def _hear(self, most: int) -> bool:
        """Let the account hear so many messages at most; return whether there may be more."""
        try:
            for _ in range(most):
                message = self._next()
                if message is None:
                    return False
                for heard in self._conduct.hear(message, time.monotonic()):
                    self._callbacks.said(heard)
                if self._conduct.over:
                    self._stop_hearing()
                    return False
                if self._conduct.holds:
                    self._plan_release()
        except MessageError as error:
            self._break(str(error))
        return self._hears

    def _plan_release(self) -> None:
        due = self._conduct.due(time.monotonic())
        if self._release is not None:
            if self._release.when() <= due:
                return
            self._release.cancel()
        self._release = self._loop.call_at(due, self._let_through)

    def _let_through(self) -> None:
        """Let the account hear the last of the changes that were too many."""
        self._release = None
        heard, left_out = self._conduct.release(time.monotonic())
        for message in heard:
            self._callbacks.said(message)
        if left_out:
            self._callbacks.left_out(left_out)
        if self._conduct.holds:
            self._plan_release()

    def _break(self, why: str) -> None:
        """Kill a child that breaks the rules: nothing it says is of any worth any more."""
        if not self._connection.closed:
            self._stop_hearing()
            self.kill()
            self._callbacks.broke(why)

    def _stop_hearing(self) -> None:
        self._hears = False
        if self._release is not None:
            self._release.cancel()
            self._release = None
        self._loop.remove_reader(self._connection.fileno())

    def _next(self) -> FromChild | None:
        """Return the next message of those that were read, None if none of them is whole."""
        if len(self._buffer) < LENGTH.size:
            return None
        (size,) = LENGTH.unpack_from(self._buffer)
        if not 0 <= size <= pipe.MAX_FROM_CHILD:
            raise MessageError(f"a message of {size} bytes")
        end = LENGTH.size + size
        if len(self._buffer) < end:
            return None
        message = pipe.decode(bytes(self._buffer[LENGTH.size : end]))
        del self._buffer[:end]
        if isinstance(message, FromParent):
            raise MessageError("a message that only the service sends")
        return message

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
        while self._hears and (self._hear(_TURN) or self._read()):
            pass


def _look(pid: int, pidfd: int) -> tuple[str | None, bool]:
    """Tell why a process cannot write its traceback, and whether it hears the last call.

    Under ProtectProc=invisible the kernel shows nothing of a process that keeps out of core files, not even
    to its own user. Such a process is asked for everything. If it is stopped, it does not hear of that.

    A stopped one is not made to go on for that: nothing in it hangs, and whatever it did in that moment it
    would do after it was given up.

    Returns:
        Why there is no traceback to be had, None if there may be one; and whether the last call is heard.
    """
    try:
        lines = (_PROCESSES / str(pid) / "status").read_text().splitlines()
        facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        state, caught = facts["State"], int(facts["SigCgt"], 16)
    except (FileNotFoundError, ProcessLookupError):
        has_ended = bool(select.select([pidfd], [], [], 0)[0])
        return ("it is gone", False) if has_ended else (None, True)
    except (OSError, KeyError, ValueError) as error:
        return f"what it does cannot be told ({error}), so there is no traceback", False
    if state.startswith(("T", "t")):
        return "it was stopped by a signal or a debugger, so there is no traceback", False
    hears = bool(caught >> (LAST_CALL_SIGNAL - 1) & 1)
    if not caught >> (tracebacks.SIGNAL - 1) & 1:
        return "it has nothing to write a traceback to", hears
    return None, hears
