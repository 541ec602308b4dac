"""The encrypted form of an attachment: checked while it comes, and decrypted piece by piece.

Nothing is decrypted before all of it has been checked.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import IO, Final, NamedTuple

from orchestrator.accounts.attachments import Fault, MissingError
from orchestrator.messages.media import BLOCK, MAC_BYTES, Kind, Reference, is_sealed_size

_INFO: Final[dict[Kind, bytes]] = {
    "image": b"WhatsApp Image Keys",
    "sticker": b"WhatsApp Image Keys",
    "video": b"WhatsApp Video Keys",
    "audio": b"WhatsApp Audio Keys",
    "document": b"WhatsApp Document Keys",
}
_PIECE: Final = 64 * 1024  # a multiple of a block


class Keys(NamedTuple):
    """What is derived from the key of a message."""

    iv: bytes
    cipher: bytes
    mac: bytes


def derive(key: bytes, kind: Kind) -> Keys:
    """Derive the keys of an attachment (HKDF with SHA-256, no salt)."""
    seed = hmac.digest(bytes(32), key, "sha256")
    block, found = b"", b""
    for number in range(1, 4):
        block = hmac.digest(seed, block + _INFO[kind] + bytes([number]), "sha256")
        found += block
    return Keys(found[:16], found[16:48], found[48:80])


class Check:
    """Checks an encrypted attachment while its bytes come.

    Args:
        reference: What the message says about it.

    Attributes:
        size: How many bytes have come.
    """

    def __init__(self, reference: Reference) -> None:
        self.size = 0
        self.keys = derive(reference.key, reference.kind)
        self._wanted = reference.sealed_sha256
        self._sha256 = hashlib.sha256()
        self._mac = hmac.new(self.keys.mac, self.keys.iv, "sha256")
        self._tail = b""

    def add(self, data: bytes) -> None:
        """Take in some bytes."""
        self.size += len(data)
        self._sha256.update(data)
        data = self._tail + data
        self._mac.update(data[:-MAC_BYTES])
        self._tail = data[-MAC_BYTES:]

    def finish(self) -> None:
        """Say that there are no more.

        Raises:
            MissingError: They are not what the message is about.
        """
        if not is_sealed_size(self.size):
            raise MissingError(Fault.ALTERED, "it has another length than any attachment")
        if not hmac.compare_digest(self._sha256.digest(), self._wanted):
            raise MissingError(Fault.ALTERED, "the hash of its encrypted form differs")
        if not hmac.compare_digest(self._mac.digest()[:MAC_BYTES], self._tail):
            raise MissingError(Fault.ALTERED, "its authentication code differs")


def decrypt(sealed: IO[bytes], plain: IO[bytes], keys: Keys, sha256: bytes, limit: int) -> int:
    """Decrypt an attachment that was checked.

    Args:
        sealed: Its encrypted form, which is read from the beginning.
        plain: Takes the attachment.
        keys: Its keys.
        sha256: The hash that it must have.
        limit: Bytes that it may have.

    Returns:
        Its bytes.

    Raises:
        MissingError: It is not what the message is about.
        OSError: It cannot be read or written.
    """
    # Imported when the first attachment comes: most accounts' processes never need it.
    from cryptography.hazmat.primitives.ciphers import Cipher
    from cryptography.hazmat.primitives.ciphers.algorithms import AES
    from cryptography.hazmat.primitives.ciphers.modes import CBC

    left = sealed.seek(0, 2) - MAC_BYTES
    sealed.seek(0)
    context = Cipher(AES(keys.cipher), CBC(keys.iv)).decryptor()
    digest = hashlib.sha256()
    size = 0
    while left:
        data = sealed.read(min(left, _PIECE))
        left -= len(data)
        opened = context.update(data)
        if not data:
            raise OSError("the file became shorter while it was read")
        if not left:
            opened = _without_padding(opened + context.finalize())
        size += len(opened)
        digest.update(opened)
        plain.write(opened)
    if size > limit:
        raise MissingError(Fault.TOO_LARGE)
    if not hmac.compare_digest(digest.digest(), sha256):
        raise MissingError(Fault.ALTERED, "its hash differs")
    return size


def _without_padding(data: bytes) -> bytes:
    count = data[-1]
    if not 1 <= count <= BLOCK or data[-count:] != bytes([count]) * count:
        raise MissingError(Fault.ALTERED, "it does not end as it must")
    return data[:-count]
