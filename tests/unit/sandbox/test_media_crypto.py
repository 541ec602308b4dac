from __future__ import annotations

import hashlib
import hmac
from itertools import permutations
from typing import get_args

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, strategies

from orchestrator.sandbox.crypto import media
from orchestrator.sandbox.crypto.keys import CryptoError
from orchestrator.sandbox.crypto.media import MediaKind

KINDS: tuple[MediaKind, ...] = get_args(MediaKind)
KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("kind", "info"),
    [
        ("image", b"WhatsApp Image Keys"),
        ("sticker", b"WhatsApp Image Keys"),
        ("video", b"WhatsApp Video Keys"),
        ("audio", b"WhatsApp Audio Keys"),
        ("document", b"WhatsApp Document Keys"),
    ],
)
def test_a_blob_is_what_the_format_says(kind: MediaKind, info: bytes) -> None:
    # HKDF (RFC 5869) written out, and the padding by hand: nothing here comes from the code under test.
    secret = hmac.digest(bytes(32), KEY, "sha256")
    derived = block = b""
    for number in range(1, 5):
        block = hmac.digest(secret, block + info + bytes([number]), "sha256")
        derived += block
    iv, cipher_key, mac_key = derived[:16], derived[16:48], derived[48:80]
    encryptor = Cipher(algorithms.AES(cipher_key), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(b"picture" + 9 * b"\x09") + encryptor.finalize()
    blob = sealed + hmac.digest(mac_key, iv + sealed, "sha256")[:10]

    encrypted = media.encrypt(b"picture", kind, KEY)
    assert encrypted.blob == blob
    assert encrypted.key == KEY
    assert encrypted.length == 7
    assert encrypted.sha256 == hashlib.sha256(b"picture").digest()
    assert encrypted.blob_sha256 == hashlib.sha256(blob).digest()


@given(strategies.binary(max_size=500), strategies.sampled_from(KINDS))
def test_what_is_encrypted_comes_back(data: bytes, kind: MediaKind) -> None:
    made = media.encrypt(data, kind)
    assert media.decrypt(made.blob, made.key, kind) == data
    assert media.decrypt(made.blob, made.key, kind, sha256=made.sha256, blob_sha256=made.blob_sha256) == data


def test_every_attachment_has_a_key_of_its_own() -> None:
    assert media.encrypt(b"same", "image").key != media.encrypt(b"same", "image").key


def test_any_changed_byte_is_noticed() -> None:
    made = media.encrypt(bytes(100), "audio")
    for position in range(len(made.blob)):
        changed = bytearray(made.blob)
        changed[position] ^= 1
        with pytest.raises(CryptoError, match="MAC"):
            media.decrypt(bytes(changed), made.key, "audio")


@pytest.mark.parametrize("size", range(26))
def test_a_blob_cut_short_is_refused(size: int) -> None:
    made = media.encrypt(b"x", "video")
    assert len(made.blob) == 26
    with pytest.raises(CryptoError, match="MAC"):
        media.decrypt(made.blob[:size], made.key, "video")


def test_another_key_or_kind_is_refused() -> None:
    made = media.encrypt(b"x", "image")
    with pytest.raises(CryptoError):
        media.decrypt(made.blob, bytes(32), "image")
    for one, other in permutations(KINDS, 2):
        made = media.encrypt(b"x", one)
        if {one, other} == {"image", "sticker"}:
            assert media.decrypt(made.blob, made.key, other) == b"x"
        else:
            with pytest.raises(CryptoError):
                media.decrypt(made.blob, made.key, other)


def test_hashes_are_checked_where_given() -> None:
    made = media.encrypt(b"x", "document")
    with pytest.raises(CryptoError, match="SHA-256 of the media"):
        media.decrypt(made.blob, made.key, "document", sha256=made.blob_sha256)
    with pytest.raises(CryptoError, match="SHA-256 of the encrypted media"):
        media.decrypt(made.blob, made.key, "document", blob_sha256=made.sha256)


def test_the_key_is_not_shown() -> None:
    made = media.encrypt(b"x", "image", KEY)
    assert repr(KEY) not in repr(made)
