"""One client's life on the server: handshake, linking or log-in, then stanzas until it goes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from orchestrator.sandbox.crypto.noise import NoiseError, Responder, Transport
from orchestrator.sandbox.server import messaging, pairing, presence, queries
from orchestrator.sandbox.server.channel import GREETING_TIMEOUT, Channel, Closed, Refused, WebSocket
from orchestrator.sandbox.server.faults import Who
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.store import Device, DeviceKey
from orchestrator.sandbox.wire import proto
from orchestrator.sandbox.wire.binxml import BinaryXMLError
from orchestrator.sandbox.wire.frames import FrameError, FrameReader, encode_frame
from orchestrator.sandbox.wire.jid import JID, SERVER
from orchestrator.sandbox.wire.node import Node, NodeError
from orchestrator.sandbox.wire.proto import ProtoError

log = logging.getLogger(__name__)

HANDSHAKE_FRAME_LIMIT = 64 * 1024
"""Bytes of a frame before a client is known; a real ClientFinish has about 600."""
LAST_WORDS = 0.1
"""Seconds between the stanza that ends a connection and the close, so that the client reads it first."""
LOG_OUTS = (401, 403, 406)
"""Reasons for which a client forgets its session."""
ROUND_TRIP = 0.5
"""Seconds by which a log-out comes after the log-in, as from servers far away. Told before its connect() has
begun to tell events, neonize 0.5.2 tells none any more, or crashes."""
HOLE_CHECK = 0.2
"""Seconds between two looks whether a blackhole is over."""
SILENCE = 180.0
"""Seconds after which a linked client that says nothing is taken for gone; a living one pings every 30 s."""
OLDEST_VERSION = (2, 3000, 0)
"""The oldest version of WhatsApp Web that is let in; WhatsApp refuses what is older, or has no version."""
CLOSE_WAIT = 5.0
"""Seconds a client gets to close by itself after it was told to."""


def iq_error(code: int, text: str) -> Node:
    """Return the child that says what is wrong with a request."""
    return Node("error", {"code": str(code), "text": text})


class Session:
    """A client behind an accepted WebSocket.

    Attributes:
        who: What is known of it; grows during the handshake.
        device: Its stored device once it has logged in.
        active: Whether it has asked for what waits for it.
        present: Whether it has said that somebody is looking.
        watched: The numbers of whom it wants to know whether they are online.
    """

    def __init__(self, hub: Hub, channel: Channel, websocket: WebSocket) -> None:
        self.hub = hub
        self.who = Who(channel.origin.number, channel.origin.user)
        self.device: Device | None = None
        self.active = False
        self.present, self.watched = False, set[str]()
        self.pairing: pairing.Pairing | None = None
        self.client: dict[str, Any] = {}
        self.opened_at = time.time()
        self._channel = channel
        self._websocket = websocket
        self._frames = FrameReader()
        self._frames.limit = HANDSHAKE_FRAME_LIMIT
        self._noise: Transport | None = None
        self._ids = itertools.count(1)
        self._asked: dict[str, asyncio.Future[Node]] = {}
        self._ending = False
        self._gone = False
        self._proven: DeviceKey | None = None
        self._heard = 0.0
        self._silence: asyncio.TimerHandle | None = None

    @property
    def number(self) -> int:
        """The connection's number."""
        return self.who.connection

    @property
    def key(self) -> DeviceKey | None:
        """Number and device once logged in."""
        return self.device.key if self.device else None

    # Life

    async def run(self) -> None:
        """Serve the client until it goes or does something that ends its connection."""
        try:
            payload, noise_key = await self._handshake()
            if payload.HasField("pairing_data"):
                await self._serve_unpaired(payload, noise_key)
            else:
                await self._serve_login(payload, noise_key)
        except (FrameError, NoiseError, BinaryXMLError, ProtoError, NodeError) as error:
            self.hub.events.add("garbage", connection=self.number, error=str(error))
            self._websocket.close(1002)
        except (Closed, Refused) as error:
            log.debug("connection %d: %s", self.number, error)
        finally:
            self._leave()

    def _leave(self) -> None:
        self._gone = True
        if self._silence:
            self._silence.cancel()
        key = self.key
        if key and self.hub.online.get(key) is self:
            del self.hub.online[key]
        if self.pairing:
            self.pairing.leave()
        for future in self._asked.values():
            future.cancel()

    async def _handshake(self) -> tuple[Any, bytes]:
        responder = Responder(self.hub.noise_static, self.hub.noise_chain)
        async with asyncio.timeout(GREETING_TIMEOUT):
            hello = await self._frame()
            if self.hub.strikes("hang", self.who, phase="noise"):
                await self._channel.until_gone()
                raise Closed("hung in the Noise handshake")
            self._websocket.send(encode_frame(responder.read_hello(hello)))
            responder.read_finish(await self._frame())
        self._noise = responder.transport
        return proto.ClientPayload.decode(responder.client_payload), responder.client_static

    async def _serve_unpaired(self, payload: Any, noise_key: bytes) -> None:  # noqa: ANN401 - protobuf
        self.who = replace(self.who, identified=True)
        self._note_client(payload)
        await self._out_of_the_hole()
        await self._refuse_outdated(payload)
        await self._struck_before_success()
        self.pairing = pairing.Pairing(self, noise_key, payload.pairing_data)
        self.pairing.begin()
        await self._serve()

    async def _serve_login(self, payload: Any, noise_key: bytes) -> None:  # noqa: ANN401 - protobuf
        number, device_number = str(payload.username), int(payload.device)
        if device_number > 0xFF:
            raise NodeError(f"device {device_number} does not fit into one byte")
        self.who = replace(self.who, identified=True, number=number, device=device_number)
        self._note_client(payload)
        await self._out_of_the_hole()
        await self._refuse_outdated(payload)
        device = self.hub.store.device((number, device_number))
        if device is not None and not device.removed and device.noise == noise_key:
            self._proven = device.key
        await self._struck_before_success()
        if device is None or self._proven is None:
            await self._round_trip()
            await self.fail(401, location="cln")
        assert device is not None
        await self._succeed(device)
        await self._serve()

    def _note_client(self, payload: Any) -> None:  # noqa: ANN401 - protobuf
        version = payload.user_agent.app_version
        self.client = {
            "version": f"{version.primary}.{version.secondary}.{version.tertiary}",
            "platform": int(payload.user_agent.platform),
        }

    async def _refuse_outdated(self, payload: Any) -> None:  # noqa: ANN401 - protobuf
        """Let no client in that is older than what WhatsApp takes.

        Raises:
            Closed: It is; it was told.
        """
        version = payload.user_agent.app_version
        if (version.primary, version.secondary, version.tertiary) < OLDEST_VERSION:
            await self.fail(405)

    async def _out_of_the_hole(self) -> None:
        """Take everything in and answer nothing as long as a blackhole holds the client."""
        while self._deaf:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOLE_CHECK):
                    self._open(await self._frame())

    async def _struck_before_success(self) -> None:
        if self.hub.strikes("hang", self.who, phase="success"):
            await self._serve_nothing()
        waiting = self.hub.faults.find("failure", self.who)
        if waiting is not None and waiting.params.get("reason") in LOG_OUTS:
            await self._round_trip()
        if fault := self.hub.strikes("failure", self.who):
            params = {key: value for key, value in fault.params.items() if value is not None}
            await self.fail(**params)

    async def _round_trip(self) -> None:
        """Let a log-out come as from a server far away; before, nothing has happened to the device.

        Raises:
            Closed: The client has gone meanwhile.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ROUND_TRIP):
                while True:
                    await self._websocket.receive()

    async def _serve_nothing(self) -> None:
        """Take everything in and answer nothing until the client goes."""
        await self._channel.until_gone()
        raise Closed("hung before success")

    async def fail(self, reason: int, **facts: int | str) -> None:
        """Refuse the log-in and end the connection.

        A client that is told 401, 403 or 406 forgets its session, so its device is unlinked here too, unless
        somebody else used its name.

        Raises:
            Closed: Always, once the connection has ended.
        """
        who = self.who
        facts_of = {"connection": self.number, "phone": who.number, "device": who.device}
        self.hub.events.add("login-refused", **facts_of, reason=reason)
        if reason in LOG_OUTS and self._proven:
            self.hub.forget_device(self._proven)
        attrs = {"reason": str(reason), **{key: str(value) for key, value in facts.items()}}
        await self.end_with(Node("failure", attrs))
        raise Closed(f"log-in refused with {reason}")

    async def _succeed(self, device: Device) -> None:
        self.device = device
        older = self.hub.online.get(device.key)
        self.hub.online[device.key] = self
        if older is not None:
            older.end_soon(Node("stream:error", {}, [Node("conflict", {"type": "replaced"})]))
        person = self.hub.person(device.number)
        self.hub.events.add(
            "login", connection=self.number, phone=device.number, device=device.device, **self.client
        )
        self._frames.limit = 2**24
        self._wait_for_silence()
        lid = person.lid_jid.with_device(device.device)
        about: dict[str, str | JID] = {"props": "27", "abprops": "1", "location": "cln", "lid": lid}
        self.send(Node("success", {"t": str(int(self.hub.now())), **about, "display_name": person.name}))

    def _wait_for_silence(self) -> None:
        """End the connection of a client that has said nothing for `SILENCE`; else look again later."""
        loop = asyncio.get_running_loop()
        left = self._heard + SILENCE - loop.time()
        if left > 0:
            self._silence = loop.call_later(left, self._wait_for_silence)
        else:
            self.hub.events.add("silent", connection=self.number, phone=self.who.number)
            self.end_soon()

    async def _serve(self) -> None:
        while True:
            node = self._open(await self._frame())
            if self._ending or self._deaf:
                continue
            try:
                await self._handle(node)
            except NodeError as error:
                self.hub.events.add("bad-stanza", connection=self.number, tag=node.tag, error=str(error))
                if node.tag == "iq":
                    self.refuse(node, 400, "bad-request")
            await self._channel.drain()

    async def _handle(self, node: Node) -> None:
        match node.tag:
            case "iq" if node.text("type") in ("result", "error"):
                future = self._asked.pop(node.text("id"), None)
                if future is not None and not future.done():
                    future.set_result(node)
            case "iq":
                await queries.answer(self, node)
            case "xmlstreamend":
                raise Closed("the client has ended the stream")
            case _ if self.device is None:
                if node.tag not in ("ack", "ib", "presence"):
                    self.hub.events.add("unknown-stanza", connection=self.number, tag=node.tag)
            case "message":
                await messaging.from_client(self, node)
            case "receipt":
                await messaging.receipt_from_client(self, node)
            case "ack":
                messaging.ack_from_client(self, node)
            case "presence" | "chatstate":
                presence.from_client(self, node)
            case "call":
                self.hub.calls.from_client(self, node)
            case "ib":
                pass
            case _:
                self.hub.events.add("unknown-stanza", connection=self.number, tag=node.tag)
                await messaging.acknowledge(self, node)

    # Frames and stanzas

    async def _frame(self) -> bytes:
        while True:
            for frame in self._frames.frames():
                self._heard = asyncio.get_running_loop().time()
                return frame
            self._frames.feed(await self._websocket.receive())

    def _open(self, frame: bytes) -> Node:
        assert self._noise is not None
        return self.hub.codec.decode(self._noise.open(frame))

    @property
    def _deaf(self) -> bool:
        return self.hub.faults.hold("blackhole", self.who) is not None

    def send(self, node: Node) -> None:
        """Send a stanza; nothing leaves while a blackhole holds this client."""
        if self._noise is None or self._deaf:
            return
        self._websocket.send(encode_frame(self._noise.seal(self.hub.codec.encode(node))))

    def answer(self, iq: Node, *children: Node) -> None:
        """Answer a request with a result."""
        self._reply(iq, "result", children)

    def refuse(self, iq: Node, code: int, text: str) -> None:
        """Answer a request with an error."""
        self._reply(iq, "error", [iq_error(code, text)])

    def _reply(self, iq: Node, kind: str, children: Sequence[Node]) -> None:
        to = iq.attrs.get("to")
        sender = to if isinstance(to, JID) else SERVER
        reply = Node("iq", {"from": sender, "type": kind, "id": iq.text("id")}, list(children) or None)
        slow = self.hub.faults.hold("slow", self.who)
        if slow is None:
            self.send(reply)
        else:
            asyncio.get_running_loop().call_later(slow.params["delay"], self.send, reply)

    async def ask(self, iq_type: str, namespace: str, *children: Node, timeout: float = 30) -> Node:
        """Send a request to the client and return its answer, a result or an error.

        Raises:
            Closed: The client went, or did not answer in so many seconds.
        """
        request_id = f"sandbox-{next(self._ids)}"
        future: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._asked[request_id] = future
        attrs: dict[str, str | JID] = {"from": SERVER, "type": iq_type, "id": request_id, "xmlns": namespace}
        self.send(Node("iq", {**attrs, "t": str(int(self.hub.now()))}, list(children)))
        try:
            async with asyncio.timeout(timeout):
                return await future
        except asyncio.CancelledError:
            if future.cancelled():
                raise Closed("the client went before it answered") from None
            raise
        except TimeoutError:
            raise Closed("the client did not answer") from None
        finally:
            self._asked.pop(request_id, None)

    # Ends

    async def end_with(self, last: Node) -> None:
        """Say a last word, close in good order, and wait a little for the client to do the same."""
        await self._out_of_the_hole()
        self.send(last)
        await asyncio.sleep(LAST_WORDS)
        self._websocket.close()
        with contextlib.suppress(Closed, TimeoutError):
            async with asyncio.timeout(CLOSE_WAIT):
                while True:
                    await self._websocket.receive()

    def end_soon(self, last: Node | None = None) -> None:
        """End the connection from outside: a last word, then a close; from now on the client is not heard."""
        if not self._ending:
            self._ending = True
            self._end(last)

    def _end(self, last: Node | None) -> None:
        loop = asyncio.get_running_loop()
        if self._deaf and not self._gone:
            loop.call_later(HOLE_CHECK, self._end, last)  # nothing gets out of a blackhole, no end either
            return
        if last is not None:
            self.send(last)
        loop.call_later(LAST_WORDS if last else 0, self._websocket.close)
        loop.call_later(CLOSE_WAIT, self._channel.abort)

    def end_if_it_stays(self) -> None:
        """Let the client close by itself, as it does after 515; end the connection if it does not."""
        asyncio.get_running_loop().call_later(CLOSE_WAIT, self.end_soon)

    def reset(self) -> None:
        """Cut the connection with a TCP reset."""
        self._channel.reset()
