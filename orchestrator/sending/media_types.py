"""Which files can be sent as what: their types by their first bytes, and their sizes. Pure.

What a client or a server calls a file decides nothing about images, sounds, videos and stickers: the bytes
do. Of a document whose bytes say little, the end of its name says which program opens it.

The types and sizes are those that Meta documents for its own service, whose receivers are the same. Documents
have the 2 GiB of WhatsApp's own clients, and stickers 500 KiB, which moving ones may have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from orchestrator.sending.forms import Kind

HEAD_BYTES: Final = 4096
"""Bytes at a file's beginning that `sniff` wants to see; fewer are fine of a shorter file."""
OTHER: Final = "application/octet-stream"
"""The type of a file whose bytes say nothing."""
OPUS: Final = "audio/ogg; codecs=opus"
"""The type of voice notes."""
PICTURES: Final = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
"""Types of pictures that are looked into."""
KIB: Final = 2**10
MIB: Final = 2**20


class Fit(NamedTuple):
    """What can be sent as one kind.

    Attributes:
        types: Types of files; empty if every type can.
        most: Bytes that such a file has at most.
    """

    types: tuple[str, ...]
    most: int


FITS: Final[Mapping[Kind, Fit]] = {
    Kind.IMAGE: Fit(("image/jpeg", "image/png", "image/webp"), 16 * MIB),
    Kind.VIDEO: Fit(("video/mp4", "video/3gpp"), 64 * MIB),
    Kind.AUDIO: Fit(
        ("audio/aac", "audio/mp4", "audio/mpeg", "audio/amr", "audio/ogg", OPUS),
        16 * MIB,
    ),
    Kind.VOICE: Fit((OPUS,), 16 * MIB),
    Kind.DOCUMENT: Fit((), 2048 * MIB),
    Kind.STICKER: Fit(("image/webp",), 500 * KIB),
}
"""What each kind takes."""


def sniff(head: bytes) -> str:
    """Return the type of a file by its first bytes, `OTHER` if they say nothing.

    Args:
        head: The first `HEAD_BYTES` of the file, or all of it.
    """
    for start, found in _STARTS:
        if head.startswith(start):
            return found
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12], OTHER)
    if head[4:8] == b"ftyp":
        return _box_type(head[8:12])
    if head[:4] == b"OggS":
        return OPUS if head[28:36] == b"OpusHead" else "audio/ogg"
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return _frame_type(head)
    return "text/plain" if _is_text(head) else OTHER


def document_type(sniffed: str, name: str | None) -> str:
    """Return the type of a document: by its bytes, and by its name where these say too little.

    Args:
        sniffed: Its type by `sniff`.
        name: What its receiver sees, None for nothing.
    """
    if sniffed not in _VAGUE:
        return sniffed
    ending = (name or "").rpartition(".")[2].lower()
    wanted, found = _ENDINGS.get(ending, ("", sniffed))
    return found if wanted == sniffed else sniffed


def refusal(kind: Kind, mime_type: str, size: int, limit: int) -> str | None:
    """Say why a file cannot be sent as a kind, None if it can.

    Args:
        kind: As what it is to be sent.
        mime_type: Its type, by `sniff`.
        size: Its bytes.
        limit: Bytes that a file may have at most by the configuration.
    """
    fit, most = FITS[kind], most_bytes(kind, limit)
    if not size:
        return "the file is empty"
    if size > most:
        shown = f"{most // MIB} MiB" if most >= MIB else f"{most // KIB} KiB"
        return f"the file is too large: a message of kind {kind} takes a file of at most {shown}"
    if fit.types and mime_type not in fit.types:
        return f"the file is of type {mime_type}, and a message of kind {kind} takes {', '.join(fit.types)}"
    return None


def most_bytes(kind: Kind, limit: int) -> int:
    """Return how many bytes a file of a kind may have, by WhatsApp and by the configuration's limit."""
    return min(FITS[kind].most, limit)


def _box_type(brand: bytes) -> str:
    """Return the type of a file in MPEG-4 boxes (ISO/IEC 14496-12) by its main brand."""
    if brand in _BRANDS:
        return _BRANDS[brand]
    return "video/3gpp" if brand[:2] == b"3g" else "video/mp4"


def _frame_type(head: bytes) -> str:
    """Return the type of a sound without a container: its frames begin with eleven set bits."""
    layer = head[1] >> 1 & 3
    if layer == 0:
        return "audio/aac" if head[1] & 0xF0 == 0xF0 else OTHER
    is_frame = head[1] >> 3 & 3 != 1 and head[2] >> 4 != 0xF and head[2] >> 2 & 3 != 3
    return "audio/mpeg" if is_frame else OTHER


def _is_text(head: bytes) -> bool:
    """Tell whether bytes are text in UTF-8; its last character may be cut."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if len(head) < HEAD_BYTES or error.start < len(head) - 3:
            return False
        text = head[: error.start].decode()
    return bool(text) and all(one >= " " or one in "\t\n\r\f" for one in text)


_STARTS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"ID3", "audio/mpeg"),
    (b"#!AMR\n", "audio/amr"),
    (b"#!AMR-WB\n", "audio/amr"),
    (b"%PDF-", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"\x1f\x8b\x08", "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"{\\rtf", "application/rtf"),
    (b"\x1aE\xdf\xa3", "video/webm"),
)
_RIFF: Final = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS: Final = {
    b"M4A ": "audio/mp4", b"M4B ": "audio/mp4", b"qt  ": "video/quicktime",
    b"heic": "image/heic", b"heix": "image/heic", b"mif1": "image/heif", b"avif": "image/avif",
}  # fmt: skip
_VAGUE: Final = frozenset({OTHER, "text/plain", "application/zip", "application/x-ole-storage"})
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_OPEN: Final = "application/vnd.oasis.opendocument"
_ENDINGS: Final[Mapping[str, tuple[str, str]]] = {
    "docx": ("application/zip", f"{_OFFICE}.wordprocessingml.document"),
    "xlsx": ("application/zip", f"{_OFFICE}.spreadsheetml.sheet"),
    "pptx": ("application/zip", f"{_OFFICE}.presentationml.presentation"),
    "odt": ("application/zip", f"{_OPEN}.text"),
    "ods": ("application/zip", f"{_OPEN}.spreadsheet"),
    "odp": ("application/zip", f"{_OPEN}.presentation"),
    "epub": ("application/zip", "application/epub+zip"),
    "doc": ("application/x-ole-storage", "application/msword"),
    "xls": ("application/x-ole-storage", "application/vnd.ms-excel"),
    "ppt": ("application/x-ole-storage", "application/vnd.ms-powerpoint"),
    "csv": ("text/plain", "text/csv"),
    "json": ("text/plain", "application/json"),
    "xml": ("text/plain", "application/xml"),
    "ics": ("text/plain", "text/calendar"),
    "vcf": ("text/plain", "text/vcard"),
}
"""Ends of names: what the bytes must be, and the type."""
