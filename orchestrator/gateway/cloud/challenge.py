"""How a receiver of the Cloud API's webhooks proves that it expects them: it repeats a number. Pure.

Meta asks by GET with `hub.mode`, `hub.verify_token` and `hub.challenge`. A receiver that knows the verify
token answers 200 with the challenge and nothing else.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote_from_bytes

from orchestrator.consumers.answers import Answer, Trouble

TRIES: Final = (0.0, 5.0, 30.0, 120.0)
"""Seconds before each try: a receiver may start at the same time as the service."""
MOST: Final = 2**31
"""Challenges are numbers below this, as Meta's are: there are receivers that read them as numbers."""


def target(path: bytes, token: bytes, challenge: str) -> bytes:
    """Return what is asked for.

    Args:
        path: The receiver's path and query, as a request has them.
        token: The verify token.
        challenge: The number, in digits.
    """
    word = quote_from_bytes(token, safe="")
    query = f"hub.mode=subscribe&hub.challenge={challenge}&hub.verify_token={word}"
    return path + (b"&" if b"?" in path else b"?") + query.encode()


def failure(answer: Answer | Trouble, challenge: str) -> str | None:
    """Return why a receiver has not proved it, in words of ours; None if it has."""
    if isinstance(answer, Trouble):
        return answer.value
    if answer.status != 200:
        return f"answered {answer.status}"
    if answer.beginning.strip() != challenge.encode():
        return "answered something else than the challenge"
    return None
