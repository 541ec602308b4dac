"""Fetches a file from a link that a client has sent, from nowhere that the client could not reach itself.

A name is looked up once, every address that it has is checked, and the connection goes to an address that
was checked: another answer of the name server a moment later changes nothing. Redirects are not followed, no
proxy of the environment is used, and compressed answers are refused, so that what counts is what comes.

A link that cannot be used always gives the same error, and before there is a connection always after the same
time: nobody learns from it what there is inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import httptools

from orchestrator.consumers import hosts, public_addresses
from orchestrator.consumers.settings import Http, Tcp
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.webhooks.address import Address
from orchestrator.gateway.webhooks.client import Finder, LookUp, Place, look_up, race

REFUSAL_SECONDS: Final = 5.0
"""How long it may take to find a host and to connect, and how long it takes to say that it cannot be done."""
FETCH_SECONDS: Final = 60.0
"""How long all of it may take, however steadily the bytes come."""
MAX_HEAD: Final = 32 * 1024
"""Bytes of an answer before its body, and after it."""
MOST_AT_ONCE: Final = 32
"""Links that are fetched at the same time."""
_READ: Final = 64 * 1024
_FRAMING: Final = 64 * 1024
"""Bytes around the chunks of a body, beside as many again as the body has."""
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_TYPE: Final = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,100}")


@dataclass(frozen=True, slots=True)
class Found:
    """What there is at a link.

    Attributes:
        pieces: The bytes, in order, as they come.
        name: What the file is called at the end of the link's path, None if that says nothing.
        media_type: What the server says it is, None if that is nothing; a stranger's word.
    """

    pieces: AsyncIterator[bytes] = field(repr=False)
    name: str | None = field(default=None, repr=False)
    media_type: str | None = field(default=None, repr=False)


class _NoUse(Exception):  # noqa: N818 - named for what it says
    """The link cannot be used. Why is nobody's business: it could tell what there is inside."""


class Links:
    """Fetches files.

    Args:
        tls: How certificates are checked.
        http: Returns the settings of the HTTP server: its own addresses are never fetched from.
        find: Finds addresses; the system's way by default.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        http: Callable[[], Http | None],
        find: LookUp = look_up,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._tls = tls
        self._http = http
        self._find = find
        self._pause = pause
        self._under_way = 0

    @contextlib.asynccontextmanager
    async def open(self, url: str, *, most: int) -> AsyncIterator[Found]:
        """Begin to fetch a file.

        Args:
            url: Where it is.
            most: How many bytes it may have.

        Raises:
            OrchestratorError: It cannot be had (`link_unusable`, whatever the reason), or is too large
                (`file_too_large`). Both also come while its pieces are read. `service_busy`: too many files
                are fetched already.
        """
        if self._under_way >= MOST_AT_ONCE:
            raise OrchestratorError("too many links are fetched already", key="service_busy")
        self._under_way += 1
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                address, connection = await self._connect(url)
                try:
                    answer = _Answer(connection, most)
                    await answer.begin(address)
                    async with contextlib.aclosing(answer.pieces()) as pieces:
                        yield Found(pieces, _name(address), answer.media_type)
                finally:
                    connection.writer.transport.abort()
        except (TimeoutError, _NoUse):
            raise _unusable() from None
        finally:
            self._under_way -= 1

    async def _connect(self, url: str) -> tuple[Address, _Connection]:
        """Return where a link leads, and a connection there.

        Raises:
            OrchestratorError: There is none. It takes the same time whatever the reason is.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + REFUSAL_SECONDS
        try:
            async with asyncio.timeout_at(end):
                http = self._http() or Http()
                address = read(url, http)
                places = await self._places(address)
                if not places or not all(may_reach(_address(one), address.port, http) for one in places):
                    raise _NoUse
                return address, await self._dial(address, places, http)
        except (_NoUse, TimeoutError, OSError, ValueError):
            await self._pause(max(0.0, end - loop.time()))
            raise _unusable() from None

    async def _places(self, address: Address) -> list[Place]:
        known = hosts.as_address(address.host)
        if isinstance(known, ipaddress.IPv4Address):
            return [(socket.AF_INET, (str(known), address.port))]
        if known is not None:
            return [(socket.AF_INET6, (str(known), address.port, 0, 0))]
        return list(await Finder(address.host, address.port, self._find).places())

    async def _dial(self, address: Address, places: list[Place], http: Http) -> _Connection:
        sock = await race(places)
        try:
            here, there = (ipaddress.ip_address(one[0]) for one in (sock.getsockname(), sock.getpeername()))
            # The system takes the address of the other end for this one only if both are this machine.
            if here == there and not _is_in(there, http.link_networks):
                raise _NoUse
            if here == there and address.port in _own_ports(http):
                raise _NoUse
            name = address.host if address.tls else None
            reader, writer = await asyncio.open_connection(
                sock=sock, ssl=self._tls if address.tls else None, server_hostname=name, limit=_READ
            )
        except BaseException:
            sock.close()
            raise
        return _Connection(reader, writer)


@dataclass(frozen=True, slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


class _Answer:
    """The answer to one request, as httptools reads it."""

    def __init__(self, connection: _Connection, most: int) -> None:
        self.media_type: str | None = None
        self._connection = connection
        self._most = most
        self._parser = httptools.HttpResponseParser(self)
        self._received = self._size = self._beside = 0
        self._waiting: list[bytes] = []
        self._fields: dict[bytes, bytes] = {}
        self._has_head = self._is_over = False

    async def begin(self, address: Address) -> None:
        """Ask, and read the head of the answer.

        Raises:
            OrchestratorError: It is too large.
            _NoUse: It is not the file.
        """
        self._connection.writer.write(
            b"GET " + address.target + b" HTTP/1.1\r\nHost: " + address.authority + b"\r\n"
            b"User-Agent: orchestrator\r\nAccept: */*\r\nAccept-Encoding: identity\r\n"
            b"Connection: close\r\n\r\n"
        )
        while not self._has_head:
            if not await self._read():
                raise _NoUse
        length = self._fields.get(b"content-length", b"")
        if self._parser.get_status_code() != 200:
            raise _NoUse
        if self._fields.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
            raise _NoUse
        if length.isdigit() and int(length[:20]) > self._most:
            raise _too_large()
        kind = self._fields.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
        self.media_type = kind if _TYPE.fullmatch(kind) else None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body.

        Raises:
            OrchestratorError: It is too large, or not whole.
        """
        try:
            while True:
                for piece in self._waiting:
                    yield piece
                self._waiting.clear()
                if self._is_over:
                    return
                if not await self._read():
                    if self._fields.keys() & {b"content-length", b"transfer-encoding"}:
                        raise _NoUse
                    return  # the end of the connection is the end of the answer
        except _NoUse:
            raise _unusable() from None

    async def _read(self) -> bool:
        """Read a part; tell whether there was one."""
        size = self._size
        try:
            data = await self._connection.reader.read(_READ)
            self._received += len(data)
            if data:
                self._parser.feed_data(data)
        except (OSError, httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise _NoUse from None
        if self._size > self._most:
            raise _too_large()
        # The parser keeps a field until it has all of it, and each piece costs as much as all before it.
        self._beside = 0 if self._size > size else self._beside + len(data)
        if self._beside > MAX_HEAD or self._received > 2 * self._most + MAX_HEAD + _FRAMING:
            raise _NoUse
        return bool(data)

    # What httptools calls

    def on_message_begin(self) -> None:
        """Begin an answer, or what comes before it, such as 103."""
        self._fields.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field, once it is known not to be there twice."""
        if self._has_head:
            return  # what comes after the last chunk
        name = name.lower()
        if name in self._fields and name in (b"content-encoding", b"content-length", b"transfer-encoding"):
            value = self._fields[name] + b"," + value
        self._fields[name] = value

    def on_headers_complete(self) -> None:
        """Note that the head is there."""
        self._has_head = self._parser.get_status_code() >= 200

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._size += len(body)
        self._waiting.append(body)

    def on_message_complete(self) -> None:
        """Note that the answer is whole."""
        self._is_over = self._has_head


def read(url: str, http: Http) -> Address:
    """Return where a link leads.

    Args:
        url: The link.
        http: The settings.

    Raises:
        _NoUse: It has another form, or leads to a port or place that is never fetched from.
    """
    try:
        if not url.isprintable() or "\\" in url:
            raise _NoUse
        address = Address.of(url)
        itself = hosts.url_leads_to(http, url)
    except ValueError:
        raise _NoUse from None
    if itself or address.authorization is not None or not _HOST.fullmatch(address.host):
        raise _NoUse
    if address.port not in http.link_ports:
        raise _NoUse
    return address


def may_reach(address: public_addresses.Address, port: int, http: Http) -> bool:
    """Tell whether a file may be fetched from an address.

    Args:
        address: The address.
        port: The port.
        http: The settings.
    """
    address = public_addresses.plain(address)
    if hosts.leads_to(http.listen, str(address), port):
        return False
    return public_addresses.is_public(address) or _is_in(address, http.link_networks)


def _is_in(address: public_addresses.Address, networks: Iterable[str]) -> bool:
    return any(public_addresses.plain(address) in ipaddress.ip_network(one) for one in networks)


def _own_ports(http: Http) -> set[int]:
    return {one.port for one in http.listen if isinstance(one, Tcp)}


def _address(place: Place) -> public_addresses.Address:
    return ipaddress.ip_address(place[1][0])


def _name(address: Address) -> str | None:
    path = address.target.partition(b"?")[0].rpartition(b"/")[2]
    return unquote(path.decode("ascii"), errors="replace") or None


def _unusable() -> OrchestratorError:
    return OrchestratorError("the file cannot be fetched from the link", key="link_unusable")


def _too_large() -> OrchestratorError:
    return OrchestratorError("the file at the link is too large", key="file_too_large")
