"""What an outbox is: its tables, what is put into it, what is read of it, and what can be wrong with it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from orchestrator.accounts.acts import CHAT, MESSAGE
from orchestrator.errors import StateError
from orchestrator.messages.database import Form
from orchestrator.messages.entry import UnfitError
from orchestrator.sending import wire
from orchestrator.sending.forms import MAX_TAG, File, Kind, Media, Outgoing, Text
from orchestrator.sending.row import Pace, Row, State
from orchestrator.store.layout import OUTBOX

MAX_WHY: Final = 300
"""Characters of why a row waits, failed, or is unknown."""
MEMORY: Final = "memory"
"""By which name it is kept what the pacing remembers."""
MAX_MEMORY: Final = 1 << 20
"""Bytes of what the pacing remembers."""
MAX_RECEIPTS: Final = 2000
"""Messages named by receipts that are kept, for rows whose messages are not known yet."""
UNSETTLED: Final = frozenset({State.SENDING, State.UNKNOWN})
"""The states in which nobody knows whether a row has left."""
_LAST: Final = float(2**36)
"""The latest time in Unix seconds, as in `entry`."""
_CODES: Final = 10**9
_NUMBERS: Final = 2**63

SCHEMA: Final = """
CREATE TABLE rows (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  key BLOB UNIQUE, content BLOB NOT NULL, key_until REAL NOT NULL,
  kind TEXT NOT NULL, chat TEXT NOT NULL, tag TEXT, body TEXT, file TEXT,
  state TEXT NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL, changed_at REAL NOT NULL,
  message TEXT, pace TEXT, queued_until REAL, code INTEGER, why TEXT, secret BLOB
);
CREATE INDEX rows_by_state ON rows (state, expires_at);
CREATE INDEX rows_by_time ON rows (changed_at);
CREATE INDEX rows_by_message ON rows (message) WHERE message IS NOT NULL;
CREATE INDEX rows_with_file ON rows (file) WHERE file IS NOT NULL;
CREATE TABLE contacts (
  digest BLOB PRIMARY KEY, heard_at REAL NOT NULL, sent_at REAL NOT NULL, found_at REAL NOT NULL,
  missing_at REAL NOT NULL, refused_at REAL NOT NULL, noted_at REAL NOT NULL
) WITHOUT ROWID;
CREATE INDEX contacts_by_time ON contacts (noted_at);
CREATE TABLE receipts (number INTEGER PRIMARY KEY, message TEXT NOT NULL UNIQUE, at REAL NOT NULL);
CREATE INDEX receipts_by_time ON receipts (at);
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
COLUMNS: Final = (
    "number, kind, chat, state, created_at, expires_at, changed_at, message, pace, queued_until, code,"
    " why, tag"
)
"""What is read of a row, in the order of `Row`."""


class OutboxError(StateError):
    """An outbox cannot be used; the message says what to do."""

    key = "outbox_unusable"


class NoOutbox(OutboxError):  # noqa: N818 - named for what it says
    """The account has no outbox: nothing was ever to be sent."""

    key = "row_unknown"


class OutboxStirred(OutboxError):  # noqa: N818
    """Somebody writes again to an outbox that was read as nobody's: what was read may be of two moments."""

    key = "outbox_unusable"


class OutboxBusy(OutboxError):  # noqa: N818
    """Somebody else has the outbox open: the account's process, if it is not a command for a moment."""

    key = "outbox_unusable"


class KeyConflict(OutboxError):  # noqa: N818
    """The key was used for another message."""

    key = "idempotency_conflict"


class OutboxFull(OutboxError):  # noqa: N818
    """As many messages wait as may."""

    key = "outbox_full"


class NoRow(OutboxError):  # noqa: N818
    """There is no such row, or its text is deleted."""

    key = "row_unknown"


class NotWaiting(OutboxError):  # noqa: N818
    """The row is in another state than it would have to be."""

    key = "row_not_waiting"


OUTBOX_FORM: Final = Form(
    "outbox", OUTBOX, "damaged-outbox", 1, SCHEMA, "rows", OutboxError, NoOutbox, OutboxStirred
)
"""What an outbox is. A program of an earlier version does not touch the tables of a later one."""


@dataclass(frozen=True, slots=True)
class New:
    """A message for an outbox.

    Attributes:
        outgoing: The message, with its file if it has one.
        body: The same as text, by `sending.wire.as_text`.
        key: What stands for the client's key, 32 bytes by `sending.row.key_digest`.
        key_until: Until when the key is known, in Unix seconds; at least as long as the row waits.
        expires_at: Until when the message may be sent.
        most: How many rows may wait.
    """

    outgoing: Outgoing = field(repr=False)
    body: str = field(repr=False)
    key: bytes = field(repr=False)
    key_until: float
    expires_at: float
    most: int

    @property
    def content(self) -> bytes:
        """What stands for the message: two that say the same, with files of the same bytes, have the same."""
        content = self.outgoing.content
        if isinstance(content, Media) and content.file is not None:
            file = File(id="", sha256=content.file.sha256, size=0, mime_type="")
            content = replace(content, file=file)
        elif isinstance(content, Text):
            content = replace(content, preview=None)  # the page of a link may say something else by now
        same = replace(self.outgoing, content=content)
        return hashlib.sha256(wire.as_text(same).encode()).digest()

    @property
    def file(self) -> str | None:
        """The identifier of the message's file, None without one."""
        content = self.outgoing.content
        return content.file.id if isinstance(content, Media) and content.file is not None else None


class Added(NamedTuple):
    """What became of a message for an outbox.

    Attributes:
        row: Its row.
        again: Whether the row was there before, by the same key.
    """

    row: Row
    again: bool


def values(row: Row) -> list[Any]:
    """Return the values of `COLUMNS`, as JSON takes them."""
    return [
        row.number, str(row.kind), row.to, str(row.state), row.created_at, row.expires_at, row.changed_at,
        row.message, None if row.pace is None else str(row.pace), row.queued_until, row.code, row.why,
        row.tag,
    ]  # fmt: skip


def read(values: tuple[Any, ...]) -> Row:
    """Return a row by the values of `COLUMNS`.

    Raises:
        UnfitError: An account's process cannot have written the row in good faith.
    """
    number, kind, chat, state, created, expires, changed, message, pace, until, code, why, tag = values
    if not all(isinstance(one, float) and 0 <= one <= _LAST for one in (created, expires, changed)):
        raise UnfitError("a row with a time that is none")
    if not (until is None or (isinstance(until, float) and 0 <= until <= _LAST)):
        raise UnfitError("a row with a time that is none")
    if not (_is_count(number, _NUMBERS) and (code is None or _is_count(code, _CODES))):
        raise UnfitError("a row with a number that is none")
    if not (_fits(CHAT, chat or None) and _fits(MESSAGE, message)) or chat is None:
        raise UnfitError("a row whose address or identifier has another form")
    if not (_is_line(why) and (tag is None or (isinstance(tag, str) and len(tag) <= MAX_TAG))):
        raise UnfitError("a row with texts that are none")
    try:
        return Row(
            number, Kind(kind), chat, State(state), created, expires, changed, message,
            None if pace is None else Pace(pace), until, code, why, tag,
        )  # fmt: skip
    except (ValueError, TypeError):
        raise UnfitError("a row of no known kind, state or pace") from None


def _is_count(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value < most


def _fits(pattern: re.Pattern[str], value: object) -> bool:
    return value is None or (isinstance(value, str) and bool(pattern.fullmatch(value)))


def _is_line(value: object) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= MAX_WHY and value.isprintable())
