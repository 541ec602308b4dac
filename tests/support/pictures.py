"""Pictures of codes, right and wrong, made by hand."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a part of a PNG."""
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def header(width: int = 1, height: int = 1, depth: int = 8, color: int = 0, interlace: int = 0) -> bytes:
    """Return the first part of a PNG."""
    return chunk(b"IHDR", struct.pack("!IIBBBBB", width, height, depth, color, 0, 0, interlace))


PIXEL = chunk(b"IDAT", zlib.compress(b"\0\xff"))
END = chunk(b"IEND", b"")
PNG = SIGNATURE + header() + PIXEL + END
"""A picture of one white pixel: nobody scans it."""
