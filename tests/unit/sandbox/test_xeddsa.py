from __future__ import annotations

import pytest
from hypothesis import given, strategies

from orchestrator.sandbox.crypto.keys import KeyPair
from orchestrator.sandbox.crypto.xeddsa import sign, verify

# libsignal-protocol-java, Curve25519Test.testSignature; libsignal's Rust tests have the same. This
# signature has the sign of the point in its highest bit.
ALICE = KeyPair.of(bytes.fromhex("c097248412e58bf05df487968205132794178e367637f5818f81e0e6ce73e865"))
MESSAGE = bytes.fromhex("05edce9d9c415ca78cb7252e72c2c4a554d3eb29485a0e1d503118d1a82d99fb4a")
SIGNATURE = bytes.fromhex(
    "5de88ca9a89b4a115da79109c67c9c7464a3e4180274f1cb8c63c2984e286dfb"
    "ede82deb9dcd9fae0bfbb821569b3d9001bd8130cd11d486cef047bd60b86e88"
)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_libsignals_signature_verifies() -> None:
    assert ALICE.public.hex() == "ab7e717d4a163b7d9a1d8071dfe9dcf8cdcd1cea3339b6356be84d887e322c64"
    assert verify(ALICE.public, MESSAGE, SIGNATURE)


@pytest.mark.parametrize("signature", [SIGNATURE, sign(ALICE, MESSAGE)], ids=["libsignal", "own"])
def test_any_changed_bit_makes_a_signature_invalid(signature: bytes) -> None:
    assert verify(ALICE.public, MESSAGE, signature)
    assert not any(verify(ALICE.public, MESSAGE, flipped(signature, bit)) for bit in range(512))
    assert not any(verify(ALICE.public, flipped(MESSAGE, bit), signature) for bit in range(264))
    assert not any(verify(flipped(ALICE.public, bit), MESSAGE, signature) for bit in range(256))


@given(strategies.binary(min_size=32, max_size=32), strategies.binary(max_size=200))
def test_every_key_signs_every_message(private: bytes, message: bytes) -> None:
    key = KeyPair.of(private)
    signature = sign(key, message)
    assert len(signature) == 64
    # Without the negation of half the keys some verifiers would fail for half of them.
    assert signature[63] < 0x80
    assert verify(key.public, message, signature)
    assert not verify(key.public, message + b"x", signature)
    assert not verify(KeyPair.generate().public, message, signature)


def test_an_unclamped_private_key_signs_too() -> None:
    pair = KeyPair.of(32 * b"\xff")
    unclamped = KeyPair(32 * b"\xff", pair.public)
    assert verify(pair.public, b"m", sign(unclamped, b"m"))


def test_the_randomness_is_the_callers_or_new_each_time() -> None:
    assert sign(ALICE, b"m", random=bytes(64)) == sign(ALICE, b"m", random=bytes(64))
    assert sign(ALICE, b"m") != sign(ALICE, b"m")


P = 2**255 - 19


@pytest.mark.parametrize(
    "public",
    [
        b"",
        ALICE.public[:31],
        ALICE.typed,
        # Points of small order, for which anybody could make signatures, and numbers beyond the field.
        *(number.to_bytes(32, "little") for number in (0, 1, P - 1, P, P + 1, 2**255 - 1, 2**256 - 1)),
    ],
)
def test_a_key_that_is_none_verifies_nothing(public: bytes) -> None:
    assert not verify(public, MESSAGE, SIGNATURE)
    assert not verify(public, MESSAGE, bytes(64))
    assert not verify(public, MESSAGE, bytes([1, *63 * [0]]))


@pytest.mark.parametrize("signature", [b"", SIGNATURE[:63], SIGNATURE + b"\0", bytes(64), 64 * b"\xff"])
def test_what_is_no_signature_does_not_verify(signature: bytes) -> None:
    assert not verify(ALICE.public, MESSAGE, signature)
