"""What a message says about its attachment, and what follows from it: address, sizes, time. Pure.

The sender chooses all of it. The host is WhatsApp's in any case, the address that the message names beside
the path is never used, and the path must have a form that changes nothing but the path.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

from orchestrator.accounts.attachments import MOST, Fault, MissingError

Kind: TypeAlias = Literal["image", "video", "audio", "document", "sticker"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

HOST: Final = "mmg.whatsapp.net"
"""Where attachments lie."""
PORT: Final = 443
FOLDER: Final = "media"
"""The folder of the attachments, in the folder of an account's messages."""
MAC_BYTES: Final = 10
"""Bytes at the end of an encrypted attachment that show that nobody has changed it."""
BLOCK: Final = 16

_MMS_TYPES: Final[dict[Kind, str]] = {
    "image": "image", "sticker": "image", "video": "video", "audio": "audio", "document": "document",
}  # fmt: skip
_LONGEST_PATH: Final = 2048
_SEGMENT = r"/[A-Za-z0-9._~+=,@:-]+"
_PATH: Final = re.compile(rf"(?:{_SEGMENT})+\?[A-Za-z0-9._~%=&+,:-]+")
_DOTS: Final = re.compile(r"/\.{1,2}(?=[/?])")

_SECONDS: Final = 60.0
_BYTES_A_SECOND: Final = 32 * 1024


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an attachment lies, and how to read and check it.

    Attributes:
        kind: What it is. Voice notes are audio, round videos are video.
        direct_path: Its path at WhatsApp's host, with a query.
        key: The 32 bytes from which the keys for it are derived: a secret.
        sha256: Its hash.
        sealed_sha256: The hash of its encrypted form.
        size: Bytes that the sender says it has, 0 for none said.
    """

    kind: Kind
    direct_path: str = field(repr=False)
    key: bytes = field(repr=False)
    sha256: bytes = field(repr=False)
    sealed_sha256: bytes = field(repr=False)
    size: int = 0


def draw_id() -> str:
    """Return a new identifier of an attachment: random, so that nobody guesses that of another."""
    return str(1 + secrets.randbelow(MOST))


def check(reference: Reference, limit: int) -> None:
    """Check that an attachment can be fetched.

    Args:
        reference: What the message says.
        limit: Bytes that it may have.

    Raises:
        MissingError: It cannot.
    """
    hashes = (reference.key, reference.sha256, reference.sealed_sha256)
    if reference.kind not in KINDS or any(len(one) != 32 for one in hashes):
        raise MissingError(Fault.UNFIT, "the message does not say how to read it")
    if not is_path(reference.direct_path):
        raise MissingError(Fault.UNFIT, "the message does not say where it is")
    if reference.size > limit:
        raise MissingError(Fault.TOO_LARGE)


def is_path(text: str) -> bool:
    """Tell whether a text is the path of an attachment, and nothing more: no host, no way up, no blanks."""
    return len(text) <= _LONGEST_PATH and bool(_PATH.fullmatch(text)) and not _DOTS.search(text)


def target(reference: Reference) -> str:
    """Return the path and query for which WhatsApp's host is asked."""
    digest = base64.urlsafe_b64encode(reference.sealed_sha256).decode()
    return f"{reference.direct_path}&hash={digest}&mms-type={_MMS_TYPES[reference.kind]}&__wa-mms="


def sealed_size(size: int) -> int:
    """Return the bytes that an attachment of some size has in its encrypted form."""
    return (size // BLOCK + 1) * BLOCK + MAC_BYTES


def is_sealed_size(size: int) -> bool:
    """Tell whether an encrypted attachment can have that many bytes."""
    return size >= BLOCK + MAC_BYTES and (size - MAC_BYTES) % BLOCK == 0


def patience(size: int, limit: int) -> float:
    """Return the seconds that fetching an attachment may take in all.

    Args:
        size: Bytes that the sender says it has, 0 for none said.
        limit: Bytes that it may have.
    """
    return _SECONDS + (size or limit) / _BYTES_A_SECOND


def room_needed(size: int, limit: int) -> int:
    """Return the bytes that must be free before an attachment is fetched.

    It lies there twice for a moment, and what the session and the inbox need stays free.
    """
    return 2 * (sealed_size(size) if size else min(limit, _UNKNOWN_SIZE)) + _RESERVE


_UNKNOWN_SIZE: Final = 16 << 20
_RESERVE: Final = 64 << 20
