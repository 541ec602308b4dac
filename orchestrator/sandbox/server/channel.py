"""One TCP connection to the sandbox, from the proxy's greeting to the WebSocket or the media request."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
import socket
import ssl
import struct
from dataclasses import dataclass, field

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

READ_SIZE = 64 * 1024
"""Bytes asked for at once."""
MAX_HEAD = 32 * 1024
"""Bytes a request's head may have; Go sends a few hundred."""
MAX_MESSAGE = 2**24 + 64
"""Bytes of a WebSocket message: the longest frame there is, and its head."""
MAX_UNSENT = 32 * 1024 * 1024
"""Bytes that may wait for a client that does not read, before its connection is cut."""
GREETING_TIMEOUT = 60.0
"""Seconds for each step before the Noise handshake is through; Go itself gives up after 60 or less."""
CLOSE_WAIT = 1.0
"""Seconds a peer gets to take what is left and to say goodbye."""
STOP_WAIT = 2.0
"""Seconds a connection gets to end by itself when the server stops."""
WHATSAPP_HOSTS = (".whatsapp.com", ".whatsapp.net")


class Refused(Exception):  # noqa: N818 - it is how a connection ends, not a fault of ours
    """The connection is not served; the message says why."""


class Closed(Exception):  # noqa: N818 - the ordinary end of a connection
    """The peer has gone."""


@dataclass(slots=True)
class Origin:
    """How a connection came in.

    Attributes:
        number: Counted from 1 since the server started.
        peer: The IP address that it came from; None if it had gone before it was looked at.
        proxy: ``http`` or ``socks5``.
        user: The user name given to the proxy, or None.
        password: The password given to the proxy, or None.
        host: The host it asked for.
        port: The port it asked for.
    """

    number: int
    peer: str | None = None
    proxy: str = ""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    host: str = ""
    port: int = 0


def is_whatsapp(host: str) -> bool:
    """Tell whether a host is one of WhatsApp's, the only ones that are served."""
    return f".{host.lower()}".endswith(WHATSAPP_HOSTS)


class Channel:
    """The bytes of one connection, in whatever wrapping the protocol has reached."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._reader = reader
        self._writer = writer
        self._tcp = writer.transport
        self._socket: socket.socket = writer.get_extra_info("socket")
        self._refusal = b""
        peer = writer.get_extra_info("peername")
        self.origin = Origin(number, peer[0] if peer else None)

    # Plain bytes

    async def read(self) -> bytes:
        """Return some bytes.

        Raises:
            Closed: The peer has closed or reset the connection.
        """
        try:
            data = await self._reader.read(READ_SIZE)
        except (OSError, ssl.SSLError) as error:
            raise Closed(str(error)) from None
        if not data:
            raise Closed("end of stream")
        return data

    async def _exactly(self, count: int) -> bytes:
        try:
            return await self._reader.readexactly(count)
        except (asyncio.IncompleteReadError, OSError) as error:
            raise Closed(str(error)) from None

    async def read_head(self) -> bytes:
        """Return the head of an HTTP request, with the empty line at its end.

        Raises:
            Refused: It is longer than `MAX_HEAD`.
            Closed: The peer has gone before its end.
        """
        head = b""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise Refused("the request's head is too long") from None
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError) as error:
            raise Closed(str(error)) from None
        if len(head) > MAX_HEAD:
            raise Refused("the request's head is too long")
        return head

    def write(self, data: bytes) -> None:
        """Send bytes without waiting; a peer that never reads is cut off in the end."""
        if self._writer.is_closing():
            return
        self._writer.write(data)
        if self._writer.transport.get_write_buffer_size() > MAX_UNSENT:
            self.reset()

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written.

        Raises:
            Closed: The peer has gone.
        """
        try:
            await self._writer.drain()
        except OSError as error:
            raise Closed(str(error)) from None

    def reset(self) -> None:
        """End with a TCP reset: no TLS goodbye, nothing flushed."""
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    async def close(self) -> None:
        """End in good order, without waiting long for the peer."""
        if self._tcp.is_closing():
            return
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError, TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT):
                await self._writer.wait_closed()
        self.abort()

    def abort(self) -> None:
        """End at once, without a word; nothing happens if it has ended already."""
        self._tcp.abort()

    async def until_gone(self) -> None:
        """Read and drop whatever comes until the peer goes."""
        with contextlib.suppress(Closed):
            while True:
                await self.read()

    # The proxy's part

    async def read_proxy_request(self) -> None:
        """Read the CONNECT or SOCKS5 request and note it in `origin`; nothing is answered to it yet.

        Raises:
            Refused: It is neither, or names no host.
            Closed: The peer has gone.
        """
        first = await self._exactly(1)
        if first == b"\x05":
            self.origin.proxy = "socks5"
            await self._read_socks()
        elif first.isalpha():
            self.origin.proxy = "http"
            self._refusal = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            self._read_connect(first + await self.read_head())
        else:
            raise Refused("neither a SOCKS5 nor an HTTP request")

    def _read_connect(self, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            raise Refused("neither a SOCKS5 nor an HTTP request")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        self._read_credentials(headers.get("proxy-authorization", ""))
        if words[0] != "CONNECT":
            self.origin.host = headers.get("host", "")
            raise Refused(f"{words[0][:16]} instead of CONNECT")
        host, _, port = words[1].rpartition(":")
        if not host or not re.fullmatch(r"[0-9]{1,5}", port):
            raise Refused("CONNECT without host:port")
        self.origin.host, self.origin.port = host.strip("[]"), int(port)

    def _read_credentials(self, header: str) -> None:
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            return
        try:
            user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused("Proxy-Authorization is not what Basic asks for") from None
        self.origin.user, self.origin.password = user, password

    async def _read_socks(self) -> None:
        (count,) = await self._exactly(1)
        methods = await self._exactly(count)
        if 2 in methods:
            self.write(b"\x05\x02")
            self._refusal = b"\x01\x01"
            version, length = await self._exactly(2)
            if version != 1:
                raise Refused("SOCKS5: unknown form of user and password")
            user = await self._exactly(length)
            (length,) = await self._exactly(1)
            password = await self._exactly(length)
            self.origin.user = user.decode(errors="replace")
            self.origin.password = password.decode(errors="replace")
            self.write(b"\x01\x00")
        elif 0 in methods:
            self.write(b"\x05\x00")
        else:
            self._refusal = b"\x05\xff"
            raise Refused("SOCKS5: no method of authentication in common")
        self._refusal = b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"
        version, command, _, kind = await self._exactly(4)
        if version != 5:
            raise Refused("SOCKS5: a request of another version")
        match kind:
            case 1:
                self.origin.host = socket.inet_ntop(socket.AF_INET, await self._exactly(4))
            case 3:
                (length,) = await self._exactly(1)
                self.origin.host = (await self._exactly(length)).decode("latin-1")
            case 4:
                self.origin.host = socket.inet_ntop(socket.AF_INET6, await self._exactly(16))
            case _:
                raise Refused("SOCKS5: unknown kind of address")
        self.origin.port = int.from_bytes(await self._exactly(2))
        if command != 1:
            raise Refused("SOCKS5: only CONNECT is served")

    def refuse_proxying(self) -> None:
        """Answer the proxy request with a no, in its own terms, if it waits for an answer."""
        self.write(self._refusal)
        self._refusal = b""

    def accept_proxying(self) -> None:
        """Answer the proxy request with a yes."""
        self._refusal = b""
        if self.origin.proxy == "socks5":
            self.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        else:
            self.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Turn the connection into TLS, as its server.

        Raises:
            Refused: The handshake fails, most often because the client does not trust the authority.
            Closed: The peer has gone.
        """
        try:
            await self._writer.start_tls(context, ssl_handshake_timeout=GREETING_TIMEOUT)
        except ssl.SSLError as error:
            raise Refused(f"TLS: {error.reason or error}") from None
        except (OSError, EOFError) as error:
            raise Closed(f"during the TLS handshake: {error}") from None
        except AttributeError:
            # Cut off during the handshake, asyncio (3.11) leaves the writer with a transport that is None.
            self._writer._transport = self._tcp  # type: ignore[attr-defined]  # noqa: SLF001
            raise Closed("during the TLS handshake") from None


class OpenChannels:
    """The connections a port has open, so that they can be ended together."""

    def __init__(self) -> None:
        self._tasks: dict[Channel, asyncio.Task[None]] = {}

    def add(self, channel: Channel) -> None:
        """Note that the running task serves a connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[channel] = task

    def discard(self, channel: Channel) -> None:
        """Forget a connection that is served no more."""
        self._tasks.pop(channel, None)

    async def end(self) -> None:
        """End every connection, and wait until nobody serves one any more."""
        await asyncio.sleep(0)  # let those begin that were accepted just now
        for channel in list(self._tasks):
            channel.abort()
        for task in await self._left(STOP_WAIT):
            task.cancel()  # it waits for something else than its client, as a fault can make it do
        await self._left(STOP_WAIT)

    async def _left(self, seconds: float) -> set[asyncio.Task[None]]:
        tasks = set(self._tasks.values())
        return (await asyncio.wait(tasks, timeout=seconds))[1] if tasks else tasks


class WebSocket:
    """The binary messages of a WebSocket, as one stream of bytes each way.

    Args:
        channel: The connection, inside TLS, of which nothing but the request's head was read.
        head: That head.
    """

    def __init__(self, channel: Channel, head: bytes) -> None:
        self._channel = channel
        # No extensions: what the client offers (permessage-deflate) must not be accepted.
        self._protocol = ServerProtocol(extensions=None, max_size=MAX_MESSAGE)
        self._protocol.receive_data(head)

    def accept(self) -> None:
        """Answer the upgrade.

        Raises:
            Refused: The request is no proper one.
        """
        events = self._protocol.events_received()
        request = events[0] if events else None
        if request is None:
            self._flush()
            raise Refused(f"no WebSocket request: {self._protocol.handshake_exc}")
        self._protocol.send_response(self._protocol.accept(request))  # type: ignore[arg-type]
        self._flush()
        if self._protocol.state is not State.OPEN:
            raise Refused(f"no WebSocket request: {self._protocol.handshake_exc}")

    async def receive(self) -> bytes:
        """Return the data of the next frames; pings and closes are answered on the way.

        Raises:
            Closed: The WebSocket or the connection has ended, in order or by a violated protocol.
        """
        while True:
            self._protocol.receive_data(await self._channel.read())
            frames = (event for event in self._protocol.events_received() if isinstance(event, Frame))
            data = b"".join(frame.data for frame in frames if frame.opcode in (Opcode.BINARY, Opcode.CONT))
            self._flush()
            if data:
                return data
            if self._protocol.state is not State.OPEN:
                raise Closed("WebSocket closed")

    def send(self, message: bytes) -> None:
        """Send one binary message, whole; nothing happens on a closed one."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_binary(message)
            self._flush()

    def close(self, code: int = 1000) -> None:
        """Send a close frame."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._channel.write(data)
