"""A client made of the sandbox's own parts, for what the real one would never send.

It goes down the layers one call at a time, and at each of them it can say something else instead:

    dial ─► connect or socks ─► tls ─► upgrade ─► handshake ─► stanzas

All waiting has a deadline; a connection that ends raises `Gone`.
"""

from __future__ import annotations

import base64
import itertools
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from websockets.frames import Frame, Opcode

from orchestrator.sandbox.crypto import linking
from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.noise import Initiator, Transport
from orchestrator.sandbox.crypto.signal import PreKeyBundle
from orchestrator.sandbox.crypto.xeddsa import sign
from orchestrator.sandbox.wire import proto
from orchestrator.sandbox.wire.binxml import Codec
from orchestrator.sandbox.wire.frames import HEADER, FrameReader, encode_frame
from orchestrator.sandbox.wire.jid import JID, SERVER
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.tokens import Tokens, load_tokens

HOST = "web.whatsapp.com"
DEADLINE = 90.0
"""Seconds for any one answer: the machine may be busy with other tests."""
HEAD = (
    f"GET /ws/chat HTTP/1.1\r\nHost: {HOST}\r\nOrigin: https://{HOST}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


AGENT = {"platform": 14, "app_version": {"primary": 2, "secondary": 3000, "tertiary": 1_047_769_893}}
"""What a client says of its version."""


class Gone(Exception):  # noqa: N818 - how a connection ends
    """The server has ended the connection."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What makes a client the one it is."""

    noise: KeyPair = field(default_factory=KeyPair.generate)
    identity: KeyPair = field(default_factory=KeyPair.generate)
    signed_prekey: KeyPair = field(default_factory=KeyPair.generate)
    adv_secret: bytes = field(default_factory=lambda: os.urandom(32))
    signed: list[bytes] = field(default_factory=list)
    """The identity that a phone has signed, once it has."""

    def pairing_data(self, **other: bytes) -> dict[str, bytes]:
        """What an unpaired client says of itself; `other` replaces parts of it."""
        return {
            "registration_id": (4711).to_bytes(4),
            "key_type": b"\x05",
            "identity": self.identity.public,
            "signed_prekey_id": (1).to_bytes(3),
            "signed_prekey": self.signed_prekey.public,
            "signed_prekey_signature": sign(self.identity, self.signed_prekey.typed),
            "device_props": proto.DeviceProps.encode(os="Stand-in", platform_type=5),
            **other,
        }

    def code_wanted(self, number: str, **other: bytes) -> Node:
        """Return what the client says to be linked by eight characters; `other` replaces parts of it."""
        parts = {
            "link_code_pairing_wrapped_companion_ephemeral_pub": bytes(80),
            "companion_server_auth_key_pub": self.noise.public,
            "companion_platform_display": b"Firefox (Linux)",
            **other,
        }
        head: dict[str, str | JID] = {"stage": "companion_hello", "jid": JID(number.removeprefix("+"))}
        children = [Node(tag, {}, data) for tag, data in parts.items()]
        return Node("link_code_companion_reg", head, children)

    def qr_text(self, ref: str) -> str:
        """What the client would show as a QR code."""
        keys = (self.noise.public, self.identity.public, self.adv_secret)
        return ",".join([ref, *(base64.b64encode(key).decode() for key in keys), "6"])


class StandIn:
    """One connection to the sandbox.

    Args:
        port: The sandbox's port, or its control interface's.
    """

    def __init__(self, port: int) -> None:
        self._socket: socket.socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self._ids = itertools.count(1)
        self._frames = FrameReader(header=b"")
        self._transport: Transport | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, whatever it has reached."""
        self._socket.close()

    # Bytes

    def send_bytes(self, data: bytes) -> None:
        """Send bytes in whatever the connection is wrapped in by now."""
        try:
            self._socket.sendall(data)
        except (OSError, ssl.SSLError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise Gone(str(error)) from None

    def send_outside_tls(self, data: bytes) -> None:
        """Send bytes on the TCP connection, past TLS."""
        os.write(self._socket.fileno(), data)

    def receive_bytes(self) -> bytes:
        """Return some bytes."""
        try:
            data = self._socket.recv(65536)
        except TimeoutError:
            raise AssertionError(f"the server said nothing for {DEADLINE:g} s") from None
        except OSError as error:
            raise Gone(str(error)) from None
        if not data:
            raise Gone("end of stream")
        return data

    def exactly(self, count: int) -> bytes:
        """Return so many bytes."""
        data = b""
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except TimeoutError:
                raise AssertionError(f"only {data!r} in {DEADLINE:g} s") from None
            except OSError as error:
                raise Gone(str(error)) from None
            if not piece:
                raise Gone(f"end of stream after {data!r}")
            data += piece
        return data

    def until_gone(self) -> bytes:
        """Return all that the server still says before it ends the connection."""
        said = b""
        while True:
            try:
                said += self.receive_bytes()
            except Gone:
                return said

    def say_no_more(self) -> None:
        """Close this side of the TCP connection only."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection by a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # The layers

    def connect(self, target: str = f"{HOST}:443", more: str = "") -> Self:
        """Go through the proxy by CONNECT."""
        self.send_bytes(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{more}\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.exactly(1)
        assert b" 200 " in answer, answer
        return self

    def tls(self, ca_file: Path | None, host: str = HOST) -> Self:
        """Make a TLS handshake; without an authority of its own it trusts the system's."""
        context = ssl.create_default_context(cafile=ca_file)
        self._socket = context.wrap_socket(self._socket, server_hostname=host)
        return self

    def upgrade(self) -> Self:
        """Make the connection a WebSocket."""
        self.send_bytes(HEAD)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.exactly(1)
        assert b" 101 " in answer, answer
        return self

    def send_message(self, data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> None:
        """Send a WebSocket frame."""
        self.send_bytes(Frame(opcode, data, fin).serialize(mask=True))

    def receive_message(self) -> tuple[Opcode, bytes]:
        """Return the server's next WebSocket frame."""
        first, size = self.exactly(2)
        if size == 126:
            size = int.from_bytes(self.exactly(2))
        elif size == 127:
            size = int.from_bytes(self.exactly(8))
        return Opcode(first & 15), self.exactly(size)

    def receive_frame(self) -> bytes:
        """Return the body of the next frame inside the WebSocket; a close frame raises Gone."""
        while True:
            for frame in self._frames.frames():
                return frame
            opcode, data = self.receive_message()
            if opcode is Opcode.CLOSE:
                raise Gone(f"WebSocket closed: {data!r}")
            if opcode is Opcode.BINARY:
                self._frames.feed(data)

    def handshake(self, keys: Keys, payload: bytes) -> Self:
        """Make the Noise handshake."""
        initiator = Initiator(keys.noise, payload)
        self.send_message(HEADER + encode_frame(initiator.hello()))
        self.send_message(encode_frame(initiator.read_hello(self.receive_frame())))
        self._transport = initiator.transport
        return self

    # Stanzas

    def seal(self, plain: bytes) -> bytes:
        """Encrypt the body of the next frame."""
        assert self._transport is not None
        return self._transport.seal(plain)

    def send_plain(self, plain: bytes) -> None:
        """Send any bytes in the place of a stanza, properly encrypted."""
        self.send_message(encode_frame(self.seal(plain)))

    def send(self, node: Node) -> None:
        """Send a stanza."""
        self.send_plain(Codec(Tokens.none()).encode(node))

    def receive(self) -> Node:
        """Return the next stanza."""
        assert self._transport is not None
        return codec().decode(self._transport.open(self.receive_frame()))

    def wait_for(self, wanted: Callable[[Node], bool]) -> Node:
        """Return the next stanza of that kind; others are skipped."""
        while not wanted(node := self.receive()):
            pass
        return node

    def ask(self, namespace: str, *children: Node, kind: str = "get", **attrs: str | JID) -> Node:
        """Send a request and return its answer."""
        request = f"stand-in-{next(self._ids)}"
        head: dict[str, str | JID] = {"to": SERVER, "type": kind, "id": request, "xmlns": namespace}
        self.send(Node("iq", head | attrs, list(children)))
        return self.wait_for(lambda node: node.tag == "iq" and node.text("id") == request)

    def ping(self) -> None:
        """See that the connection is alive in both directions."""
        assert self.ask("w:p").text("type") == "result"


_codecs: list[Codec] = []


def codec() -> Codec:
    """Return the codec with the client's own token tables."""
    if not _codecs:
        _codecs.append(Codec(load_tokens()))
    return _codecs[0]


@contextmanager
def _kept(client: StandIn) -> Iterator[StandIn]:
    """Close the connection if what is done with it goes wrong."""
    try:
        yield client
    except BaseException:
        client.close()
        raise


def wrapped(port: int, ca_file: Path) -> StandIn:
    """Return a connection that is ready for the upgrade."""
    with _kept(StandIn(port)) as client:
        return client.connect().tls(ca_file)


def unpaired(port: int, ca_file: Path, keys: Keys, **other: bytes) -> StandIn:
    """Return the connection of a client that wants to be linked."""
    payload = proto.ClientPayload.encode(user_agent=AGENT, pairing_data=keys.pairing_data(**other))
    with _kept(wrapped(port, ca_file)) as client:
        return client.upgrade().handshake(keys, payload)


def refs(client: StandIn) -> list[str]:
    """Take the QR codes an unpaired client is given, and say thanks."""
    request = client.wait_for(lambda node: node.find("pair-device") is not None)
    client.send(Node("iq", {"to": SERVER, "type": "result", "id": request.text("id")}))
    return [ref.data.decode() for ref in request.need("pair-device").all("ref")]


def signed_by_phone(client: StandIn) -> Node:
    """Wait until a phone has scanned the client's code; returns the request to sign its identity too."""
    return client.wait_for(lambda node: node.find("pair-success") is not None)


def sign_in_return(client: StandIn, keys: Keys, request: Node) -> JID:
    """Sign what the phone has signed, as the last step of linking; returns the address."""
    success = request.need("pair-success")
    answer = linking.answer_identity(success.need_data("device-identity"), keys.adv_secret, keys.identity)
    keys.signed.append(answer)
    identity = Node("device-identity", {"key-index": "1"}, answer)
    client.send(
        Node(
            "iq",
            {"to": SERVER, "type": "result", "id": request.text("id")},
            [Node("pair-device-sign", {}, [identity])],
        )
    )
    client.wait_for(lambda node: node.tag == "stream:error")
    return success.need("device").jid("jid")


def link(port: int, ca_file: Path, keys: Keys, scan: Callable[[str], Any]) -> JID:
    """Link a new client; `scan` is called with the QR code's text. Returns its address."""
    with unpaired(port, ca_file, keys) as client:
        text = keys.qr_text(refs(client)[0])
        phone = threading.Thread(target=scan, args=(text,))
        phone.start()
        try:
            return sign_in_return(client, keys, signed_by_phone(client))
        finally:
            phone.join()


def login(port: int, ca_file: Path, keys: Keys, address: JID) -> StandIn:
    """Return the connection of a linked client; the server has not said yet whether it is let in."""
    payload = proto.ClientPayload.encode(
        username=int(address.user), device=address.device, passive=True, user_agent=AGENT
    )
    with _kept(wrapped(port, ca_file)) as client:
        return client.upgrade().handshake(keys, payload)


def online(port: int, ca_file: Path, keys: Keys, address: JID) -> StandIn:
    """Return the connection of a linked client that has taken what waited for it."""
    with _kept(login(port, ca_file, keys, address)) as client:
        client.wait_for(lambda node: node.tag == "success")
        client.ask("passive", Node("active"), kind="set")
        client.wait_for(lambda node: node.find("offline") is not None)
        return client


def bundle(user: Node) -> PreKeyBundle:
    """Read what is needed to begin a session with a phone, which has no one-time prekeys."""
    skey = user.need("skey")
    return PreKeyBundle(
        registration_id=int.from_bytes(user.need_data("registration", size=4)),
        identity=user.need_data("identity", size=32),
        signed_prekey_id=int.from_bytes(skey.need_data("id", size=3)),
        signed_prekey=skey.need_data("value", size=32),
        signature=skey.need_data("signature", size=64),
    )
