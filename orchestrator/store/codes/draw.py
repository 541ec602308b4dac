"""Draws QR codes: as PNG pictures, and as text for a terminal."""

from __future__ import annotations

import struct
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qrcode.main import QRCode

EXPIRES: Final = "Expires"
"""The keyword of the PNG text chunk with the time at which WhatsApp takes another code."""
_BOX: Final = 8
"""Pixels of a module's side: as many as a byte has bits, so a PNG is easy to write. A code of WhatsApp's has
about 57 modules, so its picture has some 520 pixels square: large enough for every phone, small enough for
every screen."""
_QUIET: Final = 4
"""Modules of white around the code, which ISO/IEC 18004 asks for."""
_QUIET_IN_TERMINAL: Final = 2
"""Fewer, because lines are scarce there; phones do with it."""
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
BLACK_ON_WHITE: Final = ("\x1b[38;5;16;48;5;231m", "\x1b[0m")
REVERSED: Final = ("\x1b[7m", "\x1b[0m")
BARE: Final = ("", "")
"""What stands before and after each line of a code in a terminal."""


def render(text: str, expires_at: float) -> bytes:
    """Draw a code as a PNG, black on white, with the time until which it holds as text in it.

    Args:
        text: What the code says.
        expires_at: When it is replaced or void, in Unix seconds. Parts of a second are dropped.
    """
    rows = _code(text, _QUIET).get_matrix()
    # A pixel is a bit, so a module's eight pixels are one byte. A line begins with its filter, which is none.
    lines = (b"\0" + bytes(0 if module else 0xFF for module in row) for row in rows)
    pixels = b"".join(line * _BOX for line in lines)
    width, height = _BOX * len(rows[0]), _BOX * len(rows)
    until = datetime.fromtimestamp(int(expires_at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _SIGNATURE + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),  # one bit of gray
            _chunk(b"tEXt", f"{EXPIRES}\0{until}".encode("latin-1")),
            _chunk(b"IDAT", zlib.compress(pixels, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a piece of a PNG: its length, its kind, what is in it, and a checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def terminal(text: str, ink: tuple[str, str] = BLACK_ON_WHITE, *, blocks: bool = True) -> str:
    """Draw a code for a terminal, without a last line feed.

    Args:
        text: What the code says.
        ink: What stands before and after each line. By default the colors are set, so that the code is black
            on white whatever the terminal's own are.
        blocks: Draw half blocks, two modules a character; otherwise two number signs a module, in ASCII.
    """
    before, after = ink
    rows = _code(text, _QUIET_IN_TERMINAL).get_matrix()
    if not blocks:
        return "\n".join(before + "".join("##" if module else "  " for module in row) + after for row in rows)
    rows += [[False] * len(rows[0])] * (len(rows) % 2)
    halves = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}
    lines = (
        "".join(halves[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    )
    return "\n".join(f"{before}{line}{after}" for line in lines)


def _code(text: str, quiet: int) -> QRCode[Any]:
    import qrcode

    # Nothing scratches a screen: the lowest level of correction makes for the fewest and largest modules.
    code = qrcode.QRCode(error_correction=qrcode.ERROR_CORRECT_L, box_size=_BOX, border=quiet)
    code.add_data(text, optimize=0)  # in one piece: splitting it into modes saves nothing in base64
    code.make()
    return code


def until(png: bytes) -> float | None:
    """Return until when the code of a picture holds, in Unix seconds; None if the picture does not say.

    Args:
        png: What `render` has drawn.
    """
    _, _, text = png.partition(b"tEXt" + EXPIRES.encode() + b"\0")
    try:
        moment = datetime.fromisoformat(text[:20].decode("ascii"))
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()
