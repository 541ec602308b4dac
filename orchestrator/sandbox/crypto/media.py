"""Media: attachments are encrypted with a key of their own and lie on a server as blobs."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from orchestrator.sandbox.crypto.keys import CryptoError, cbc_decrypt, cbc_encrypt, hkdf, hmac_sha256

MediaKind: TypeAlias = Literal["image", "sticker", "video", "audio", "document"]

_INFO: dict[MediaKind, bytes] = {
    "image": b"WhatsApp Image Keys",
    "sticker": b"WhatsApp Image Keys",
    "video": b"WhatsApp Video Keys",
    "audio": b"WhatsApp Audio Keys",
    "document": b"WhatsApp Document Keys",
}
_MAC_SIZE = 10


@dataclass(frozen=True, slots=True)
class EncryptedMedia:
    """An attachment as it is uploaded, and what the message about it has to say.

    Attributes:
        blob: What lies on the server.
        key: The 32 bytes everything is derived from.
        sha256: Hash of the attachment itself.
        blob_sha256: Hash of the blob.
        length: Bytes of the attachment.
    """

    blob: bytes = field(repr=False)
    key: bytes = field(repr=False)
    sha256: bytes
    blob_sha256: bytes
    length: int


def encrypt(data: bytes, kind: MediaKind, key: bytes | None = None) -> EncryptedMedia:
    """Encrypt an attachment, with a key of 32 bytes that is made up if none is given."""
    key = os.urandom(32) if key is None else key
    iv, cipher_key, mac_key = _derive(key, kind)
    sealed = cbc_encrypt(cipher_key, iv, data)
    blob = sealed + hmac_sha256(mac_key, iv + sealed)[:_MAC_SIZE]
    return EncryptedMedia(
        blob=blob,
        key=key,
        sha256=hashlib.sha256(data).digest(),
        blob_sha256=hashlib.sha256(blob).digest(),
        length=len(data),
    )


def decrypt(
    blob: bytes,
    key: bytes,
    kind: MediaKind,
    *,
    sha256: bytes | None = None,
    blob_sha256: bytes | None = None,
) -> bytes:
    """Decrypt an attachment.

    Args:
        blob: What was downloaded.
        key: The key from the message.
        kind: The kind of the message; another kind's keys differ.
        sha256: Hash the attachment must have, unless None.
        blob_sha256: Hash the blob must have, unless None.

    Raises:
        CryptoError: The MAC or a hash does not fit.
    """
    if blob_sha256 is not None and hashlib.sha256(blob).digest() != blob_sha256:
        raise CryptoError("the SHA-256 of the encrypted media does not fit")
    iv, cipher_key, mac_key = _derive(key, kind)
    sealed, mac = blob[:-_MAC_SIZE], blob[-_MAC_SIZE:]
    if not hmac.compare_digest(mac, hmac_sha256(mac_key, iv + sealed)[:_MAC_SIZE]):
        raise CryptoError("the MAC of the media does not fit")
    data = cbc_decrypt(cipher_key, iv, sealed)
    if sha256 is not None and hashlib.sha256(data).digest() != sha256:
        raise CryptoError("the SHA-256 of the media does not fit")
    return data


def _derive(key: bytes, kind: MediaKind) -> tuple[bytes, bytes, bytes]:
    """Derive initialisation vector, AES key and MAC key."""
    # WhatsApp derives 112 bytes; the last 32 belong to a part of the format that is not used here,
    # and HKDF's output begins the same whatever its length.
    derived = hkdf(key, info=_INFO[kind], length=80)
    return derived[:16], derived[16:48], derived[48:80]
