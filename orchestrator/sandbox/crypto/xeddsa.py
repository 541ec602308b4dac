"""XEdDSA: signatures made and checked with X25519 keys.

Signal publishes the scheme at https://signal.org/docs/specifications/xeddsa/. libsignal's older way,
which clients still use, differs in one point: instead of negating the private key it puts the sign
of the Edwards point into the highest bit of the signature.
"""

from __future__ import annotations

import hashlib
import os

from nacl.bindings import (
    crypto_core_ed25519_scalar_add,
    crypto_core_ed25519_scalar_mul,
    crypto_core_ed25519_scalar_negate,
    crypto_core_ed25519_scalar_reduce,
    crypto_scalarmult_ed25519_base_noclamp,
    crypto_sign_open,
)
from nacl.exceptions import BadSignatureError

from orchestrator.sandbox.crypto.keys import KeyPair

SIGNATURE_SIZE = 64
_P = 2**255 - 19
_SIGN = 0x80
# The specification's hash1: a prefix that no encoded point can begin with.
_NONCE_PREFIX = b"\xfe" + 31 * b"\xff"


def sign(key: KeyPair, message: bytes, *, random: bytes | None = None) -> bytes:
    """Sign with an X25519 key; the 64 bytes verify as the specification has it and in libsignal.

    Args:
        key: The signer's pair.
        message: What is signed.
        random: 64 bytes that make the signature differ from time to time; from the system if None.
    """
    scalar = _scalar(_clamp(key.private))
    public = crypto_scalarmult_ed25519_base_noclamp(scalar)
    if public[31] & _SIGN:
        scalar = crypto_core_ed25519_scalar_negate(scalar)
        public = public[:31] + bytes([public[31] & ~_SIGN])
    nonce = _hash(_NONCE_PREFIX, scalar, message, os.urandom(64) if random is None else random)
    commitment = crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = _hash(commitment, public, message)
    return commitment + crypto_core_ed25519_scalar_add(
        nonce, crypto_core_ed25519_scalar_mul(challenge, scalar)
    )


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Tell whether a signature was made over this message with the key of this X25519 public key.

    Args:
        public: 32 bytes, without a type byte.
        message: What was signed.
        signature: 64 bytes of either form, with the point's sign in the highest bit or without.
    """
    if len(public) != 32 or len(signature) != SIGNATURE_SIZE:
        return False
    u = int.from_bytes(public, "little")
    if u >= _P:
        return False
    # The birational map y = (u - 1) / (u + 1); the inverse of 0 is 0 here, as the specification wants.
    point = bytearray(((u - 1) * pow(u + 1, _P - 2, _P) % _P).to_bytes(32, "little"))
    point[31] |= signature[63] & _SIGN
    plain = signature[:63] + bytes([signature[63] & ~_SIGN])
    try:
        crypto_sign_open(plain + message, bytes(point))
    except BadSignatureError:
        return False
    return True


def _clamp(private: bytes) -> bytes:
    return bytes([private[0] & 248, *private[1:31], private[31] & 127 | 64])


def _scalar(number: bytes) -> bytes:
    """Reduce a little-endian number of at most 64 bytes modulo the order of the group."""
    return crypto_core_ed25519_scalar_reduce(number.ljust(64, b"\0"))


def _hash(*parts: bytes) -> bytes:
    return _scalar(hashlib.sha512(b"".join(parts)).digest())
