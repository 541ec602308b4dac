"""What a picture of a code may be: a small PNG in black, white and gray, and nothing beside it. Pure.

The service writes the pictures that children make into a folder that other programs watch and open. What they
open is what this module has read from the first byte to the last: it has no chunk that this module does not
know, nothing behind its end, and exactly as many pixels as it says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

LONGEST: Final = 16 * 1024
"""Bytes of a picture; one of the largest codes has about 3,000."""
LARGEST: Final = 1024
"""Pixels of a side; one of the largest codes has about 800."""

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct("!IIBBBBB")
_EXPIRES: Final = re.compile(rb"Expires\0\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ORDER: Final = re.compile(r"IHDR (?:tEXt )?(?:IDAT )+IEND ")
_FILTERS: Final = frozenset(range(5))


def is_picture(data: bytes) -> bool:
    """Tell whether bytes are the picture of a code, and nothing else."""
    try:
        chunks = list(_chunks(data))
    except _Wrong:
        return False
    if not _ORDER.fullmatch("".join(f"{kind} " for kind, _ in chunks)) or chunks[-1][1]:
        return False
    header = chunks[0][1]
    if len(header) != _HEADER.size:
        return False
    width, height, depth, color, *methods = _HEADER.unpack(header)
    if not (0 < width <= LARGEST and 0 < height <= LARGEST) or depth not in (1, 8) or color or any(methods):
        return False
    if any(kind == "tEXt" and not _EXPIRES.fullmatch(text) for kind, text in chunks):
        return False
    row = 1 + (width * depth + 7) // 8
    pixels = _inflated(b"".join(part for kind, part in chunks if kind == "IDAT"), row * height)
    return pixels is not None and _FILTERS.issuperset(pixels[::row])


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    pass


def _chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    import zlib  # an account that is linked shows no codes

    if not data.startswith(_SIGNATURE):
        raise _Wrong
    at = len(_SIGNATURE)
    while at < len(data):
        head, at = data[at : at + 8], at + 8
        if len(head) < 8:
            raise _Wrong
        length, kind = struct.unpack("!I4s", head)
        content, checksum = data[at : at + length], data[at + length : at + length + 4]
        if len(checksum) < 4 or zlib.crc32(kind + content) != int.from_bytes(checksum):
            raise _Wrong
        at += length + 4
        yield kind.decode("latin-1"), content


def _inflated(data: bytes, size: int) -> bytes | None:
    """Return what is packed, if it has exactly that size and is all there is."""
    import zlib

    unpacking = zlib.decompressobj()
    try:
        found = unpacking.decompress(data, size + 1)
    except zlib.error:
        return None
    whole = unpacking.eof and not unpacking.unused_data and len(found) == size
    return found if whole else None
