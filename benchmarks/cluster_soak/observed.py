"""What is known of a soak of a cluster: links, owners, writes, messages. All times are Unix seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks.cluster_soak.plan import Strike


@dataclass(frozen=True, slots=True)
class Link:
    """A connection that WhatsApp has logged in.

    Attributes:
        account: Of which account.
        connection: Its number.
        began_at: When it was logged in.
        ended_at: When it was closed, None if it is open.
        shard: Which shard has made it, by its address; None for an address that no shard has.
    """

    account: str
    connection: int
    began_at: float
    ended_at: float | None = None
    shard: str | None = None

    def is_open(self, at: float) -> bool:
        """Tell whether it was open just before a moment."""
        return self.began_at < at and (self.ended_at is None or self.ended_at > at)


@dataclass(frozen=True, slots=True)
class Claim:
    """A change of the row that says who owns an account.

    Attributes:
        at: When.
        account: Of which account.
        epoch: How often the account was claimed so far.
        shard: Who owns it from now on, None for nobody.
    """

    at: float
    account: str
    epoch: int
    shard: str | None


@dataclass(frozen=True, slots=True)
class Write:
    """A statement that has changed a table of a session, and was committed.

    Attributes:
        at: When.
        account: Whose session.
        table: Which table.
        shard: Which shard has written, by its address; None for an address that no shard has.
        connection: The connection to the database by which it came.
        owner: Which shard owned the account then; None for nobody.
        epoch: How often the account had been claimed then.
    """

    at: float
    account: str
    table: str
    shard: str | None
    connection: str
    owner: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that has happened.

    Attributes:
        strike: What was planned.
        began_at: When it began.
        ended_at: When it was over, but for what follows from it.
        hit: The accounts that it hit.
    """

    strike: Strike
    began_at: float
    ended_at: float
    hit: frozenset[str]


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that somebody has written to an account, and WhatsApp has taken.

    Attributes:
        id: WhatsApp's identifier.
        account: To whom.
        at: When.
    """

    id: str
    account: str
    at: float


@dataclass(frozen=True, slots=True)
class Errand:
    """A text that an account was asked to send.

    Attributes:
        account: Which account.
        row: Its row in the account's outbox, None if no answer has told that the text was taken.
        text: What it says; no other errand says the same.
        to: Who gets it.
    """

    account: str
    row: int | None
    text: str
    to: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the database has of messages in the end.

    Attributes:
        stored: How often each message is in an inbox, by account and identifier.
        lost: The messages that an inbox calls lost, by account and identifier.
        rows: The state of each row of an outbox, by account and row.
    """

    stored: Mapping[tuple[str, str], int] = field(default_factory=dict)
    lost: frozenset[tuple[str, str]] = frozenset()
    rows: Mapping[tuple[str, int], str] = field(default_factory=dict)
