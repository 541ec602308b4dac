"""A row of an outbox, as everybody sees it: its states, and its JSON. Pure.

queued ─► sending ─► sent
  │ │        ├─────► failed
  │ │        └─────► unknown ─► sent or failed, by what WhatsApp says later
  │ └─ its time is over ─► expired
  └─ somebody takes it back ─► taken_back
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeAlias, TypeGuard

from orchestrator.sending.forms import Kind

Json: TypeAlias = dict[str, Any]


class State(StrEnum):
    """Where a row is."""

    QUEUED = "queued"
    """It waits: for its turn, for its time, or for the account."""
    SENDING = "sending"
    """It was handed to the library."""
    SENT = "sent"
    """WhatsApp has taken it."""
    FAILED = "failed"
    """It was not sent, and will not be."""
    UNKNOWN = "unknown"
    """Nobody knows yet whether it was sent."""
    EXPIRED = "expired"
    """It was not sent in its time."""
    TAKEN_BACK = "taken_back"
    """Somebody took it back before it was sent."""

    @property
    def is_over(self) -> bool:
        """Whether nothing comes after it."""
        return self in OVER


OVER: Final = frozenset({State.SENT, State.FAILED, State.EXPIRED, State.TAKEN_BACK})
WAITING: Final = frozenset({State.QUEUED, State.SENDING, State.UNKNOWN})


class Pace(StrEnum):
    """How well a chat is known, which decides how soon something is sent there."""

    REPLY = "reply"
    """The chat wrote within the last day."""
    KNOWN = "known"
    """There was an exchange before."""
    NEW = "new"
    """There was none."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        number: What it is known by, from 1 on.
        kind: What is sent.
        to: The chat's address, empty once the text is deleted.
        state: Where it is.
        created_at: When it was written, in Unix seconds.
        expires_at: Until when it may be sent.
        changed_at: When its state changed last.
        message: WhatsApp's identifier of what was sent, None as long as nobody knows it.
        pace: How well the chat is known, None as long as nobody has looked.
        queued_until: When it is sent at the earliest, None if nobody knows or nothing keeps it.
        code: WhatsApp's number for why it failed, such as 463.
        why: Why it failed, waits or is unknown, in plain words.
        tag: The client's own text.
    """

    number: int
    kind: Kind
    to: str = field(repr=False)
    state: State
    created_at: float
    expires_at: float
    changed_at: float
    message: str | None = field(default=None, repr=False)
    pace: Pace | None = None
    queued_until: float | None = None
    code: int | None = None
    why: str | None = None
    tag: str | None = field(default=None, repr=False)

    def as_json(self) -> Json:
        """Return it as clients see it. Times are in UTC and ISO form."""
        return {
            "row": self.number,
            "id": self.message,
            "to": self.to or None,
            "kind": str(self.kind),
            "state": str(self.state),
            "created_at": _iso(self.created_at),
            "changed_at": _iso(self.changed_at),
            "expires_at": _iso(self.expires_at),
            "queued_until": None if self.queued_until is None else _iso(self.queued_until),
            "pace": None if self.pace is None else str(self.pace),
            "code": self.code,
            "why": self.why,
            "tag": self.tag,
        }


MAX_KEY: Final = 255
"""Characters of a key by which a client knows a message of its own again."""


def is_key(text: object) -> TypeGuard[str]:
    """Tell whether something can be such a key: 1 to 255 characters from ! to ~."""
    return isinstance(text, str) and 0 < len(text) <= MAX_KEY and all("!" <= one <= "~" for one in text)


def key_digest(*parts: str) -> bytes:
    """Return what stands for a client's key: of whom it is, and the key.

    Nobody can use or see the key of somebody else, and the outbox has no key as the client wrote it.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8) + data)
    return digest.digest()


def _iso(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
