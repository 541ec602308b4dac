"""How far somebody has read in many streams at once, as one opaque word for ``Last-Event-ID``. Pure.

A stream is known by a hash of its account's name and of its kind. So a word says nothing about accounts,
stays short with many, and a stream that is not there any more does no harm.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Mapping
from typing import Final, TypeAlias

Stream: TypeAlias = tuple[str, str]
"""An account, and which of its streams."""

MOST: Final = 1500
"""Streams in one word: two of each of 750 accounts. The word has at most 28 kB then: a head can hold it."""
LONGEST: Final = 30_000
"""Characters of a word."""
_MARK: Final = "p1."
_HASH: Final = 5
_RAW: Final = MOST * (_HASH + 9)


def write(positions: Mapping[Stream, int]) -> str:
    """Write positions as a word."""
    raw = bytearray()
    for stream, seq in sorted(positions.items()):
        raw += _hash(stream)
        while seq > 127:
            raw.append(seq & 127 | 128)
            seq >>= 7
        raw.append(seq)
    return _MARK + base64.urlsafe_b64encode(zlib.compress(bytes(raw), 9)).decode().rstrip("=")


class Positions:
    """Positions that were read from a word.

    Args:
        word: The word.

    Raises:
        ValueError: It is none.
    """

    def __init__(self, word: str) -> None:
        if not word.startswith(_MARK) or len(word) > LONGEST or not word.isascii():
            raise ValueError("no word of ours")
        packed = word.removeprefix(_MARK)
        try:
            data = base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True)
            unpacking = zlib.decompressobj()
            raw = unpacking.decompress(data, _RAW + 1)
        except (binascii.Error, ValueError, zlib.error):
            raise ValueError("no word of ours") from None
        if not unpacking.eof or unpacking.unused_data:
            raise ValueError("no word of ours")
        self._seqs = _read(raw)

    def of(self, stream: Stream) -> int | None:
        """Return how far a stream was read, None if the word does not say."""
        return self._seqs.get(_hash(stream))


def _read(raw: bytes) -> dict[bytes, int]:
    seqs: dict[bytes, int] = {}
    at = 0
    while at < len(raw):
        name, at = raw[at : at + _HASH], at + _HASH
        seq = shift = 0
        while True:
            if at >= len(raw) or shift > 56:
                raise ValueError("no word of ours")
            byte, at = raw[at], at + 1
            seq |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        seqs[name] = seq
    return seqs


def _hash(stream: Stream) -> bytes:
    return hashlib.blake2s("\0".join(stream).encode(), digest_size=_HASH).digest()
