"""A light stand-in for neonize: it links, logs in and stays online, many of them in one asyncio process.

What it says to the server is what the real client says: proxy, TLS, WebSocket, Noise, the signatures of
linking, 812 prekeys at the first log-in, pings. It reads no messages: it confirms them unopened. A real
client takes some 50 MB and a second of CPU to link, this one some 100 kB and a fiftieth of a second.

    world = World.of(sandbox.about)
    client = LightClient(world)
    await client.link(scan)      # scan is called with the text of the QR code
    await client.log_in()
    await client.stay()          # until it is cancelled, or the server ends the connection
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import os
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from orchestrator.sandbox.client import SandboxError
from orchestrator.sandbox.crypto import linking
from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.noise import Initiator, Transport
from orchestrator.sandbox.crypto.xeddsa import sign
from orchestrator.sandbox.environment import ROOT_KEY_VARIABLE
from orchestrator.sandbox.server.pairing import NOT_SHOWN, code_shown
from orchestrator.sandbox.wire import proto
from orchestrator.sandbox.wire.binxml import Codec
from orchestrator.sandbox.wire.frames import HEADER, FrameReader, encode_frame
from orchestrator.sandbox.wire.jid import JID, SERVER
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.tokens import load_tokens

HOST = "web.whatsapp.com"
PING_SECONDS = (20.0, 30.0)
"""neonize waits a random time between these before each ping."""
AGENT = {"platform": 14, "app_version": {"primary": 2, "secondary": 3000, "tertiary": 1_047_769_893}}
"""What neonize says of its version."""
SCAN_AGAIN_SECONDS = 0.1
"""Until a phone that came too late for a code is held to the next one."""
FIRST_PREKEYS = 812
"""Prekeys that neonize uploads when it logs in for the first time,"""
MORE_PREKEYS = 50
"""and when it is told that few are left."""


class LightClientError(Exception):
    """The server ended or refused what the real client would have been given; the message says what."""


@dataclass(frozen=True, slots=True)
class World:
    """What all clients of one sandbox share.

    Attributes:
        port: The sandbox's proxy on 127.0.0.1.
        context: Trusts the sandbox's certificates.
        root_key: The key with which the server's Noise certificates must begin.
        codec: Reads and writes stanzas with the real client's token tables.
    """

    port: int
    context: ssl.SSLContext
    root_key: bytes
    codec: Codec

    @classmethod
    def of(cls, about: Mapping[str, Any]) -> Self:
        """Read it off what a running sandbox says of itself."""
        environment = about["environment"]
        context = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        return cls(
            about["port"], context, bytes.fromhex(environment[ROOT_KEY_VARIABLE]), Codec(load_tokens())
        )


class Connection:
    """One connection, from the proxy up to stanzas.

    Every method raises `LightClientError` when the connection ends.
    """

    def __init__(self, world: World, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._world = world
        self._reader = reader
        self._writer = writer
        self._websocket = ClientProtocol(parse_uri(f"wss://{HOST}/ws/chat"), max_size=2**24)
        self._frames = FrameReader(header=b"")
        self._noise: Transport | None = None

    @classmethod
    async def open(cls, world: World, noise: KeyPair, payload: bytes) -> Self:
        """Go through all layers.

        Args:
            world: Where to.
            noise: The client's own pair, by which the server knows it again.
            payload: What the client says of itself.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        connection = cls(world, reader, writer)
        try:
            await connection._open(noise, payload)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _open(self, noise: KeyPair, payload: bytes) -> None:
        self._writer.write(f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n\r\n".encode())
        try:
            answer = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError) as error:
            raise LightClientError(f"the proxy ended the connection: {error}") from None
        if b" 200 " not in answer:
            raise LightClientError(f"the proxy said {answer!r}")
        await self._writer.start_tls(self._world.context, server_hostname=HOST)
        self._websocket.send_request(self._websocket.connect())
        self._flush()
        while self._websocket.state is State.CONNECTING:
            await self._read()
            list(self._websocket.events_received())
        initiator = Initiator(noise, payload, self._world.root_key)
        self._send_bytes(HEADER + encode_frame(initiator.hello()))
        self._send_bytes(encode_frame(initiator.read_hello(await self._frame())))
        self._noise = initiator.transport

    def send(self, node: Node) -> None:
        """Send a stanza."""
        assert self._noise is not None
        self._send_bytes(encode_frame(self._noise.seal(self._world.codec.encode(node))))

    async def receive(self) -> Node:
        """Return the next stanza."""
        frame = await self._frame()
        assert self._noise is not None
        return self._world.codec.decode(self._noise.open(frame))

    def close(self) -> None:
        """End the connection without a word."""
        self._writer.transport.abort()

    async def _frame(self) -> bytes:
        while True:
            for frame in self._frames.frames():
                return frame
            await self._read()
            for event in self._websocket.events_received():
                if isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.CONT):
                    self._frames.feed(bytes(event.data))

    async def _read(self) -> None:
        if self._websocket.state is State.CLOSED or self._websocket.handshake_exc:
            raise LightClientError(f"no WebSocket any more: {self._websocket.handshake_exc}")
        try:
            data = await self._reader.read(65536)
        except (OSError, ssl.SSLError) as error:
            raise LightClientError(f"the connection ended: {error}") from None
        if not data:
            raise LightClientError("the server ended the connection")
        self._websocket.receive_data(data)
        self._flush()

    def _send_bytes(self, data: bytes) -> None:
        self._websocket.send_binary(data)
        self._flush()

    def _flush(self) -> None:
        for data in self._websocket.data_to_send():
            if data:
                self._writer.write(data)


class LightClient:
    """A linked device with nobody behind it.

    Args:
        world: The sandbox to link with.

    Attributes:
        address: Its number and device; None before it is linked.
        pings: How many of its pings were answered.
        messages: How many messages it has confirmed.
    """

    def __init__(self, world: World) -> None:
        self.address: JID | None = None
        self.pings = 0
        self.messages = 0
        self._world = world
        self._noise, self._identity, self._signed_prekey = (KeyPair.generate() for _ in range(3))
        self._registration = random.randrange(1, 16381).to_bytes(4)
        self._ids = itertools.count(1)
        self._next_prekey = 1
        self._ping_ids: set[str] = set()
        self._connection: Connection | None = None

    # Linking

    async def link(self, scan: Callable[[str], Awaitable[object]]) -> JID:
        """Show a QR code and be linked by it.

        Args:
            scan: Holds a phone to the code, of which it is given the text.

        Returns:
            The client's address from now on.
        """
        payload = proto.ClientPayload.encode(user_agent=AGENT, pairing_data=self._pairing_data())
        connection = self._connection = await Connection.open(self._world, self._noise, payload)
        adv_secret = os.urandom(32)
        offer = await self._until(lambda node: node.find("pair-device") is not None)
        connection.send(Node("iq", {"to": SERVER, "type": "result", "id": offer.text("id")}))
        refs = [ref.data.decode() for ref in offer.need("pair-device").all("ref")]
        scanning = asyncio.ensure_future(self._be_scanned(scan, refs, adv_secret))
        success = await self._until(lambda node: node.find("pair-success") is not None)
        address = success.need("pair-success", "device").jid("jid")
        sealed = success.need_data("pair-success", "device-identity")
        signed = linking.answer_identity(sealed, adv_secret, self._identity)
        identity = Node("device-identity", {"key-index": str(address.device)}, signed)
        answer: dict[str, str | JID] = {"to": SERVER, "type": "result", "id": success.text("id")}
        connection.send(Node("iq", answer, [Node("pair-device-sign", {}, [identity])]))
        await self._until(lambda node: node.tag == "stream:error" and node.text("code") == "515")
        connection.close()
        await scanning
        self.address = address
        return address

    async def _be_scanned(
        self, scan: Callable[[str], Awaitable[object]], refs: Sequence[str], adv_secret: bytes
    ) -> None:
        """Show one code after the other, each for its own time, until one of them is scanned in time."""
        keys = [self._noise.public, self._identity.public, adv_secret]
        began = time.monotonic()
        while (shown := code_shown(time.monotonic() - began, len(refs))) is not None:
            try:
                await scan(",".join([refs[shown], *(base64.b64encode(key).decode() for key in keys), "6"]))
                return
            except SandboxError as error:
                if NOT_SHOWN not in str(error):
                    raise
            await asyncio.sleep(SCAN_AGAIN_SECONDS)

    def _pairing_data(self) -> dict[str, bytes]:
        return {
            "registration_id": self._registration,
            "key_type": b"\x05",
            "identity": self._identity.public,
            "signed_prekey_id": (1).to_bytes(3),
            "signed_prekey": self._signed_prekey.public,
            "signed_prekey_signature": sign(self._identity, self._signed_prekey.typed),
            "device_props": proto.DeviceProps.encode(os="Light client", platform_type=5),
        }

    # Being online

    async def log_in(self) -> None:
        """Log in, upload prekeys if the server has few, and take what has waited."""
        assert self.address is not None, "not linked yet"
        payload = proto.ClientPayload.encode(
            username=int(self.address.user), device=self.address.device, passive=True, user_agent=AGENT
        )
        self._connection = await Connection.open(self._world, self._noise, payload)
        await self._until(lambda node: node.tag == "success")
        counted = await self._ask("get", "encrypt", Node("count"))
        if int(counted.need("count").text("value")) < 5:
            await self._ask("set", "encrypt", *self._prekeys(FIRST_PREKEYS))
            await self._ask("get", "encrypt", Node("count"))
        await self._ask("set", "passive", Node("active"))
        await self._until(lambda node: node.find("offline") is not None)

    async def stay(self) -> None:
        """Ping and confirm whatever comes, until the connection ends or this is cancelled."""
        pinging = asyncio.create_task(self._ping())
        try:
            while True:
                self._respond(await self._open_connection.receive())
        finally:
            pinging.cancel()

    def close(self) -> None:
        """End the connection, as the end of its process would."""
        if self._connection is not None:
            self._connection.close()

    @property
    def _open_connection(self) -> Connection:
        assert self._connection is not None, "not connected"
        return self._connection

    async def _ping(self) -> None:
        # The first one comes at any time, so that many clients started together soon ping as evenly as
        # those that have been online for hours.
        await asyncio.sleep(random.uniform(0, PING_SECONDS[1]))
        while True:
            request = self._request("get", "w:p")
            self._ping_ids.add(request.text("id"))
            self._open_connection.send(request)
            await asyncio.sleep(random.uniform(*PING_SECONDS))

    def _prekeys(self, count: int) -> list[Node]:
        # Random bytes are as good a public key as any: nobody here opens what is encrypted for it.
        first, self._next_prekey = self._next_prekey, self._next_prekey + count
        keys = [
            Node("key", {}, [Node("id", {}, number.to_bytes(3)), Node("value", {}, os.urandom(32))])
            for number in range(first, first + count)
        ]
        signature = sign(self._identity, self._signed_prekey.typed)
        signed = [
            Node("id", {}, (1).to_bytes(3)),
            Node("value", {}, self._signed_prekey.public),
            Node("signature", {}, signature),
        ]
        return [
            Node("registration", {}, self._registration),
            Node("type", {}, b"\x05"),
            Node("identity", {}, self._identity.public),
            Node("list", {}, keys),
            Node("skey", {}, signed),
        ]

    def _request(self, kind: str, namespace: str, *children: Node) -> Node:
        attrs: dict[str, str | JID] = {
            "to": SERVER,
            "type": kind,
            "id": f"light-{next(self._ids)}",
            "xmlns": namespace,
        }
        return Node("iq", attrs, list(children) or None)

    async def _ask(self, kind: str, namespace: str, *children: Node) -> Node:
        request = self._request(kind, namespace, *children)
        self._open_connection.send(request)
        answer = await self._until(lambda node: node.tag == "iq" and node.text("id") == request.text("id"))
        if answer.text("type") != "result":
            raise LightClientError(f"the server refused {namespace}: {answer}")
        return answer

    async def _until(self, wanted: Callable[[Node], bool]) -> Node:
        """Return the next stanza of that kind; those before it are answered as they have to be."""
        while not wanted(node := await self._open_connection.receive()):
            self._respond(node)
        return node

    def _respond(self, node: Node) -> None:
        match node.tag:
            case "iq" if node.text("id") in self._ping_ids:
                self._ping_ids.discard(node.text("id"))
                self.pings += 1
            case "message":
                self.messages += 1
                self._answer(node, "receipt", {"type": "inactive"}, ("participant", "recipient"))
            case "receipt":
                self._answer(node, "ack", {"class": "receipt"}, ("type", "participant"))
            case "notification":
                self._answer(node, "ack", {"class": "notification"}, ("type", "participant"))
                if node.find("count") is not None:
                    self._open_connection.send(self._request("set", "encrypt", *self._prekeys(MORE_PREKEYS)))
            case "failure" | "stream:error":
                raise LightClientError(f"the server said {node}")

    def _answer(self, node: Node, tag: str, attrs: dict[str, str | JID], kept: tuple[str, ...]) -> None:
        repeated = {name: node.attrs[name] for name in kept if name in node.attrs}
        self._open_connection.send(
            Node(tag, {"id": node.text("id"), "to": node.jid("from"), **repeated, **attrs})
        )
