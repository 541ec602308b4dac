"""Frames: the pieces that the stream inside the WebSocket is cut into."""

from __future__ import annotations

from collections.abc import Iterator

HEADER = b"WA\x06\x03"
"""What a client sends first, once: magic value 6 and version 3 of the token tables."""
MAX_FRAME = 2**24 - 1
"""Bytes a frame may have at most: its length is written in three bytes."""

_LENGTH_SIZE = 3


class FrameError(ValueError):
    """The stream is none of frames, or a frame is too long; nothing can be read from it any more."""


class FrameReader:
    """Cuts a stream into frames, however the stream was cut on its way.

    Args:
        limit: Bytes a frame may have; see `limit`.
        header: What the stream begins with; empty for the direction from the server.

    Attributes:
        limit: Bytes a frame may have. It can be changed at any time, also between two frames of
            one piece, and holds for the next frame taken. A frame over it is refused as soon as
            its length is known, so the reader keeps no more than this, 3 bytes and the last piece.
    """

    def __init__(self, limit: int = MAX_FRAME, *, header: bytes = HEADER) -> None:
        self.limit = limit
        self._header = header
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add a piece of the stream, of any size; take the frames out before the next piece."""
        self._buffer += data

    def frames(self) -> Iterator[bytes]:
        """Take out every frame that is complete.

        Raises:
            FrameError: The stream does not begin with the header, or a frame is over the limit.
        """
        buffer = self._buffer
        if self._header:
            start = bytes(buffer[: len(self._header)])
            if not self._header.startswith(start):
                raise FrameError(f"the stream begins with {start.hex(' ')}, not with {self._header.hex(' ')}")
            if len(start) < len(self._header):
                return
            del buffer[: len(start)]
            self._header = b""
        while len(buffer) >= _LENGTH_SIZE:
            size = int.from_bytes(buffer[:_LENGTH_SIZE])
            if size > self.limit:
                raise FrameError(f"a frame of {size} bytes, where {self.limit} are allowed")
            end = _LENGTH_SIZE + size
            if len(buffer) < end:
                return
            with memoryview(buffer) as view:
                frame = bytes(view[_LENGTH_SIZE:end])
            # Cutting off the front of a bytearray moves nothing, so this stays cheap for many frames.
            del buffer[:end]
            yield frame


def encode_frame(body: bytes) -> bytes:
    """Return the body with its length in front.

    The client goes deaf without a word if a frame reaches it in two WebSocket messages: send what
    this returns whole in one.

    Raises:
        FrameError: The body is longer than `MAX_FRAME`.
    """
    if len(body) > MAX_FRAME:
        raise FrameError(f"{len(body)} bytes do not fit into one frame")
    return len(body).to_bytes(_LENGTH_SIZE) + body
