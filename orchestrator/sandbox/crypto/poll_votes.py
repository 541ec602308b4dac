"""Votes in polls, which only those can read who have got the poll itself."""

from __future__ import annotations

import os

from orchestrator.sandbox.crypto.keys import gcm_decrypt, gcm_encrypt, hkdf

_USE = b"Poll Vote"
_IV = 12


def seal(vote: bytes, secret: bytes, poll: str, author: str, voter: str) -> tuple[bytes, bytes]:
    """Encrypt a vote.

    Args:
        vote: The vote, as protobuf.
        secret: The poll's secret.
        poll: The poll's id.
        author: The address of who asked, without a device.
        voter: The address of who votes, without a device.

    Returns:
        The IV and the encrypted vote.
    """
    iv = os.urandom(_IV)
    key, covered = _key(secret, poll, author, voter)
    return iv, gcm_encrypt(key, iv, vote, covered)


def open_vote(payload: bytes, iv: bytes, secret: bytes, poll: str, author: str, voter: str) -> bytes:
    """Decrypt a vote.

    Raises:
        CryptoError: The vote was not sealed for this poll by this voter.
    """
    key, covered = _key(secret, poll, author, voter)
    return gcm_decrypt(key, iv, payload, covered)


def _key(secret: bytes, poll: str, author: str, voter: str) -> tuple[bytes, bytes]:
    use = b"".join([poll.encode(), author.encode(), voter.encode(), _USE])
    return hkdf(secret, info=use, length=32), f"{poll}\0{voter}".encode()
