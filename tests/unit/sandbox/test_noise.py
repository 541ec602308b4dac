import hashlib
import hmac
import itertools
from collections.abc import Callable
from typing import NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.sandbox.crypto import xeddsa
from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.noise import (
    NOT_AFTER,
    NOT_BEFORE,
    Initiator,
    NoiseError,
    Responder,
    SymmetricState,
    Transport,
    certificate_chain,
    verify_chain,
)
from orchestrator.sandbox.wire.proto import CertChain, CertDetails, HandshakeMessage

ROOT, INTERMEDIATE, SERVER, CLIENT, SERVER_EPHEMERAL, CLIENT_EPHEMERAL, OTHER = (
    KeyPair.of(bytes([number]) * 32) for number in range(1, 8)
)
CHAIN = certificate_chain(ROOT, INTERMEDIATE, SERVER.public)
PAYLOAD = b"who I am"
NOW = 1.8e9


def responder() -> Responder:
    return Responder(SERVER, CHAIN, SERVER_EPHEMERAL)


def initiator(root: bytes | None = ROOT.public, now: float = NOW) -> Initiator:
    return Initiator(CLIENT, PAYLOAD, root, CLIENT_EPHEMERAL, clock=lambda: now)


class Handshake(NamedTuple):
    client: Initiator
    server: Responder
    hello: bytes
    answer: bytes
    finish: bytes


def shake_hands() -> Handshake:
    client, server = initiator(), responder()
    hello = client.hello()
    answer = server.read_hello(hello)
    finish = client.read_hello(answer)
    server.read_finish(finish)
    return Handshake(client, server, hello, answer, finish)


# The specification's own arithmetic


class Vector(NamedTuple):
    """One published vector; all values in hex, the messages as pairs of payload and ciphertext."""

    prologue: str
    initiator: tuple[str, str]  # static and ephemeral private key
    responder: tuple[str, str]
    hash: str | None
    messages: list[tuple[str, str]]


VECTORS = {
    # Entry "Noise_XX_25519_AESGCM_SHA256" of vectors/cacophony.txt of the Haskell implementation
    # (github.com/haskell-cryptography/cacophony), as github.com/mcginty/snow has it in tests/vectors.
    "cacophony": Vector(
        prologue="4a6f686e2047616c74",
        initiator=(
            "e61ef9919cde45dd5f82166404bd08e38bceb5dfdfded0a34c8df7ed542214d1",
            "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a",
        ),
        responder=(
            "4a3acbfdb163dec651dfa3194dece676d437029c62a408b4c5ea9114246e4893",
            "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b",
        ),
        hash="1b7aefb1125762aa21a252890d00af54519638b76437444538f9a52f21e2e0dc",
        messages=[
            (
                "4c756477696720766f6e204d69736573",
                (
                    "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944"
                    "4c756477696720766f6e204d69736573"
                ),
            ),
            (
                "4d757272617920526f746862617264",
                (
                    "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f144808843"
                    "757117acceb05bd7a45733bc22015c97a9d0cbaf41b80446d5988ff5127235d7"
                    "6b79eade70f473d6a4ef521fdcbeda5340d01e028ba793fc059f2724a83af05f"
                    "12dda0448a7621a926b379a92477fd"
                ),
            ),
            (
                "462e20412e20486179656b",
                (
                    "c90f1cf77eba4e50edb038991565e36c9758943a989229b6051244dc4fbecb69"
                    "46744b401af2ee1a5881b65fbb87fd07cb6a328ececc9ce6ce84c399dc332d4f"
                    "d521fa4bb7f467ce909395"
                ),
            ),
            ("4361726c204d656e676572", "bc3fa77f6aca3e8466d7dc6bea10013e88a6a29add5132b461806c"),
            (
                "4a65616e2d426170746973746520536179",
                "250b01074cdfe0df2ecf8ccbf1737b15a2ddb5b52fd9a396604e9c793cee3b3bb9",
            ),
            (
                "457567656e2042f6686d20766f6e2042617765726b",
                "449d4d433b3cdc3d02bf6fc881774b9df54366ebcffb9689bb13f14709822cd7ef42bcdb4d",
            ),
        ],
    ),
    # The entry of the same name in tests/vectors/snow.txt of github.com/mcginty/snow.
    "snow": Vector(
        prologue="5468657265206973206e6f20726967687420616e642077726f6e672e20546865"
        "72652773206f6e6c792066756e20616e6420626f72696e672e",
        initiator=(
            "67a147237ca2e511a5328abf44fc049e725d23ac193f1d5e8da60d543670cd39",
            "b4dbfea92d1afb2ce4a508bd5e014d21ee95ced8d12346d226985d40b2da95e7",
        ),
        responder=(
            "0e64a9143ba4c2bb79a25cd1c12575a9da949b52338b32fe1208e4b598c9acc0",
            "c3142e465cafd8356330d7f910146c5428a524e723df165d76a2d5a697aa7e6d",
        ),
        hash=None,
        messages=[
            (
                "09f6721fa79e976f05d523c07e4818bfad6903108a05734e3163cec30442fcf5",
                (
                    "c8a324f41408be37f760130b5a8f2c4e9c92bab229e9b78007aa43b7c7656b34"
                    "09f6721fa79e976f05d523c07e4818bfad6903108a05734e3163cec30442fcf5"
                ),
            ),
            (
                "af62581a26fc31c4b722c1f04d73d845eb6daf35bcd64fc805a46a74bd747d90",
                (
                    "4e935a4c1dccaf91b78062590be1e790f984eeff2ab9a219e491387a99dbfe53"
                    "b9ea4a0a1b78a30056a0615ef4cfcc5d5bcfa087abd07df701c08b2410ab385c"
                    "490a43cd853a15a1d1e8162c25b78d362ff84afd1f02e0d0e8d25ada33fe5f8e"
                    "8856cc49e9a896c1c10616508f52387ca29d35a037c7d1c968a45d07daf01667"
                ),
            ),
            (
                "bae081c11b0a050d08a48d4a2dd387bd927e18d12c1f2758ae712ec4e3948dc8",
                (
                    "72eb5f83ef7773b38886a657b2216368f76f51e90855aaec0c9cd65c7750c531"
                    "b3ef8a9261065b9b73009e698c3e0e1e7153c64e842d877db5f0953c2a43f12b"
                    "dee99b360ebc11ee64a2989bf8f486a45267753caf35ad5900224e9b04c4b5b2"
                ),
            ),
            (
                "062b027afab93baa74c7cdc1ac71b3486636bed142caec9f70f4dd672dbe120d",
                (
                    "9953df9aa4294b12364dd6896de6e705564a5583c67ed86f0b985054d63f4381"
                    "bdb99faa8633893643d6ee3ba987344f"
                ),
            ),
            (
                "3000ff396f68e4d00ac10c97a4c14e5901e3245dc29f9a801427babd59bfc2a3",
                (
                    "d9ea28203c96f5ac9024541d8f05e5e9bbfedccf701d2a2130ddeada49446a54"
                    "6d03c3ed440558782120b95e537a229e"
                ),
            ),
        ],
    ),
}


@pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)
def test_published_vectors(vector: Vector) -> None:
    static, ephemeral = (KeyPair.of(bytes.fromhex(key)) for key in vector.initiator)
    peer_static, peer_ephemeral = (KeyPair.of(bytes.fromhex(key)) for key in vector.responder)
    messages = [(bytes.fromhex(payload), bytes.fromhex(cipher)) for payload, cipher in vector.messages]
    sides = one, two = [SymmetricState(bytes.fromhex(vector.prologue)) for _ in range(2)]

    def pass_on(sender: SymmetricState, receiver: SymmetricState, plain: bytes) -> bytes:
        sealed = sender.encrypt_and_hash(plain)
        assert receiver.decrypt_and_hash(sealed) == plain
        return sealed

    def mix(public: bytes) -> bytes:
        for side in sides:
            side.mix_hash(public)
        return public

    def agree(own: KeyPair, peer: KeyPair) -> None:
        one.mix_key(own.agree(peer.public))
        two.mix_key(peer.agree(own.public))

    # -> e
    assert mix(ephemeral.public) + pass_on(one, two, messages[0][0]) == messages[0][1]
    # <- e, ee, s, es
    sent = mix(peer_ephemeral.public)
    agree(ephemeral, peer_ephemeral)
    sent += pass_on(two, one, peer_static.public)
    agree(ephemeral, peer_static)
    assert sent + pass_on(two, one, messages[1][0]) == messages[1][1]
    # -> s, se
    sent = pass_on(one, two, static.public)
    agree(static, peer_ephemeral)
    assert sent + pass_on(one, two, messages[2][0]) == messages[2][1]

    assert one.hash == two.hash
    if vector.hash is not None:
        assert one.hash.hex() == vector.hash
    assert one.split() == two.split()
    forth, back = one.split()
    client, server = Transport(seal=forth, open=back), Transport(seal=back, open=forth)
    senders = itertools.cycle([(server, client), (client, server)])
    for (payload, cipher), (sender, receiver) in zip(messages[3:], senders, strict=False):
        assert sender.seal(payload) == cipher
        assert receiver.open(cipher) == payload


# WhatsApp's handshake


def test_the_handshake() -> None:
    client, server, hello, answer, finish = shake_hands()
    assert hello == b"\x12\x22\x0a\x20" + CLIENT_EPHEMERAL.public
    assert answer[:1] == b"\x1a"
    assert finish[:1] == b"\x22"
    assert server.client_static == CLIENT.public
    assert server.client_payload == PAYLOAD
    assert client.server_static == SERVER.public
    assert client.server_payload == CHAIN
    for size in (0, 1, 100_000):
        assert server.transport.open(client.transport.seal(bytes(size))) == bytes(size)
        assert client.transport.open(server.transport.seal(bytes(size))) == bytes(size)


def test_the_schedule_written_down_once_more() -> None:
    """A client made of nothing but hashlib, hmac and AES-GCM, so that both sides cannot err together."""
    chaining = transcript = b"Noise_XX_25519_AESGCM_SHA256\0\0\0\0"
    key, count = b"", 0

    def mix_hash(data: bytes) -> None:
        nonlocal transcript
        transcript = hashlib.sha256(transcript + data).digest()

    def derive(secret: bytes) -> tuple[bytes, bytes]:
        extracted = hmac.digest(chaining, secret, "sha256")
        first = hmac.digest(extracted, b"\x01", "sha256")
        return first, hmac.digest(extracted, first + b"\x02", "sha256")

    def mix_key(secret: bytes) -> None:
        nonlocal chaining, key, count
        (chaining, key), count = derive(secret), 0

    def nonce() -> bytes:
        nonlocal count
        count += 1
        return bytes(8) + (count - 1).to_bytes(4)

    def seal(plain: bytes) -> bytes:
        sealed = AESGCM(key).encrypt(nonce(), plain, transcript)
        mix_hash(sealed)
        return sealed

    def unseal(sealed: bytes) -> bytes:
        plain = AESGCM(key).decrypt(nonce(), sealed, transcript)
        mix_hash(sealed)
        return plain

    server = responder()
    mix_hash(b"\x57\x41\x06\x03")
    mix_hash(CLIENT_EPHEMERAL.public)
    answer = HandshakeMessage.decode(
        server.read_hello(b"\x12\x22\x0a\x20" + CLIENT_EPHEMERAL.public)
    ).server_hello
    mix_hash(answer.ephemeral)
    mix_key(CLIENT_EPHEMERAL.agree(answer.ephemeral))
    assert len(answer.static) == 48
    assert unseal(answer.static) == SERVER.public
    mix_key(CLIENT_EPHEMERAL.agree(SERVER.public))
    assert unseal(answer.payload) == CHAIN
    static = seal(CLIENT.public)
    mix_key(CLIENT.agree(answer.ephemeral))
    server.read_finish(HandshakeMessage.encode(client_finish={"static": static, "payload": seal(PAYLOAD)}))
    assert (server.client_static, server.client_payload) == (CLIENT.public, PAYLOAD)

    forth, back = derive(b"")
    for number in range(3):
        counted = bytes(11) + bytes([number])
        assert server.transport.seal(b"down") == AESGCM(back).encrypt(counted, b"down", b"")
        assert server.transport.open(AESGCM(forth).encrypt(counted, b"up", b"")) == b"up"


def test_keys_are_made_anew_for_each_handshake() -> None:
    frames = set()
    for _ in range(2):
        client, server = Initiator(CLIENT, PAYLOAD), Responder(SERVER, CHAIN)
        frames |= {hello := client.hello(), answer := server.read_hello(hello)}
        server.read_finish(client.read_hello(answer))
        assert server.transport.open(client.transport.seal(b"hi")) == b"hi"
    assert len(frames) == 4


def test_frames_that_are_changed_lost_or_sent_again_do_not_open() -> None:
    shaken = shake_hands()
    client, server = shaken.client.transport, shaken.server.transport
    first, second = client.seal(b"first"), client.seal(b"second")
    for wrong in (
        second,
        first[:-1],
        first + b"\0",
        b"",
        bytes(16),
        flip(first, 0, 1),
        server.seal(b"first"),
    ):
        with pytest.raises(NoiseError, match="as number 0"):
            server.open(wrong)
    assert server.open(first) == b"first"
    with pytest.raises(NoiseError, match="as number 1"):
        server.open(first)
    assert server.open(second) == b"second"


def flip(data: bytes, at: int, value: int) -> bytes:
    at %= len(data)
    return data[:at] + bytes([data[at] ^ value]) + data[at + 1 :]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"", "expected client_hello"),
        (b"\xff", "no HandshakeMessage"),
        (b"GET / HTTP/1.1", "no HandshakeMessage"),
        (HandshakeMessage.encode(client_hello={}), "key of 0 bytes"),
        (HandshakeMessage.encode(client_hello={"ephemeral": bytes(31)}), "key of 31 bytes"),
        (HandshakeMessage.encode(client_hello={"ephemeral": bytes(33)}), "key of 33 bytes"),
        (HandshakeMessage.encode(client_hello={"ephemeral": bytes(32)}), "not a usable X25519"),
        (HandshakeMessage.encode(client_hello={"ephemeral": CLIENT.public, "static": b"x"}), "only Noise XX"),
        (
            HandshakeMessage.encode(client_hello={"ephemeral": CLIENT.public, "payload": b"x"}),
            "only Noise XX",
        ),
        (HandshakeMessage.encode(server_hello={"ephemeral": CLIENT.public}), "expected client_hello"),
    ],
)
def test_what_is_wrong_with_a_client_hello(frame: bytes, message: str) -> None:
    with pytest.raises(NoiseError, match=message):
        responder().read_hello(frame)


@pytest.mark.parametrize("frame", [b"", b"\xff", HandshakeMessage.encode(client_finish={})])
def test_what_is_wrong_with_a_client_finish(frame: bytes) -> None:
    server = responder()
    server.read_hello(initiator().hello())
    with pytest.raises(NoiseError):
        server.read_finish(frame)


def test_a_client_that_does_not_own_its_key() -> None:
    client, server = initiator(), responder()
    client._static = KeyPair(private=OTHER.private, public=CLIENT.public)
    finish = client.read_hello(server.read_hello(client.hello()))
    with pytest.raises(NoiseError, match="do not decrypt"):
        server.read_finish(finish)


def test_a_client_whose_key_is_useless() -> None:
    client, server = initiator(), responder()
    client._static = KeyPair(private=CLIENT.private, public=bytes(32))
    finish = client.read_hello(server.read_hello(client.hello()))
    with pytest.raises(NoiseError, match="not a usable X25519"):
        server.read_finish(finish)


def test_a_client_whose_key_is_too_short() -> None:
    client, server = initiator(), responder()
    client._static = KeyPair(private=CLIENT.private, public=bytes(31))
    finish = client.read_hello(server.read_hello(client.hello()))
    with pytest.raises(NoiseError, match="key of 31 bytes"):
        server.read_finish(finish)


# Certificates


def test_the_chain_as_the_client_reads_it() -> None:
    chain = CertChain.decode(CHAIN)
    middle = CertDetails.decode(chain.intermediate.details)
    leaf = CertDetails.decode(chain.leaf.details)
    assert xeddsa.verify(ROOT.public, chain.intermediate.details, chain.intermediate.signature)
    assert xeddsa.verify(middle.key, chain.leaf.details, chain.leaf.signature)
    assert (middle.key, leaf.key) == (INTERMEDIATE.public, SERVER.public)
    assert middle.issuer_serial == 0
    assert leaf.issuer_serial == middle.serial
    for details in (middle, leaf):
        assert (details.not_before, details.not_after) == (NOT_BEFORE, NOT_AFTER)
    verify_chain(CHAIN, root=ROOT.public, static_public=SERVER.public, now=NOW)


def test_the_client_takes_no_server_of_another_root() -> None:
    answer = responder().read_hello(initiator().hello())
    client = initiator(root=OTHER.public)
    client.hello()
    with pytest.raises(NoiseError, match="not signed by its issuer"):
        client.read_hello(answer)
    client = initiator(root=None)
    client.hello()
    client.read_hello(answer)


def test_the_client_takes_no_certificate_of_another_key() -> None:
    client = initiator()
    server = Responder(OTHER, CHAIN)
    with pytest.raises(NoiseError, match="for another key"):
        client.read_hello(server.read_hello(client.hello()))


@pytest.mark.parametrize("now", [NOT_BEFORE - 1, NOT_AFTER + 1])
def test_the_client_takes_no_certificate_of_another_time(now: float) -> None:
    client = initiator(now=now)
    with pytest.raises(NoiseError, match="valid from"):
        client.read_hello(responder().read_hello(client.hello()))


def signed(signer: KeyPair, **details: int | bytes) -> dict[str, bytes]:
    encoded = CertDetails.encode(**{"not_before": NOT_BEFORE, "not_after": NOT_AFTER, **details})
    return {"details": encoded, "signature": xeddsa.sign(signer, encoded)}


@pytest.mark.parametrize(
    ("middle", "leaf", "message"),
    [
        ({"issuer_serial": 1}, {}, "names issuer 1"),
        ({}, {"issuer_serial": 8}, "names issuer 8"),
        ({"key": OTHER.public}, {}, "not signed"),
        ({"key": b""}, {}, "not signed"),
        ({"key": INTERMEDIATE.typed}, {}, "not signed"),
        ({}, {"key": OTHER.public}, "another key"),
        ({"not_after": NOT_BEFORE}, {}, "valid from"),
        ({}, {"not_after": NOT_BEFORE}, "valid from"),
        ({}, {"not_before": NOT_AFTER}, "valid from"),
    ],
)
def test_what_is_wrong_with_a_certificate(
    middle: dict[str, int | bytes], leaf: dict[str, int | bytes], message: str
) -> None:
    chain = CertChain.encode(
        intermediate=signed(ROOT, **{"serial": 3, "key": INTERMEDIATE.public, **middle}),
        leaf=signed(INTERMEDIATE, **{"serial": 4, "issuer_serial": 3, "key": SERVER.public, **leaf}),
    )
    with pytest.raises(NoiseError, match=message):
        verify_chain(chain, root=ROOT.public, static_public=SERVER.public, now=NOW)


# Damage

DAMAGES: list[Callable[[bytes, int, int], bytes]] = [
    flip,
    lambda data, at, _: data[: at % len(data)],
    lambda data, at, value: data[: at % len(data)] + bytes([value]) + data[at % len(data) :],
]
DAMAGE = st.tuples(st.sampled_from(DAMAGES), st.integers(0, 500), st.integers(1, 255))
Damage = tuple[Callable[[bytes, int, int], bytes], int, int]
SHAKEN = shake_hands()


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(NoiseError):
        responder().read_hello(data)
    server = responder()
    server.read_hello(SHAKEN.hello)
    with pytest.raises(NoiseError):
        server.read_finish(data)
    client = initiator()
    client.hello()
    with pytest.raises(NoiseError):
        client.read_hello(data)
    with pytest.raises(NoiseError):
        verify_chain(data, root=ROOT.public, static_public=SERVER.public, now=NOW)


@settings(deadline=None)
@given(DAMAGE)
def test_a_damaged_handshake_ends_in_an_error_or_did_not_matter(damage: Damage) -> None:
    change, at, value = damage
    server = responder()
    server.read_hello(SHAKEN.hello)
    try:
        assert server.read_finish(change(SHAKEN.finish, at, value)) == PAYLOAD
    except NoiseError:
        pass
    else:
        # Only what protobuf skips can differ, such as a field of an unknown number.
        assert server.client_static == CLIENT.public

    client = initiator()
    client.hello()
    try:
        client.read_hello(change(SHAKEN.answer, at, value))
    except NoiseError:
        pass
    else:
        assert client.server_static == SERVER.public


@settings(deadline=None)
@given(DAMAGE)
def test_a_damaged_client_hello_ends_in_an_error_at_the_latest_with_the_finish(damage: Damage) -> None:
    change, at, value = damage
    hello = change(SHAKEN.hello, at, value)
    client, server = initiator(), responder()
    client.hello()
    try:
        server.read_finish(client.read_hello(server.read_hello(hello)))
    except NoiseError:
        return
    assert server.client_static == CLIENT.public


@settings(deadline=None)
@given(DAMAGE)
def test_a_damaged_chain_is_refused_or_means_the_same(damage: Damage) -> None:
    change, at, value = damage
    damaged = change(CHAIN, at, value)
    try:
        verify_chain(damaged, root=ROOT.public, static_public=SERVER.public, now=NOW)
    except NoiseError:
        return
    before, after = CertChain.decode(CHAIN), CertChain.decode(damaged)
    assert (after.leaf.details, after.intermediate.details) == (
        before.leaf.details,
        before.intermediate.details,
    )
