"""The guard at the door: a protocol of uvicorn's that refuses what nobody honest sends, and waits for nobody.

The parser of httptools is strict about lengths, chunks, line ends and folded lines. `head` looks at the rest,
`crowd` decides who makes room and who took too long. Requests that pass come to the application one by one.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections import Counter
from typing import Any, Final, NoReturn

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from orchestrator.gateway.http import problems
from orchestrator.gateway.http.crowd import Crowd, Phase
from orchestrator.gateway.http.head import MAX_HEAD, Head, RefusedError
from orchestrator.gateway.http.peers import Network, Peer, is_trusted, plain
from orchestrator.gateway.http.sizes import Sizes

_PIPELINED: Final = 16
"""Requests that may wait on one connection for the answer to the one before."""
_FRAMING: Final = 64 * 1024
"""Bytes around the chunks of a body, beside as many again as the body has."""
_UCRED: Final = struct.Struct("3i")


class GuardedConfig(Config):
    """The settings of uvicorn, with what the guard needs.

    Args:
        app: The application.
        crowd: The clients.
        trusted: The proxies of which each may have many clients.
        sizes: What bodies may have.
        more: The other settings.
    """

    def __init__(
        self,
        app: Any,  # noqa: ANN401 - an application, as uvicorn takes it
        crowd: Crowd[GuardedProtocol],
        trusted: tuple[Network, ...] = (),
        sizes: Sizes | None = None,
        **more: Any,  # noqa: ANN401 - as uvicorn has them
    ) -> None:
        super().__init__(app, http=GuardedProtocol, **more)
        self.crowd = crowd
        self.trusted = trusted
        self.sizes = sizes or Sizes(crowd.max_body, 0)
        self.refused: Counter[str] = Counter()
        """How many requests and connections the guard refused, by key."""


class GuardedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: The settings.
        server_state: What uvicorn knows of all connections.
        app_state: What the application has put there.
        _loop: The event loop.
    """

    config: GuardedConfig

    def __init__(
        self,
        config: GuardedConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # uvicorn's parser takes more requests behind one that said it was the last.
        self.parser = httptools.HttpRequestParser(self)
        self._crowd = config.crowd
        self._peer = Peer()
        self._head = Head()
        self._raw = self._most = 0
        self._refusal: RefusedError | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and let another one go for it if there are too many."""
        super().connection_made(transport)
        self._peer = peer_of(transport)
        answer_at_once(transport)
        is_proxy = is_trusted(self._peer.address, self.config.trusted)
        arrival = self._crowd.arrive(self, self._peer.key, self._now(), is_proxy=is_proxy)
        if arrival.leaves is not None:
            self._count("made_room")
            arrival.leaves.drop()
        if not arrival.may_stay:
            self._refuse(RefusedError(503, "service_busy"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._crowd.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, as far as it is a request."""
        if self._refusal is not None or self.transport.is_closing():
            return
        if self._crowd.phase(self) in (Phase.FRESH, Phase.REST):
            self._crowd.enter(self, Phase.HEAD, self._now())
        self._raw += len(data)
        super().data_received(data)
        # The parser keeps a field until its end has come.
        if self._refusal is None and self._raw > self._most_raw():
            self._refuse(RefusedError(431, "head_too_large") if self._is_in_head() else _TOO_LARGE)

    def pause_writing(self) -> None:
        """Note that the client does not read."""
        super().pause_writing()
        self._crowd.stall(self, self._now())

    def resume_writing(self) -> None:
        """Note that the client reads again."""
        super().resume_writing()
        self._crowd.go_on(self)

    # What the parser calls

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head = Head()
        self._raw = 0
        if len(self.pipeline) >= _PIPELINED:
            self._raise(RefusedError(400, "bad_http"))
        super().on_message_begin()
        self.scope["state"]["peer"] = self._peer

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._check(self._head.add_target, url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field."""
        self._check(self._head.add_field, name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, if the head is in order."""
        try:
            version = self.parser.get_http_version()
            self._head.finish(self.url, version, upgrades=self.parser.should_upgrade())
        except RefusedError as error:
            self._raise(error)
        self._raw = 0
        self._most = self.config.sizes.of(self.url.partition(b"?")[0].decode("latin-1"))
        self._crowd.expect(self, self._most)
        self._crowd.enter(self, Phase.BODY, self._now())
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the request is there whole."""
        super().on_message_complete()
        answered = self.cycle.response_complete
        self._crowd.enter(self, Phase.REST if answered else Phase.BUSY, self._now())

    # What the application's side calls

    def on_response_complete(self) -> None:
        """Note that the answer is gone."""
        super().on_response_complete()
        if not self.cycle.response_complete:
            return  # the next one of several is under way
        self._most = self.config.sizes.body  # nobody needs the rest
        self._crowd.enter(self, Phase.DRAIN if self.cycle.more_body else Phase.REST, self._now())

    # What ends a connection

    def end(self, phase: Phase) -> None:
        """End a connection that took too long.

        Args:
            phase: What it took too long for.
        """
        if phase in (Phase.HEAD, Phase.BODY):
            self._refuse(RefusedError(408, "request_timeout"))
        else:
            self._count("stalled" if phase is Phase.BUSY else "silent")
        self.drop()

    def drop(self) -> None:
        """End a connection at once if what was written is gone, else without what is left."""
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - as uvicorn calls it
        """Refuse what the parser does not take for a request."""
        self._refuse(self._refusal or RefusedError(400, "bad_http"), anew=True)

    def _refuse(self, error: RefusedError, *, anew: bool = False) -> None:
        """Answer by an error and close the connection. Nothing that came is quoted."""
        if self._refusal is not None and not anew:
            return
        self._refusal = error
        self._count(error.key)
        if self.transport.is_closing():
            return
        cycle = self.cycle
        under_way = cycle is not None and cycle.response_started and not cycle.response_complete
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        if not under_way:
            self.transport.write(answer(error))
        self.transport.close()

    def _raise(self, error: RefusedError) -> NoReturn:
        """Have the parser give up; uvicorn then calls `send_400_response`."""
        self._refusal = error
        raise error

    def _check(self, take: Any, *values: bytes) -> None:  # noqa: ANN401 - a method of the head
        try:
            take(*values)
        except RefusedError as error:
            self._raise(error)

    def _is_in_head(self) -> bool:
        return not self._head.is_complete or self._crowd.phase(self) is Phase.HEAD

    def _most_raw(self) -> int:
        return MAX_HEAD if self._is_in_head() else 2 * self._most + _FRAMING

    def _count(self, key: str) -> None:
        self.config.refused[key] += 1

    def _now(self) -> float:
        return self.loop.time()


_TOO_LARGE: Final = RefusedError(413, "body_too_large")


def answer(error: RefusedError) -> bytes:
    """Return a whole answer about a request that never came to the application."""
    body = problems.body(error.key, status=error.status)
    return (
        f"HTTP/1.1 {error.status} {problems.phrase(error.status)}\r\n"
        f"content-type: {problems.MEDIA_TYPE}\r\n"
        f"content-length: {len(body)}\r\n"
        "cache-control: no-store\r\n"
        "x-content-type-options: nosniff\r\n"
        "connection: close\r\n\r\n"
    ).encode() + body


def answer_at_once(transport: asyncio.BaseTransport) -> None:
    """Have the kernel send the body of an answer without waiting until the head has arrived: 40 ms otherwise.

    asyncio does it for sockets that say that they are of TCP, which those of `socket.create_server` do not.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Return the other end of a connection."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return Peer("unknown")
    try:
        if sock.family == socket.AF_UNIX:
            _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
            return Peer(uid=uid)
        return Peer(plain(str(sock.getpeername()[0])))
    except OSError:  # the other end is gone already
        return Peer("unknown")
