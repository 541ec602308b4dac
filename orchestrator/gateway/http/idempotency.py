"""What becomes of a request whose key was used before. Pure.

A client that got no answer sends its request again with the same ``Idempotency-Key``: what the first one did
is not done twice. A key belongs to a token and an account, so that nobody reads the answer to another.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

KEEP_SECONDS: Final = 72 * 3600.0
"""How long a key is remembered."""
MOST_OF_ONE: Final = 100_000
"""Keys of one token that are remembered: more than one a second would be 260,000."""
_KEY: Final = re.compile(r"[!-~]{1,255}")

State: TypeAlias = Literal["running", "done", "unknown"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a key.

    Attributes:
        state: Whether the request is under way, answered, or cut off so that nobody knows how far it came.
        content: The hash of what was asked for.
        began: When, in Unix seconds.
        status: The status of the answer, 0 without one.
        body: The answer.
    """

    state: State
    content: bytes
    began: float
    status: int = 0
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Go:
    """The request is new: do it."""


@dataclass(frozen=True, slots=True)
class Again:
    """The request was answered: answer the same.

    Attributes:
        status: The status of the answer.
        body: The answer.
    """

    status: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class No:
    """The request must not be done.

    Attributes:
        key: Why; one of `errors.KEYS`.
    """

    key: str


Decision: TypeAlias = Go | Again | No


def decide(known: Known | None, content: bytes, now: float) -> Decision:
    """Decide what becomes of a request.

    Args:
        known: What is known of its key, None for nothing.
        content: The hash of what it asks for.
        now: Unix seconds.
    """
    if known is None or is_over(known.began, now):
        return Go()
    if known.content != content:
        return No("idempotency_conflict")
    match known.state:
        case "running":
            return No("idempotency_running")
        case "unknown":
            return No("idempotency_unknown")
        case "done":
            return Again(known.status, known.body)


def is_over(began: float, now: float) -> bool:
    """Tell whether a key that was used then may be used anew.

    A clock that was set back by some hours changes nothing. One that had been wrong by more does not keep
    what was answered then for that much longer.
    """
    return abs(now - began) >= KEEP_SECONDS


def is_key(text: str) -> bool:
    """Tell whether a text can be a key."""
    return _KEY.fullmatch(text) is not None


def hash_of(method: str, path: str, body: bytes) -> bytes:
    """Return what tells a request from one with other content. The content itself is a text, and not kept."""
    digest = hashlib.sha256()
    for part in (method.encode(), path.encode("utf-8", "surrogatepass"), body):
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()


_NOTHING_DONE: Final = frozenset(
    {
        "account_disabled", "account_exists", "account_running", "already_connected", "bad_name",
        "bad_number", "bad_request", "file_missing", "file_too_large", "file_unfit", "link_unusable",
        "bad_text", "config_invalid", "media_unknown", "message_unknown",
        "no_dead_letter", "no_such_account",
        "no_such_consumer", "not_connected", "not_sent", "permission_denied", "phone_configured",
        "phone_missing", "phone_taken", "service_busy", "too_many_requests", "unknown_command",
    }
)  # fmt: skip


def did_nothing(key: str) -> bool:
    """Tell whether an error says for sure that nothing was done: the same request may be tried again."""
    return key in _NOTHING_DONE
