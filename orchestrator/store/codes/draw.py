"""Draws QR codes: as PNG pictures, and as text for a terminal."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qrcode.main import QRCode

EXPIRES: Final = "Expires"
"""The keyword of the PNG text chunk with the time at which WhatsApp takes another code."""
_BOX: Final = 8
"""Pixels of a module's side. A code of WhatsApp's has about 57 modules, so its picture has some 520 pixels
square: large enough for every phone, small enough for every screen."""
_QUIET: Final = 4
"""Modules of white around the code, which ISO/IEC 18004 asks for."""
_QUIET_IN_TERMINAL: Final = 2
"""Fewer, because lines are scarce there; phones do with it."""
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
    from PIL.PngImagePlugin import PngInfo
    from qrcode.image.pil import PilImage

    about = PngInfo()
    until = datetime.fromtimestamp(int(expires_at), UTC)
    about.add_text(EXPIRES, until.strftime("%Y-%m-%dT%H:%M:%SZ"))
    picture = io.BytesIO()
    _code(text, _QUIET).make_image(PilImage).get_image().save(picture, "PNG", pnginfo=about)
    return picture.getvalue()


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
