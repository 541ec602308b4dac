"""The port: every connection from its first byte to its end, and the faults that strike early on."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import ssl
from functools import partial

from orchestrator.sandbox.server import http, media
from orchestrator.sandbox.server.channel import (
    GREETING_TIMEOUT,
    Channel,
    Closed,
    OpenChannels,
    Refused,
    WebSocket,
    is_whatsapp,
)
from orchestrator.sandbox.server.faults import Fault, Who
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.pairing import Pairing
from orchestrator.sandbox.server.session import Session

log = logging.getLogger(__name__)

CHAT_HOST = "web.whatsapp.com"
REOPEN_MARGIN = 0.01
"""Seconds by which the port opens later than the fault that closed it ends, as timers may run early."""


class Listener:
    """The port that clients are led to by their proxy settings.

    Attributes:
        port: The port once it listens.
    """

    def __init__(self, hub: Hub, context: ssl.SSLContext, host: str = "127.0.0.1", port: int = 0) -> None:
        self.port = port
        self._hub = hub
        self._context = context
        self._host = host
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._channels = OpenChannels()
        self._open: dict[int, tuple[Channel, Session | None]] = {}

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: The port is taken.
        """
        self._server = await asyncio.start_server(self._serve, self._host, self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        if self._reserved is not None:
            self._reserved.close()
        await self._channels.end()

    # What faults do to the port and to open connections

    def refuse(self, fault: Fault) -> int:
        """Close the port if everybody is refused, until `reopen`; return how many connections were cut."""
        if fault.target.kind == "all":
            self._close_port()
            if fault.until is not None:
                loop = asyncio.get_running_loop()
                end = fault.until + REOPEN_MARGIN
                loop.call_at(end, lambda: self._hub.background(self.reopen()))
        cut = self.matching(fault) if fault.params["drop"] else []
        for channel, _ in cut:
            channel.reset()
        return len(cut)

    async def reopen(self) -> None:
        """Listen again on the same port, if it is closed and no fault keeps it closed."""
        refused = any(f.kind == "refuse" and f.target.kind == "all" for f in self._hub.faults.active())
        if self._reserved is not None and not refused:
            reserved, self._reserved = self._reserved, None
            await self.start()
            reserved.close()

    def _close_port(self) -> None:
        """Stop listening; the port stays bound, so that nobody else can get it meanwhile."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._reserved = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind((self._host, self.port))

    def matching(self, fault: Fault) -> list[tuple[Channel, Session | None]]:
        """Return the open connections a fault means, with their sessions if they have got that far."""
        return [
            (channel, session)
            for channel, session in self._open.values()
            if fault.target.matches(session.who if session else _stranger(channel))
        ]

    def sessions(self) -> list[Session]:
        """Return the open sessions, in the order in which they came."""
        return [session for _, session in self._open.values() if session]

    def pairings(self) -> list[Pairing]:
        """Return the clients that are to be linked, in the order in which they came."""
        return [session.pairing for session in self.sessions() if session.pairing]

    # A connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = Channel(reader, writer, next(self._numbers))
        number = channel.origin.number
        self._open[number] = (channel, None)
        self._channels.add(channel)
        try:
            await self._greet(channel)
        except Refused as error:
            channel.refuse_proxying()
            self._record_refusal(channel, str(error))
        except Closed as error:
            log.debug("connection %d: %s", number, error)
        except TimeoutError:
            self._record_refusal(channel, "nothing came for too long")
        except asyncio.CancelledError:
            channel.abort()  # the server stops; raised further, Python 3.11 would log a traceback
        except Exception:
            log.exception("connection %d ended by an error of the sandbox", number)
            self._hub.events.add("error", connection=number)
        finally:
            session = self._open.pop(number)[1]
            self._hub.events.add("closed", connection=number, phone=session.who.number if session else None)
            await channel.close()
            self._channels.discard(channel)

    def _record_refusal(self, channel: Channel, why: str) -> None:
        origin = channel.origin
        self._hub.events.add("refused", connection=origin.number, host=origin.host or None, why=why)

    async def _greet(self, channel: Channel) -> None:
        async with asyncio.timeout(GREETING_TIMEOUT):
            await channel.read_proxy_request()
        origin = channel.origin
        self._hub.events.add(
            "opened",
            connection=origin.number,
            proxy=origin.proxy,
            user=origin.user,
            peer=origin.peer,
            host=origin.host,
            port=origin.port,
        )
        if not is_whatsapp(origin.host) or origin.port != 443:
            raise Refused(f"{origin.host}:{origin.port} is not WhatsApp")
        chat = origin.host == CHAT_HOST
        if chat:
            await self._struck_at_connect(channel)
        channel.accept_proxying()
        if chat and self._strikes(channel, "hang", phase="tls"):
            await channel.until_gone()
            return
        await channel.start_tls(self._context)
        async with asyncio.timeout(GREETING_TIMEOUT):
            head = await channel.read_head()
        if b"\r\nupgrade: websocket" in head.lower():
            await self._upgrade(channel, head)
        else:
            await http.serve(channel, partial(media.handle, self._hub), head)

    async def _struck_at_connect(self, channel: Channel) -> None:
        if self._strikes(channel, "refuse"):
            raise Refused("a fault refuses connections")
        if slow := self._strikes(channel, "slow-connect"):
            await asyncio.sleep(slow.params["delay"])
        if self._strikes(channel, "hang", phase="connect"):
            await channel.until_gone()
            raise Closed("hung at CONNECT")

    async def _upgrade(self, channel: Channel, head: bytes) -> None:
        if self._strikes(channel, "hang", phase="upgrade"):
            await channel.until_gone()
            return
        if fault := self._strikes(channel, "http"):
            status = fault.params["status"]
            channel.write(
                f"HTTP/1.1 {status} Sandbox\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            return
        websocket = WebSocket(channel, head)
        websocket.accept()
        session = Session(self._hub, channel, websocket)
        self._open[channel.origin.number] = (channel, session)
        await session.run()

    def _strikes(self, channel: Channel, kind: str, **params: object) -> Fault | None:
        return self._hub.strikes(kind, _stranger(channel), **params)


def _stranger(channel: Channel) -> Who:
    return Who(channel.origin.number, channel.origin.user)
