"""Keys and the few primitives everything else is built from: X25519, HKDF, AES."""

from __future__ import annotations

import hmac
import os
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

DJB = b"\x05"
"""Type byte in front of a Curve25519 public key wherever Signal's own formats hold one."""


class CryptoError(ValueError):
    """Something does not decrypt or verify: a wrong key, a wrong code or a changed byte."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """An X25519 key pair, both halves as 32 raw bytes."""

    private: bytes = field(repr=False)
    public: bytes

    @classmethod
    def generate(cls) -> KeyPair:
        """Make a new pair from the system's randomness."""
        return cls.of(os.urandom(32))

    @classmethod
    def of(cls, private: bytes) -> KeyPair:
        """Complete a pair from its 32 private bytes, which are clamped as RFC 7748 says."""
        clamped = bytes([private[0] & 248, *private[1:31], private[31] & 127 | 64])
        key = X25519PrivateKey.from_private_bytes(clamped)
        return cls(
            key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()),
            key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
        )

    def agree(self, public: bytes) -> bytes:
        """Return the 32 bytes this pair shares with the owner of a public key.

        Raises:
            CryptoError: The key is not 32 bytes or is one of the weak points.
        """
        try:
            peer = X25519PublicKey.from_public_bytes(public)
            return X25519PrivateKey.from_private_bytes(self.private).exchange(peer)
        except ValueError as error:
            raise CryptoError(f"not a usable X25519 public key: {error}") from None

    @property
    def typed(self) -> bytes:
        """The public key as Signal's formats write it: the type byte and 32 bytes."""
        return DJB + self.public


def untyped(key: bytes) -> bytes:
    """Take the type byte off a 33-byte public key.

    Raises:
        CryptoError: It is not 33 bytes that begin with the type byte.
    """
    if len(key) != 33 or key[:1] != DJB:
        raise CryptoError(f"expected a 33-byte Curve25519 key, got {len(key)} bytes")
    return key[1:]


def hkdf(secret: bytes, *, info: bytes, length: int, salt: bytes | None = None) -> bytes:
    """Derive bytes by HKDF-SHA256 (RFC 5869); no salt means 32 zero bytes."""
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA256."""
    return hmac.digest(key, data, "sha256")


def gcm_encrypt(key: bytes, nonce: bytes, plain: bytes, aad: bytes = b"") -> bytes:
    """Encrypt with AES-GCM; the 16-byte tag is at the end."""
    return AESGCM(key).encrypt(nonce, plain, aad)


def gcm_decrypt(key: bytes, nonce: bytes, sealed: bytes, aad: bytes = b"") -> bytes:
    """Decrypt what `gcm_encrypt` made.

    Raises:
        CryptoError: The tag does not fit.
    """
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):
        raise CryptoError("AES-GCM: the tag does not fit") from None


def cbc_encrypt(key: bytes, iv: bytes, plain: bytes) -> bytes:
    """Encrypt with AES-256-CBC and PKCS#7 padding."""
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(padder.update(plain) + padder.finalize()) + encryptor.finalize()


def cbc_decrypt(key: bytes, iv: bytes, sealed: bytes) -> bytes:
    """Decrypt what `cbc_encrypt` made.

    Raises:
        CryptoError: The length is no multiple of 16 or the padding is wrong.
    """
    unpadder = padding.PKCS7(128).unpadder()
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    try:
        return unpadder.update(decryptor.update(sealed) + decryptor.finalize()) + unpadder.finalize()
    except ValueError:
        raise CryptoError("AES-CBC: wrong length or padding") from None


def ctr(key: bytes, iv: bytes, data: bytes) -> bytes:
    """Encrypt or decrypt with AES-CTR, which is the same operation."""
    encryptor = Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()
