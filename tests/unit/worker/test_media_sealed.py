"""The encrypted form of a file, read in pieces of any size: against the sandbox's own cryptography."""

from __future__ import annotations

import hashlib
import io
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.accounts.attachments import Fault, MissingError
from orchestrator.messages.media import Kind, Reference
from orchestrator.sandbox.crypto import media as sandbox
from orchestrator.sandbox.crypto.keys import cbc_encrypt, hmac_sha256
from orchestrator.worker.media.sealed import Check, decrypt, derive

KINDS = st.sampled_from(get_args(Kind))
KEYS = st.binary(min_size=32, max_size=32)


def reference(sealed: sandbox.EncryptedMedia, kind: Kind) -> Reference:
    return Reference(kind, "/v/x?y", sealed.key, sealed.sha256, sealed.blob_sha256)


@given(st.binary(max_size=300), KINDS, KEYS, st.lists(st.integers(0, 60)))
def test_pieces_of_any_size_make_the_same_file(data: bytes, kind: Kind, key: bytes, cuts: list[int]) -> None:
    sealed = sandbox.encrypt(data, kind, key)
    check = Check(reference(sealed, kind))
    rest = sealed.blob
    for size in cuts:
        check.add(rest[:size])
        rest = rest[size:]
    check.add(rest)
    check.finish()
    assert check.size == len(sealed.blob)
    plain = io.BytesIO()
    assert decrypt(io.BytesIO(sealed.blob), plain, check.keys, sealed.sha256, 300) == len(data)
    assert plain.getvalue() == data


@given(st.binary(max_size=200), KINDS, st.integers(0, 10**6), st.integers(0, 7))
def test_a_single_bit_that_differs_is_noticed(data: bytes, kind: Kind, at: int, bit: int) -> None:
    sealed = sandbox.encrypt(data, kind)
    blob = bytearray(sealed.blob)
    blob[at % len(blob)] ^= 1 << bit
    for wanted in (sealed.blob_sha256, hashlib.sha256(blob).digest()):
        check = Check(Reference(kind, "/v/x?y", sealed.key, sealed.sha256, wanted))
        check.add(bytes(blob))
        with pytest.raises(MissingError) as caught:
            check.finish()
        assert caught.value.fault is Fault.ALTERED


@given(st.binary(max_size=100))
def test_whatever_comes_is_refused_without_an_accident(blob: bytes) -> None:
    check = Check(Reference("image", "/v/x?y", bytes(32), bytes(32), bytes(32)))
    check.add(blob)
    with pytest.raises(MissingError):
        check.finish()


@pytest.mark.parametrize("padding", [b"\x00" * 16, b"\x11" * 16, b"\xff" * 16, b"a" * 14 + b"\x01\x02"])
def test_a_sender_who_pads_wrongly_is_told(padding: bytes) -> None:
    keys = derive(bytes(32), "image")
    # The sandbox pads as it should, so that its last block is replaced by one that was padded wrongly.
    whole = cbc_encrypt(keys.cipher, keys.iv, b"x" * 32 + padding)[:-16]
    blob = whole + hmac_sha256(keys.mac, keys.iv + whole)[:10]
    with pytest.raises(MissingError) as caught:
        decrypt(io.BytesIO(blob), io.BytesIO(), keys, bytes(32), 1000)
    assert caught.value.fault is Fault.ALTERED


def test_a_file_is_read_in_pieces() -> None:
    data = bytes(range(256)) * 2000
    sealed = sandbox.encrypt(data, "video")
    largest = 0

    class Watched(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal largest
            largest = max(largest, len(found := super().read(size)))
            return found

    plain = io.BytesIO()
    decrypt(Watched(sealed.blob), plain, derive(sealed.key, "video"), sealed.sha256, len(data))
    assert plain.getvalue() == data
    assert largest == 65_536
