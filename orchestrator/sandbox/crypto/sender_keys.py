"""Signal's group messages: each member has a sender key, which it gives the others once.

After that a message is encrypted once for the whole group. The key itself travels to each device
in a message between two devices (see `signal`).
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass

from orchestrator.sandbox.crypto.keys import KeyPair, cbc_decrypt, cbc_encrypt, hkdf, untyped
from orchestrator.sandbox.crypto.signal import (
    VERSION,
    ReceivingChain,
    SignalError,
    State,
    advance,
    pad,
    signal_errors,
    unpad,
)
from orchestrator.sandbox.crypto.xeddsa import SIGNATURE_SIZE, sign, verify
from orchestrator.sandbox.wire.proto import SenderKeyDistribution, SenderKeyMessage

MAX_KEYS = 5
"""How many keys of one sender a receiver keeps, as in libsignal."""


@dataclass(slots=True, repr=False)
class SenderKey:
    """A device's own key for one group.

    Attributes:
        key_id: A random number by which receivers tell this key from the sender's others.
        signing: The pair that signs the messages.
        chain: Key of the chain of messages.
        iteration: Number of the next message.
    """

    key_id: int
    signing: KeyPair
    chain: bytes
    iteration: int = 0

    @classmethod
    def make(cls) -> SenderKey:
        """Make a new key."""
        # Receivers read the number as 32 bits, some of them signed ones.
        return cls(secrets.randbelow(2**31 - 1) + 1, KeyPair.generate(), os.urandom(32))

    def distribution(self) -> bytes:
        """Return what a receiver needs to decrypt the messages from the next one on."""
        return VERSION + SenderKeyDistribution.encode(
            key_id=self.key_id,
            iteration=self.iteration,
            chain_key=self.chain,
            signing_key=self.signing.typed,
        )

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt and sign the next message; the result is a `skmsg`."""
        seed, following = advance(self.chain)
        iv, cipher_key = _message_keys(seed)
        message = VERSION + SenderKeyMessage.encode(
            key_id=self.key_id,
            iteration=self.iteration,
            ciphertext=cbc_encrypt(cipher_key, iv, pad(plain)),
        )
        self.chain = following
        self.iteration += 1
        return message + sign(self.signing, message)

    def to_state(self) -> State:
        """Return the key as values for JSON; they are secret."""
        return {
            "key_id": self.key_id,
            "signing": self.signing.private.hex(),
            "chain": self.chain.hex(),
            "iteration": self.iteration,
        }

    @classmethod
    def from_state(cls, state: State) -> SenderKey:
        """Read what `to_state` returned."""
        signing = KeyPair.of(bytes.fromhex(state["signing"]))
        return cls(state["key_id"], signing, bytes.fromhex(state["chain"]), state["iteration"])


@dataclass(slots=True, repr=False)
class _Received:
    key_id: int
    signing: bytes
    chain: ReceivingChain


class ReceivedSenderKeys:
    """The keys that one device of a group has sent, the newest first.

    A failed operation leaves it as it was.
    """

    def __init__(self) -> None:
        self._keys: list[_Received] = []

    @signal_errors()
    def process(self, distribution: bytes) -> None:
        """Take a key in; one that is known already goes on where it stands.

        Raises:
            SignalError: It is no sender key.
        """
        if distribution[:1] != VERSION:
            raise SignalError("not a sender key of Signal's version 3")
        fields = SenderKeyDistribution.decode(distribution[1:])
        signing = untyped(fields.signing_key)
        if len(fields.chain_key) != 32:
            raise SignalError(f"a sender key has 32 bytes, not {len(fields.chain_key)}")
        received = _Received(fields.key_id, signing, ReceivingChain(fields.chain_key, fields.iteration))
        for known in self._keys:
            if (known.key_id, known.signing) == (received.key_id, received.signing):
                received = known
        self._keys = [received, *(known for known in self._keys if known is not received)][:MAX_KEYS]

    @signal_errors()
    def decrypt(self, data: bytes) -> bytes:
        """Decrypt a `skmsg` and return it without padding.

        Raises:
            SignalError: Its key is unknown, it is not signed by its sender, was changed on its way,
                was decrypted before, or was sent before its key was handed out.
        """
        message, signature = data[:-SIGNATURE_SIZE], data[-SIGNATURE_SIZE:]
        if message[:1] != VERSION:
            raise SignalError("not a group message of Signal's version 3")
        fields = SenderKeyMessage.decode(message[1:])
        for key in self._keys:
            if key.key_id == fields.key_id:
                break
        else:
            raise SignalError(f"sender key {fields.key_id} is unknown")
        if not verify(key.signing, message, signature):
            raise SignalError("the group message is not signed by its sender")
        found = key.chain.find(fields.iteration)
        iv, cipher_key = _message_keys(found.seed)
        plain = unpad(cbc_decrypt(cipher_key, iv, fields.ciphertext))
        key.chain.use(found)
        return plain

    def to_state(self) -> list[State]:
        """Return the keys as values for JSON; they are secret."""
        return [
            {"key_id": key.key_id, "signing": key.signing.hex(), "chain": key.chain.to_state()}
            for key in self._keys
        ]

    @classmethod
    def from_state(cls, state: list[State]) -> ReceivedSenderKeys:
        """Read what `to_state` returned."""
        received = cls()
        received._keys = [
            _Received(key["key_id"], bytes.fromhex(key["signing"]), ReceivingChain.from_state(key["chain"]))
            for key in state
        ]
        return received


def _message_keys(seed: bytes) -> tuple[bytes, bytes]:
    """Derive a message's initialisation vector and AES key."""
    derived = hkdf(seed, info=b"WhisperGroup", length=48)
    return derived[:16], derived[16:]
