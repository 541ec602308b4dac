"""The ends of an inbox and an outbox that somebody else keeps: each call is a question over a socket.

An account's process has them where the messages are in Postgres, for it carries no driver; and so has the
gateway's reader. `storing` has the questions.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import astuple
from typing import Any, Final, TypeVar

from orchestrator.accounts.acts import BadAct
from orchestrator.errors import OrchestratorError, StoreAway
from orchestrator.messages import storing
from orchestrator.messages.database import InboxError
from orchestrator.messages.entry import Entry, Stored, UnfitError, check, dump_notes
from orchestrator.messages.loss import Mark, Session
from orchestrator.messages.outbox_form import Added, New, NoRow, OutboxError, read
from orchestrator.messages.outbox_moves import OutboxMoves
from orchestrator.messages.outbox_reader import Tally
from orchestrator.messages.retention import Retention
from orchestrator.messages.storing import StoringError
from orchestrator.sending import wire
from orchestrator.sending.contacts import Contact
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Pace, Row, State

T = TypeVar("T")

SOME: Final = 500
"""Keys or identifiers of one question."""
GONE: Final = "whoever stores the messages is gone"
_READ: Final = 256 << 10


class Channel:
    """Asks one question after the other; a question of another thread waits.

    Args:
        sock: Where the answers come from.
        account: The account's name, where whoever answers does not know it.
    """

    def __init__(self, sock: socket.socket, account: str | None = None) -> None:
        self._sock = sock
        self._account = account
        self._lock = threading.Lock()
        self._nonce = os.urandom(storing.TOKEN // 2)
        self._numbers = itertools.count(1)

    def ask(self, word: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever is asked for
        """Return the answer to a question, once it is there.

        Raises:
            StoreAway: The store cannot be reached, or whoever answers is gone.
            OrchestratorError, UnfitError: What is asked for is refused.
        """
        question = storing.write([self._account, word, list(arguments)])
        with self._lock:
            try:
                self._sock.sendall(question)
                answer = self._answer()
            except (OSError, StoringError):
                raise StoreAway(GONE, in_doubt=word not in storing.READS) from None
        return storing.value_of(answer)

    def tell(self, word: str, *arguments: Any) -> Any:  # noqa: ANN401
        """The same for a write: it is done once, also if nobody knows at first whether it was."""
        return self.ask(
            word, self._nonce + next(self._numbers).to_bytes(storing.TOKEN // 2, "big"), *arguments
        )

    def of(self, account: str) -> Channel:
        """Return a channel that asks about an account by this one's socket, for one thread."""
        found = Channel(self._sock, account)
        found._lock = self._lock
        return found

    def close(self) -> None:
        """Ask nothing any more; who waits for an answer is told that there is none."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()

    def _answer(self) -> list[Any]:
        data = bytearray()
        while (end := storing.whole(data)) is None:
            piece = self._sock.recv(_READ)
            if not piece:
                raise OSError(GONE)
            data += piece
        return storing.read(bytes(data[:end]))


class RemoteMessages:
    """The messages of an account that somebody else keeps: what `protocols.AccountMessages` asks for.

    Args:
        channel: Where they are kept.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def is_local(self) -> bool:
        """Whether they are on a disk of this machine: they are not, and an answer can take long."""
        return False

    def left(self, wanted: Collection[bytes]) -> tuple[str | None, dict[bytes, str] | None]:
        """Ask which messages of the account have left, by its session, which is where these messages are.

        Args:
            wanted: What stands for the secrets of the messages; see `loss.digest`.

        Returns:
            What stands for the linked device, None if there is none. And identifiers of those messages that
            have left, or may have, by what stands for their secrets; None if nothing is certain.

        Raises:
            StoreAway: Nobody can be asked.
        """
        if len(wanted) > storing.MAX_LEFT:
            return None, None
        device, found = self._channel.ask("left", list(wanted))
        return device, None if found is None else dict(found)

    def heard(self, mark: Mark | None) -> Session | None:
        """Ask which messages the account has decrypted, by its session, which is where these messages are.

        Args:
            mark: How far that was looked at; see `worker.session_secrets.read`.

        Returns:
            What the session tells, None if it is of no linked device, or if nobody can say.

        Raises:
            StoreAway: Nobody can be asked.
        """
        place = (None, 0, "") if mark is None else (mark.device, mark.row, mark.print)
        found = self._channel.ask("heard", *place)
        return None if found is None else Session.of(*found)

    def has_inbox(self) -> bool:
        """Tell whether anything was ever stored: there is always a place for it."""
        return self.view().newest() > 0

    def inbox(self, wall: Callable[[], float] = time.time) -> RemoteInbox:  # noqa: ARG002 - whoever keeps it
        """Return the writer's end of the inbox."""
        return RemoteInbox(self._channel)

    def outbox(self, wall: Callable[[], float] = time.time) -> RemoteOutbox:  # noqa: ARG002
        """Return the writer's end of the outbox."""
        return RemoteOutbox(self._channel)

    def view(
        self,
        skipped: Callable[[object], object] = lambda _: None,
        patience: float = 0.0,  # noqa: ARG002
    ) -> RemoteInboxView:
        """Return the reader's end of the inbox."""
        return RemoteInboxView(self._channel, skipped)

    def rows(self, patience: float = 0.0) -> RemoteOutboxView:  # noqa: ARG002
        """Return the reader's end of the outbox."""
        return RemoteOutboxView(self._channel)


class RemoteLedger:
    """See `ledger.Ledger`.

    Args:
        channel: Where it is asked.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def known(self, keys: Iterable[bytes]) -> set[bytes]:
        """See `ledger.Ledger.known`."""
        return {key for some in _batches(keys) for key in self._channel.ask("known", some)}

    def pass_over(self, keys: Iterable[bytes], now: float) -> None:
        """See `ledger.Ledger.pass_over`."""
        for some in _batches(keys):
            self._channel.tell("pass_over", some, now)

    def stored_since(self, at: float, limit: int = SOME) -> set[tuple[str, str, str]]:
        """See `ledger.Ledger.stored_since`."""
        return {(chat, sender, id_) for chat, sender, id_ in self._channel.ask("stored_since", at, limit)}

    def last_heard(self) -> dict[str, float]:
        """See `ledger.Ledger.last_heard`."""
        return dict(self._channel.ask("last_heard"))

    def first_stored(self) -> float | None:
        """See `ledger.Ledger.first_stored`."""
        found: float | None = self._channel.ask("first_stored")
        return found

    def sending(self, digest: bytes, chat: str, now: float) -> None:
        """See `ledger.Ledger.sending`."""
        self._channel.tell("sending", digest, chat, now)

    def sent(self, digest: bytes, id_: str) -> None:
        """See `ledger.Ledger.sent`."""
        self._channel.tell("ledger_sent", digest, id_)

    def sent_chats(self, ids: Iterable[str]) -> dict[str, str]:
        """See `ledger.Ledger.sent_chats`."""
        return {id_: chat for some in _batches(ids) for id_, chat in self._channel.ask("sent_chats", some)}

    def sent_digests(self, *, settled: bool = True) -> set[bytes]:
        """See `ledger.Ledger.sent_digests`."""
        return set(self._channel.ask("sent_digests", settled))


class RemoteInbox:
    """The writer's end of an inbox; see `protocols.InboxStore`.

    Args:
        channel: Where it is kept.

    Raises:
        StoreAway: It cannot be reached.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.ledger = RemoteLedger(channel)
        self.count, self.lost, self.last_message_at = channel.ask("inbox")
        self.is_clean = True

    def append(self, entry: Entry) -> int | None:
        """See `inbox.Inbox.append`."""
        check(entry)
        seq: int | None
        seq, stored_at = self._channel.ask(
            "append", entry.source, entry.chat, entry.sender, entry.id, float(entry.at), entry.raw,
            dump_notes(entry.notes), entry.extra,
        )  # fmt: skip
        if seq is not None:
            self.count += 1
            self.lost += entry.source == "lost"
            if entry.source == "message":
                self.last_message_at = stored_at
        return seq

    def meta(self, key: str) -> str | None:
        """See `inbox.Inbox.meta`."""
        found: str | None = self._channel.ask("meta", key)
        return found

    def set_meta(self, **values: str | None) -> None:
        """See `inbox.Inbox.set_meta`."""
        self._channel.tell("set_meta", [list(pair) for pair in values.items()])

    def clear(
        self, keep: Retention, *, taken: int | None = None, pause: Callable[[], object] = lambda: None
    ) -> int:
        """See `inbox.Inbox.clear`. What Postgres does not show any more, its vacuum overwrites in time."""
        entries: int = 0
        while True:
            more, deleted = self._channel.tell("clear_inbox", [keep.keep, keep.keep_at_most], taken)
            entries += deleted
            if not more:
                break
            pause()
        self.count, self.lost, self.last_message_at = self._channel.ask("inbox")
        return entries

    def close(self) -> None:
        """Do nothing: all that was told is stored."""


class RemoteOutbox(OutboxMoves):
    """The writer's end of an outbox; see `protocols.OutboxStore`.

    Args:
        channel: Where it is kept.

    Raises:
        StoreAway: It cannot be reached.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.last_sent_at: float | None
        self.last_sent_at, self._count = channel.ask("outbox")
        self.is_clean = True

    def add(self, new: New) -> Added:
        """See `outbox.Outbox.add`."""
        values, self._count, again = self._channel.tell(
            "add", new.body, new.key, new.key_until, new.expires_at, new.most
        )
        return Added(_row(values), again)

    def move(self, number: int, state: State | None, origins: Iterable[State], **values: object) -> Row:
        """See `outbox_moves.OutboxMoves.move`."""
        pairs = [list(pair) for pair in values.items()]
        values_, self._count = self._channel.tell("move", number, state, sorted(origins), pairs)
        return _row(values_)

    def sent(self, number: int, message: str | None, at: float | None = None) -> Row:
        """See `outbox.Outbox.sent`."""
        values, self._count = self._channel.tell("sent", number, message, at)
        row = _row(values)
        if message is not None:
            self.last_sent_at = row.changed_at
        return row

    @property
    def count(self) -> int:
        """Number of rows that wait or are being sent, as of the last change: nobody waits for that."""
        return int(self._count)

    def waiting(self) -> list[Row]:
        """See `outbox.Outbox.waiting`."""
        return [_row(values) for values in self._channel.ask("waiting")]

    def row(self, number: int) -> Row:
        """See `outbox.Outbox.row`."""
        return _row(self._channel.ask("row", number))

    def by_message(self, message: str) -> Row | None:
        """See `outbox.Outbox.by_message`."""
        values = self._channel.ask("by_message", message)
        return None if values is None else _row(values)

    def outgoing(self, number: int) -> Outgoing:
        """See `outbox.Outbox.outgoing`."""
        return _outgoing(self._channel, number)

    def unsettled(self) -> dict[bytes, int]:
        """See `outbox.Outbox.unsettled`."""
        return dict(self._channel.ask("unsettled"))

    def files(self) -> frozenset[str]:
        """See `outbox.Outbox.files`."""
        return frozenset(self._channel.ask("files"))

    def clear(self, keep: Retention, *, pause: Callable[[], object] = lambda: None) -> list[str]:
        """See `outbox.Outbox.clear`."""
        files: list[str] = []
        while True:
            count, some = self._channel.tell("clear_outbox", [keep.keep, keep.keep_at_most])
            files += some
            if not count:
                return list(dict.fromkeys(files))
            pause()

    def contact(self, chat: str) -> Contact:
        """See `outbox_notes.OutboxNotes.contact`."""
        return Contact(*self._channel.ask("contact", chat))

    def note_contacts(self, found: Mapping[str, Contact]) -> None:
        """See `outbox_notes.OutboxNotes.note_contacts`."""
        for some in _batches(found.items()):
            self._channel.tell("note_contacts", [[chat, *astuple(contact)] for chat, contact in some])

    def memory(self) -> str | None:
        """See `outbox_notes.OutboxNotes.memory`."""
        found: str | None = self._channel.ask("memory")
        return found

    def remember(self, text: str) -> None:
        """See `outbox_notes.OutboxNotes.remember`."""
        self._channel.tell("remember", text)

    def note_receipt(self, ids: Iterable[str]) -> None:
        """See `outbox_notes.OutboxNotes.note_receipt`."""
        for some in _batches(ids):
            self._channel.tell("note_receipt", some)

    def receipts(self) -> list[str]:
        """See `outbox_notes.OutboxNotes.receipts`."""
        return list(self._channel.ask("receipts"))

    def close(self) -> None:
        """Do nothing: all that was told is stored."""


class RemoteInboxView:
    """The reader's end of an inbox; see `protocols.InboxView`.

    Args:
        channel: Where it is kept.
        skipped: Called with the number of an entry that is none, which is left out.
    """

    def __init__(self, channel: Channel, skipped: Callable[[object], object] = lambda _: None) -> None:
        self._channel = channel
        self._skipped = skipped

    @property
    def is_current(self) -> bool:
        """Whether it can be read on: always."""
        return True

    def after(
        self, seq: int, limit: int = 100, *, chat: str | None = None, size: int = 16 << 20
    ) -> list[Stored]:
        """See `inbox.Reader.after`."""
        entries, skipped = self._ask("after", seq, limit, chat, size)
        for number in skipped:
            self._skipped(number)
        return [storing.as_entry(one) for one in entries]

    def before_last(self, count: int) -> tuple[int, bool]:
        """See `inbox.Reader.before_last`."""
        number, all_there = self._ask("before_last", count)
        return int(number), bool(all_there)

    def chats_of(self, message_id: str, limit: int = 1000) -> list[str]:
        """See `inbox.Reader.chats_of`."""
        return list(self._ask("chats_of", message_id, limit))

    def message(self, chat: str, message_id: str) -> Stored | None:
        """See `inbox.Reader.message`."""
        return _entry_or_none(self._ask("message", chat, message_id))

    def latest(self, chat: str) -> Stored | None:
        """See `inbox.Reader.latest`."""
        return _entry_or_none(self._ask("latest", chat))

    def find(self, message_id: str, limit: int = 1000) -> list[Stored]:
        """See `inbox.Reader.find`."""
        return [storing.as_entry(one) for one in self._ask("find", message_id, limit)]

    def find_media(self, media: str) -> Stored | None:
        """See `inbox.Reader.find_media`."""
        return _entry_or_none(self._ask("find_media", media))

    def with_media(self, seq: int, since: float = 0.0, limit: int = 100) -> list[tuple[int, str]]:
        """See `inbox.Reader.with_media`."""
        return [(number, media) for number, media in self._ask("with_media", seq, max(0.0, since), limit)]

    def newest(self) -> int:
        """See `inbox.Reader.newest`."""
        return int(self._ask("newest"))

    def changed(self) -> int:
        """Return a number that is another one after every write of an entry."""
        return self.newest()

    def stop_at(self, deadline: float) -> None:
        """Do nothing: whoever keeps the inbox stops what takes too long."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _ask(self, word: str, *arguments: Any) -> Any:  # noqa: ANN401
        try:
            return self._channel.ask(word, *arguments)
        except (OrchestratorError, UnfitError) as error:
            raise InboxError(f"the inbox cannot be read: {error}") from None


class RemoteOutboxView:
    """The reader's end of an outbox; see `protocols.OutboxView`.

    Args:
        channel: Where it is kept.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def rows(self, after: int = 0, limit: int = 100, states: Iterable[State] | None = None) -> list[Row]:
        """See `outbox_reader.OutboxReader.rows`."""
        return [_row(values) for values in self._ask("rows", after, limit, _words(states))]

    def last(self, limit: int = 100, states: Iterable[State] | None = None) -> list[Row]:
        """See `outbox_reader.OutboxReader.last`."""
        return [_row(values) for values in self._ask("last", limit, _words(states))]

    def row(self, number: int) -> Row:
        """See `outbox_reader.OutboxReader.row`."""
        return _row(self._ask("row", number))

    def by_message(self, message: str) -> Row | None:
        """See `outbox_reader.OutboxReader.by_message`."""
        values = self._ask("by_message", message)
        return None if values is None else _row(values)

    def outgoing(self, number: int) -> Outgoing:
        """See `outbox_reader.OutboxReader.outgoing`."""
        return _outgoing(self._channel, number)

    def count(self, states: Iterable[State]) -> int:
        """See `outbox_reader.OutboxReader.count`."""
        return int(self._ask("count_states", sorted(map(str, states))))

    def tally(self) -> Tally:
        """See `outbox_reader.OutboxReader.tally`."""
        states, paces, oldest, soonest, memory = self._ask("tally")
        return Tally(
            {State(state): count for state, count in states},
            {None if pace is None else Pace(pace): count for pace, count in paces},
            oldest,
            soonest,
            memory,
        )

    def stop_at(self, deadline: float) -> None:
        """Do nothing: whoever keeps the outbox stops what takes too long."""

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _ask(self, word: str, *arguments: Any) -> Any:  # noqa: ANN401
        try:
            return self._channel.ask(word, *arguments)
        except StoreAway as error:
            raise OutboxError(f"the outbox cannot be read: {error}") from None


def _row(values: list[Any]) -> Row:
    return read(tuple(values))


def _entry_or_none(values: list[Any] | None) -> Stored | None:
    return None if values is None else storing.as_entry(values)


def _outgoing(channel: Channel, number: int) -> Outgoing:
    try:
        return wire.from_text(channel.ask("body", number))
    except BadAct:
        raise NoRow("the outbox has no such text, or does not have it any more") from None


def _words(states: Iterable[State] | None) -> list[str] | None:
    return None if states is None else sorted(map(str, states))


def _batches(values: Iterable[T]) -> Iterable[list[T]]:
    rest = iter(values)
    while some := list(itertools.islice(rest, SOME)):
        yield some
