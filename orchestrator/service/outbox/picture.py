"""Looks at one picture and ends: the process that decodes what is to be sent, which nobody else does.

It is run as a program, with the picture as its standard input. It writes one line of JSON: ``width`` and
``height`` in pixels, upright; ``animated``; and ``thumbnail``, a small JPEG in base64. With a number as its
argument, it also writes the picture without its metadata to the file of that descriptor.

A picture can be made to harm whoever decodes it. So this process has no files, no network and nothing else to
lose, little memory and little time; and the service believes its answer no more than it would a stranger's.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import resource
import sys
import warnings
from typing import Any, Final

MOST_PIXELS: Final = 64_000_000
"""Pixels of a picture that is looked at. Phones take pictures of 50 million at most."""
MOST_BYTES: Final = 16 << 20
"""Bytes of a picture that is looked at."""
MEMORY: Final = 1 << 30
"""Bytes of address space that this process gets: 64 million pixels take 256 MB."""
CPU_SECONDS: Final = 15
THUMBNAIL_PIXELS: Final = 100
"""Pixels of a thumbnail's longer side, which is what WhatsApp's own clients send."""
MOST_THUMBNAIL: Final = 12 * 1024
"""Bytes of a thumbnail."""
_TYPES: Final = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def limit() -> None:
    """Take from this process what no picture needs."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_FSIZE, 2 * MOST_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # a stricter limit is there already
            resource.setrlimit(what, (most, most))


def confine() -> None:
    """Give up files, the network and other processes, for good, as far as the kernel can."""
    from orchestrator.system import confinement

    with contextlib.suppress(confinement.ConfinementError):
        confinement.confine((), network=False)


def look(data: bytes) -> dict[str, Any]:
    """Return what is to be known of a picture.

    Raises:
        Exception: It is none, or damaged, or too large: pillow raises many kinds.
    """
    from PIL import Image, ImageOps

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=tuple(_TYPES)) as picture:
            is_animated = bool(getattr(picture, "is_animated", False))
            width, height = picture.size
            picture.draft("RGB", (4 * THUMBNAIL_PIXELS, 4 * THUMBNAIL_PIXELS))  # only of JPEG
            upright = ImageOps.exif_transpose(picture)
            if picture.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                width, height = height, width
            thumbnail = _thumbnail(upright)
    return {
        "width": width,
        "height": height,
        "animated": is_animated,
        "thumbnail": base64.b64encode(thumbnail).decode(),
    }


def _thumbnail(picture: Any) -> bytes:  # noqa: ANN401 - pillow's own
    """Return a picture as a small JPEG on white."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16 bits of gray
        picture = picture.convert("I").point(lambda gray: gray / 256).convert("L")
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    if picture.mode != "RGB":
        above = picture.convert("RGBA")
        picture = Image.new("RGB", above.size, "white")
        picture.paste(above, mask=above.getchannel("A"))
    for quality in (75, 40, 10):
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality)
        if file.tell() <= MOST_THUMBNAIL:
            return file.getvalue()
    return b""


def warm_up() -> None:
    """Load all of pillow that a picture may need, while files can still be read."""
    from PIL import Image

    for form in _TYPES:
        file = io.BytesIO()
        Image.new("RGBA" if form != "JPEG" else "RGB", (2, 2)).save(file, form)
        look(file.getvalue())


def main() -> int:
    """Look at the picture at the standard input."""
    limit()
    target = int(sys.argv[1]) if len(sys.argv) > 1 else None
    warm_up()
    from orchestrator.sending import media_types, metadata

    confine()
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        return 1
    try:
        found = look(data)
        if target is not None:
            stripped = memoryview(metadata.strip(data, media_types.sniff(data)))
            while stripped:
                stripped = stripped[os.write(target, stripped) :]
    except Exception:  # noqa: BLE001 - whatever a picture makes pillow raise, it means just this
        return 1
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
