"""Tries to reach WhatsApp's host as an account's process does: TCP, proxy, TLS."""

from __future__ import annotations

import base64
import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from orchestrator.accounts.proxy import HOST, PORT, Proxy
from orchestrator.errors import OrchestratorError

TIMEOUT = 10.0
"""Seconds for each step. A step takes a fraction of a second over any usable line."""

# Where Go's crypto/x509 looks on Linux. Python's OpenSSL may have been built to look elsewhere.
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SOCKS_ERRORS = {
    1: "the proxy failed",
    2: "the proxy's rules forbid the connection",
    3: "the network cannot be reached",
    4: "the host cannot be reached",
    5: "the connection was refused",
}


class Unreachable(OrchestratorError):  # noqa: N818 - what WhatsApp is
    """WhatsApp cannot be reached. The message says at which step, and what to look at."""

    key = "whatsapp_unreachable"


class _Stream(Protocol):
    """A socket, or a TLS connection on one."""

    def sendall(self, data: bytes, /) -> None: ...
    def recv(self, size: int, /) -> bytes: ...


def reach(proxy: Proxy | None) -> float:
    """Connect to WhatsApp's host, check its certificate, and hang up.

    Args:
        proxy: The proxy to go through, None for a direct connection.

    Returns:
        How many seconds this took.

    Raises:
        Unreachable: WhatsApp cannot be reached.
    """
    started = time.monotonic()
    host, port = (proxy.host, proxy.port) if proxy else (HOST, PORT)
    where = f"{host}:{port}" if proxy is None else f"the proxy {proxy}"
    with _failing_as(f"{where} cannot be reached"):
        connection = socket.create_connection((host, port), TIMEOUT)
    with contextlib.closing(connection):
        stream: _Stream = connection
        if proxy is not None:
            if proxy.scheme == "https":
                with _failing_as(f"no TLS with the proxy {proxy}"):
                    stream = _Tls(stream, proxy.host.partition("%")[0].removesuffix("."))
            with _failing_as(f"the proxy {proxy} does not connect to {HOST}"):
                (_ask_socks if proxy.scheme == "socks5" else _ask_http)(stream, proxy)
        with _failing_as(f"no TLS with {HOST}"):
            _Tls(stream, HOST)
    return time.monotonic() - started


@contextmanager
def _failing_as(what: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(
            f"{what}: the certificate is not trusted ({error.verify_message}): check that the clock is right,"
            " that root certificates are installed (ca-certificates), that $SSL_CERT_FILE names the right"
            " ones, and that no firewall or proxy decrypts the connection"
        ) from None
    except TimeoutError:
        raise Unreachable(
            f"{what}: no answer within {TIMEOUT:.0f} s: does a firewall drop the connection?"
        ) from None
    except socket.gaierror as error:
        raise Unreachable(f"{what}: the host name is unknown ({error.strerror}): does DNS work?") from None
    except OSError as error:
        raise Unreachable(f"{what}: {error.strerror or error}") from None


class _Tls:
    """TLS on top of any stream, also on TLS with a proxy; the handshake is done when it is made."""

    def __init__(self, stream: _Stream, host: str) -> None:
        self._stream = stream
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _context().wrap_bio(self._incoming, self._outgoing, server_hostname=host)
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
        data = self._stream.recv(16384)
        if not data:
            raise ConnectionResetError(None, "the other side closed the connection")
        self._incoming.write(data)

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self._stream.sendall(data)


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()  # which heeds SSL_CERT_FILE and SSL_CERT_DIR
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Go is not that strict
    if not os.environ.get("SSL_CERT_FILE"):
        for path in _CERTIFICATES:
            with contextlib.suppress(OSError):
                context.load_verify_locations(path)
                break
    return context


def _ask_http(stream: _Stream, proxy: Proxy) -> None:
    head = f"CONNECT {HOST}:{PORT} HTTP/1.1\r\nHost: {HOST}:{PORT}\r\n"
    if proxy.user is not None:
        credentials = base64.b64encode(proxy.user + b":" + proxy.password).decode()
        head += f"Proxy-Authorization: Basic {credentials}\r\n"
    stream.sendall(f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        # Byte by byte: what follows the head is WhatsApp's already.
        data = stream.recv(1)
        if not data or len(answer) > 65536:
            raise ConnectionResetError(None, "it is not an HTTP proxy")
        answer += data
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)
    code = status[1].decode(errors="replace") if len(status) > 1 else "?"
    if code == "407":
        raise ConnectionRefusedError(None, "the proxy wants another user or password (407)")
    if code != "200":
        raise ConnectionRefusedError(None, f"the proxy answers with status {code[:3]}")


def _ask_socks(stream: _Stream, proxy: Proxy) -> None:
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
    stream.sendall(b"\x05\x01\x00\x03" + bytes([len(HOST)]) + HOST.encode() + PORT.to_bytes(2, "big"))
    _, code, _, kind = _exactly(stream, 4)
    if code != 0:
        raise ConnectionRefusedError(None, _SOCKS_ERRORS.get(code, f"error {code}"))
    length = {1: 4, 4: 16}.get(kind) or _exactly(stream, 1)[0]
    _exactly(stream, length + 2)


def _exactly(stream: _Stream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            raise ConnectionResetError(None, "the other side closed the connection")
        data += more
    return data
