"""What a store of messages does for an account. Files are behind it (`files`), or Postgres.

    InboxStore    what came in: one writer, the account's process
    Ledger        what the inbox knows besides: what was passed over, what was sent
    OutboxStore   what is to be sent: one writer at a time
    InboxView     what others read of an inbox
    OutboxView    what others read of an outbox

An entry, or a change of a row, is safe when the call returns: it outlasts the process, and with Postgres the
machine. Where the store cannot be used, a call raises one of `UNUSABLE`, and nothing has changed, unless
that is in doubt (`StoreAway.in_doubt`). ``tests/process/postgres/test_message_stores.py`` says what every
implementation has to do.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from orchestrator.errors import StoreAway
from orchestrator.messages.entry import Entry, Stored
from orchestrator.messages.outbox_form import Added, New
from orchestrator.messages.outbox_reader import Tally
from orchestrator.messages.retention import Retention
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Pace, Row, State

UNUSABLE: Final = (sqlite3.Error, StoreAway)
"""What is raised where a store of messages cannot be used at the moment."""


class Ledger(Protocol):
    """What an inbox knows besides its entries; see `messages.ledger`."""

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those keys of entries that came before, or were passed over."""

    def pass_over(self, keys: Iterable[bytes], now: float) -> None:
        """Note keys of what came and is not stored."""

    def stored_since(self, at: float, limit: int = ...) -> set[tuple[str, str, str]]:
        """Return chat, sender and identifier of the first messages that were stored from a time on."""

    def last_heard(self) -> dict[str, float]:
        """Return the people who have written to the account, with the Unix times of their last messages."""

    def first_stored(self) -> float | None:
        """Return when the oldest entry was stored, in Unix seconds; None if there is none."""

    def sending(self, digest: bytes, chat: str, now: float) -> None:
        """Note that a message with that secret is about to be sent."""

    def sent(self, digest: bytes, id_: str) -> None:
        """Note that WhatsApp has taken the message with that secret."""

    def sent_chats(self, ids: Iterable[str]) -> dict[str, str]:
        """Return of those messages that this service has sent their chats, by identifier."""

    def sent_digests(self, *, settled: bool = True) -> set[bytes]:
        """Return what stands for the secrets of what this service has sent."""


class InboxStore(Protocol):
    """The writer's end of an inbox; see `messages.inbox`.

    Attributes:
        count: Number of entries.
        lost: Number of entries about lost messages among them.
        last_message_at: When the last message was stored, in Unix seconds; None if none is known.
        is_clean: Whether nothing is left of what was deleted, as far as this program can see to that.
    """

    count: int
    lost: int
    last_message_at: float | None
    is_clean: bool

    @property
    def ledger(self) -> Ledger:
        """What the inbox knows besides."""

    def append(self, entry: Entry) -> int | None:
        """Store an entry; return its number, or None if it came before.

        Raises:
            UnfitError: A reader would refuse the entry.
        """

    def meta(self, key: str) -> str | None:
        """Return what was written down under a word, None if nothing was."""

    def set_meta(self, **values: str | None) -> None:
        """Write down values under words, all or none; None takes one away."""

    def clear(self, keep: Retention, *, taken: int | None = None, pause: Callable[[], object] = ...) -> int:
        """Delete what was kept long enough; return how many entries that were."""

    def close(self) -> None:
        """Let go of it."""


class OutboxStore(Protocol):
    """The writer's end of an outbox; see `messages.outbox`, and `OutboxMoves` for what becomes of rows.

    Attributes:
        last_sent_at: When WhatsApp took a message last, in Unix seconds; None if none is known.
        is_clean: As of an inbox.
    """

    last_sent_at: float | None
    is_clean: bool

    def add(self, new: New) -> Added:
        """Write a message, unless there is one of the same key already: then return that one's row."""

    def take_back(self, number: int) -> Row:
        """Take a row back that was not handed over yet."""

    def hand_over(self, number: int, pace: Pace | None) -> bytes:
        """Note that a row is handed to the library; return the secret that its message gets."""

    def sent(self, number: int, message: str | None, at: float | None = None) -> Row:
        """Note that WhatsApp has taken a row's message; that it was sent to the chat is noted, too."""

    def failed(self, number: int, why: str, code: int | None = None) -> Row:
        """Note that a row is not sent and will not be."""

    def unknown(self, number: int, why: str, message: str | None = None) -> Row:
        """Note that nobody knows whether a row was sent."""

    def unprovable(self, number: int) -> Row:
        """Note that the session cannot prove that a row that was handed over has not left."""

    def put_back(
        self, number: int, why: str, queued_until: float | None = None, code: int | None = None
    ) -> Row:
        """Let a row wait again that was handed over and is known not to have left."""

    def expire(self, number: int) -> Row:
        """Note that a row was not sent in its time."""

    def schedule(
        self, number: int, pace: Pace | None, queued_until: float | None, why: str | None = None
    ) -> Row:
        """Note when a row that waits is sent at the earliest, and why not before."""

    @property
    def count(self) -> int:
        """Number of rows that wait or are being sent."""

    def waiting(self) -> list[Row]:
        """Return the rows that are not over, in order."""

    def row(self, number: int) -> Row:
        """Return a row."""

    def by_message(self, message: str) -> Row | None:
        """Return the row whose message has an identifier, None if there is none."""

    def outgoing(self, number: int) -> Outgoing:
        """Return the message of a row."""

    def unsettled(self) -> dict[bytes, int]:
        """Return of the rows that were handed over what stands for their secrets, with their numbers."""

    def files(self) -> frozenset[str]:
        """Return the identifiers of the files that rows still need."""

    def clear(self, keep: Retention, *, pause: Callable[[], object] = ...) -> list[str]:
        """Delete the texts of what is over long enough; return the files that no row needs any more."""

    def contact(self, chat: str) -> Contact:
        """Return what is known of a chat."""

    def note_contacts(self, found: Mapping[str, Contact]) -> None:
        """Note what is newly known of chats, together with what was known before."""

    def memory(self) -> str | None:
        """Return what `remember` wrote, None if nothing."""

    def remember(self, text: str) -> None:
        """Write down what the pacing has to know after a restart."""

    def note_receipt(self, ids: Iterable[str]) -> None:
        """Write down which messages a receipt names, as far as a row in doubt is one of them or may be."""

    def receipts(self) -> list[str]:
        """Return the messages that receipts have named while rows were in doubt, in order."""

    def close(self) -> None:
        """Let go of it."""


class InboxView(Protocol):
    """The reader's end of an inbox; see `messages.inbox.Reader`. A call may raise `InboxError`."""

    @property
    def is_current(self) -> bool:
        """Whether it can be read on."""

    def after(self, seq: int, limit: int = ..., *, chat: str | None = None, size: int = ...) -> list[Stored]:
        """Return entries with a higher number, in order."""

    def before_last(self, count: int) -> tuple[int, bool]:
        """Return the number after which the last entries come, and whether there are so many."""

    def chats_of(self, message_id: str, limit: int = ...) -> list[str]:
        """Return the chats of the entries with an identifier."""

    def message(self, chat: str, message_id: str) -> Stored | None:
        """Return the first message of a chat with an identifier, None without one."""

    def latest(self, chat: str) -> Stored | None:
        """Return the last message of a chat, None without one."""

    def find(self, message_id: str, limit: int = ...) -> list[Stored]:
        """Return the entries with an identifier, in order."""

    def find_media(self, media: str) -> Stored | None:
        """Return the entry that has an attachment of this identifier, None if there is none."""

    def with_media(self, seq: int, since: float = ..., limit: int = ...) -> list[tuple[int, str]]:
        """Return the numbers of later entries with attachments, and the attachments' identifiers."""

    def newest(self) -> int:
        """Return the highest number that was given, 0 if none was."""

    def changed(self) -> int:
        """Return a number that is another one after every write."""

    def stop_at(self, deadline: float) -> None:
        """Have everything that takes longer end with an error."""

    def close(self) -> None:
        """Let go of it."""


class OutboxView(Protocol):
    """The reader's end of an outbox; see `messages.outbox_reader`. A call may raise `OutboxError`."""

    def rows(self, after: int = ..., limit: int = ..., states: Iterable[State] | None = ...) -> list[Row]:
        """Return rows with a higher number, in order."""

    def last(self, limit: int = ..., states: Iterable[State] | None = ...) -> list[Row]:
        """Return the rows with the highest numbers, in order."""

    def row(self, number: int) -> Row:
        """Return a row."""

    def by_message(self, message: str) -> Row | None:
        """Return the row whose message has an identifier, None if there is none."""

    def outgoing(self, number: int) -> Outgoing:
        """Return the message of a row."""

    def count(self, states: Iterable[State]) -> int:
        """Return how many rows are in some states."""

    def tally(self) -> Tally:
        """Return how many rows are in which state, and what is known of those that wait."""

    def stop_at(self, deadline: float) -> None:
        """Have everything that takes longer end with an error."""

    def close(self) -> None:
        """Let go of it."""


class AccountMessages(Protocol):
    """Where the messages of one account are kept: `files.FileMessages`, or `remote.RemoteMessages`."""

    @property
    def is_local(self) -> bool:
        """Whether they are on a disk of this machine, which can be full, and answers in a moment."""

    def has_inbox(self) -> bool:
        """Tell whether there is an inbox already."""

    def inbox(self, wall: Callable[[], float] = ...) -> InboxStore:
        """Open the inbox to write, and make it if there is none.

        Raises:
            InboxError: It cannot be used.
        """

    def outbox(self, wall: Callable[[], float] = ...) -> OutboxStore:
        """Open the outbox to write, and make it if there is none.

        Raises:
            OutboxError: It cannot be used.
        """

    def view(self, skipped: Callable[[object], object] = ..., patience: float = ...) -> InboxView:
        """Open the inbox to read.

        Raises:
            NoInbox: There is none.
            InboxError: It cannot be read.
        """

    def rows(self, patience: float = ...) -> OutboxView:
        """Open the outbox to read.

        Raises:
            NoOutbox: There is none.
            OutboxError: It cannot be read.
        """
