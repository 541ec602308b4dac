"""Takes in a request from the control socket: one line, and the descriptor of a file if one comes with it."""

from __future__ import annotations

import asyncio
import socket
from typing import Final

from orchestrator.control.descriptors import receive
from orchestrator.control.protocol import MAX_REQUEST, Json, ProtocolError, decode

MOST_FDS: Final = 1
"""Descriptors that may come with a request."""
_BLOCK: Final = 64 * 1024


class Incoming:
    """A request on its way.

    Args:
        connection: The client's connection; nothing else reads it meanwhile.

    Attributes:
        fds: Descriptors that have come. Whoever owns this closes them.
        has_more: Whether there is more than one line.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.fds: list[int] = []
        self.has_more = False
        self._connection = connection
        self._buffer = bytearray()
        self._wrong = ""
        connection.setblocking(False)

    async def receive(self, seconds: float) -> None:
        """Take in what comes until a line is whole, or nothing more is to be expected of the client."""
        loop = asyncio.get_running_loop()
        whole: asyncio.Future[None] = loop.create_future()

        def readable() -> None:
            if not whole.done() and self._take():
                whole.set_result(None)

        loop.add_reader(self._connection.fileno(), readable)
        try:
            async with asyncio.timeout(seconds):
                await whole
        except TimeoutError:
            self._wrong = f"no request within {seconds:g} s"
        finally:
            loop.remove_reader(self._connection.fileno())

    def request(self) -> Json | None:
        """Return the request, None if the client has gone without one.

        Raises:
            ProtocolError: It has no valid form.
        """
        if self._wrong:
            raise ProtocolError(self._wrong)
        line, end, more = self._buffer.partition(b"\n")
        if not end:
            if line:
                # Half a request could be another one than was meant.
                raise ProtocolError("the request is incomplete: the line has no end")
            return None
        self.has_more = bool(more)
        return decode(bytes(line))

    def _take(self) -> bool:
        """Take in what is there; return whether that is all that is wanted."""
        try:
            data, fds, cut = receive(self._connection, _BLOCK, MOST_FDS)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            self._buffer.clear()
            return True
        self.fds += fds
        self._buffer += data
        if cut or len(self.fds) > MOST_FDS:
            self._wrong = "more than one descriptor came with the request"
        elif len(self._buffer) - len(data) + (data + b"\n").index(b"\n") > MAX_REQUEST:
            self._wrong = f"the request is longer than {MAX_REQUEST} bytes"
        return bool(self._wrong) or not data or b"\n" in data
