"""What a port has to send: frames in order, with their descriptors, as fast as the other end takes them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from orchestrator.control.descriptors import ancillary, close_all
from orchestrator.errors import OrchestratorError

STALL_SECONDS: Final = 30.0
"""How long the other end may leave everything unread that is sent to it."""
_HIGH: Final = 1024 * 1024
"""Bytes that may be unsent before whoever has more to say waits."""
_MOST: Final = 16 * 1024 * 1024
"""Bytes that may be unsent at all; then the other end does not read."""


class Sender:
    """Sends frames over a socket that does not block.

    Args:
        sock: The socket, which somebody else closes.
        fail: Is called with the reason when the other end does not read, or cannot be sent to.

    Attributes:
        turn: Whoever wants to send much holds it, waits for `room`, and sends.
    """

    def __init__(self, sock: socket.socket, fail: Callable[[str], None]) -> None:
        self.turn = asyncio.Lock()
        self._socket = sock
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._unsent: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._stall: asyncio.TimerHandle | None = None
        self._open = True
        self._waits = False

    async def room(self) -> None:
        """Return when little is unsent, or when nothing is sent any more."""
        await self._room.wait()

    def send(self, data: bytes, fds: Sequence[int] = ()) -> None:
        """Send a frame as soon as there is room, and its descriptors with the first byte.

        Args:
            data: The frame.
            fds: The descriptors; the caller may close them at once.

        Raises:
            OrchestratorError: A descriptor is not valid, or this process can have no more.
        """
        try:
            own = _duplicates(fds)
        except OSError as error:
            raise OrchestratorError(
                f"the descriptors cannot be handed over: {error.strerror or error}", key="machine_unfit"
            ) from None
        self._unsent.append((memoryview(data), own))
        self._bytes += len(data)
        if self._bytes > _MOST:
            self._fail("it does not read what is sent to it")
        elif len(self._unsent) == 1:
            self._write()
        if self._open and self._bytes > _HIGH:
            self._room.clear()

    def close(self) -> None:
        """Send nothing any more. This comes before the socket is closed."""
        self._open = False
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_writer(self._socket.fileno())
        self._watch_stall(waits=False)
        self._forget()
        self._room.set()

    def _write(self) -> None:
        """Send what the other end takes now."""
        try:
            while self._unsent:
                data, fds = self._unsent[0]
                sent = self._socket.sendmsg([data], ancillary(fds))
                close_all(fds)
                self._bytes -= sent
                self._watch_stall(waits=False)
                if sent < len(data):
                    self._unsent[0] = data[sent:], ()
                else:
                    self._unsent.popleft()
        except (BlockingIOError, InterruptedError):
            pass
        except (BrokenPipeError, ConnectionResetError):
            self._forget()  # what the other end sent before it ended is still to be read
        except OSError as error:
            self._fail(f"sending fails: {error.strerror or error}")
            return
        if self._unsent and not self._waits:
            self._loop.add_writer(self._socket.fileno(), self._write)
        elif self._waits and not self._unsent:
            self._loop.remove_writer(self._socket.fileno())
        self._waits = bool(self._unsent)
        self._watch_stall(waits=bool(self._unsent))
        if self._bytes <= _HIGH:
            self._room.set()

    def _watch_stall(self, *, waits: bool) -> None:
        """End a port whose other end takes nothing for too long."""
        if not waits and self._stall is not None:
            self._stall.cancel()
            self._stall = None
        elif waits and self._stall is None:
            self._stall = self._loop.call_later(STALL_SECONDS, self._fail, "it does not read")

    def _forget(self) -> None:
        for _, fds in self._unsent:
            close_all(fds)
        self._unsent.clear()
        self._bytes = 0


def _duplicates(fds: Iterable[int]) -> tuple[int, ...]:
    """Return copies of descriptors, which stay when the originals are closed."""
    made: list[int] = []
    try:
        for fd in fds:
            made.append(os.dup(fd))  # noqa: PERF401 - those that were made before an error are closed
    except OSError:
        close_all(made)
        raise
    return tuple(made)
