"""One connection to a receiver: HTTP/1.1, one request at a time.

httptools reads the answers, as it reads the requests to the gateway. Events go to receivers by the hundred a
second, on a machine that runs a process for each account. A request over httpx2 2.16 takes 0.63 to 1.1 ms of
a core, over this module and `client.py` 0.07 ms (Python 3.11, loopback, 8 requests at once).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import httptools

from orchestrator.consumers.answers import Answer, Trouble

MAX_HEAD: Final = 32 * 1024
"""Bytes of an answer up to the end of its head, with all that comes before the final answer."""
MAX_BODY: Final = 4096
"""Bytes of an answer's body that are read, so that the connection can be used again."""
BEGINNING: Final = 64
"""Bytes of it that are kept: a receiver of the Cloud API's webhooks repeats a number."""
_MAX_WORD: Final = 64
"""Characters of a header's value that are of interest."""


class Connection(asyncio.Protocol):
    """A connection.

    Args:
        lost: Called when the connection ends.

    Attributes:
        used: Whether it has brought an answer already. A receiver may close such a connection at any time.
        reusable: Whether it can take another request.
        idle_since: When it began to wait for the next request, by the loop's clock.
    """

    def __init__(self, lost: Callable[[Connection], None]) -> None:
        self.used = False
        self.reusable = True
        self.idle_since = 0.0
        self._lost = lost
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer | Trouble] | None = None
        self._received = 0
        self._body = 0
        self._beginning = b""
        self._status = 0
        self._has_head = False
        self._is_framed = False
        self._retry_after: str | None = None

    async def ask(self, request: bytes) -> Answer | Trouble:
        """Send a request and wait for the answer. A caller that is cancelled ends the connection.

        Args:
            request: The whole request.
        """
        if self._transport is None or not self.reusable:
            return Trouble.CLOSED
        self._received = self._body = self._status = 0
        self._beginning = b""
        self._has_head = False
        waiting: asyncio.Future[Answer | Trouble] = asyncio.get_running_loop().create_future()
        self._waiting = waiting
        self._transport.write(request)
        try:
            return await waiting
        finally:
            self._waiting = None
            if not waiting.done() or waiting.cancelled():
                self.abort()

    def close(self) -> None:
        """End the connection, after what was written has gone."""
        self.reusable = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.reusable = False
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the receiver."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a part of the answer."""
        if self._waiting is None:
            self.abort()  # nobody asked
            return
        self._received += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._end(Trouble.UPGRADE, reusable=False)
        except httptools.HttpParserError:
            self._end(Trouble.CUT if self._has_head else Trouble.GARBAGE, reusable=False)
        if self._waiting is None or self._waiting.done():
            return
        if not self._has_head and self._received > MAX_HEAD:
            self._end(Trouble.GARBAGE, reusable=False)
        elif self._body > MAX_BODY:
            self._end(self._answer(), reusable=False)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Say what the end of the connection means."""
        self.reusable = False
        self._transport = None
        if not self._received:
            self._end(Trouble.CLOSED, reusable=False)
        elif self._has_head and not self._is_framed:
            self._end(self._answer(), reusable=False)  # the end of the connection is the end of the answer
        else:
            self._end(Trouble.CUT, reusable=False)
        self._lost(self)

    # What httptools calls.

    def on_message_begin(self) -> None:
        """Begin an answer, or what comes before it, such as 103."""
        if self._waiting is None or self._waiting.done():
            self.reusable = False  # more answers than questions
        self._has_head = False
        self._is_framed = False
        self._retry_after = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Look at a header."""
        match name.lower():
            case b"content-length" | b"transfer-encoding":
                self._is_framed = True
            case b"retry-after":
                self._retry_after = value[: _MAX_WORD + 1].decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take the status."""
        self._status = self._parser.get_status_code()
        self._has_head = self._status >= 200

    def on_body(self, body: bytes) -> None:
        """Count, keep the beginning, and forget the rest."""
        self._body += len(body)
        if (room := BEGINNING - len(self._beginning)) > 0:
            self._beginning += body[:room]

    def on_message_complete(self) -> None:
        """End the answer."""
        if self._has_head:
            self._end(self._answer(), reusable=self._parser.should_keep_alive())

    def _answer(self) -> Answer:
        return Answer(self._status, self._retry_after, self._beginning)

    def _end(self, answer: Answer | Trouble, *, reusable: bool) -> None:
        if not reusable:
            self.abort()
        if self._waiting is not None and not self._waiting.done():
            self.used = True
            self._waiting.set_result(answer)
