"""Pictures lose what they say beside their pixels, and nothing else."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from orchestrator.sending import metadata
from orchestrator.sending.metadata import UnfitPicture

NEEDLE = b"needle 52.5200N 13.4050E"
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp"}


def colors(mode: str = "RGB", size: tuple[int, int] = (40, 24)) -> Image.Image:
    """Return a picture of which no two corners are alike."""
    width, height = size
    data = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (x * 255 // width, y * 255 // height, 99)
    )
    return Image.frombytes("RGB", size, data).convert(mode)


def exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = orientation
    found[0x010F] = NEEDLE.decode()
    found.get_ifd(0x8825)[29] = NEEDLE.decode()
    return found


def made(form: str, orientation: int = 1, **more: Any) -> bytes:  # noqa: ANN401
    """Return a picture with metadata of all sorts."""
    file = io.BytesIO()
    about: dict[str, object] = {"exif": exif(orientation)}
    if form == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Author", NEEDLE.decode())
        text.add_itxt("XML:com.adobe.xmp", NEEDLE.decode(), zip=False)
        about["pnginfo"] = text
    else:
        about["xmp"] = NEEDLE
    if form == "JPEG":
        about["comment"] = NEEDLE
    colors().save(file, form, **about, **more)
    return file.getvalue()


def shown(data: bytes) -> tuple[tuple[int, int], bytes]:
    """Return what people see: the size and the pixels, upright."""
    with Image.open(io.BytesIO(data)) as picture:
        upright = ImageOps.exif_transpose(picture)
        return upright.size, upright.convert("RGBA").tobytes()


@pytest.mark.parametrize("form", TYPES)
def test_what_a_picture_says_is_gone_and_its_pixels_are_the_same(form: str) -> None:
    data = made(form)
    assert NEEDLE in data
    stripped = metadata.strip(data, TYPES[form])
    assert NEEDLE not in stripped
    assert b"Exif" not in stripped
    assert shown(stripped) == shown(data)
    assert metadata.strip(stripped, TYPES[form]) == stripped


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_jpeg_stays_upright(orientation: int) -> None:
    data = made("JPEG", orientation)
    stripped = metadata.strip(data, "image/jpeg")
    assert NEEDLE not in stripped
    assert shown(stripped) == shown(data)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_orientation_is_read_in_both_orders_of_bytes(order: str) -> None:
    tiff = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IHHHIHH", 8, 1, 0x112, 3, 1, 6, 0)
    segment = b"Exif\0\0" + tiff + bytes(4)
    plain = metadata.strip(made("JPEG"), "image/jpeg")
    data = plain[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + plain[2:]
    assert shown(metadata.strip(data, "image/jpeg"))[0] == (24, 40)


def test_colors_stay() -> None:
    profile = b"a color profile " * 8
    for form, mime_type in TYPES.items():
        data = made(form, icc_profile=profile)
        with Image.open(io.BytesIO(metadata.strip(data, mime_type))) as picture:
            assert picture.info["icc_profile"] == profile


@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_what_moves_still_moves(form: str) -> None:
    file = io.BytesIO()
    frames = [colors(), colors().rotate(90), colors().rotate(180)]
    frames[0].save(file, form, save_all=True, append_images=frames[1:], exif=exif())
    stripped = metadata.strip(file.getvalue(), TYPES[form])
    assert NEEDLE not in stripped
    with Image.open(io.BytesIO(stripped)) as picture:
        assert getattr(picture, "n_frames", 1) == 3


@pytest.mark.parametrize("more", [{"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
def test_all_sorts_of_jpeg(more: dict[str, Any]) -> None:
    data = made("JPEG", **more)
    assert shown(metadata.strip(data, "image/jpeg")) == shown(data)


@pytest.mark.parametrize("form", TYPES)
def test_what_lies_behind_the_end_is_gone(form: str) -> None:
    stripped = metadata.strip(made(form) + b"a short video " + NEEDLE, TYPES[form])
    assert NEEDLE not in stripped
    assert shown(stripped) == shown(made(form))


def test_a_chunk_that_nobody_knows_is_gone() -> None:
    data = made("PNG")
    body = b"neEd" + NEEDLE
    chunk = struct.pack(">I", len(NEEDLE)) + body + struct.pack(">I", zlib.crc32(body))
    assert NEEDLE not in metadata.strip(data[:33] + chunk + data[33:], "image/png")


@pytest.mark.parametrize("form", TYPES)
def test_half_a_picture_is_none(form: str) -> None:
    data = made(form)
    for size in range(0, len(data) - 1, 7):
        with pytest.raises(UnfitPicture):
            metadata.strip(data[:size], TYPES[form])


def test_another_type_is_refused() -> None:
    with pytest.raises(UnfitPicture):
        metadata.strip(b"GIF89a", "image/gif")


def test_a_png_with_a_wrong_checksum_is_refused() -> None:
    data = bytearray(made("PNG"))
    data[40] ^= 1
    with pytest.raises(UnfitPicture):
        metadata.strip(bytes(data), "image/png")


@settings(max_examples=300)
@given(st.sampled_from(sorted(TYPES)), st.data())
def test_whatever_the_bytes_are_it_ends_without_another_error(form: str, draw: st.DataObject) -> None:
    data = bytearray(made(form))
    for _ in range(draw.draw(st.integers(0, 5))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    with contextlib.suppress(UnfitPicture):
        assert len(metadata.strip(bytes(data), TYPES[form])) <= len(data) + 100


@given(st.sampled_from(sorted(TYPES.values())), st.binary(max_size=300))
def test_whatever_comes_is_a_picture_or_none(mime_type: str, data: bytes) -> None:
    starts = {"image/jpeg": b"\xff\xd8", "image/png": b"\x89PNG\r\n\x1a\n", "image/webp": b"RIFF"}
    for one in (data, starts[mime_type] + data):
        with contextlib.suppress(UnfitPicture):
            metadata.strip(one, mime_type)
