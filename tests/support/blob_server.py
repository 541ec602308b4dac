"""WhatsApp's host for files, as one that misbehaves: TLS behind an HTTP proxy on 127.0.0.1."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from orchestrator.messages.media import HOST
from orchestrator.sandbox.crypto.certs import Authority

Speaker: TypeAlias = Callable[[ssl.SSLSocket, threading.Event], None]
"""Says something to a client that has asked, until that is over or the event says so."""


def answer(status: str = "200 OK", body: bytes = b"", *headers: str, length: int | None = None) -> Speaker:
    """Answer as HTTP does, with the right length if no other is given, then hang up in good order."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]

    def speak(stream: ssl.SSLSocket, _: threading.Event) -> None:
        stream.sendall("\r\n".join([*head, "", ""]).encode() + body)

    return speak


def raw(data: bytes, *, again: bytes = b"", pause: float = 0.0) -> Speaker:
    """Send some bytes, then others again and again with pauses."""

    def speak(stream: ssl.SSLSocket, over: threading.Event) -> None:
        stream.sendall(data)
        while again and not over.wait(pause):
            stream.sendall(again)

    return speak


def cut(data: bytes) -> Speaker:
    """Send some bytes, then break the connection without a goodbye."""

    def speak(stream: ssl.SSLSocket, _: threading.Event) -> None:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_RDWR)

    return speak


def then_wait(data: bytes) -> Speaker:
    """Send some bytes, then nothing more until it is over."""

    def speak(stream: ssl.SSLSocket, over: threading.Event) -> None:
        stream.sendall(data)
        over.wait()

    return speak


def silence(_: ssl.SSLSocket, over: threading.Event) -> None:
    """Say nothing."""
    over.wait()


class BlobServer:
    """Answers one client after the other; as a context manager it ends.

    Args:
        authority: Whose certificate it shows.
        speakers: What it says to each; the last goes for all that follow. Or what returns it for a request.
        onward: The port of another HTTP proxy on 127.0.0.1, for all other hosts.

    Attributes:
        asked: The heads of the requests.
        url: The URL of its proxy.
    """

    def __init__(
        self,
        authority: Authority,
        speakers: Sequence[Speaker] | Callable[[str], Speaker],
        *,
        onward: int | None = None,
    ) -> None:
        self.asked: list[str] = []
        self._onward = onward
        self._context = authority.server_context()
        given = speakers if callable(speakers) else list(speakers)
        self._speaker = given if callable(given) else lambda _: given.pop(0) if len(given) > 1 else given[0]
        self._over = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._serve)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for thread in self._threads:
            thread.join(30)

    def _start(self, call: Callable[[], None]) -> None:
        thread = threading.Thread(target=call, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._start(lambda given=connection: self._answer(given))  # type: ignore[misc]

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(30)
            head = _head(connection)
            if self._onward is not None and HOST.encode() not in head:
                _pass_on(connection, head, self._onward)
                return
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            with self._context.wrap_socket(
                connection, server_side=True, suppress_ragged_eofs=False
            ) as stream:
                self.asked.append(_head(stream).decode())
                self._speaker(self.asked[-1])(stream, self._over)
                with contextlib.suppress(OSError, ValueError):  # it may be closed already
                    stream.unwrap()


def _pass_on(connection: socket.socket, head: bytes, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as other:
        other.sendall(head)
        for one in (connection, other):
            one.settimeout(None)
        thread = threading.Thread(target=_copy, args=(other, connection), daemon=True)
        thread.start()
        _copy(connection, other)
        thread.join()


def _copy(source: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            to.sendall(data)
    for one in (source, to):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def _head(stream: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = stream.recv(4096)
        if not more:
            raise ConnectionResetError
        data += more
    return data
