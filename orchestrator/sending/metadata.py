"""Takes out of a picture what it says of place, time, camera and author, and leaves its pixels alone. Pure.

Nothing is decoded. A picture is a row of parts, of which only those stay that are needed to show it: its
pixels, its colors, its frames, and of a JPEG which way up it is. What lies behind its end goes, too: phones
put short videos there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

_JPEG_KEPT: Final = frozenset({0xE0, 0xE2, 0xEE})
"""Segments for programs that stay: JFIF, the color profile, and Adobe's word for the colors."""
_EXIF: Final = b"Exif\0\0"
_ICC: Final = b"ICC_PROFILE\0"
_PNG_START: Final = b"\x89PNG\r\n\x1a\n"
_PNG_KEPT: Final = frozenset(
    {
        b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"sBIT",
        b"bKGD", b"pHYs", b"acTL", b"fcTL", b"fdAT",
    }
)  # fmt: skip
_WEBP_KEPT: Final = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_FLAGS: Final = 0x0C
"""Flags that say that there is EXIF or XMP."""
_ORIENTATION: Final = 0x0112


class UnfitPicture(ValueError):  # noqa: N818 - what it is
    """The bytes are no whole picture of the type."""


def strip(data: bytes, mime_type: str) -> bytes:
    """Return a picture without what it says beside its pixels.

    Args:
        data: The whole file.
        mime_type: Its type: image/jpeg, image/png or image/webp.

    Raises:
        UnfitPicture: It is no such file, or a damaged one.
    """
    match mime_type:
        case "image/jpeg":
            return _jpeg(data)
        case "image/png":
            return _png(data)
        case "image/webp":
            return _webp(data)
    raise UnfitPicture("a type without known parts")


# JPEG: segments that begin with FF and a number, and pixels between the last of them and the end


def _jpeg(data: bytes) -> bytes:
    if data[:2] != b"\xff\xd8":
        raise UnfitPicture("no JPEG")
    found = bytearray(b"\xff\xd8")
    says_upright = False
    at = 2
    while True:
        at, marker = _next_marker(data, at)
        if marker == 0xD9:
            return bytes(found + b"\xff\xd9")
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            found += bytes((0xFF, marker))
            continue
        size = int.from_bytes(data[at : at + 2])
        segment = data[at : at + size]
        if size < 2 or len(segment) < size:
            raise UnfitPicture("a JPEG that ends early")
        at += size
        is_program = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if marker == 0xE1 and segment[2:].startswith(_EXIF) and not says_upright:
            if turned := _orientation(segment[2 + len(_EXIF) :]):
                found += _turned(turned)
                says_upright = True
        elif not is_program or (marker in _JPEG_KEPT and (marker != 0xE2 or segment[2:].startswith(_ICC))):
            found += bytes((0xFF, marker)) + segment
        if marker == 0xDA:
            end = _scan_end(data, at)
            found += data[at:end]
            at = end


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    if data[at : at + 1] != b"\xff":
        raise UnfitPicture("a JPEG with bytes between its parts")
    while data[at : at + 1] == b"\xff":  # any number of them may stand there
        at += 1
    if at >= len(data):
        raise UnfitPicture("a JPEG that ends early")
    return at + 1, data[at]


def _scan_end(data: bytes, at: int) -> int:
    """Return where pixels end: at the next marker that is neither a stuffed byte nor one that restarts."""
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7 and data[at + 1] != 0xFF:
            return at
        at += 1 if data[at + 1] == 0xFF else 2
    raise UnfitPicture("a JPEG that ends early")


def _orientation(tiff: bytes) -> int:
    """Return which way up a picture is, as EXIF has it: 2 to 8; 0 if it is upright, or nothing is said."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None:
            return 0
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for number in range(min(count, 200)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, start + 2 + 12 * number)
            if tag == _ORIENTATION and kind == 3:
                return value if 2 <= value <= 8 else 0
    except struct.error:
        pass
    return 0


def _turned(orientation: int) -> bytes:
    """Return a segment that says which way up a picture is, and nothing else."""
    entry = struct.pack(">HHIHH", _ORIENTATION, 3, 1, orientation, 0)
    tiff = b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    body = _EXIF + tiff
    return b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body


# PNG: chunks of a length, a name, bytes and a checksum


def _png(data: bytes) -> bytes:
    if not data.startswith(_PNG_START):
        raise UnfitPicture("no PNG")
    found = bytearray(_PNG_START)
    at = len(_PNG_START)
    while True:
        size, name = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        chunk = data[at : at + 12 + size]
        if len(chunk) < 12 + size:
            raise UnfitPicture("a PNG that ends early")
        if zlib.crc32(chunk[4:-4]).to_bytes(4) != chunk[-4:]:
            raise UnfitPicture("a PNG with a wrong checksum")
        at += len(chunk)
        if name in _PNG_KEPT:
            found += chunk
        if name == b"IEND":
            return bytes(found)


# WebP: chunks of a name, a length and bytes, in a RIFF file


def _webp(data: bytes) -> bytes:
    size = int.from_bytes(data[4:8], "little")
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 8 + size:
        raise UnfitPicture("no whole WebP")
    found = bytearray()
    for name, body in _riff(data[12 : 8 + size]):
        if name not in _WEBP_KEPT:
            continue
        if name == b"VP8X" and body:
            body = bytes((body[0] & ~_WEBP_FLAGS,)) + body[1:]
        found += name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)
    return b"RIFF" + (4 + len(found)).to_bytes(4, "little") + b"WEBP" + bytes(found)


def _riff(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + size]
        if len(data) < at + 8 or len(body) < size:
            raise UnfitPicture("a WebP that ends early")
        yield data[at : at + 4], body
        at += 8 + size + size % 2
