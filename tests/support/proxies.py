"""Proxies that let nobody through: what a client tells them is noted, and they answer as they are told to."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

Answer = Literal["password", "method", "ruleset", "silence"]
"""What a proxy does: refuses the password, wants one, refuses by its rules, or does not answer at all."""
_HTTP: dict[Answer, bytes] = {
    "password": b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    "method": b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
    "ruleset": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
}
_PATIENCE = 30.0
"""Seconds a client may take to say something."""


@dataclass(frozen=True, slots=True)
class Call:
    """What one client has told the proxy: user and password as the bytes that came, None without any."""

    scheme: Literal["http", "socks5"]
    user: bytes | None = None
    password: bytes | None = None


class ClosedProxy:
    """An HTTP and SOCKS5 proxy on 127.0.0.1 that lets nobody through.

    Args:
        answer: What it does to everybody.
        host: The address it listens on.

    Attributes:
        port: Its port.
        calls: What its clients have told it, oldest first.
    """

    def __init__(self, answer: Answer = "password", host: str = "127.0.0.1") -> None:
        self.answer = answer
        self.calls: list[Call] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._server = socket.create_server((host, 0), family=family, backlog=128)
        self.port: int = self._server.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_PATIENCE)
                if self.answer == "silence":
                    while connection.recv(4096):
                        pass
                elif connection.recv(1, socket.MSG_PEEK) == b"\x05":
                    self._answer_socks(connection)
                else:
                    self._answer_http(connection)
        finally:
            self._open.discard(connection)

    def _answer_http(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            data = connection.recv(4096)
            if not data:
                return
            head += data
        call = Call("http")
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"proxy-authorization":
                user, _, password = base64.b64decode(value.split()[1]).partition(b":")
                call = Call("http", user, password)
        self.calls.append(call)
        connection.sendall(_HTTP[self.answer])

    def _answer_socks(self, connection: socket.socket) -> None:
        methods = _exactly(connection, _exactly(connection, 2)[1])
        if 2 not in methods or self.answer == "method":
            self.calls.append(Call("socks5"))
            connection.sendall(b"\x05\xff" if self.answer != "ruleset" else b"\x05\x00")
            if self.answer != "ruleset":
                return
        else:
            connection.sendall(b"\x05\x02")
            user = _exactly(connection, _exactly(connection, 2)[1])
            password = _exactly(connection, _exactly(connection, 1)[0])
            self.calls.append(Call("socks5", user, password))
            connection.sendall(b"\x01\x01" if self.answer == "password" else b"\x01\x00")
            if self.answer == "password":
                return
        connection.recv(4096)
        connection.sendall(b"\x05\x02\x00\x01" + bytes(6))


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionResetError
        data += more
    return data
