"""Pictures are looked at by a process of their own, whatever is in them."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import tempfile
import zlib
from pathlib import Path

import pytest
from PIL import Image
from support.pictures import PNG

from orchestrator.errors import OrchestratorError
from orchestrator.service.outbox import picture, pictures
from orchestrator.service.outbox.pictures import Picture
from orchestrator.system import confinement, interpreter

pytestmark = pytest.mark.timeout(120)


def drawn(form: str, size: tuple[int, int], mode: str = "RGB", **more: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, "red").save(file, form, **more)
    return file.getvalue()


def looked_at(data: bytes, *, strip: bool = False) -> Picture:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        return pictures.look(file.fileno(), strip=strip)


@pytest.mark.parametrize(
    ("form", "size", "mode"),
    [
        ("JPEG", (4000, 3000), "RGB"),
        ("JPEG", (30, 40), "L"),
        ("JPEG", (300, 200), "CMYK"),
        ("PNG", (300, 200), "RGBA"),
        ("PNG", (300, 200), "P"),
        ("PNG", (1, 1), "1"),
        ("PNG", (20, 4000), "I;16"),
        ("WEBP", (512, 512), "RGBA"),
    ],
)
def test_a_picture_has_a_size_and_a_thumbnail(form: str, size: tuple[int, int], mode: str) -> None:
    file = io.BytesIO()
    Image.new(mode, size).save(file, form)
    found = looked_at(file.getvalue())
    assert (found.width, found.height, found.animated, found.stripped) == (*size, False, None)
    assert len(found.thumbnail) < 16 * 1024
    with Image.open(io.BytesIO(found.thumbnail)) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert max(thumbnail.size) <= 100


def test_what_lies_on_its_side_is_shown_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = looked_at(drawn("JPEG", (400, 100), exif=exif), strip=True)
    assert (found.width, found.height) == (100, 400)
    with Image.open(io.BytesIO(found.thumbnail)) as thumbnail:
        assert thumbnail.size == (25, 100)
    assert found.stripped is not None
    assert (looked_at(found.stripped).width, looked_at(found.stripped).height) == (100, 400)


def test_what_moves_is_known_to_move() -> None:
    file = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:])
    assert looked_at(file.getvalue()).animated


def test_a_picture_loses_what_it_says() -> None:
    exif = Image.Exif()
    exif[0x010F] = "needle"
    data = drawn("JPEG", (40, 40), exif=exif)
    found = looked_at(data, strip=True)
    assert b"needle" in data
    assert found.stripped is not None
    assert b"needle" not in found.stripped


def huge_png(side: int) -> bytes:
    """Return some kilobytes that say that they have so many pixels a side, all black."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no picture",
        PNG[: len(PNG) // 2],
        drawn("GIF", (4, 4)),
        drawn("TIFF", (4, 4)),
        drawn("PPM", (4, 4)),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        huge_png(30_000),
        drawn("JPEG", (4, 4)) + bytes(picture.MOST_BYTES),
    ],
    ids=["empty", "text", "half", "gif", "tiff", "ppm", "ps", "svg", "bomb", "large"],
)
def test_what_is_no_picture_or_too_large_is_refused(data: bytes) -> None:
    with pytest.raises(OrchestratorError, match="the picture cannot be read") as raised:
        looked_at(data)
    assert raised.value.key == "file_unfit"


def answer(**wrong: object) -> str:
    """Return lines that say something of a picture, of which one thing is wrong."""
    right = {"width": 1, "height": 1, "animated": False, "thumbnail": ""}
    return f"print({json.dumps(right | wrong)!r})"


@pytest.mark.parametrize(
    "lines",
    [
        "print('{}')",
        "print('[' * 10000)",
        answer(width=1e9),
        answer(thumbnail="PHN2Zz4="),
        answer(animated=1),
        "import os\nwhile True: os.write(1, b'x' * 65536)",
        "import time; time.sleep(600)",
        "import os; os.kill(os.getpid(), 11)",
    ],
)
def test_a_process_that_a_picture_has_taken_over_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    monkeypatch.setattr(pictures, "SECONDS", 2.0)
    monkeypatch.setattr(interpreter, "module", lambda *_: interpreter.script(lines))
    with pytest.raises(OrchestratorError) as raised:
        looked_at(PNG)
    assert raised.value.key == "file_unfit"


def test_without_a_process_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "module", lambda *_: ["/nothing/here"])
    with pytest.raises(OrchestratorError) as raised:
        looked_at(PNG)
    assert raised.value.key == "cannot_start"


@pytest.mark.skipif(bool(confinement.missing()), reason="the kernel lacks what isolates processes")
def test_the_process_has_neither_files_nor_the_network(tmp_path: Path) -> None:
    """What it does after it has given all up is tried out in its place."""
    lines = (
        "import os, socket, sys\n"
        "from orchestrator.service.outbox import picture\n"
        "picture.limit(); picture.warm_up(); picture.confine()\n"
        "def fails(call):\n"
        "    try: call()\n"
        "    except OSError: return 'refused'\n"
        "    return 'done'\n"
        f"print(fails(lambda: open({os.fspath(tmp_path / 'new')!r}, 'w')))\n"
        "print(fails(lambda: open('/etc/passwd')))\n"
        "print(fails(lambda: socket.socket(socket.AF_INET)))\n"
        "print(fails(os.fork))\n"
    )
    done = subprocess.run(interpreter.script(lines), capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.split() == ["refused"] * 4
