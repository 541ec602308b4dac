"""Connects to a host with TLS as the accounts' library does: directly, or through a proxy of any kind.

Names of hosts are looked up by the proxy if there is one. Certificates are those that Go trusts.
"""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

from orchestrator.system import certificates

_SOCKS_ERRORS: Final = {
    1: "the proxy failed",
    2: "the proxy's rules forbid the connection",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the connection was refused",
}
_MOST_OF_HEAD: Final = 65536
"""Bytes of a proxy's answer."""
_PIECE: Final = 65536

Patience: TypeAlias = Callable[[], float]
"""Returns how many seconds the next step may take; it raises `TimeoutError` if there is no time left."""


class Proxy(Protocol):
    """What is asked to connect; see `accounts.proxy.Proxy`. Only its text may be shown."""

    @property
    def scheme(self) -> str:
        """Return ``http``, ``https`` or ``socks5``."""

    @property
    def host(self) -> str:
        """Return its name or address."""

    @property
    def port(self) -> int:
        """Return its port."""

    @property
    def user(self) -> bytes | None:
        """Return the user as it is sent, None if none is."""

    @property
    def password(self) -> bytes:
        """Return the password as it is sent."""


class DialError(Exception):
    """There is no connection.

    Attributes:
        what: At which step, in words that begin a sentence.
        error: What happened there.
    """

    def __init__(self, what: str, error: OSError) -> None:
        super().__init__(f"{what}: {words(error)}")
        self.what = what
        self.error = error


def words(error: OSError) -> str:
    """Return what an error of the network says, without addresses."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message})"
    if isinstance(error, socket.gaierror):
        return f"the host name is unknown ({error.strerror})"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or str(error)


class Stream(Protocol):
    """Bytes in both directions."""

    def sendall(self, data: bytes, /) -> None:
        """Send bytes."""

    def recv(self, size: int, /) -> bytes:
        """Return some bytes that have come; none at the other side's end."""


class Line:
    """A connection with TLS to a host. As a context manager, it closes at the end.

    Args:
        host: The host, whose certificate is checked.
        port: Its port.
        proxy: The proxy to go through, None for a direct connection.
        patience: How long each step may take.

    Raises:
        DialError: There is no connection.
    """

    def __init__(self, host: str, port: int, proxy: Proxy | None, patience: Patience) -> None:
        next_host, next_port = (proxy.host, proxy.port) if proxy else (host, port)
        where = f"{next_host}:{next_port}" if proxy is None else f"the proxy {proxy}"
        with _failing_as(f"{where} cannot be reached"):
            self._socket = socket.create_connection((next_host, next_port), patience())
        try:
            self._stream = self._secure(host, port, proxy, patience)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def sendall(self, data: bytes, /) -> None:
        """Send bytes.

        Raises:
            OSError: It is not possible.
        """
        self._stream.sendall(data)

    def recv(self, size: int, /) -> bytes:
        """Return some bytes that have come; none once the other side has said that there are no more.

        Raises:
            OSError: There is no more to come although the other side has not said so, or it takes too long.
        """
        return self._stream.recv(size)

    def _secure(self, host: str, port: int, proxy: Proxy | None, patience: Patience) -> Stream:
        stream: Stream = _Timed(self._socket, patience)
        with _failing_as("the certificates of this machine cannot be read"):
            context = trust()
        if proxy is not None:
            if proxy.scheme == "https":
                with _failing_as(f"no TLS with the proxy {proxy}"):
                    stream = _Tls(stream, context, proxy.host.partition("%")[0].removesuffix("."))
            with _failing_as(f"the proxy {proxy} does not connect to {host}"):
                (_ask_socks if proxy.scheme == "socks5" else _ask_http)(stream, proxy, host, port)
        with _failing_as(f"no TLS with {host}"):
            return _Tls(stream, context, host)


def trust() -> ssl.SSLContext:
    """Return what checks certificates, by those that Go trusts."""
    context = ssl.create_default_context()  # which heeds SSL_CERT_FILE and SSL_CERT_DIR
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Go is not that strict
    if not os.environ.get("SSL_CERT_FILE"):
        for path in certificates.FILES:
            with contextlib.suppress(OSError):
                context.load_verify_locations(path)
                break
    return context


@contextmanager
def _failing_as(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DialError(what, error) from None


class _Timed:
    """A socket of which each step has a time limit of its own."""

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._socket = connection
        self._patience = patience

    def sendall(self, data: bytes, /) -> None:
        self._socket.settimeout(self._patience())
        self._socket.sendall(data)

    def recv(self, size: int, /) -> bytes:
        self._socket.settimeout(self._patience())
        return self._socket.recv(size)


class _Tls:
    """TLS on top of any stream, also on TLS with a proxy; the handshake is done when it is made."""

    def __init__(self, stream: Stream, context: ssl.SSLContext, host: str) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._exchange()
            else:
                self._flush()
                return

    def sendall(self, data: bytes, /) -> None:
        self._tls.write(data)
        self._flush()

    def recv(self, size: int, /) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self._exchange()
            except ssl.SSLZeroReturnError:
                return b""

    def _exchange(self) -> None:
        self._flush()
        data = self._stream.recv(_PIECE)
        if not data:
            raise ConnectionResetError(None, "the other side closed the connection")
        self._incoming.write(data)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._stream.sendall(data)


def _ask_http(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    head = f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n"
    if proxy.user is not None:
        credentials = base64.b64encode(proxy.user + b":" + proxy.password).decode()
        head += f"Proxy-Authorization: Basic {credentials}\r\n"
    stream.sendall(f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        # Byte by byte: what follows the head is the host's already.
        data = stream.recv(1)
        if not data or len(answer) > _MOST_OF_HEAD:
            raise ConnectionResetError(None, "it is not an HTTP proxy")
        answer += data
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)
    code = status[1].decode(errors="replace") if len(status) > 1 else "?"
    if code == "407":
        raise ConnectionRefusedError(None, "the proxy wants another user or password (407)")
    if code != "200":
        raise ConnectionRefusedError(None, f"the proxy answers with status {code[:3]}")


def _ask_socks(stream: Stream, proxy: Proxy, host: str, port: int) -> None:
    methods = b"\x00\x02" if proxy.user is not None else b"\x00"
    stream.sendall(bytes([5, len(methods)]) + methods)
    version, method = _exactly(stream, 2)
    if version != 5:
        raise ConnectionRefusedError(None, "it is not a SOCKS5 proxy")
    if method == 2:
        user, password = proxy.user or b"", proxy.password
        stream.sendall(bytes([1, len(user)]) + user + bytes([len(password)]) + password)
        if _exactly(stream, 2)[1] != 0:
            raise ConnectionRefusedError(None, "the proxy wants another user or password")
    elif method != 0:
        raise ConnectionRefusedError(None, "the proxy wants a user and password")
    stream.sendall(b"\x05\x01\x00\x03" + bytes([len(host)]) + host.encode() + port.to_bytes(2, "big"))
    _, code, _, kind = _exactly(stream, 4)
    if code != 0:
        raise ConnectionRefusedError(None, _SOCKS_ERRORS.get(code, f"error {code}"))
    length = {1: 4, 4: 16}.get(kind) or _exactly(stream, 1)[0]
    _exactly(stream, length + 2)


def _exactly(stream: Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionResetError(None, "the other side closed the connection")
        data += more
    return data
