"""Signal's sessions between two devices, as a simulated phone keeps them (libsignal, version 3).

    SignalPhone     identity, signed prekey and the sessions of one device
      Session       what two devices share: root key, a sending chain, receiving chains
        ReceivingChain  one-time seeds in the order the other side uses them

Every operation computes first and changes its state last, so one that fails has changed nothing.
There is no clock here and no I/O; the only thing from outside is the system's randomness.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from orchestrator.sandbox.crypto.keys import (
    DJB,
    CryptoError,
    KeyPair,
    cbc_decrypt,
    cbc_encrypt,
    hkdf,
    hmac_sha256,
    untyped,
)
from orchestrator.sandbox.crypto.xeddsa import sign, verify
from orchestrator.sandbox.wire.proto import PreKeySignalMessage, ProtoError, SignalMessage

EncType: TypeAlias = Literal["pkmsg", "msg"]
"""What WhatsApp calls the two forms of a message in ``<enc type>``."""
State: TypeAlias = dict[str, Any]
"""What ``to_state`` returns: JSON's types only, key material as hex."""

VERSION = b"\x33"
"""First byte of every Signal message: made with version 3, and nothing newer is understood."""
SIGNED_PREKEY_ID = 1
"""A phone has one signed prekey for life."""
MAX_SKIPPED = 2000
"""libsignal's bound, both for a jump ahead and for the seeds kept of the messages passed over."""
MAX_CHAINS = 5
"""libsignal's number of receiving chains a session keeps, the newest included."""
MAX_SESSIONS = 11
"""The session in use and ten older ones; libsignal keeps forty, which a simulated phone never needs."""
_MAC_SIZE = 8
_MAX_PADDING = 15
_DISCONTINUITY = 32 * b"\xff"


class SignalError(CryptoError):
    """A message cannot be encrypted or decrypted; whoever raises it has changed nothing."""


@contextmanager
def signal_errors() -> Iterator[None]:
    """Turn what keys and protobuf messages complain about into a SignalError."""
    try:
        yield
    except (CryptoError, ProtoError) as error:
        raise SignalError(str(error)) from None


def pad(plain: bytes) -> bytes:
    """Add WhatsApp's padding: 1 to 15 equal bytes that say how many they are."""
    count = secrets.randbelow(_MAX_PADDING) + 1
    return plain + count * bytes([count])


def unpad(padded: bytes) -> bytes:
    """Take off what `pad` added.

    Raises:
        SignalError: The end is no such padding.
    """
    count = padded[-1] if padded else 0
    if not 1 <= count <= _MAX_PADDING or not padded.endswith(count * bytes([count])):
        raise SignalError("the padding of the plain text is wrong")
    return padded[:-count]


def advance(chain: bytes) -> tuple[bytes, bytes]:
    """Return the seed of a chain's next message and the chain key after it."""
    return hmac_sha256(chain, b"\x01"), hmac_sha256(chain, b"\x02")


@dataclass(frozen=True, slots=True, repr=False)
class _Found:
    """A message's seed, and how its chain stands once the message has proved to be genuine."""

    counter: int
    seed: bytes
    following: bytes | None
    passed: Mapping[int, bytes]


@dataclass(slots=True, repr=False)
class ReceivingChain:
    """The seeds of one run of messages; those passed over are kept until their message arrives."""

    key: bytes
    counter: int = 0
    skipped: dict[int, bytes] = field(default_factory=dict)

    def find(self, counter: int) -> _Found:
        """Return the seed of a message without changing the chain.

        Raises:
            SignalError: It was used before, is no longer kept, or lies too far ahead.
        """
        if counter < self.counter:
            if counter not in self.skipped:
                raise SignalError(f"message {counter} was decrypted before, or its key is no longer kept")
            return _Found(counter, self.skipped[counter], None, {})
        if counter - self.counter > MAX_SKIPPED:
            raise SignalError(f"message {counter} is more than {MAX_SKIPPED} ahead of {self.counter}")
        passed = {}
        chain = self.key
        for number in range(self.counter, counter):
            passed[number], chain = advance(chain)
        seed, chain = advance(chain)
        return _Found(counter, seed, chain, passed)

    def use(self, found: _Found) -> None:
        """Take note that the message of a found seed was decrypted: the seed is never used again."""
        if found.following is None:
            del self.skipped[found.counter]
            return
        self.key, self.counter = found.following, found.counter + 1
        self.skipped.update(found.passed)
        while len(self.skipped) > MAX_SKIPPED:
            del self.skipped[next(iter(self.skipped))]

    def to_state(self) -> State:
        """Return the chain as values for JSON."""
        skipped = [[number, seed.hex()] for number, seed in self.skipped.items()]
        return {"key": self.key.hex(), "counter": self.counter, "skipped": skipped}

    @classmethod
    def from_state(cls, state: State) -> ReceivingChain:
        """Read what `to_state` returned."""
        skipped = {number: bytes.fromhex(seed) for number, seed in state["skipped"]}
        return cls(bytes.fromhex(state["key"]), state["counter"], skipped)


@dataclass(frozen=True, slots=True)
class PreKeyBundle:
    """What a device publishes so that others can write to it first; keys are 32 bytes.

    Attributes:
        registration_id: Tells installations of one device apart.
        identity: The device's identity key.
        signed_prekey_id: Number of the signed prekey.
        signed_prekey: The key that stands in for the device while it is offline.
        signature: The identity's XEdDSA signature, 64 bytes, over type byte and signed prekey.
        prekey_id: Number of the one-time prekey, if there is one.
        prekey: A key that only this one bundle holds.
    """

    registration_id: int
    identity: bytes
    signed_prekey_id: int
    signed_prekey: bytes
    signature: bytes
    prekey_id: int | None = None
    prekey: bytes | None = None


@dataclass(frozen=True, slots=True, repr=False)
class _Message:
    """A `msg`, read but not yet verified."""

    ratchet: bytes
    counter: int
    body: bytes
    covered: bytes
    mac: bytes

    @classmethod
    def parse(cls, data: bytes) -> _Message:
        covered, mac = data[:-_MAC_SIZE], data[-_MAC_SIZE:]
        if covered[:1] != VERSION:
            raise SignalError("not a message of Signal's version 3")
        fields = SignalMessage.decode(covered[1:])
        return cls(untyped(fields.ratchet_key), fields.counter, fields.ciphertext, covered, mac)


@dataclass(frozen=True, slots=True, repr=False)
class PreKeyMessage:
    """A `pkmsg`: a `msg` with everything its receiver needs to begin the session; keys are 32 bytes."""

    base: bytes
    identity: bytes
    signed_prekey_id: int
    prekey_id: int
    message: bytes

    @classmethod
    @signal_errors()
    def parse(cls, data: bytes) -> PreKeyMessage:
        """Read it; without a one-time prekey the `prekey_id` is 0.

        Raises:
            SignalError: It is none.
        """
        if data[:1] != VERSION:
            raise SignalError("not a message of Signal's version 3")
        fields = PreKeySignalMessage.decode(data[1:])
        base, identity = untyped(fields.base_key), untyped(fields.identity_key)
        return cls(base, identity, fields.signed_prekey_id, fields.prekey_id, fields.message)


@dataclass(slots=True, repr=False)
class Session:
    """The double ratchet between two devices; made by `initiate` or `respond`.

    Attributes:
        local: This side's identity key, 32 bytes like all keys here.
        remote: The other side's.
        base: The initiator's one-time key, by which both sides know the session.
        root: The root key, from which each step of the ratchet derives a new chain.
        ratchet: This side's current ratchet pair.
        sending: Key of the sending chain.
        counter: Messages sent in that chain.
        previous_counter: What libsignal sends along: the last number of the chain before, or 0.
        receiving: The other side's ratchet keys, oldest first, each with its chain.
        opening: The fields that make a `msg` a `pkmsg`, until the first answer has come.
    """

    local: bytes
    remote: bytes
    base: bytes
    root: bytes
    ratchet: KeyPair
    sending: bytes
    counter: int = 0
    previous_counter: int = 0
    receiving: dict[bytes, ReceivingChain] = field(default_factory=dict)
    opening: Mapping[str, int] | None = None

    @classmethod
    @signal_errors()
    def initiate(cls, identity: KeyPair, registration_id: int, bundle: PreKeyBundle) -> Session:
        """Begin a session with a device whose bundle is known.

        Raises:
            SignalError: The bundle's signature is not its identity's, or a key is unusable.
        """
        if not verify(bundle.identity, DJB + bundle.signed_prekey, bundle.signature):
            raise SignalError("the signed prekey is not signed by the identity it comes with")
        base, ratchet = KeyPair.generate(), KeyPair.generate()
        opening = {"registration_id": registration_id, "signed_prekey_id": bundle.signed_prekey_id}
        shared = [
            identity.agree(bundle.signed_prekey),
            base.agree(bundle.identity),
            base.agree(bundle.signed_prekey),
        ]
        if bundle.prekey_id is not None and bundle.prekey is not None:
            shared.append(base.agree(bundle.prekey))
            opening["prekey_id"] = bundle.prekey_id
        root, receiving = _x3dh(shared)
        root, sending = _step(root, ratchet.agree(bundle.signed_prekey))
        return cls(
            local=identity.public,
            remote=bundle.identity,
            base=base.public,
            root=root,
            ratchet=ratchet,
            sending=sending,
            receiving={bundle.signed_prekey: ReceivingChain(receiving)},
            opening=opening,
        )

    @classmethod
    @signal_errors()
    def respond(
        cls,
        identity: KeyPair,
        signed_prekey: KeyPair,
        opening: PreKeyMessage,
        prekey: KeyPair | None = None,
    ) -> Session:
        """Begin the other side's end, from its first message, which is then there to be decrypted.

        Args:
            identity: This device's identity.
            signed_prekey: The pair that the message names.
            opening: The message.
            prekey: The one-time pair that the message names, if it names one.

        Raises:
            SignalError: A key is unusable.
        """
        shared = [
            signed_prekey.agree(opening.identity),
            identity.agree(opening.base),
            signed_prekey.agree(opening.base),
        ]
        if prekey is not None:
            shared.append(prekey.agree(opening.base))
        root, sending = _x3dh(shared)
        return cls(
            local=identity.public,
            remote=opening.identity,
            base=opening.base,
            root=root,
            ratchet=signed_prekey,
            sending=sending,
        )

    def encrypt(self, plain: bytes) -> tuple[EncType, bytes]:
        """Encrypt the next message; it is a `pkmsg` until the other side has answered."""
        seed, following = advance(self.sending)
        cipher_key, mac_key, iv = _message_keys(seed)
        covered = VERSION + SignalMessage.encode(
            ratchet_key=self.ratchet.typed,
            counter=self.counter,
            previous_counter=self.previous_counter,
            ciphertext=cbc_encrypt(cipher_key, iv, pad(plain)),
        )
        message = covered + self._mac(mac_key, self.local, self.remote, covered)
        self.sending = following
        self.counter += 1
        if self.opening is None:
            return "msg", message
        return "pkmsg", VERSION + PreKeySignalMessage.encode(
            base_key=DJB + self.base, identity_key=DJB + self.local, message=message, **self.opening
        )

    @signal_errors()
    def decrypt(self, data: bytes) -> bytes:
        """Decrypt a `msg`, or the one inside a `pkmsg`.

        Raises:
            SignalError: It is not of this session, was changed on its way, or was decrypted before.
        """
        message = _Message.parse(data)
        chain = self.receiving.get(message.ratchet)
        root = self.root
        if fresh := chain is None:
            root, key = _step(root, self.ratchet.agree(message.ratchet))
            chain = ReceivingChain(key)
        found = chain.find(message.counter)
        cipher_key, mac_key, iv = _message_keys(found.seed)
        if not hmac.compare_digest(message.mac, self._mac(mac_key, self.remote, self.local, message.covered)):
            raise SignalError("the message's MAC does not fit")
        plain = unpad(cbc_decrypt(cipher_key, iv, message.body))
        if fresh:
            self._turn(message.ratchet, chain, root)
        chain.use(found)
        self.opening = None
        return plain

    def _turn(self, remote: bytes, chain: ReceivingChain, root: bytes) -> None:
        """Take over the other side's new ratchet key, and answer it with a new one of our own."""
        ratchet = KeyPair.generate()
        self.root, self.sending = _step(root, ratchet.agree(remote))
        self.ratchet = ratchet
        self.previous_counter = max(self.counter - 1, 0)
        self.counter = 0
        self.receiving[remote] = chain
        if len(self.receiving) > MAX_CHAINS:
            del self.receiving[next(iter(self.receiving))]

    @staticmethod
    def _mac(key: bytes, sender: bytes, receiver: bytes, covered: bytes) -> bytes:
        return hmac_sha256(key, DJB + sender + DJB + receiver + covered)[:_MAC_SIZE]

    def to_state(self) -> State:
        """Return the session as values for JSON; they are secret."""
        return {
            "local": self.local.hex(),
            "remote": self.remote.hex(),
            "base": self.base.hex(),
            "root": self.root.hex(),
            "ratchet": self.ratchet.private.hex(),
            "sending": self.sending.hex(),
            "counter": self.counter,
            "previous_counter": self.previous_counter,
            "receiving": [[key.hex(), chain.to_state()] for key, chain in self.receiving.items()],
            "opening": self.opening,
        }

    @classmethod
    def from_state(cls, state: State) -> Session:
        """Read what `to_state` returned."""
        return cls(
            local=bytes.fromhex(state["local"]),
            remote=bytes.fromhex(state["remote"]),
            base=bytes.fromhex(state["base"]),
            root=bytes.fromhex(state["root"]),
            ratchet=KeyPair.of(bytes.fromhex(state["ratchet"])),
            sending=bytes.fromhex(state["sending"]),
            counter=state["counter"],
            previous_counter=state["previous_counter"],
            receiving={
                bytes.fromhex(key): ReceivingChain.from_state(chain) for key, chain in state["receiving"]
            },
            opening=state["opening"],
        )


class SignalPhone:
    """One device's end of all its sessions, by the address of the other device.

    An address is any text that stands for one device; ``str`` of a JID does. The newest working
    session of an address is the one in use; older ones stay for messages still under way, and the
    first message that arrives in one of them puts it in use again, so two devices that began
    sessions at the same time end up in the same one.
    """

    def __init__(
        self, identity: KeyPair, registration_id: int, signed_prekey: KeyPair, signature: bytes
    ) -> None:
        self.identity: KeyPair = identity
        self.registration_id: int = registration_id
        self._signed_prekey = signed_prekey
        self._signature = signature
        self._sessions: dict[str, list[Session]] = {}

    @classmethod
    def generate(cls, identity: KeyPair | None = None) -> SignalPhone:
        """Make a new device, with this identity or a new one."""
        identity = identity or KeyPair.generate()
        signed_prekey = KeyPair.generate()
        # libsignal's range of registration ids.
        registration_id = secrets.randbelow(16380) + 1
        return cls(identity, registration_id, signed_prekey, sign(identity, signed_prekey.typed))

    def bundle(self) -> PreKeyBundle:
        """Return what others need to write to this device; there is no one-time prekey in it."""
        return PreKeyBundle(
            registration_id=self.registration_id,
            identity=self.identity.public,
            signed_prekey_id=SIGNED_PREKEY_ID,
            signed_prekey=self._signed_prekey.public,
            signature=self._signature,
        )

    def has_session(self, address: str) -> bool:
        """Tell whether a message to this device can be encrypted without its bundle."""
        return address in self._sessions

    def drop_session(self, address: str) -> None:
        """Forget everything shared with a device, as if the app had been installed anew.

        What is under way is lost, except that a `pkmsg` begins its session again, even one that
        was decrypted before. To repair a session keep it and encrypt with a bundle instead.
        """
        self._sessions.pop(address, None)

    def encrypt(
        self, address: str, plain: bytes, bundle: PreKeyBundle | None = None
    ) -> tuple[EncType, bytes]:
        """Encrypt a message to a device.

        Args:
            address: The device.
            plain: The message, without padding.
            bundle: The device's bundle; needed for the first message. Where there is a session
                already, a bundle begins a new one, which then replaces it.

        Returns:
            The message's form and its bytes.

        Raises:
            SignalError: There is neither a session nor a bundle, or the bundle is not genuine.
        """
        if bundle is not None:
            session = Session.initiate(self.identity, self.registration_id, bundle)
            self._prefer(address, session)
        elif address in self._sessions:
            session = self._sessions[address][0]
        else:
            raise SignalError(f"no session with {address}: its bundle is needed")
        return session.encrypt(plain)

    def decrypt(self, address: str, kind: str, data: bytes) -> bytes:
        """Decrypt a message from a device and return it without padding.

        Args:
            address: The device it came from.
            kind: Its form, ``pkmsg`` or ``msg``.
            data: Its bytes.

        Raises:
            SignalError: It does not decrypt, was decrypted before, or there is no session for it.
        """
        if kind == "pkmsg":
            session, message = self._open(address, PreKeyMessage.parse(data))
            plain = session.decrypt(message)
        elif kind == "msg":
            session, plain = self._try_all(address, data)
        else:
            raise SignalError(f"messages of type {kind!r} are not between two devices")
        self._prefer(address, session)
        return plain

    def _open(self, address: str, opening: PreKeyMessage) -> tuple[Session, bytes]:
        """Find or begin the session of a `pkmsg`; the message inside is yet to be decrypted."""
        for session in self._sessions.get(address, ()):
            if session.base == opening.base:
                if session.remote != opening.identity:
                    raise SignalError(f"{address} changed its identity within a session")
                return session, opening.message
        if opening.signed_prekey_id != SIGNED_PREKEY_ID or opening.prekey_id:
            raise SignalError(f"{address} used a prekey that this device does not have")
        return Session.respond(self.identity, self._signed_prekey, opening), opening.message

    def _try_all(self, address: str, data: bytes) -> tuple[Session, bytes]:
        reason = "there is none"
        for number, session in enumerate(self._sessions.get(address, ())):
            try:
                return session, session.decrypt(data)
            except SignalError as error:
                # The one in use tells more than the older ones, whose MACs never fit.
                reason = reason if number else str(error)
        raise SignalError(f"no session with {address} decrypts the message: {reason}")

    def _prefer(self, address: str, session: Session) -> None:
        """Put a session in use, in front of the others."""
        sessions = self._sessions.setdefault(address, [])
        if sessions and sessions[0] is session:
            return
        self._sessions[address] = [session, *(other for other in sessions if other is not session)]
        del self._sessions[address][MAX_SESSIONS:]

    def to_state(self) -> State:
        """Return the device and its sessions as values for JSON; they are secret."""
        return {
            "identity": self.identity.private.hex(),
            "registration_id": self.registration_id,
            "signed_prekey": self._signed_prekey.private.hex(),
            "signature": self._signature.hex(),
            "sessions": {
                address: [session.to_state() for session in sessions]
                for address, sessions in self._sessions.items()
            },
        }

    @classmethod
    def from_state(cls, state: State) -> SignalPhone:
        """Read what `to_state` returned.

        Raises:
            SignalError: The values are not such a state.
        """
        try:
            phone = cls(
                KeyPair.of(bytes.fromhex(state["identity"])),
                state["registration_id"],
                KeyPair.of(bytes.fromhex(state["signed_prekey"])),
                bytes.fromhex(state["signature"]),
            )
            for address, sessions in state["sessions"].items():
                phone._sessions[address] = [Session.from_state(session) for session in sessions]
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise SignalError(f"not the state of a phone: {type(error).__name__}") from None
        return phone


def _x3dh(shared: list[bytes]) -> tuple[bytes, bytes]:
    """Derive root key and first chain key from the results of the key agreements, in their order."""
    derived = hkdf(_DISCONTINUITY + b"".join(shared), info=b"WhisperText", length=64)
    return derived[:32], derived[32:]


def _step(root: bytes, shared: bytes) -> tuple[bytes, bytes]:
    """Derive the next root key and a new chain key: one step of the ratchet."""
    derived = hkdf(shared, salt=root, info=b"WhisperRatchet", length=64)
    return derived[:32], derived[32:]


def _message_keys(seed: bytes) -> tuple[bytes, bytes, bytes]:
    """Derive a message's AES key, MAC key and initialisation vector."""
    derived = hkdf(seed, info=b"WhisperMessageKeys", length=80)
    return derived[:32], derived[32:64], derived[64:]
