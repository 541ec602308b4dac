"""What files are by their bytes, and as what they can be sent."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from orchestrator.sending import forms, media_types
from orchestrator.sending.forms import Kind
from orchestrator.sending.media_types import MIB, OPUS, OTHER, refusal, sniff

WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def drawn(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, form)
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "mime_type"),
    [
        (drawn("JPEG"), "image/jpeg"),
        (drawn("PNG"), "image/png"),
        (drawn("GIF"), "image/gif"),
        (drawn("WEBP"), "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "audio/wav"),
        (b"RIFF\x24\0\0\0ELSE", OTHER),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "video/mp4"),
        (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4"),
        (b"\0\0\0\x18ftyp3gp5\0\0\0\0", "video/3gpp"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0", "video/quicktime"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
        (b"OggS" + bytes(24) + b"OpusHead", OPUS),
        (b"OggS" + bytes(24) + b"\x01vorbis", "audio/ogg"),
        (b"ID3\x04", "audio/mpeg"),
        (b"\xff\xfb\x90\x64" + bytes(40), "audio/mpeg"),
        (b"\xff\xf1\x50\x80" + bytes(40), "audio/aac"),
        (b"\xff\xf9\x50\x80" + bytes(40), "audio/aac"),
        (b"\xff\xff\xff\xff", OTHER),
        (b"#!AMR\n\x3c", "audio/amr"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"%PDF-1.7\n", "application/pdf"),
        (b"PK\x03\x04", "application/zip"),
        ("für alle\r\n\t→".encode(), "text/plain"),
        (b"<html>", "text/plain"),
        (("é" * 3000).encode()[:4096], "text/plain"),
        (("€" * 3000).encode()[:4096], "text/plain"),
        (b"\xc3", OTHER),
        (b"text\0", OTHER),
        (b"", OTHER),
    ],
)
def test_a_file_is_what_its_bytes_say(head: bytes, mime_type: str) -> None:
    assert sniff(head) == mime_type


@given(st.binary(max_size=64))
def test_every_file_has_a_type(head: bytes) -> None:
    assert "/" in sniff(head)


def test_every_kind_with_a_file_has_types_and_a_size() -> None:
    assert set(media_types.FITS) == forms.MEDIA


@pytest.mark.parametrize(
    ("kind", "mime_type", "size", "words"),
    [
        (Kind.IMAGE, "image/jpeg", 5, None),
        (Kind.IMAGE, "image/gif", 5, "image/jpeg, image/png, image/webp"),
        (Kind.IMAGE, "image/jpeg", 0, "empty"),
        (Kind.IMAGE, "image/jpeg", 16 * MIB, None),
        (Kind.IMAGE, "image/jpeg", 16 * MIB + 1, "at most 16 MiB"),
        (Kind.VIDEO, "video/quicktime", 5, "video/mp4"),
        (Kind.AUDIO, OPUS, 5, None),
        (Kind.VOICE, OPUS, 5, None),
        (Kind.VOICE, "audio/ogg", 5, "codecs=opus"),
        (Kind.DOCUMENT, OTHER, 5, None),
        (Kind.DOCUMENT, OTHER, 64 * MIB + 1, "at most 64 MiB"),
        (Kind.STICKER, "image/webp", 500 * 1024 + 1, "at most 500 KiB"),
        (Kind.STICKER, "image/png", 5, "image/webp"),
    ],
)
def test_what_can_be_sent_as_what(kind: Kind, mime_type: str, size: int, words: str | None) -> None:
    why = refusal(kind, mime_type, size, 64 * MIB)
    assert why is None if words is None else why is not None and words in why


@pytest.mark.parametrize(
    ("sniffed", "name", "mime_type"),
    [
        (
            "application/zip",
            "a.DOCX",
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        ),
        ("application/zip", "a.zip", "application/zip"),
        ("application/zip", "a.csv", "application/zip"),
        ("text/plain", "a.csv", "text/csv"),
        ("text/plain", "a.docx", "text/plain"),
        ("text/plain", "csv", "text/csv"),
        ("application/x-ole-storage", "a.doc", "application/msword"),
        ("application/pdf", "a.csv", "application/pdf"),
        (OTHER, "a.html", OTHER),
        ("text/plain", "a.html", "text/plain"),
        ("text/plain", None, "text/plain"),
    ],
)
def test_a_document_is_opened_by_what_its_bytes_and_its_name_say(
    sniffed: str, name: str | None, mime_type: str
) -> None:
    assert media_types.document_type(sniffed, name) == mime_type
