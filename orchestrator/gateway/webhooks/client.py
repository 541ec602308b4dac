"""Connections to one receiver: how they are made, and used again."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from orchestrator.consumers.answers import Answer, Trouble
from orchestrator.gateway.webhooks.address import Address
from orchestrator.gateway.webhooks.connection import Connection

CONNECT_SECONDS: Final = 3.0
"""How long it may take to find a receiver and to connect, TLS included."""
IDLE_SECONDS: Final = 30.0
"""How long a connection waits for the next request. After that, a firewall between may have forgotten it."""
NEXT_ADDRESS_SECONDS: Final = 0.25
"""How long one address has before the next one is tried beside it, as RFC 8305 says."""

Place: TypeAlias = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]
"""What one look-up of a name finds, as sockets take it."""
LookUp: TypeAlias = Callable[[str, int], Sequence[Place]]
"""Finds the addresses of a host and a port. It blocks, and raises OSError."""

_EXPIRED: Final = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_OTHER_HOST: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


class NoConnectionError(Exception):
    """There is no connection.

    Attributes:
        trouble: Why.
    """

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


def trust() -> ssl.SSLContext:
    """Return how receivers are checked: by the system's certificates, or those that $SSL_CERT_FILE names.

    Reads files, so a process calls it before it gives its files up.
    """
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def look_up(host: str, port: int) -> Sequence[Place]:
    """Return the addresses of a host, as the system finds them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, place) for family, _, _, _, place in found]  # type: ignore[misc]


class Client:
    """Asks one receiver.

    Args:
        address: Where it is.
        tls: How its certificate is checked.
        find: Finds addresses; the system's way by default.
    """

    def __init__(self, address: Address, tls: ssl.SSLContext, find: LookUp = look_up) -> None:
        self._address = address
        self._tls = tls if address.tls else None
        self._finder = Finder(address.host, address.port, find)
        self._idle: list[Connection] = []
        self._sweep: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def ask(self, request: bytes, seconds: float) -> Answer | Trouble:
        """Send a request and wait for the answer.

        A connection that was used before can end just when the request is sent. Then the request goes out on
        another one at once.

        Args:
            request: The whole request.
            seconds: How long all of it may take.
        """
        connecting = False
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = self._take()
                    if connection is None:
                        connecting = True
                        connection = await self._connect()
                        connecting = False
                    was_used = connection.used
                    answer = await connection.ask(request)
                    if answer is Trouble.CLOSED and was_used:
                        continue
                    self._give_back(connection)
                    return answer
        except NoConnectionError as error:
            return error.trouble
        except TimeoutError:
            return Trouble.SLOW_CONNECT if connecting else Trouble.SLOW

    def close(self) -> None:
        """End all connections that no request uses; the others end with their request."""
        self._is_closed = True
        if self._sweep is not None:
            self._sweep.cancel()
        while self._idle:
            # Nothing is on its way there. Over TLS, a polite end would wait for the receiver.
            self._idle.pop().abort()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable and connection.idle_since > _now() - IDLE_SECONDS:
                return connection
            connection.close()
        return None

    def _give_back(self, connection: Connection) -> None:
        if not connection.reusable:
            return
        if self._is_closed:
            connection.close()
            return
        connection.idle_since = _now()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep_out)

    def _sweep_out(self) -> None:
        self._sweep = None
        horizon = _now() - IDLE_SECONDS
        for connection in [one for one in self._idle if one.idle_since <= horizon]:
            self._idle.remove(connection)
            connection.close()
        if self._idle:
            wait = self._idle[0].idle_since - horizon
            self._sweep = asyncio.get_running_loop().call_later(wait, self._sweep_out)

    def _forget(self, connection: Connection) -> None:
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    async def _connect(self) -> Connection:
        """Return a new connection.

        Raises:
            NoConnectionError: There is none.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                try:
                    places = await self._finder.places()
                except OSError:
                    raise NoConnectionError(Trouble.UNRESOLVED) from None
                try:
                    sock = await race(places)
                except OSError as error:
                    refused = error.errno == errno.ECONNREFUSED
                    raise NoConnectionError(Trouble.REFUSED if refused else Trouble.UNREACHABLE) from None
                return await self._speak(sock)
        except TimeoutError:
            raise NoConnectionError(Trouble.SLOW_CONNECT) from None

    async def _speak(self, sock: socket.socket) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(self._forget),
                sock=sock,
                ssl=self._tls,
                server_hostname=self._address.host if self._tls else None,
            )
        except ssl.SSLCertVerificationError as error:
            raise NoConnectionError(_certificate(error.verify_code)) from None
        except OSError:
            raise NoConnectionError(Trouble.TLS if self._tls else Trouble.UNREACHABLE) from None
        except BaseException:
            sock.close()
            raise
        return connection


def _certificate(code: int) -> Trouble:
    if code in _EXPIRED:
        return Trouble.CERTIFICATE_EXPIRED
    return Trouble.CERTIFICATE_OTHER if code in _OTHER_HOST else Trouble.CERTIFICATE


def _now() -> float:
    return asyncio.get_running_loop().time()


class Finder:
    """Looks a name up, in a thread of its own: a name server that does not answer keeps nobody else waiting.

    The system gives a look-up no time limit, and ends none. However many wait, there is one thread.
    """

    def __init__(self, host: str, port: int, find: LookUp) -> None:
        self._host = host
        self._port = port
        self._find = find
        self._flying: asyncio.Future[Sequence[Place]] | None = None

    async def places(self) -> Sequence[Place]:
        """Return the addresses.

        Raises:
            OSError: There are none, or they cannot be found.
        """
        if self._flying is None:
            loop = asyncio.get_running_loop()
            self._flying = loop.create_future()
            self._flying.add_done_callback(self._landed)
            try:
                threading.Thread(target=self._run, args=(loop, self._flying), daemon=True).start()
            except RuntimeError as error:  # no thread can be had
                self._flying.set_exception(OSError(str(error)))
        return await asyncio.shield(self._flying)

    def _run(self, loop: asyncio.AbstractEventLoop, flying: asyncio.Future[Sequence[Place]]) -> None:
        try:
            found = self._find(self._host, self._port)
            answer = (lambda: flying.set_result(found)) if found else None
        except (OSError, UnicodeError):
            answer = None
        with contextlib.suppress(RuntimeError):  # the loop is over
            loop.call_soon_threadsafe(answer or (lambda: flying.set_exception(OSError("not found"))))

    def _landed(self, flying: asyncio.Future[Sequence[Place]]) -> None:
        self._flying = None
        if not flying.cancelled():
            flying.exception()  # whoever waited may have gone: that is no bug


async def race(places: Sequence[Place]) -> socket.socket:
    """Return a socket that is connected to one of some addresses: the first that answers.

    Raises:
        OSError: None does; the error of the first.
    """
    errors: list[OSError] = []
    running: set[asyncio.Task[socket.socket]] = set()
    waiting = list(places)
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(_dial(waiting.pop(0))))
            patience = NEXT_ADDRESS_SECONDS if waiting else None
            done, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if (error := task.exception()) is None:
                    running |= done - {task}
                    return task.result()
                if not isinstance(error, OSError):
                    raise error
                errors.append(error)
    finally:
        for task in running:
            task.add_done_callback(_close_late)
            task.cancel()
    raise errors[0] if errors else OSError("no address")


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    """Close a socket that nobody needs any more."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _dial(place: Place) -> socket.socket:
    family, where = place
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock
