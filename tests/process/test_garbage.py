"""What no honest client says, at every place: it gets an error or the end, and nobody else notices."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support import stand_in
from support.stand_in import AGENT, HEAD, HOST, Gone, Keys, StandIn
from websockets.frames import Frame, Opcode

from orchestrator.sandbox import token
from orchestrator.sandbox.crypto.certs import Authority
from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.noise import Initiator
from orchestrator.sandbox.process import SandboxProcess
from orchestrator.sandbox.server import channel, listener, media, session
from orchestrator.sandbox.server.hub import Hub
from orchestrator.sandbox.server.listener import Listener
from orchestrator.sandbox.server.store import Store
from orchestrator.sandbox.wire import proto
from orchestrator.sandbox.wire.frames import HEADER, encode_frame
from orchestrator.sandbox.wire.jid import GROUP, JID, LID, SERVER
from orchestrator.sandbox.wire.node import Node
from orchestrator.sandbox.wire.tokens import Tokens

CONNECT = b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\n"
TLS_HELLO = bytes.fromhex("16 03 01 02 00 01 00 01 fc 03 03") + bytes(64)
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SOCKS_NO = b"\x05\x05\x00\x01\x00\x00\x00\x00\x00\x00"
PROTOCOL_ERROR = (1002).to_bytes(2)
TOO_BIG = (1009).to_bytes(2)
SMALL_FUZZ = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@dataclass(frozen=True)
class Someone:
    """A linked stand-in."""

    keys: Keys
    address: JID
    lid: JID
    number: str


@dataclass(frozen=True)
class Place:
    """A sandbox with somebody who is online all the time, and somebody in whose name garbage is said."""

    sandbox: SandboxProcess
    bystander: StandIn
    connection: int
    culprit: Someone
    friend: Someone
    group: str

    @property
    def port(self) -> int:
        return self.sandbox.port

    @property
    def ca_file(self) -> Path:
        return self.sandbox.state_dir / "ca.pem"

    def since(self) -> int:
        return self.sandbox.client.last_event()


class Visits:
    """Makes connections, all of which are closed in the end."""

    def __init__(self, place: Place, open_ones: ExitStack) -> None:
        self._place = place
        self._open_ones = open_ones
        self.count = 0

    def _kept(self, client: StandIn) -> StandIn:
        self.count += 1
        return self._open_ones.enter_context(client)

    def dial(self) -> StandIn:
        return self._kept(StandIn(self._place.port))

    def control(self) -> StandIn:
        return self._open_ones.enter_context(StandIn(self._place.sandbox.about["control_port"]))

    def connected(self) -> StandIn:
        return self.dial().connect()

    def wrapped(self, host: str = HOST) -> StandIn:
        return self.dial().connect(f"{host}:443").tls(self._place.ca_file, host)

    def websocket(self) -> StandIn:
        return self.wrapped().upgrade()

    def unpaired(self, **other: bytes) -> StandIn:
        return self._kept(stand_in.unpaired(self._place.port, self._place.ca_file, Keys(), **other))

    def login(self) -> StandIn:
        culprit = self._place.culprit
        return self._kept(
            stand_in.login(self._place.port, self._place.ca_file, culprit.keys, culprit.address)
        )

    def online(self) -> StandIn:
        culprit = self._place.culprit
        return self._kept(
            stand_in.online(self._place.port, self._place.ca_file, culprit.keys, culprit.address)
        )


@pytest.fixture(scope="module")
def place(shared_sandbox: SandboxProcess, make_number: Callable[[], str]) -> Iterator[Place]:
    port, ca_file, client = shared_sandbox.port, shared_sandbox.state_dir / "ca.pem", shared_sandbox.client

    def link() -> Someone:
        keys, number, since = Keys(), make_number(), client.last_event()
        address = stand_in.link(port, ca_file, keys, lambda text: client.scan(number, text=text))
        client.wait_for("closed", stand_in.DEADLINE, since)  # or a test would take it for one of its own
        (lid,) = [phone["lid"] for phone in client.phones() if phone["phone"] == number]
        return Someone(keys, address, JID.parse(lid), number)

    culprit, friend = link(), link()
    group = client.make_group(friend.number, "Ducks", [])["group"]
    with stand_in.online(port, ca_file, friend.keys, friend.address) as bystander:
        (connection,) = [one for one in client.connections() if one["phone"] == friend.number]
        yield Place(shared_sandbox, bystander, connection["connection"], culprit, friend, group)


@pytest.fixture
def visits(place: Place) -> Iterator[Visits]:
    """Make connections; in the end the sandbox must live, have no error of its own, and the others' trust."""
    client = place.sandbox.client
    since, logged = client.last_event(), place.sandbox.log.stat().st_size
    with ExitStack() as open_ones:
        made = Visits(place, open_ones)
        yield made
    seen = since
    for _ in range(made.count):
        seen = client.wait_for("closed", stand_in.DEADLINE, seen)["seq"]
    assert client.about()["pid"] == place.sandbox.pid
    place.bystander.ping()
    assert place.connection in [one["connection"] for one in client.connections()]
    assert [event for event in client.events(since) if event["event"] == "error"] == []
    assert place.sandbox.log.read_bytes()[logged:].decode() == ""


def refusals(place: Place, since: int) -> list[str]:
    return [event["why"] for event in place.sandbox.client.events(since) if event["event"] == "refused"]


def garbage(place: Place, since: int) -> str:
    """Return what the sandbox found wrong with a client's bytes, waiting for it if need be."""
    return str(place.sandbox.client.wait_for("garbage", stand_in.DEADLINE, since)["error"])


def close_frame(client: StandIn) -> bytes:
    """Return what the server's close frame says; the connection ends with it."""
    while True:
        opcode, data = client.receive_message()
        if opcode is Opcode.CLOSE:
            client.until_gone()
            return data


# The proxy


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"", b""),
        (b"C", b""),
        (CONNECT[:20], b""),
        (CONNECT + b"Host: web", b""),
        (b"\x05", b""),
        (b"\x05\x03\x00", b""),
        (b"\x05\x01\x02\x01\x04us", b"\x05\x02"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x10web", b"\x05\x00"),
    ],
)
def test_half_a_proxy_request_ends_with_its_client(visits: Visits, said: bytes, answer: bytes) -> None:
    client = visits.dial()
    client.send_bytes(said)
    client.say_no_more()
    assert client.until_gone() == answer


def test_a_reset_in_the_middle_of_a_proxy_request(visits: Visits) -> None:
    client = visits.dial()
    client.send_bytes(CONNECT)
    client.reset()


@pytest.mark.parametrize(
    ("said", "answer", "why"),
    [
        (b"\x00\x01\x02\x03", b"", "neither a SOCKS5 nor an HTTP request"),
        (TLS_HELLO, b"", "neither a SOCKS5 nor an HTTP request"),
        (b"\x04\x01\x01\xbb\x01\x02\x03\x04me\x00", b"", "neither a SOCKS5 nor an HTTP request"),
        (b"hello\r\n\r\n", BAD_GATEWAY, "neither a SOCKS5 nor an HTTP request"),
        (b"CONNECT web.whatsapp.com:443 HTTP/2\r\n\r\n", BAD_GATEWAY, "neither a SOCKS5 nor an HTTP request"),
        (b"CONNECT web.whatsapp.com HTTP/1.1\r\n\r\n", BAD_GATEWAY, "CONNECT without host:port"),
        (b"CONNECT :443 HTTP/1.1\r\n\r\n", BAD_GATEWAY, "CONNECT without host:port"),
        (b"CONNECT web.whatsapp.com:https HTTP/1.1\r\n\r\n", BAD_GATEWAY, "CONNECT without host:port"),
        (b"CONNECT x:" + b"4" * 5000 + b" HTTP/1.1\r\n\r\n", BAD_GATEWAY, "CONNECT without host:port"),
        (b"GET http://web.whatsapp.com/ HTTP/1.1\r\n\r\n", BAD_GATEWAY, "GET instead of CONNECT"),
        (b"CONNECT web.whatsapp.com:80 HTTP/1.1\r\n\r\n", BAD_GATEWAY, "web.whatsapp.com:80 is not WhatsApp"),
        (CONNECT + b"X: " + b"x" * 40_000 + b"\r\n\r\n", BAD_GATEWAY, "the request's head is too long"),
        (CONNECT + b"Proxy-Authorization: Basic ???\r\n\r\n", BAD_GATEWAY,
         "Proxy-Authorization is not what Basic asks for"),
        (CONNECT + b"Proxy-Authorization: Basic /////w==\r\n\r\n", BAD_GATEWAY,
         "Proxy-Authorization is not what Basic asks for"),
        (b"\x05\x00", b"\x05\xff", "SOCKS5: no method of authentication in common"),
        (b"\x05\x02\x01\x80", b"\x05\xff", "SOCKS5: no method of authentication in common"),
        (b"\x05\x01\x02\x05\x01", b"\x05\x02\x01\x01", "SOCKS5: unknown form of user and password"),
        (b"\x05\x01\x00\x04\x01\x00\x03", b"\x05\x00" + SOCKS_NO, "SOCKS5: a request of another version"),
        (b"\x05\x01\x00\x05\x01\x00\x02", b"\x05\x00" + SOCKS_NO, "SOCKS5: unknown kind of address"),
        (b"\x05\x01\x00\x05\x02\x00\x03\x03a.b\x01\xbb", b"\x05\x00" + SOCKS_NO,
         "SOCKS5: only CONNECT is served"),
        (b"\x05\x01\x00\x05\x01\x00\x03\x00\x01\xbb", b"\x05\x00" + SOCKS_NO, ":443 is not WhatsApp"),
        (b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x01\xbb", b"\x05\x00" + SOCKS_NO,
         "127.0.0.1:443 is not WhatsApp"),
        (b"\x05\x01\x00\x05\x01\x00\x04" + bytes(15) + b"\x01\x01\xbb", b"\x05\x00" + SOCKS_NO,
         "::1:443 is not WhatsApp"),
    ],
    ids=range(23),
)  # fmt: skip
def test_a_proxy_request_that_is_none_is_refused_at_once(
    place: Place, visits: Visits, said: bytes, answer: bytes, why: str
) -> None:
    since = place.since()
    client = visits.dial()
    client.send_bytes(said)
    assert client.until_gone() == answer
    assert refusals(place, since) == [why]


def test_a_proxy_request_without_end_is_cut_off(place: Place, visits: Visits) -> None:
    since = place.since()
    client = visits.dial()
    with suppress(Gone):
        for _ in range(1000):
            client.send_bytes(b"X-More: and more of it\r\n" * 100)
    client.until_gone()
    assert refusals(place, since) == ["the request's head is too long"]


@SMALL_FUZZ
@given(said=st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"\x05\x02\x00\x02" + tail))
def test_any_first_bytes_end_with_their_client(visits: Visits, said: bytes) -> None:
    client = visits.dial()
    with suppress(Gone):
        client.send_bytes(said)
        client.say_no_more()
    client.until_gone()


# TLS


@pytest.mark.parametrize("said", [b"", TLS_HELLO[:7]])
def test_half_a_tls_handshake_ends_with_its_client(visits: Visits, said: bytes) -> None:
    client = visits.connected()
    client.send_bytes(said)
    client.say_no_more()
    client.until_gone()


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 50, b"\x16\x03\x01\x00\x05hello", HEADER + b"\x00\x00\x01x"]
)
def test_no_tls_where_tls_should_begin(place: Place, visits: Visits, said: bytes) -> None:
    since = place.since()
    client = visits.connected()
    client.send_bytes(said)
    client.until_gone()
    place.sandbox.client.wait_for("closed", stand_in.DEADLINE, since)
    (why,) = refusals(place, since)
    assert why.startswith("TLS: ")


def test_a_client_that_does_not_trust_the_authority(place: Place, visits: Visits) -> None:
    since = place.since()
    client = visits.connected()
    with pytest.raises(ssl.SSLCertVerificationError):
        client.tls(None)
    place.sandbox.client.wait_for("closed", stand_in.DEADLINE, since)
    assert refusals(place, since) == ["TLS: TLSV1_ALERT_UNKNOWN_CA"]


def test_garbage_inside_a_tls_connection_that_stands(visits: Visits) -> None:
    client = visits.websocket()
    client.send_outside_tls(b"\x17\x03\x03\x00\x20" + bytes(32))
    client.until_gone()


# HTTP


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (b"\x00\x01\x02\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 404),
        (HEAD.replace(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), 400),
        (HEAD.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), 400),
        (HEAD.replace(b"Version: 13", b"Version: 12"), 400),
        (HEAD.replace(b"Connection: Upgrade", b"Connection: close"), 426),
        (HEAD.replace(b"GET", b"POST"), 405),
        (HEAD.replace(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 300 + b"\r\n"), 431),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, None),
    ],
    ids=range(16),
)  # fmt: skip
def test_an_http_request_that_is_none_is_answered_and_ended(
    visits: Visits, said: bytes, status: int | None
) -> None:
    client = visits.wrapped()
    client.send_bytes(said)
    answer = client.until_gone()
    assert answer.split(b" ")[1:2] == ([str(status).encode()] if status else [])
    assert b"502" not in answer  # the proxy's part was over


def exchange(client: StandIn, head: str, body: bytes = b"") -> tuple[int, bytes]:
    """Send a request that is its connection's last, and return status and body of the answer."""
    with suppress(Gone):
        client.send_bytes(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode() + body)
    head_bytes, _, content = client.until_gone().partition(b"\r\n\r\n")
    return int(head_bytes.split(b" ")[1]), content


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("GET /v/nobody-uploaded-this HTTP/1.1", b"", 404),
        ("GET /v/ HTTP/1.1", b"", 404),
        ("GET /v/%00%ff/.. HTTP/1.1", b"", 404),
        ("GET / HTTP/1.1", b"", 404),
        ("HEAD / HTTP/1.1", b"", 404),
        ("DELETE /v/x HTTP/1.1", b"", 404),
        ("CONNECT example.org:443 HTTP/1.1", b"", 404),
        ("POST /mms/image/AAAA HTTP/1.1", b"", 401),
        ("POST /mms/image/AAAA HTTP/1.1\r\nContent-Length: 3", b"abc", 401),
        ("POST /mms/nonsense/AAAA HTTP/1.1\r\nContent-Length: 3", b"abc", 404),
        ("POST /mms/image/AAAA/more HTTP/1.1\r\nContent-Length: 3", b"abc", 404),
    ],
)
def test_media_that_are_not_there_or_not_what_they_say(
    visits: Visits, head: str, body: bytes, status: int
) -> None:
    assert exchange(visits.wrapped(media.HOST), head, body)[0] == status


def test_an_upload_that_is_too_large(visits: Visits) -> None:
    head = f"POST /mms/image/AAAA HTTP/1.1\r\nContent-Length: {2**40}"
    client = visits.wrapped(media.HOST)
    with suppress(Gone):
        client.send_bytes(f"{head}\r\nHost: x\r\n\r\n".encode())
        for _ in range(100):
            client.send_bytes(bytes(1024 * 1024))
    assert client.until_gone().split(b" ")[1:2] in ([b"413"], [])  # it may be lost in the reset


def test_half_an_upload_leaves_nothing(place: Place, visits: Visits) -> None:
    since = place.since()
    client = visits.wrapped(media.HOST)
    client.send_bytes(b"POST /mms/image/AAAA HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
    client.reset()
    place.sandbox.client.wait_for("closed", stand_in.DEADLINE, since)
    assert [e for e in place.sandbox.client.events(since) if e["event"] == "media-stored"] == []


# WebSocket


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\x82\x01x", PROTOCOL_ERROR + b"incorrect masking"),
        (b"\x83\x80abcd", PROTOCOL_ERROR + b"invalid opcode"),
        (b"\xc2\x80abcd", PROTOCOL_ERROR + b"reserved bits must be 0"),
        (b"\x80\x80abcd", PROTOCOL_ERROR + b"unexpected continuation frame"),
        (b"\x09\x80abcd", PROTOCOL_ERROR + b"fragmented control frame"),
        (b"\x89\xfe\x00\x7eabcd" + bytes(126), PROTOCOL_ERROR + b"control frame too long"),
        (b"\x88\x81abcd" + bytes([ord("a") ^ 1]), PROTOCOL_ERROR + b"close frame too short"),
        (b"\x02\x80abcd\x82\x80abcd", PROTOCOL_ERROR + b"expected a continuation frame"),
        (b"\x82\xff" + (2**40).to_bytes(8) + b"abcd", TOO_BIG),
        (b"\x82\xff" + (2**63).to_bytes(8) + b"abcd", b""),
    ],
)
def test_a_websocket_frame_that_is_none(visits: Visits, said: bytes, reason: bytes) -> None:
    client = visits.websocket()
    client.send_bytes(said)
    assert close_frame(client).startswith(reason)


def test_text_is_ignored_and_pings_are_answered(visits: Visits, place: Place) -> None:
    since = place.since()
    client = visits.websocket()
    client.send_message(b"not UTF-8: \xff", Opcode.TEXT)
    client.send_message(b"hi", Opcode.PING)
    assert client.receive_message() == (Opcode.PONG, b"hi")
    client.send_message(HEADER + b"\0\0\1x")
    assert close_frame(client) == PROTOCOL_ERROR
    assert garbage(place, since) == "1 bytes are no HandshakeMessage"


@pytest.mark.parametrize("code", [b"", (1000).to_bytes(2), (1001).to_bytes(2) + b"bye"])
def test_a_close_frame_is_answered(visits: Visits, code: bytes) -> None:
    client = visits.websocket()
    client.send_message(code, Opcode.CLOSE)
    assert close_frame(client)[:2] == code[:2]


def test_fragments_are_one_stream(visits: Visits) -> None:
    client = visits.websocket()
    initiator = Initiator(KeyPair.generate(), b"")
    hello = HEADER + encode_frame(initiator.hello())
    client.send_message(hello[:3], fin=False)
    client.send_message(b"in between", Opcode.PING)
    client.send_message(hello[3:9], Opcode.CONT, fin=False)
    client.send_message(hello[9:], Opcode.CONT)
    assert client.receive_message() == (Opcode.PONG, b"in between")
    initiator.read_hello(client.receive_frame())


# Frames and the Noise handshake


def hello_of(**parts: bytes) -> bytes:
    return proto.HandshakeMessage.encode(client_hello=parts)


def finish_of(static: bytes, payload: bytes) -> bytes:
    return proto.HandshakeMessage.encode(client_finish={"static": static, "payload": payload})


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"GET /", "the stream begins with 47 45 54 20"),
        (b"WA\x06\x02", "the stream begins with 57 41 06 02"),
        (HEADER + b"\x01\x00\x01", "a frame of 65537 bytes, where 65536 are allowed"),
        (HEADER + b"\xff\xff\xff", "a frame of 16777215 bytes, where 65536 are allowed"),
        (HEADER + b"\x00\x00\x00", "expected client_hello, got something else"),
        (HEADER + encode_frame(b"\xff" * 20), "20 bytes are no HandshakeMessage"),
        (HEADER + encode_frame(hello_of()), "a public key of 0 bytes"),
        (HEADER + encode_frame(hello_of(ephemeral=bytes(31))), "a public key of 31 bytes"),
        (HEADER + encode_frame(hello_of(ephemeral=bytes(32))), "not a usable X25519 public key"),
        (HEADER + encode_frame(hello_of(ephemeral=b"1" * 32, static=b"1" * 48)), "only Noise XX"),
        (HEADER + encode_frame(finish_of(bytes(48), bytes(20))), "expected client_hello"),
    ],
)
def test_a_hello_that_is_none(place: Place, visits: Visits, said: bytes, error: str) -> None:
    since = place.since()
    client = visits.websocket()
    client.send_message(said)
    assert close_frame(client) == PROTOCOL_ERROR
    assert error in garbage(place, since)


@pytest.mark.parametrize(
    ("finish", "error"),
    [
        (b"", "expected client_finish"),
        (b"\xff" * 20, "20 bytes are no HandshakeMessage"),
        (hello_of(ephemeral=b"1" * 32), "expected client_finish"),
        (finish_of(b"", b""), "0 bytes do not decrypt"),
        (finish_of(bytes(48), bytes(20)), "48 bytes do not decrypt"),
    ],
)
def test_a_finish_that_is_none(place: Place, visits: Visits, finish: bytes, error: str) -> None:
    since = place.since()
    client = visits.websocket()
    client.send_message(HEADER + encode_frame(Initiator(KeyPair.generate(), b"").hello()))
    client.receive_frame()
    client.send_message(encode_frame(finish))
    assert close_frame(client) == PROTOCOL_ERROR
    assert error in garbage(place, since)


def test_a_finish_with_another_key_than_that_of_the_proof(place: Place, visits: Visits) -> None:
    since = place.since()
    client = visits.websocket()
    initiator = Initiator(KeyPair.generate(), b"payload")
    client.send_message(HEADER + encode_frame(initiator.hello()))
    finish = proto.HandshakeMessage.decode(initiator.read_hello(client.receive_frame())).client_finish
    changed = finish.payload[:-1] + bytes([finish.payload[-1] ^ 1])
    client.send_message(encode_frame(finish_of(finish.static, changed)))
    assert close_frame(client) == PROTOCOL_ERROR
    assert garbage(place, since) == f"{len(changed)} bytes do not decrypt as number 0"


# What a client says of itself


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b"\xff\xff\xff", "3 bytes are no ClientPayload"),
        (proto.ClientPayload.encode(username=4915100001, device=256), "device 256 does not fit"),
        (proto.ClientPayload.encode(username=1, device=2**64 - 1), "does not fit into one byte"),
    ],
)
def test_a_payload_that_is_none(place: Place, visits: Visits, payload: bytes, error: str) -> None:
    since = place.since()
    client = visits.websocket().handshake(Keys(), payload)
    assert close_frame(client) == PROTOCOL_ERROR
    assert error in garbage(place, since)


@pytest.mark.parametrize(
    ("part", "value", "error"),
    [
        ("identity", bytes(31), "the client's identity is not 32 bytes long"),
        ("registration_id", b"", "the client's registration_id is not 4 bytes long"),
        ("signed_prekey_id", bytes(4), "the client's signed_prekey_id is not 3 bytes long"),
        ("signed_prekey", bytes(33), "the client's signed_prekey is not 32 bytes long"),
        ("signed_prekey_signature", bytes(63), "the client's signed_prekey_signature is not 64 bytes long"),
        ("device_props", b"\xff", "1 bytes are no DeviceProps"),
        ("device_props", b"\x0a\x02\xff\xfe", "4 bytes are no DeviceProps"),
    ],
)
def test_an_unpaired_client_with_unfit_keys(
    place: Place, visits: Visits, part: str, value: bytes, error: str
) -> None:
    since = place.since()
    assert close_frame(visits.unpaired(**{part: value})) == PROTOCOL_ERROR
    assert garbage(place, since) == error


@pytest.mark.parametrize(
    "payload",
    [
        proto.ClientPayload.encode(user_agent=AGENT),
        proto.ClientPayload.encode(username=2**64 - 1, device=1, user_agent=AGENT),
    ],
)
def test_a_login_of_nobody_is_refused(visits: Visits, payload: bytes) -> None:
    client = visits.websocket().handshake(Keys(), payload)
    assert client.receive() == Node("failure", {"reason": "401", "location": "cln"})
    client.send_message((1000).to_bytes(2), Opcode.CLOSE)
    client.until_gone()


def test_a_login_in_the_name_of_another_is_refused_and_harms_nobody(place: Place, visits: Visits) -> None:
    friend = place.friend
    payload = proto.ClientPayload.encode(
        username=int(friend.address.user), device=friend.address.device, user_agent=AGENT
    )
    client = visits.websocket().handshake(Keys(), payload)
    assert client.receive().text("reason") == "401"
    client.send_message((1000).to_bytes(2), Opcode.CLOSE)
    client.until_gone()
    (phone,) = [one for one in place.sandbox.client.phones() if one["phone"] == friend.number]
    assert [(one["device"], one["online"]) for one in phone["devices"]] == [(friend.address.device, True)]


def test_a_client_that_goes_before_it_is_told_has_not_been_logged_out(place: Place, visits: Visits) -> None:
    client, number, since = place.sandbox.client, place.culprit.number, place.since()
    fault = client.fault("failure", number, reason=403)
    visits.login().reset()
    closed = client.wait_for("closed", stand_in.DEADLINE, since)
    events = client.events(since)
    mine = [one["event"] for one in events if one.get("connection") == closed["connection"]]
    assert "login-refused" not in mine
    # It is told when it comes again, unless that is called off.
    assert [one["id"] for one in client.clear_faults(fault["id"])] == [fault["id"]]
    visits.online().ping()


# After the log-in


@pytest.mark.parametrize(
    ("plain", "error"),
    [
        (b"", "the frame is empty"),
        (b"\x00", "the stanza is cut off"),
        (b"\x00\x01\x02", "byte 1 at 1 begins no list"),
        (b"\x00\xf8\x00", "an element without a tag"),
        (b"\x00\xf8\x01\xfc\x05ab", "the stanza is cut off"),
        (b"\x04\xf8\x01\x07", "unknown flags 0x04"),
        (b"\x02 no zlib", "not compressed data"),
        (b"\x02" + zlib.compress(bytes(2**24 + 1)), "more than 16777216 bytes when decompressed"),
        (b"\x00" + b"\xf8\x02\x07\xf8\x01" * 100, "more than 64 levels"),
        (b"\x00\xf8\x01\x07\x00", "1 bytes after the stanza's end"),
    ],
)
def test_what_is_no_stanza_ends_the_connection(
    place: Place, visits: Visits, plain: bytes, error: str
) -> None:
    since = place.since()
    client = visits.online()
    client.send_plain(plain)
    assert close_frame(client) == PROTOCOL_ERROR
    assert error in garbage(place, since)


@pytest.mark.parametrize("sealed", [b"", bytes(15), bytes(40)])
def test_a_frame_that_does_not_decrypt_ends_the_connection(
    place: Place, visits: Visits, sealed: bytes
) -> None:
    since = place.since()
    client = visits.online()
    client.send_message(encode_frame(sealed))
    assert close_frame(client) == PROTOCOL_ERROR
    assert garbage(place, since) == f"{len(sealed)} bytes do not decrypt as number 1"


def test_a_frame_sent_twice_ends_the_connection(place: Place, visits: Visits) -> None:
    since = place.since()
    client = visits.online()
    frame = encode_frame(client.seal(b"\x00\xf8\x01\x07"))
    client.send_message(frame + frame)
    assert close_frame(client) == PROTOCOL_ERROR
    assert "do not decrypt" in garbage(place, since)


def iq(namespace: str, *children: Node, kind: str = "get", **attrs: str | JID) -> Node:
    head: dict[str, str | JID] = {"id": "Q1", "type": kind, "to": SERVER, "xmlns": namespace}
    return Node("iq", head | attrs, list(children) or None)


def prekey(id_size: int = 3, size: int = 32) -> Node:
    return Node("key", {}, [Node("id", {}, bytes(id_size)), Node("value", {}, bytes(size))])


def signed_prekey(id_size: int = 3, size: int = 32, signature: int = 64) -> Node:
    sizes = {"id": id_size, "value": size, "signature": signature}
    return Node("skey", {}, [Node(tag, {}, bytes(count)) for tag, count in sizes.items()])


def upload(key: Node, skey: Node, registration: bytes = b"1234", identity: bytes = b"i" * 32) -> Node:
    parts = [Node("registration", {}, registration), Node("identity", {}, identity)]
    return iq("encrypt", Node("list", {}, [key]), skey, *parts, kind="set")


def usync(*users: Node) -> Node:
    return iq(
        "usync", Node("usync", {}, [Node("query", {}, [Node("devices")]), Node("list", {}, list(users))])
    )


def link_code(stage: str, **parts: bytes) -> Node:
    children = [Node(tag, {}, data) for tag, data in parts.items()]
    return iq("md", Node("link_code_companion_reg", {"stage": stage}, children), kind="set")


PARTICIPANT = Node("participant", {"jid": "1@lid"})
REFUSED_REQUESTS: dict[str, tuple[Node, str]] = {
    "of no namespace": (Node("iq", {"id": "Q1", "type": "get"}), "501"),
    "of an unknown one": (iq("urn:nonsense", Node("x")), "501"),
    "prekey id of a wrong size": (upload(prekey(id_size=2), signed_prekey()), "400"),
    "prekey of a wrong size": (upload(prekey(size=33), signed_prekey()), "400"),
    "signed prekey of a wrong size": (upload(prekey(), signed_prekey(size=31)), "400"),
    "signature of a wrong size": (upload(prekey(), signed_prekey(signature=63)), "400"),
    "no signed prekey": (iq("encrypt", Node("list", {}, [prekey()]), kind="set"), "400"),
    "registration of a wrong size": (upload(prekey(), signed_prekey(), registration=b"1"), "400"),
    "identity of a wrong size": (upload(prekey(), signed_prekey(), identity=b"1"), "400"),
    "keys of no address": (iq("encrypt", Node("key", {}, [Node("user")])), "400"),
    "devices of no address": (usync(Node("user")), "400"),
    "devices of an address that is none": (usync(Node("user", {"jid": "1:x@lid"})), "400"),
    "no list of people": (iq("usync", Node("usync")), "400"),
    "no app state": (iq("w:sync:app:state", Node("sync", {}, b"bytes"), Node("x")), ""),
    "group request without group": (Node("iq", {"id": "Q1", "type": "get", "xmlns": "w:g2"}, [Node("query")]),
                                    "400"),
    "group request without question": (iq("w:g2", to=JID("1203", GROUP)), "400"),
    "unknown group request": (iq("w:g2", Node("paint"), to=JID("", GROUP)), "501"),
    "unknown request to a group of nobody": (iq("w:g2", Node("paint"), to=JID("1203", GROUP)), "404"),
    "group of nobody": (iq("w:g2", Node("query"), to=JID("1203", GROUP)), "404"),
    "group without subject": (iq("w:g2", Node("create"), kind="set", to=JID("", GROUP)), "400"),
    "group with nobody": (iq("w:g2", Node("create", {"subject": "s"}, [PARTICIPANT]), kind="set",
                             to=JID("", GROUP)), "404"),
    "leaving no group": (iq("w:g2", Node("leave", {}, [Node("group")]), kind="set",
                            to=JID("", GROUP)), "400"),
    "leaving an unknown group": (iq("w:g2", Node("leave", {}, [Node("group", {"id": "12@g.us"})]), kind="set",
                                    to=JID("", GROUP)), "404"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "code"), REFUSED_REQUESTS.values(), ids=REFUSED_REQUESTS)
def test_a_request_that_makes_no_sense_is_refused_and_the_connection_stays(
    visits: Visits, request_: Node, code: str
) -> None:
    client = visits.online()
    client.send(request_)
    answer = client.wait_for(lambda node: node.tag == "iq")
    error = answer.find("error")
    assert (answer.text("id"), error.text("code") if error else "") == ("Q1", code)
    client.ping()


SILENT_STANZAS = {
    "an iq without anything": Node("iq"),
    "an iq without an id": Node("iq", {"type": "set", "xmlns": "urn:nonsense"}),
    "an answer to no request": Node("iq", {"type": "result", "id": "sandbox-99"}),
    "an unknown element": Node("paint", {"id": "1"}, b"red"),
    "a call": Node("call", {"id": "1", "to": "nobody"}),
    "a message to nowhere": Node("message", {"id": "1"}),
    "a message without id": Node("message", {"to": JID("1", LID)}),
    "a message to an address that is none": Node("message", {"id": "1", "to": "1:x@lid"}),
    "a message part to nowhere": Node("message", {"id": "1", "to": JID("1", LID)},
                                      [Node("participants", {}, [Node("to")])]),
    "a receipt to nowhere": Node("receipt", {"id": "1"}),
    "a receipt to nobody": Node("receipt", {"id": "1", "to": JID("1", LID), "type": "retry"}),
    "an ack of nothing": Node("ack"),
    "an ack of an address": Node("ack", {"class": JID("1"), "id": JID("2")}),
    "pairing, though linked": link_code("companion_hello"),
    "codes, though linked": iq("md", Node("pair-device")),
    "unlinking a device that is none": iq("md", Node("remove-companion-device", {"jid": JID("1", LID, 77)}),
                                          kind="set"),
}  # fmt: skip


@pytest.mark.parametrize("stanza", SILENT_STANZAS.values(), ids=SILENT_STANZAS)
def test_a_stanza_that_makes_no_sense_leaves_the_connection_as_it_was(visits: Visits, stanza: Node) -> None:
    client = visits.online()
    client.send(stanza)
    client.ping()


@pytest.mark.parametrize(
    "to", [JID("1", LID), JID("4915199999"), JID("12036300", GROUP), SERVER, JID("status", "broadcast")]
)
def test_a_message_to_nobody_is_acknowledged_with_an_error(visits: Visits, to: JID) -> None:
    client = visits.online()
    client.send(Node("message", {"id": "M1", "type": "text", "to": to}))
    ack = client.wait_for(lambda node: node.tag == "ack")
    assert (ack.text("id"), ack.text("error"), ack.attrs["from"]) == ("M1", "404", to)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("pkmsg", b""),
        ("pkmsg", b"3"),
        ("pkmsg", b"3\xff\xff"),
        ("msg", b"3" + bytes(60)),
        ("skmsg", b"3" * 99),
        ("nonsense", b"x"),
    ],
)
def test_a_phone_asks_again_for_what_it_cannot_decrypt(
    place: Place, visits: Visits, kind: str, data: bytes
) -> None:
    client = visits.online()
    part = Node("to", {"jid": place.friend.lid}, [Node("enc", {"v": "2", "type": kind}, data)])
    message_id = f"{kind} {data.hex()}"
    attrs: dict[str, str | JID] = {"id": message_id, "type": "text", "to": place.friend.lid}
    client.send(Node("message", attrs, [Node("participants", {}, [part])]))
    receipt = client.wait_for(lambda node: node.tag == "receipt" and node.text("id") == message_id)
    assert receipt.text("type") == "retry"
    client.send(Node("ack", {"class": "receipt", "id": message_id, "to": place.friend.lid}))
    client.ping()


def test_a_message_that_grows_beyond_a_frame_is_not_delivered(place: Place, visits: Visits) -> None:
    # It fits into a frame only compressed. Delivered, it would end its receiver's connections for ever.
    codec = stand_in.codec()
    body = Node("enc", {"v": "2", "type": "msg"}, bytes(2**24 - 500))
    part = Node("to", {"jid": place.friend.lid.with_device(place.friend.address.device)}, [body])
    attrs: dict[str, str | JID] = {"id": "HUGE", "type": "text", "to": place.friend.lid}
    stanza = codec.encode(Node("message", attrs, [Node("participants", {}, [part])]))
    since = place.since()
    client = visits.online()
    client.send_plain(b"\x02" + zlib.compress(stanza[1:]))
    client.ping()
    refused = place.sandbox.client.wait_for("bad-stanza", stand_in.DEADLINE, since, tag="message")
    assert "more than can be delivered" in refused["error"]


UNFIT_FOR_UNPAIRED: dict[str, tuple[Node, str | None]] = {
    "prekeys": (upload(prekey(), signed_prekey()), "401"),
    "counting prekeys": (iq("encrypt", Node("count")), "401"),
    "looking people up": (usync(), "401"),
    "groups": (iq("w:g2", Node("participating"), to=JID("", GROUP)), "401"),
    "media": (iq("w:m", Node("media_conn")), "401"),
    "going online": (iq("passive", Node("active"), kind="set"), "401"),
    "unlinking": (iq("md", Node("remove-companion-device"), kind="set"), "401"),
    "a code's unknown stage": (link_code("nonsense"), "400"),
    "a code's beginning without anything": (link_code("companion_hello"), "400"),
    "a code's beginning without number": (
        link_code("companion_hello", link_code_pairing_wrapped_companion_ephemeral_pub=bytes(80)), "400"),
    "a code's beginning of a wrong size": (
        link_code("companion_hello", link_code_pairing_wrapped_companion_ephemeral_pub=bytes(79)), "400"),
    "a code's end before its beginning": (
        link_code("companion_finish", link_code_pairing_wrapped_key_bundle=bytes(156),
                  companion_identity_public=bytes(32)), "400"),
    "a code's end of a wrong size": (
        link_code("companion_finish", link_code_pairing_wrapped_key_bundle=bytes(156),
                  companion_identity_public=bytes(31)), "400"),
    "a message": (Node("message", {"id": "1", "to": JID("1", LID)}), None),
    "a receipt": (Node("receipt", {"id": "1", "to": JID("1", LID)}), None),
}  # fmt: skip


@pytest.mark.parametrize(("stanza", "code"), UNFIT_FOR_UNPAIRED.values(), ids=UNFIT_FOR_UNPAIRED)
def test_an_unpaired_client_cannot_do_what_needs_a_linked_one(
    visits: Visits, stanza: Node, code: str | None
) -> None:
    client = visits.unpaired()
    stand_in.refs(client)
    client.send(stanza)
    if code is not None:
        answer = client.wait_for(lambda node: node.text("id") == "Q1")
        error = answer.find("error")
        assert (error.text("code") if error else "") == code
    client.ping()


# Linking with a client that misbehaves


@contextmanager
def scanning(place: Place, text: str) -> Iterator[list[str]]:
    """Hold a phone to a code meanwhile; the errors that come of it are in the list at the end."""
    errors: list[str] = []

    def scan() -> None:
        try:
            place.sandbox.client.scan(place.culprit.number, text=text)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            errors.append(str(error))

    thread = threading.Thread(target=scan)
    thread.start()
    yield errors
    thread.join()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (None, "the client has gone"),
        ([], "<iq> has no <pair-device-sign/device-identity>"),
        (
            [Node("pair-device-sign", {}, [Node("device-identity", {}, b"\xff")])],
            "the client's answer does not",
        ),
        (
            [Node("pair-device-sign", {}, [Node("device-identity", {}, b"\x0a\x01x")])],
            "the client's answer does",
        ),
    ],
)
def test_a_client_that_does_not_sign_in_return_is_not_linked(
    place: Place, visits: Visits, answer: list[Node] | None, complaint: str
) -> None:
    keys = Keys()
    payload = proto.ClientPayload.encode(user_agent=AGENT, pairing_data=keys.pairing_data())
    client = visits.websocket().handshake(keys, payload)
    devices = len(place.sandbox.client.phones())
    with scanning(place, keys.qr_text(stand_in.refs(client)[0])) as errors:
        request = client.wait_for(lambda node: node.find("pair-success") is not None)
        if answer is None:
            client.reset()
        else:
            client.send(Node("iq", {"to": SERVER, "type": "result", "id": request.text("id")}, answer))
    assert errors[0].startswith(complaint)
    assert len(place.sandbox.client.phones()) == devices


def test_a_client_that_goes_while_its_code_is_entered(place: Place, visits: Visits) -> None:
    keys = Keys()
    payload = proto.ClientPayload.encode(user_agent=AGENT, pairing_data=keys.pairing_data())
    client = visits.websocket().handshake(keys, payload)
    stand_in.refs(client)
    assert client.ask("md", keys.code_wanted(place.culprit.number), kind="set").text("type") == "result"
    errors: list[str] = []

    def enter() -> None:
        try:
            place.sandbox.client.enter_code(place.culprit.number, "ABCD-EFGH")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the result
            errors.append(str(error))

    thread = threading.Thread(target=enter)
    thread.start()
    client.wait_for(lambda node: node.tag == "notification")
    client.reset()
    thread.join()
    assert errors == ["the client has gone: it did not answer to the code"]


# The control interface


def headers(place: Place) -> dict[str, str]:
    """Return what each request of the sandbox's own user has."""
    secret = token.read(place.sandbox.state_dir / token.NAME)
    return {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}


def ours(place: Place, said: bytes) -> bytes:
    """Return a request as if it were from the sandbox's own user."""
    port = place.sandbox.about["control_port"]
    lines = [f"{name}: {value}" for name, value in {"Host": f"127.0.0.1:{port}", **headers(place)}.items()]
    return said.replace(b"Host: x", "\r\n".join(lines).encode())


def asked(place: Place, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(
        "127.0.0.1", place.sandbox.about["control_port"], timeout=stand_in.DEADLINE
    )
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers(place))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def post(body: bytes) -> bytes:
    return b"POST /send HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        len(body), body
    )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "status"),
    [
        (post(b""), 400),
        (post(b"{"), 400),
        (post(b"\x00\xff"), 400),
        (post(b"[]"), 400),
        (post(b'"text"'), 400),
        (post(b"[" * 100_000), 400),
        (post(b'{"from": ' + b"1" * 5000 + b"}"), 400),
        (TLS_HELLO + b"\r\n\r\n", 400),
        (b"hello\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET //[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421),
        (b"POST /send HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000, 431),
    ],
    ids=range(15),
)
def test_a_control_request_that_is_none_is_told_what_is_wrong(
    visits: Visits, place: Place, said: bytes, status: int
) -> None:
    client = visits.control()
    client.send_bytes(ours(place, said))
    head, _, body = client.until_gone().partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) == status
    assert json.loads(body.splitlines()[0])["error"]


@pytest.mark.parametrize("said", [b"", b"POST /se", post(b"{}")[:-1]])
def test_half_a_control_request_ends_with_its_client(visits: Visits, place: Place, said: bytes) -> None:
    client = visits.control()
    client.send_bytes(ours(place, said))
    client.say_no_more()
    assert client.until_gone() == b""


def test_a_control_request_that_is_too_large(visits: Visits, place: Place) -> None:
    client = visits.control()
    with suppress(Gone):
        head = b"POST /send HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
        client.send_bytes(ours(place, head))
        for _ in range(100):
            client.send_bytes(bytes(1024 * 1024))
    assert client.until_gone().split(b" ")[1:2] in ([b"413"], [])  # it may be lost in the reset


TEXT, WHOLE, NUMBER, YES_NO, TEXTS = "text", "a whole number", "a number", "true or false", "a list of texts"
UNFIT: dict[str, list[object]] = {
    TEXT: [1, 1.5, True, [], {}, ["x"], ""],
    WHOLE: ["1", 1.5, True, [], {}, float("nan")],
    NUMBER: ["1", True, [], {}, float("nan"), float("inf"), 10**400, -1],
    YES_NO: ["yes", 1, [], {}],
    TEXTS: ["x", 1, {}, [1], [None], None],
}
FIELDS: list[tuple[str, dict[str, object], dict[str, str]]] = [
    ("/phones", {}, {"phone": TEXT, "name": TEXT}),
    ("/scan", {}, {"phone": TEXT, "text": TEXT}),
    ("/scan", {"text": None}, {"png": TEXT}),
    ("/code", {"code": "ABCD-EFGH"}, {"phone": TEXT, "code": TEXT}),
    ("/unlink", {}, {"phone": TEXT, "device": WHOLE}),
    ("/send", {"text": "hi"}, {"from": TEXT, "to": TEXT, "text": TEXT}),
    ("/read", {"id": "x"}, {"phone": TEXT, "id": TEXT}),
    ("/forget-sessions", {}, {"phone": TEXT}),
    ("/groups", {"subject": "s", "members": []}, {"phone": TEXT, "subject": TEXT, "members": TEXTS}),
    ("/groups/change", {"change": "subject", "subject": "s"},
     {"phone": TEXT, "group": TEXT, "change": TEXT, "subject": TEXT}),
    ("/groups/change", {"change": "add"}, {"members": TEXTS}),
    ("/faults", {"kind": "failure", "reason": 500, "times": 1, "target": "proxy:nobody"},
     {"kind": TEXT, "target": TEXT, "times": WHOLE, "seconds": NUMBER, "reason": WHOLE, "code": WHOLE,
      "expire": WHOLE, "message": TEXT}),
    ("/faults", {"kind": "slow", "target": "proxy:nobody", "delay": 1, "seconds": 1}, {"delay": NUMBER}),
    ("/faults", {"kind": "refuse", "target": "proxy:nobody", "seconds": 1}, {"drop": YES_NO}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "fields"), FIELDS, ids=[path for path, _, _ in FIELDS])
@pytest.mark.usefixtures("visits", "sandbox")
def test_each_field_of_a_wrong_type_is_named(
    place: Place,
    make_number: Callable[[], str],
    path: str,
    body: dict[str, object],
    fields: dict[str, str],
) -> None:
    number = make_number() if path == "/phones" else place.friend.number
    concerned = {"phone": number, "from": number, "to": number, "group": place.group}
    whole: dict[str, object] = {**({} if path == "/faults" else concerned), **body}
    for field, kind in fields.items():
        for value in UNFIT[kind]:
            if path == "/faults" and field == "message" and value == "":
                continue  # an empty text is one there
            status, answer = asked(place, "POST", path, {**whole, field: value})
            assert (status, field in answer["error"]) == (400, True), (field, value, status, answer)


@pytest.mark.parametrize("field", ["kind", "data", "mime", "caption", "file_name"])
@pytest.mark.usefixtures("visits")
def test_each_field_of_an_attachment_of_a_wrong_type_is_named(place: Place, field: str) -> None:
    number = place.friend.number
    attachment = {"kind": "document", "data": "aGk=", "mime": "text/plain", "caption": "c", "file_name": "f"}
    for value in UNFIT[TEXT]:
        if value == "" and field in ("caption", "file_name"):
            continue  # an empty text is one there
        body = {"from": number, "to": number, **attachment, field: value}
        status, answer = asked(place, "POST", "/send", body)
        assert (status, f"'{field}'" in answer["error"]) == (400, True), (value, status, answer)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/phones", {"phone": "+4915299999", "name": "\ud800"}),
        ("/send", {"text": "\ud800"}),
        ("/send", {"media": "no object"}),
        ("/send", {"media": {"kind": "nonsense", "data": "aGk="}}),
        ("/send", {"media": {"kind": "image", "data": "no base64!"}}),
        ("/send", {"media": {"kind": "image", "data": "ä"}}),
        ("/send", {"media": {"kind": "image"}}),
        ("/send", {"media": {"kind": "image", "data": "aGk=", "caption": 1}}),
        ("/scan", {"text": "no code"}),
        ("/scan", {"png": "aGk="}),
        ("/code", {"code": "short"}),
        ("/groups/change", {"group": "120363", "change": "paint"}),
        ("/groups", {"subject": "\ud800", "members": []}),
        ("/faults", {"kind": "failure", "target": "nobody", "reason": 500}),
        ("/faults", {"kind": "failure"}),
        ("/faults", {"kind": "reset", "colour": "red"}),
    ],
)
@pytest.mark.usefixtures("visits")
def test_a_value_that_makes_no_sense_is_explained(place: Place, path: str, body: dict[str, object]) -> None:
    number = place.friend.number
    people = {} if path == "/faults" else {"phone": number, "from": number, "to": number}
    status, answer = asked(place, "POST", path, {**people, **body})
    assert (status, bool(answer["error"])) in ((400, True), (409, True))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/events?since=-1", 400),
        ("GET", "/events?since=x", 400),
        ("GET", "/events?wait=1e9", 400),
        ("GET", "/inbox", 400),
        ("GET", "/attachment?seq=1", 400),
        ("DELETE", "/faults?id=x", 400),
        ("PUT", "/send", 404),
        ("GET", "/%ff", 404),
    ],
)
@pytest.mark.usefixtures("visits")
def test_a_query_that_makes_no_sense_is_explained(place: Place, method: str, path: str, status: int) -> None:
    found, answer = asked(place, method, path)
    assert (found, bool(answer["error"])) == (status, True)


# Anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)
PATHS = sorted({path for path, _, _ in FIELDS})
NAMES = sorted({name for _, body, fields in FIELDS for name in (*body, *fields)})


@SMALL_FUZZ
@given(path=st.sampled_from(PATHS), body=st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8))
@pytest.mark.usefixtures("visits", "sandbox")
def test_any_json_is_answered(place: Place, path: str, body: dict[str, object]) -> None:
    status, _ = asked(place, "POST", path, body)
    assert status in (200, 400, 409)


@SMALL_FUZZ
@given(plain=st.binary(max_size=60).map(lambda tail: b"\0\xf8" + tail) | st.binary(max_size=60))
def test_any_frame_leaves_or_ends_its_own_connection(visits: Visits, plain: bytes) -> None:
    client = visits.online()
    with suppress(Gone):
        client.send_plain(plain)
        client.ping()


TAGS = (
    "iq message receipt ack notification presence ib chatstate participants to enc list item user usync query"
    " devices lid contact status key skey id value signature registration identity type count active passive"
    " create subject leave group participant add remove promote demote participating media_conn sync"
    " collection link_code_companion_reg privacy retry keys device-identity"
)
NAMES_OF_ATTRIBUTES = (
    "id type to from jid xmlns participant recipient class stage subject category edit change name"
)
KNOWN_TEXTS = (
    "get set result error text media pkmsg msg skmsg read sender retry inactive w:p passive encrypt usync w:m"
    " w:g2 md privacy w:sync:app:state blocklist message receipt notification companion_hello 1 x"
)
VALUES = st.sampled_from(KNOWN_TEXTS.split()) | st.text(
    st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=5
)
PEOPLE = st.sampled_from(["friend", "culprit", "nobody"])
PLACES = st.builds(lambda who, device: (who, device), PEOPLE, st.sampled_from([0, 1, 2, 255]))
ATTRIBUTES = st.dictionaries(
    st.sampled_from(NAMES_OF_ATTRIBUTES.split()),
    VALUES | PLACES | st.just(SERVER) | st.just(JID("120363", GROUP)),
    max_size=6,
)
ELEMENTS = st.recursive(
    st.tuples(st.sampled_from(TAGS.split()), ATTRIBUTES, st.none() | st.binary(max_size=40)),
    lambda inner: st.tuples(st.sampled_from(TAGS.split()), ATTRIBUTES, st.lists(inner, max_size=3)),
    max_leaves=6,
)
REQUESTS = (
    "w:p/ping passive/active encrypt/count encrypt/list encrypt/key usync/usync privacy/tokens w:m/media_conn"
    " md/link_code_companion_reg w:sync:app:state/sync w:g2/create w:g2/leave w:g2/query w:g2/add"
    " w:g2/subject w:g2/participating"
)
"""All but the one that unlinks: the next test needs the device."""


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any], Any]:
    """A request that the server knows, with anything in it."""
    namespace, _, tag = draw(st.sampled_from(REQUESTS.split())).partition("/")
    child = (tag, draw(ATTRIBUTES), draw(st.lists(ELEMENTS, max_size=4)))
    attrs = {"id": "Q1", "type": draw(st.sampled_from(["get", "set"])), "xmlns": namespace}
    return ("iq", draw(ATTRIBUTES) | attrs, [child, *draw(st.lists(ELEMENTS, max_size=3))])


STANZAS = ELEMENTS | requests()


def planted(place: Place, drawn: tuple[str, dict[str, Any], Any]) -> Node:
    """Make a stanza of what was drawn, with the addresses of this sandbox."""
    people = {"friend": place.friend.lid, "culprit": place.culprit.lid, "nobody": JID("1", LID)}
    tag, attrs, content = drawn
    values: dict[str, str | JID] = {
        name: people[value[0]].with_device(value[1]) if isinstance(value, tuple) else value
        for name, value in attrs.items()
    }
    if isinstance(content, list):
        content = [planted(place, child) for child in content]
    return Node(tag, values, content)


@SMALL_FUZZ
@given(drawn=st.lists(STANZAS, min_size=1, max_size=8), paired=st.booleans())
def test_any_stanzas_leave_or_end_their_own_connection(
    place: Place, visits: Visits, drawn: list[tuple[str, dict[str, Any], Any]], paired: bool
) -> None:
    client = visits.online() if paired else visits.unpaired()
    with suppress(Gone):
        for stanza in drawn:
            client.send(planted(place, stanza))
        client.ping()


# Silence


SHORT = 0.5
"""Seconds that stand for the minute in the phase in question; a client may need longer to get there."""


def silent(client: StandIn, *_: object) -> None:
    assert client.until_gone() == b""


def silent_after_connect(client: StandIn, *_: object) -> None:
    assert client.connect().until_gone() == b""


def silent_after_tls(client: StandIn, ca_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client.connect()
    monkeypatch.setattr(listener, "GREETING_TIMEOUT", SHORT)
    assert client.tls(ca_file).until_gone() == b""


def silent_after_upgrade(client: StandIn, ca_file: Path, _: object) -> None:
    assert client.connect().tls(ca_file).upgrade().until_gone() == b""


def silent_after_hello(client: StandIn, ca_file: Path, _: object) -> None:
    hello = HEADER + encode_frame(Initiator(KeyPair.generate(), b"").hello())
    # All at once, as the time runs from the upgrade on.
    client.connect().tls(ca_file).send_bytes(HEAD + Frame(Opcode.BINARY, hello).serialize(mask=True))
    _, _, answer = client.until_gone().partition(b"\r\n\r\n")
    assert len(answer) > 100, "the server's hello"


@pytest.mark.parametrize(
    ("be_silent", "phase"),
    [
        (silent, listener),
        (silent_after_connect, channel),
        (silent_after_tls, None),
        (silent_after_upgrade, session),
        (silent_after_hello, session),
    ],
)
def test_silence_has_an_end_in_every_phase_before_the_client_is_known(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    be_silent: Callable[[StandIn, Path, pytest.MonkeyPatch], None],
    phase: ModuleType | None,
) -> None:
    # In this process, where that time can be changed.
    if phase is not None:
        monkeypatch.setattr(phase, "GREETING_TIMEOUT", SHORT)
    authority = Authority.load_or_make(tmp_path)

    def visit(port: int) -> None:
        with StandIn(port) as client:
            be_silent(client, authority.ca_file, monkeypatch)

    async def serve() -> None:
        with closing(Store(tmp_path / "s")) as store:
            hub = Hub(store, Tokens.none())
            served = Listener(hub, authority.server_context())
            await served.start()
            await asyncio.to_thread(visit, served.port)
            await served.stop()
            assert [event["event"] for event in hub.events.since(0) if event["event"] == "error"] == []

    asyncio.run(serve())
