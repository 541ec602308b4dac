"""How long a sound or a video takes, as its file says. Pure.

Nothing is decoded: of a file in Ogg (RFC 3533, RFC 7845), the last page says how many samples came before;
of one in MPEG-4 boxes (ISO/IEC 14496-12), a box at its beginning or its end says how long all of it takes.
Other files do not say it in one place, and then 0 is sent, as WhatsApp's own clients take for unknown.

The loudness of a voice note over time (its waveform) is in no file. Working it out takes a decoder for Opus,
which this program does not have: receivers see a flat line.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, TypeAlias

from orchestrator.sending import media_types

LONGEST: Final = 2**20 - 1
"""Seconds that are told at most."""
_TAIL: Final = 64 * 1024
"""Bytes at the end of an Ogg file in which its last page begins: a page has 65,307 bytes at most."""
_OPUS_RATE: Final = 48_000
_MOST_BOXES: Final = 1000

Read: TypeAlias = Callable[[int, int], bytes]
"""Returns so many bytes of a file from a place on; fewer at its end."""


def seconds(read: Read, size: int, mime_type: str) -> int:
    """Return how many seconds a file takes, rounded up; 0 if it does not say so.

    Args:
        read: Reads the file.
        size: Its bytes.
        mime_type: Its type, by `media_types.sniff`.
    """
    if mime_type == media_types.OPUS:
        found = _opus(read, size)
    elif mime_type in ("video/mp4", "video/3gpp", "audio/mp4"):
        found = _boxes(read, size)
    else:
        found = 0.0
    return min(LONGEST, -int(-found // 1))


def _opus(read: Read, size: int) -> float:
    head = read(0, 47)
    skip = int.from_bytes(head[38:40], "little")
    tail = read(max(0, size - _TAIL - 1024), _TAIL + 1024)
    at = tail.rfind(b"OggS")
    samples = int.from_bytes(tail[at + 6 : at + 14], "little", signed=True) if at >= 0 else 0
    return max(0, samples - skip) / _OPUS_RATE


def _boxes(read: Read, size: int) -> float:
    """Return what the box `mvhd` in the box `moov` says, wherever it is."""
    if (place := _find(read, 0, size, b"moov")) is None:
        return 0.0
    if (place := _find(read, *place, b"mvhd")) is None:
        return 0.0
    body = read(place[0], 32)
    try:
        if body[:1] == b"\1":
            scale, length = struct.unpack_from(">IQ", body, 20)
        else:
            scale, length = struct.unpack_from(">II", body, 12)
    except struct.error:
        return 0.0
    return min(length / scale, float(LONGEST)) if scale else 0.0


def _find(read: Read, at: int, end: int, name: bytes) -> tuple[int, int] | None:
    """Return where the body of the first box of a name begins and ends, between two places."""
    for _ in range(_MOST_BOXES):
        head = read(at, 16)
        length, begin = int.from_bytes(head[:4]), 8
        if length == 1:
            length, begin = int.from_bytes(head[8:16]), 16
        elif length == 0:
            length = end - at
        if len(head) < begin or length < begin or at + length > end:
            return None
        if head[4:8] == name:
            return at + begin, at + length
        at += length
    return None
