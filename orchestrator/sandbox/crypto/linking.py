"""Linking a device to an account: by the text of a QR code, or by an eight-character code.

Both ways end alike. The phone signs the new device's identity, seals it with a secret that it
shares with that device alone (the ADV secret), and the device signs back:

    QR code   device shows its keys and the secret ─► phone
    code      device ◄─ ephemeral keys, wrapped with the code ─► phone; both derive the secret
    both      phone ─ sealed identity ─► device ─ the identity, signed by it too ─► phone

The server is only the postman of all this, but it can run the phone's part. The text, the codes and
the secrets let whoever has them take part in the linking: none of them is ever put into an error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass, field

from orchestrator.sandbox.crypto.keys import (
    DJB,
    CryptoError,
    KeyPair,
    ctr,
    gcm_decrypt,
    gcm_encrypt,
    hkdf,
    hmac_sha256,
)
from orchestrator.sandbox.crypto.xeddsa import sign, verify
from orchestrator.sandbox.wire.proto import (
    DeviceIdentity,
    ProtoError,
    SignedDeviceIdentity,
    SignedDeviceIdentityHMAC,
)

CODE_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTVWXYZ"
"""The characters of a code: 32 that are hard to confuse, so 0, I, O and U are missing."""
CODE_LENGTH = 8
WRAPPED_SIZE = 80
"""Bytes of a wrapped key: salt 32, counter block 16, key 32."""
_CODE_ROUNDS = 131072
_ACCOUNT_PREFIX = b"\x06\x00"
_DEVICE_PREFIX = b"\x06\x01"


class LinkingError(ValueError):
    """Something a person entered cannot be used for linking; the message says what is wrong with it."""


class QRTextError(LinkingError):
    """A text is not what a QR code for linking holds."""


@dataclass(frozen=True, slots=True)
class QRText:
    """What a QR code for linking says; keys are 32 bytes.

    Attributes:
        ref: The server's name for the connection that shows the code.
        noise: Public key the new device makes its connections with.
        identity: Public key of its Signal identity.
        adv_secret: The secret that seals the device identity.
        client_type: Its kind of client, such as ``6`` for Safari.
    """

    ref: str = field(repr=False)
    noise: bytes = field(repr=False)
    identity: bytes = field(repr=False)
    adv_secret: bytes = field(repr=False)
    client_type: str

    @classmethod
    def parse(cls, text: str) -> QRText:
        """Read the text of a QR code, with the web address in front or without.

        Raises:
            QRTextError: It has other parts than ref, three keys and client type.
        """
        parts = text.strip().rpartition("#")[2].split(",")
        if len(parts) != 5:
            raise QRTextError(f"a QR text for linking has 5 parts between commas, this one has {len(parts)}")
        ref, noise, identity, adv_secret, client_type = parts
        if not ref or not client_type:
            raise QRTextError("the QR text has an empty part: scan the code again")
        return cls(
            ref,
            _key(noise, "Noise key"),
            _key(identity, "identity key"),
            _key(adv_secret, "secret"),
            client_type,
        )


def _key(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        raise QRTextError(f"the {what} in the QR text is no base64: scan the code again") from None
    if len(key) != 32:
        raise QRTextError(f"the {what} in the QR text has {len(key)} bytes, not 32: scan the code again")
    return key


@dataclass(frozen=True, slots=True)
class SignedIdentity:
    """A device's identity with the account's signature under it.

    Attributes:
        details: Its protobuf message, kept as bytes because both signatures cover it.
        account: Public key of the account's Signal identity.
        signature: The account's signature.
    """

    details: bytes
    account: bytes
    signature: bytes

    @property
    def encoded(self) -> bytes:
        """The identity as the device keeps it, before it signs it too."""
        return SignedDeviceIdentity.encode(
            details=self.details, account_signature_key=self.account, account_signature=self.signature
        )

    def sealed(self, adv_secret: bytes) -> bytes:
        """Return the form that only the device with this secret takes for genuine."""
        encoded = self.encoded
        return SignedDeviceIdentityHMAC.encode(details=encoded, hmac=hmac_sha256(adv_secret, encoded))


def sign_identity(
    account: KeyPair, device: bytes, *, raw_id: int, timestamp: int, key_index: int
) -> SignedIdentity:
    """Make the identity of a new device, as the phone of its account.

    Args:
        account: The account's identity pair.
        device: The device's public identity key, 32 bytes.
        raw_id: Any number of 32 bits that stands for the account's set of devices.
        timestamp: When the device is linked, in Unix seconds.
        key_index: Number of the device among all that the account ever linked.
    """
    details = DeviceIdentity.encode(
        raw_id=raw_id, timestamp=timestamp, key_index=key_index, account_type=0, device_type=0
    )
    return SignedIdentity(details, account.public, sign(account, _ACCOUNT_PREFIX + details + device))


def check_device_signature(identity: SignedIdentity, device: bytes, answer: bytes) -> None:
    """Check what the device sends back: the same identity, signed by the device too.

    Args:
        identity: What it was sent.
        device: The device's public identity key, 32 bytes.
        answer: What it sent back.

    Raises:
        CryptoError: It is another identity, or the signature is not this device's.
    """
    try:
        fields = SignedDeviceIdentity.decode(answer)
    except ProtoError as error:
        raise CryptoError(str(error)) from None
    if (fields.details, fields.account_signature) != (identity.details, identity.signature):
        raise CryptoError("the device signed another identity than its own")
    covered = _DEVICE_PREFIX + identity.details + device + identity.account
    if not verify(device, covered, fields.device_signature):
        raise CryptoError("the device identity is not signed by the device")


def is_signed_prekey(identity: bytes, signed_prekey: bytes, signature: bytes) -> bool:
    """Tell whether a device's signed prekey is signed by its identity; all are raw bytes."""
    return verify(identity, DJB + signed_prekey, signature)


def is_companion(account: bytes, device: bytes, identity: bytes) -> bool:
    """Tell whether a device's key belongs to an account, as those do who get its first message.

    Args:
        account: Public key of the account's identity.
        device: The device's public identity key, 32 bytes.
        identity: The identity that came with the message, signed by the account and by the device.
    """
    try:
        fields = SignedDeviceIdentity.decode(identity)
    except ProtoError:
        return False
    if fields.account_signature_key not in (b"", account):
        return False
    by_account = _ACCOUNT_PREFIX + fields.details + device
    by_device = _DEVICE_PREFIX + fields.details + device + account
    return verify(account, by_account, fields.account_signature) and verify(
        device, by_device, fields.device_signature
    )


def answer_identity(sealed: bytes, adv_secret: bytes, device: KeyPair) -> bytes:
    """Check and sign a sealed identity, as the new device.

    Raises:
        CryptoError: It was sealed with another secret, or the account did not sign this device.
    """
    try:
        outer = SignedDeviceIdentityHMAC.decode(sealed)
        fields = SignedDeviceIdentity.decode(outer.details)
    except ProtoError as error:
        raise CryptoError(str(error)) from None
    if not hmac.compare_digest(outer.hmac, hmac_sha256(adv_secret, outer.details)):
        raise CryptoError("the device identity is sealed with another secret")
    account, details = fields.account_signature_key, fields.details
    if not verify(account, _ACCOUNT_PREFIX + details + device.public, fields.account_signature):
        raise CryptoError("the device identity is not signed by the account")
    return SignedDeviceIdentity.encode(
        details=details,
        account_signature=fields.account_signature,
        device_signature=sign(device, _DEVICE_PREFIX + details + device.public + account),
    )


def make_code() -> str:
    """Make up a code, as the new device."""
    return "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))


def normalise_code(text: str) -> str:
    """Return a code as it is used: eight capitals or digits, without the dash it is shown with.

    Raises:
        LinkingError: It has another length, or characters that no code has.
    """
    code = text.strip().upper()
    if code[4:5] == "-":
        code = code[:4] + code[5:]
    if len(code) != CODE_LENGTH:
        raise LinkingError(f"a linking code has {CODE_LENGTH} characters, this one has {len(code)}")
    if not set(code) <= set(CODE_ALPHABET):
        raise LinkingError(f"a linking code has only characters from {CODE_ALPHABET}")
    return code


def wrap(public: bytes, code: str) -> bytes:
    """Encrypt an ephemeral public key with a code; takes some 50 ms of CPU on purpose."""
    salt, counter = os.urandom(32), os.urandom(16)
    return salt + counter + ctr(_stretch(code, salt), counter, public)


def unwrap(wrapped: bytes, code: str) -> bytes:
    """Decrypt what `wrap` made; a wrong code gives a wrong key, which nobody can tell yet.

    Raises:
        CryptoError: It has not the 80 bytes of a wrapped key.
    """
    if len(wrapped) != WRAPPED_SIZE:
        raise CryptoError(f"a wrapped key has {WRAPPED_SIZE} bytes, not {len(wrapped)}")
    return ctr(_stretch(code, wrapped[:32]), wrapped[32:48], wrapped[48:])


def _stretch(code: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha256", code.encode(), salt, _CODE_ROUNDS, 32)


@dataclass(frozen=True, slots=True, repr=False)
class PrimaryHello:
    """The phone's part of linking by code, between the code being typed in and the device's answer.

    Attributes:
        ephemeral: The phone's pair for this linking.
        companion: The device's ephemeral public key; a wrong one if the code is wrong.
        wrapped: The phone's ephemeral public key as it goes to the device.
    """

    ephemeral: KeyPair
    companion: bytes
    wrapped: bytes


def primary_hello(wrapped_companion: bytes, code: str) -> PrimaryHello:
    """Begin linking, as the phone on which the code was typed in; takes some 100 ms of CPU.

    Args:
        wrapped_companion: The device's wrapped ephemeral key.
        code: The code as `normalise_code` returns it.

    Raises:
        CryptoError: The wrapped key has a wrong size.
    """
    companion = unwrap(wrapped_companion, code)
    ephemeral = KeyPair.generate()
    return PrimaryHello(ephemeral, companion, wrap(ephemeral.public, code))


def open_bundle(hello: PrimaryHello, account: KeyPair, device: bytes, bundle: bytes) -> bytes:
    """Open the device's answer, as the phone, and return the ADV secret.

    Args:
        hello: How the linking was begun.
        account: The account's identity pair.
        device: The device's public identity key, as it came along with the bundle.
        bundle: The device's encrypted key bundle.

    Raises:
        CryptoError: The code was wrong, or the bundle is about other identities.
    """
    salt, nonce, sealed = bundle[:32], bundle[32:44], bundle[44:]
    shared = hello.ephemeral.agree(hello.companion)
    try:
        plain = gcm_decrypt(_bundle_key(shared, salt), nonce, sealed)
    except CryptoError:
        raise CryptoError("the key bundle does not open: the code was wrong") from None
    if len(plain) != 96 or plain[:64] != device + account.public:
        raise CryptoError("the key bundle is about other identities")
    return _adv_secret(shared, account.agree(device), plain[64:])


def companion_finish(
    ephemeral: KeyPair, identity: KeyPair, code: str, wrapped_primary: bytes, account: bytes
) -> tuple[bytes, bytes]:
    """Answer the phone, as the new device; takes some 50 ms of CPU.

    Args:
        ephemeral: The pair whose public half was wrapped at the beginning.
        identity: The device's identity pair.
        code: The code the device made up.
        wrapped_primary: The phone's wrapped ephemeral key.
        account: Public key of the account's identity.

    Returns:
        The encrypted key bundle, and the ADV secret.

    Raises:
        CryptoError: A key cannot be used.
    """
    shared = ephemeral.agree(unwrap(wrapped_primary, code))
    salt, nonce, random = os.urandom(32), os.urandom(12), os.urandom(32)
    sealed = gcm_encrypt(_bundle_key(shared, salt), nonce, identity.public + account + random)
    return salt + nonce + sealed, _adv_secret(shared, identity.agree(account), random)


def _bundle_key(shared: bytes, salt: bytes) -> bytes:
    return hkdf(shared, salt=salt, info=b"link_code_pairing_key_bundle_encryption_key", length=32)


def _adv_secret(shared: bytes, identities: bytes, random: bytes) -> bytes:
    return hkdf(shared + identities + random, info=b"adv_secret", length=32)
