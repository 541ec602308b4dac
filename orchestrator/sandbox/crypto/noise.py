"""The Noise handshake XX_25519_AESGCM_SHA256 as WhatsApp speaks it, both sides, and what follows it.

https://noiseprotocol.org/noise.html (revision 34) is the specification; the names are its names.
WhatsApp departs from it in two points: the messages are protobuf, and the first one has no payload
at all, where the specification mixes in an empty one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from orchestrator.sandbox.crypto import xeddsa
from orchestrator.sandbox.crypto.keys import CryptoError, KeyPair, hkdf
from orchestrator.sandbox.wire.frames import HEADER
from orchestrator.sandbox.wire.proto import CertChain, CertDetails, HandshakeMessage, Kind, ProtoError

PROTOCOL = b"Noise_XX_25519_AESGCM_SHA256"
KEY_SIZE = 32
"""Bytes of an X25519 public key."""
NOT_BEFORE = 1_577_836_800
"""1 January 2020 in Unix seconds: from then on the certificates are valid by default."""
NOT_AFTER = 4_102_444_800
"""1 January 2100 in Unix seconds: until then."""

_ROOT_SERIAL = 0
_INTERMEDIATE_SERIAL = 7
_LEAF_SERIAL = 9


class NoiseError(ValueError):
    """What the peer sent is no such message, does not decrypt, or proves nothing; the message says which."""


class CipherState:
    """AES-256-GCM under one key with nonces counted from 0."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._count = 0

    def encrypt(self, plain: bytes, aad: bytes = b"") -> bytes:
        """Encrypt; the 16-byte tag is at the end."""
        sealed = self._aead.encrypt(self._nonce(), plain, aad)
        self._count += 1
        return sealed

    def decrypt(self, sealed: bytes, aad: bytes = b"") -> bytes:
        """Decrypt; the nonce is used up only if this succeeds.

        Raises:
            NoiseError: The tag does not fit.
        """
        try:
            plain = self._aead.decrypt(self._nonce(), sealed, aad)
        except InvalidTag:
            raise NoiseError(f"{len(sealed)} bytes do not decrypt as number {self._count}") from None
        self._count += 1
        return plain

    def _nonce(self) -> bytes:
        # Four zero bytes and 64 bits of counter. The client counts in 32 bits, which no connection uses up.
        return self._count.to_bytes(12)


class SymmetricState:
    """The specification's object of that name: what both sides have seen, and the keys it has led to.

    Args:
        prologue: What both sides must agree on beforehand.
        protocol: The protocol's name, of at most 32 bytes.

    Attributes:
        hash: The handshake hash.
    """

    def __init__(self, prologue: bytes, protocol: bytes = PROTOCOL) -> None:
        self.hash = self._chaining_key = protocol.ljust(32, b"\0")
        self._cipher: CipherState | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        """Take into account what was sent or received."""
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        """Take a shared secret into account."""
        self._chaining_key, key = self._derive(secret)
        self._cipher = CipherState(key)

    def encrypt_and_hash(self, plain: bytes) -> bytes:
        """Encrypt, as soon as there is a key, and mix the result in."""
        sealed = plain if self._cipher is None else self._cipher.encrypt(plain, self.hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        """Undo `encrypt_and_hash`.

        Raises:
            NoiseError: It does not decrypt.
        """
        plain = sealed if self._cipher is None else self._cipher.decrypt(sealed, self.hash)
        self.mix_hash(sealed)
        return plain

    def split(self) -> tuple[bytes, bytes]:
        """Return the keys of the transport, from the initiator and from the responder."""
        return self._derive(b"")

    def _derive(self, secret: bytes) -> tuple[bytes, bytes]:
        output = hkdf(secret, salt=self._chaining_key, info=b"", length=64)
        return output[:32], output[32:]


class Transport:
    """Both directions of a connection after the handshake."""

    def __init__(self, *, seal: bytes, open: bytes) -> None:  # noqa: A002 - named for what the key is for
        self._seal = CipherState(seal)
        self._open = CipherState(open)

    def seal(self, plain: bytes) -> bytes:
        """Encrypt the body of the next frame to send."""
        return self._seal.encrypt(plain)

    def open(self, sealed: bytes) -> bytes:
        """Decrypt the body of the next frame received.

        Raises:
            NoiseError: It does not decrypt: it was changed, or one before it is missing.
        """
        return self._open.decrypt(sealed)


class Responder:
    """The server's side of a handshake: `read_hello`, then `read_finish`; after an error it is over.

    Args:
        static: The server's own pair.
        payload: What the client gets to see of the server, see `certificate_chain`.
        ephemeral: The pair for this handshake alone; a new one by default.

    Attributes:
        client_static: The client's public key. It has proved to own it. Set by `read_finish`, as are:
        client_payload: What the client says of itself.
        transport: The encryption of all further frames.
    """

    client_static: bytes
    client_payload: bytes
    transport: Transport

    def __init__(self, static: KeyPair, payload: bytes, ephemeral: KeyPair | None = None) -> None:
        self._static = static
        self._payload = payload
        self._ephemeral = ephemeral or KeyPair.generate()
        self._state = SymmetricState(HEADER)

    def read_hello(self, frame: bytes) -> bytes:
        """Read the ClientHello and return the frame that answers it.

        Raises:
            NoiseError: It is no ClientHello of this pattern, or its key is unusable.
        """
        hello = _message(frame, "client_hello")
        if hello.static or hello.payload:
            raise NoiseError("the ClientHello holds more than a key: only Noise XX is spoken here")
        client = _key(hello.ephemeral)
        state = self._state
        state.mix_hash(client)
        state.mix_hash(self._ephemeral.public)
        state.mix_key(_agree(self._ephemeral, client))
        static = state.encrypt_and_hash(self._static.public)
        state.mix_key(_agree(self._static, client))
        payload = state.encrypt_and_hash(self._payload)
        return HandshakeMessage.encode(
            server_hello={"ephemeral": self._ephemeral.public, "static": static, "payload": payload}
        )

    def read_finish(self, frame: bytes) -> bytes:
        """Read the ClientFinish, set the attributes and return what the client says of itself.

        Raises:
            NoiseError: It is no ClientFinish, or does not decrypt.
        """
        finish = _message(frame, "client_finish")
        state = self._state
        client = _key(state.decrypt_and_hash(finish.static))
        state.mix_key(_agree(self._ephemeral, client))
        payload = state.decrypt_and_hash(finish.payload)
        from_client, from_server = state.split()
        self.client_static, self.client_payload = client, payload
        self.transport = Transport(seal=from_server, open=from_client)
        return payload


class Initiator:
    """The client's side of a handshake: `hello`, then `read_hello`; after an error it is over.

    It stands in for the real client in tests and measurements.

    Args:
        static: The client's own pair.
        payload: What it says of itself.
        root: Public key with which the server's certificates must begin; None takes any server.
        ephemeral: The pair for this handshake alone; a new one by default.
        clock: Returns Unix seconds, for the certificates.

    Attributes:
        server_static: The server's public key. It has proved to own it. Set by `read_hello`, as are:
        server_payload: The server's certificates.
        transport: The encryption of all further frames.
    """

    server_static: bytes
    server_payload: bytes
    transport: Transport

    def __init__(
        self,
        static: KeyPair,
        payload: bytes,
        root: bytes | None = None,
        ephemeral: KeyPair | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._static = static
        self._payload = payload
        self._root = root
        self._ephemeral = ephemeral or KeyPair.generate()
        self._clock = clock
        self._state = SymmetricState(HEADER)

    def hello(self) -> bytes:
        """Return the frame with the ClientHello."""
        self._state.mix_hash(self._ephemeral.public)
        return HandshakeMessage.encode(client_hello={"ephemeral": self._ephemeral.public})

    def read_hello(self, frame: bytes) -> bytes:
        """Read the ServerHello, set the attributes and return the frame that answers it.

        Raises:
            NoiseError: It is no ServerHello, does not decrypt, or comes from another server.
        """
        hello = _message(frame, "server_hello")
        state = self._state
        ephemeral = _key(hello.ephemeral)
        state.mix_hash(ephemeral)
        state.mix_key(_agree(self._ephemeral, ephemeral))
        server = _key(state.decrypt_and_hash(hello.static))
        state.mix_key(_agree(self._ephemeral, server))
        chain = state.decrypt_and_hash(hello.payload)
        if self._root is not None:
            verify_chain(chain, root=self._root, static_public=server, now=self._clock())
        static = state.encrypt_and_hash(self._static.public)
        state.mix_key(_agree(self._static, ephemeral))
        payload = state.encrypt_and_hash(self._payload)
        from_client, from_server = state.split()
        self.server_static, self.server_payload = server, chain
        self.transport = Transport(seal=from_client, open=from_server)
        return HandshakeMessage.encode(client_finish={"static": static, "payload": payload})


def certificate_chain(
    root: KeyPair,
    intermediate: KeyPair,
    static_public: bytes,
    *,
    not_before: int = NOT_BEFORE,
    not_after: int = NOT_AFTER,
) -> bytes:
    """Certify the server's static public key, as the client wants to see it.

    Args:
        root: The pair whose public half the client knows.
        intermediate: The pair that the root certifies.
        static_public: The key that the intermediate certifies, of 32 bytes.
        not_before: Unix seconds.
        not_after: Unix seconds.

    Returns:
        The payload of a `Responder`.
    """

    def certify(signer: KeyPair, serial: int, issuer_serial: int, key: bytes) -> dict[str, bytes]:
        details = CertDetails.encode(
            serial=serial, issuer_serial=issuer_serial, key=key, not_before=not_before, not_after=not_after
        )
        return {"details": details, "signature": xeddsa.sign(signer, details)}

    return CertChain.encode(
        leaf=certify(intermediate, _LEAF_SERIAL, _INTERMEDIATE_SERIAL, static_public),
        intermediate=certify(root, _INTERMEDIATE_SERIAL, _ROOT_SERIAL, intermediate.public),
    )


def verify_chain(chain: bytes, *, root: bytes, static_public: bytes, now: float) -> None:
    """Check everything that the real client checks.

    Args:
        chain: What `certificate_chain` made.
        root: The root's public key.
        static_public: The key that the server has proved to own.
        now: Unix seconds.

    Raises:
        NoiseError: The chain does not lead from the root to the key, or is not valid now.
    """
    certificates = _decode(CertChain, chain)
    middle = _verify_certificate(certificates.intermediate, root, _ROOT_SERIAL, now)
    leaf = _verify_certificate(certificates.leaf, middle.key, middle.serial, now)
    if leaf.key != static_public:
        raise NoiseError("the certificate is for another key than the server's")


def _verify_certificate(certificate: Any, issuer: bytes, serial: int, now: float) -> Any:  # noqa: ANN401 - protobuf
    if not xeddsa.verify(issuer, certificate.details, certificate.signature):
        raise NoiseError("a certificate is not signed by its issuer")
    details = _decode(CertDetails, certificate.details)
    if details.issuer_serial != serial:
        raise NoiseError(f"a certificate names issuer {details.issuer_serial} instead of {serial}")
    if not details.not_before <= now <= details.not_after:
        raise NoiseError(f"a certificate is valid from {details.not_before} to {details.not_after} only")
    return details


def _decode(kind: Kind, data: bytes) -> Any:  # noqa: ANN401 - the class is made at run time
    try:
        return kind.decode(data)
    except ProtoError as error:
        raise NoiseError(str(error)) from None


def _message(frame: bytes, name: str) -> Any:  # noqa: ANN401 - the class is made at run time
    message = _decode(HandshakeMessage, frame)
    if not message.HasField(name):
        raise NoiseError(f"expected {name}, got something else")
    return getattr(message, name)


def _key(data: bytes) -> bytes:
    if len(data) != KEY_SIZE:
        raise NoiseError(f"a public key of {len(data)} bytes")
    return data


def _agree(pair: KeyPair, public: bytes) -> bytes:
    try:
        return pair.agree(public)
    except CryptoError as error:
        raise NoiseError(str(error)) from None
