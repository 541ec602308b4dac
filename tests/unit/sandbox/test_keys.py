"""The primitives against the vectors of the standards that define them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, strategies

from orchestrator.sandbox.crypto import keys
from orchestrator.sandbox.crypto.keys import CryptoError, KeyPair

hexed = bytes.fromhex


# RFC 7748, section 5.2: scalar, u-coordinate, result.
@pytest.mark.parametrize(
    ("scalar", "u", "result"),
    [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ],
)
def test_agreement_is_x25519(scalar: str, u: str, result: str) -> None:
    assert KeyPair.of(hexed(scalar)).agree(hexed(u)) == hexed(result)


def test_agreement_repeated_as_in_rfc_7748() -> None:
    # RFC 7748, section 5.2: the result becomes the scalar and the scalar the u-coordinate.
    scalar = u = bytes([9, *31 * [0]])
    results = []
    for _ in range(1000):
        scalar, u = KeyPair.of(scalar).agree(u), scalar
        results.append(scalar.hex())
    assert results[0] == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
    assert results[999] == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"


def test_both_ends_of_rfc_7748s_exchange_agree() -> None:
    # RFC 7748, section 6.1.
    alice = KeyPair.of(hexed("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"))
    bob = KeyPair.of(hexed("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"))
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    assert bob.public.hex() == "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"
    shared = hexed("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
    assert alice.agree(bob.public) == bob.agree(alice.public) == shared


# libsignal-protocol-java, Curve25519Test.testAgreement.
def test_agreement_of_libsignals_test() -> None:
    alice = KeyPair.of(hexed("c806439dc9d2c476ffed8f2580c0888d58ab406bf7ae3698879021b96bb4bf59"))
    bob = KeyPair.of(hexed("b03b34c33a1c44f225b662d2bf4859b8135411fa7b0386d45fb75dc5b91b4466"))
    assert alice.typed.hex() == "051bb75966f2e93a3691dfff942bb2a466a1c08b8d78ca3f4d6df8b8bfa2e4ee28"
    assert bob.typed.hex() == "05653614993d2b15ee9e5fd3d86ce719ef4ec1daae1886a87b3f5fa9565a27a22f"
    shared = hexed("325f239328941ced6e673b86ba41017448e99b649a9c3806c1dd7ca4c477e629")
    assert alice.agree(bob.public) == bob.agree(alice.public) == shared


def test_a_pair_keeps_its_private_half_clamped() -> None:
    pair = KeyPair.of(32 * b"\xff")
    assert pair.private == b"\xf8" + 30 * b"\xff" + b"\x7f"
    assert KeyPair.of(pair.private) == pair
    assert KeyPair.generate() != KeyPair.generate()


@pytest.mark.parametrize("public", [b"", bytes(31), bytes(33), bytes(32), bytes([1, *31 * [0]])])
def test_unusable_public_keys_are_refused(public: bytes) -> None:
    with pytest.raises(CryptoError, match="X25519"):
        KeyPair.generate().agree(public)


def test_the_type_byte_goes_on_and_off() -> None:
    pair = KeyPair.generate()
    assert pair.typed == b"\x05" + pair.public
    assert keys.untyped(pair.typed) == pair.public


@pytest.mark.parametrize("key", [b"", b"\x05", bytes(33), b"\x06" + bytes(32), b"\x05" + bytes(33)])
def test_a_key_without_its_type_byte_is_refused(key: bytes) -> None:
    with pytest.raises(CryptoError, match="33-byte"):
        keys.untyped(key)


@dataclass(frozen=True)
class Derivation:
    ikm: bytes
    salt: bytes
    info: bytes
    okm: str


# RFC 5869, appendix A.1 to A.3.
@pytest.mark.parametrize(
    "case",
    [
        Derivation(
            22 * b"\x0b",
            bytes(range(0x0D)),
            bytes(range(0xF0, 0xFA)),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        Derivation(
            bytes(range(0x50)),
            bytes(range(0x60, 0xB0)),
            bytes(range(0xB0, 0x100)),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
            "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        Derivation(
            22 * b"\x0b",
            b"",
            b"",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_is_rfc_5869s(case: Derivation) -> None:
    length = len(case.okm) // 2
    assert keys.hkdf(case.ikm, info=case.info, length=length, salt=case.salt).hex() == case.okm
    if not case.salt:
        assert keys.hkdf(case.ikm, info=case.info, length=length).hex() == case.okm
        assert keys.hkdf(case.ikm, info=case.info, length=length, salt=bytes(32)).hex() == case.okm


def test_hmac_is_rfc_4231s() -> None:
    # RFC 4231, test case 2.
    assert (
        keys.hmac_sha256(b"Jefe", b"what do ya want for nothing?").hex()
        == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


# The GCM specification submitted to NIST (McGrew and Viega), test case 16: AES-256 with associated data.
GCM_KEY = hexed(2 * "feffe9928665731c6d6a8f9467308308")
GCM_NONCE = hexed("cafebabefacedbaddecaf888")
GCM_AAD = hexed("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_PLAIN = hexed(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
GCM_SEALED = hexed(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
    "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
)


def test_gcm_is_nists() -> None:
    assert keys.gcm_encrypt(GCM_KEY, GCM_NONCE, GCM_PLAIN, GCM_AAD) == GCM_SEALED
    assert keys.gcm_decrypt(GCM_KEY, GCM_NONCE, GCM_SEALED, GCM_AAD) == GCM_PLAIN


@pytest.mark.parametrize("position", range(len(GCM_SEALED)))
def test_gcm_notices_every_changed_byte(position: int) -> None:
    changed = bytearray(GCM_SEALED)
    changed[position] ^= 1
    with pytest.raises(CryptoError, match="tag"):
        keys.gcm_decrypt(GCM_KEY, GCM_NONCE, bytes(changed), GCM_AAD)


@pytest.mark.parametrize(
    ("nonce", "sealed", "aad"),
    [(GCM_NONCE, GCM_SEALED, b""), (bytes(12), GCM_SEALED, GCM_AAD), (GCM_NONCE, b"", b""), (b"", b"", b"")],
)
def test_gcm_refuses_what_does_not_belong_together(nonce: bytes, sealed: bytes, aad: bytes) -> None:
    with pytest.raises(CryptoError, match="tag"):
        keys.gcm_decrypt(GCM_KEY, nonce, sealed, aad)


# NIST SP 800-38A, appendix F: the key and the plain text that all AES-256 examples share.
AES_KEY = hexed("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
AES_PLAIN = hexed(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)


def test_cbc_is_nists() -> None:
    # Section F.2.5; what follows the four blocks is the padding, which NIST's example does without.
    sealed = keys.cbc_encrypt(AES_KEY, bytes(range(16)), AES_PLAIN)
    assert len(sealed) == 80
    assert sealed[:64].hex() == (
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d"
        "39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b"
    )
    assert keys.cbc_decrypt(AES_KEY, bytes(range(16)), sealed) == AES_PLAIN


@pytest.mark.parametrize("sealed", [b"", bytes(15), bytes(16), bytes(17)])
def test_cbc_refuses_what_has_no_padding(sealed: bytes) -> None:
    with pytest.raises(CryptoError, match="AES-CBC"):
        keys.cbc_decrypt(AES_KEY, bytes(16), sealed)


def test_ctr_is_nists() -> None:
    # Section F.5.5.
    sealed = keys.ctr(AES_KEY, bytes(range(0xF0, 0x100)), AES_PLAIN)
    assert sealed.hex() == (
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    assert keys.ctr(AES_KEY, bytes(range(0xF0, 0x100)), sealed) == AES_PLAIN


@given(strategies.binary(max_size=100))
def test_whatever_is_encrypted_comes_back(plain: bytes) -> None:
    key, iv = 32 * b"k", 16 * b"i"
    assert keys.cbc_decrypt(key, iv, keys.cbc_encrypt(key, iv, plain)) == plain
    assert keys.ctr(key, iv, keys.ctr(key, iv, plain)) == plain
    assert keys.gcm_decrypt(key, iv[:12], keys.gcm_encrypt(key, iv[:12], plain)) == plain
