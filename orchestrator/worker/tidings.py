"""What comes besides messages, as entries of an inbox: what could not be decrypted, receipts, and calls.

As for messages: only of people and groups who are allowed, and each thing once.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.messages import allow
from orchestrator.messages.allow import GROUP, PERSON
from orchestrator.messages.entry import MAX_RAW, Entry, Source, UnfitError, address, identifier, seconds
from orchestrator.messages.loss import digest, stands_for
from orchestrator.messages.protocols import UNUSABLE, InboxStore
from orchestrator.sending.row import Row

log = logging.getLogger(__name__)

Proto: TypeAlias = Any
"""A protobuf of the library's, which ship without types."""

MAX_IDS: Final = 1000
"""Messages that one receipt is about; WhatsApp names some hundred at most."""
MAX_EARLY: Final = 100
"""Receipts that are remembered for a message that is being sent."""
RING_SECONDS: Final = 60.0
"""Seconds for which a call can ring; one that is older is over, and there is nothing to reject."""
MAX_CALLS: Final = 20
"""Calls that wait to be rejected. More at once are no people, and one after the other is rejected anyway."""

_CALL = re.compile(r"[!-~]{1,128}")
_STATUSES: Final = {"DELIVERED": "delivered", "INACTIVE": "delivered", "READ": "read", "PLAYED": "read"}
"""What receipts of others say of a message that was sent. All others are about the account's own devices."""
_LATER: Final = {"sent": ("delivered", "read"), "delivered": ("read",), "read": ()}
"""What a status says, too: once one of these is known, it is no news."""


class Rules(Protocol):
    """Says what is stored; see `intake.Intake`."""

    inbox: InboxStore | None

    def admits(self, chat: str, others: Iterable[str], *, from_me: bool = False) -> bool:
        """Tell whether messages of a chat are stored."""

    def notes(self, people: Iterable[str]) -> dict[str, Any]:
        """Return what is known of people."""

    def other_address(self, address: str) -> dict[str, str]:
        """Return the other address of somebody by both."""


class Rows(Protocol):
    """Knows what was sent; see `outbox.Outbox`."""

    def by_message(self, id_: str) -> Row | None:
        """Return the row of a message that was sent, None if there is none any more."""


class Tidings:
    """Makes entries of what comes besides messages.

    Args:
        rules: Says what is stored.

    Attributes:
        rows: Knows the rows of what was sent; None without an outbox.
        on_receipt: Told which messages a receipt is about, whoever has sent them; it returns at once.
    """

    def __init__(self, rules: Rules) -> None:
        self.rows: Rows | None = None
        self.on_receipt: Callable[[list[str]], object] = _ignore
        self._rules = rules
        self._lock = threading.Lock()
        self._in_flight = 0
        self._early: deque[tuple[set[str], Proto, bytes]] = deque(maxlen=MAX_EARLY)

    def undecryptable(self, event: Proto, raw: bytes) -> list[Entry]:
        """Return the entry of a message that could not be decrypted, or that was kept from this device.

        The library asks for the message again; if it comes, it is stored under the same identifier.
        """
        info = event.Info
        source = info.MessageSource
        if info.Category == "peer":
            return []
        chat, sender = chat_of(source), bare(source.Sender)
        others = [bare(one) for one in (source.SenderAlt, source.RecipientAlt) if one.User]
        if not self._rules.admits(chat, others, from_me=source.IsFromMe):
            return []
        at = seconds(info.Timestamp)
        return [self._entry("undecryptable", chat, sender, info.ID, at, raw, people=(chat, sender))]

    def receipts(self, event: Proto, raw: bytes) -> list[Entry]:
        """Return an entry for each message that this service has sent and of which a receipt has news."""
        source, inbox = event.MessageSource, self._rules.inbox
        ids = list(dict.fromkeys(identifier(one) for one in event.MessageIDs[:MAX_IDS]))
        # Of any type and of any device: whoever has the message knows its identifier.
        self.on_receipt(ids)
        status = _status_of(event)
        if status is None or source.IsFromMe or inbox is None or not source.Sender.User:
            return []
        event = _without_ids(event)
        raw = event.SerializePartialToString()
        with self._lock:  # or `sent` could come between the two, and see neither
            sent = inbox.ledger.sent_chats(ids)
            if self._in_flight and not sent.keys() >= set(ids):
                # WhatsApp may tell of a message before it tells whoever has sent it.
                self._early.append((set(ids) - sent.keys(), event, raw))
        return self._news(sent, event, raw, status)

    def _news(self, sent: dict[str, str], event: Proto, raw: bytes, status: str) -> list[Entry]:
        """Return an entry for each message that was sent, and of which a receipt has news."""
        source, inbox = event.MessageSource, self._rules.inbox
        if not sent or inbox is None:
            return []
        chat, sender = bare(source.Chat), bare(source.Sender)
        others = [bare(one) for one in (source.SenderAlt, source.RecipientAlt) if one.User]
        if not self._rules.admits(chat, others):
            return []
        at = seconds(event.Timestamp)
        found = []
        for id_, where in sent.items():
            if _is_group(where) != _is_group(chat) or (_is_group(chat) and where != chat):
                continue  # somebody who is not there knows the identifier
            if self._is_news(inbox, chat, sender, others, id_, status):
                found.append(self._status(chat, sender, id_, at, status, raw))
        return found

    def call(self, source: Source, event: Proto, raw: bytes) -> list[Entry]:
        """Return the entry of a call that comes in."""
        about = event.basicCallMeta
        caller = bare(about.callCreator) if about.callCreator.User else bare(_from(about))
        group = group_of(event)
        chat = group or caller
        known = [bare(one) for one in (_from(about), about.callCreatorAlt) if one.User and not group]
        theirs = [bare(one) for one in (about.callCreatorAlt,) if one.User]
        if not (self._rules.admits(chat, known) or (group and self._rules.admits(caller, theirs))):
            return []
        at = seconds(about.timestamp)
        entry = self._entry(source, chat, caller, about.callID, at, raw, people=(chat, caller))
        number = next((one for one in theirs if one.endswith(f"@{PERSON}")), None)
        if number is None or caller.endswith(f"@{PERSON}"):
            return [entry]
        # The session learns numbers from messages, and not from calls.
        phones = {caller: f"+{number.partition('@')[0]}", **entry.notes.get("phones", {})}
        return [replace(entry, notes={**entry.notes, "phones": phones})]

    # What this service sends

    def sending(self, chat: str, secret: bytes) -> bool:
        """Note that a message with that secret is about to be sent; return whether its fate is followed."""
        inbox = self._rules.inbox
        if inbox is None or not self._rules.admits(chat, self._others(chat)):
            return False
        inbox.ledger.sending(digest(secret), chat, time.time())
        with self._lock:
            self._in_flight += 1
        return True

    def sent(self, chat: str, secret: bytes, id_: str, at: float, store: Callable[[Entry], object]) -> None:
        """Note that WhatsApp has taken a message with that secret, and store the entries that say so.

        Args:
            chat: The chat.
            secret: The secret.
            id_: The identifier that the library has chosen.
            at: WhatsApp's time in Unix seconds.
            store: Stores an entry.
        """
        assert self._rules.inbox is not None, "`sending` has said so"
        known = identifier(id_)
        with self._lock:
            self._rules.inbox.ledger.sent(digest(secret), known)
            early = [(event, raw) for ids, event, raw in self._early if known in ids]
            # Receipts wait meanwhile: what became of a message is told after that it was sent.
            store(self._status(chat, chat, known, seconds(at), "sent", b""))
        for event, raw in early:
            status = _status_of(event)
            for entry in self._news({known: chat}, event, raw, status) if status else ():
                store(entry)

    def not_sent(self, chat: str, row: Row, at: float) -> list[Entry]:
        """Return the entry that says that a row will not be sent, if its chat is allowed.

        There may be no identifier of WhatsApp's: one of ours stands in its place.

        Args:
            chat: The chat as it stands in what comes from there.
            row: The row.
            at: When that was clear, in Unix seconds.
        """
        if self._rules.inbox is None or not self._rules.admits(chat, self._others(chat)):
            return []
        id_ = f"x{stands_for('row', str(row.number), str(row.created_at))}"
        return [self._status(chat, chat, id_, at, "failed", b"", row)]

    def identified(self, secret_digest: bytes, id_: str) -> None:
        """Note the identifier of a message that was being sent, and of which more is not known."""
        if self._rules.inbox is not None:
            self._rules.inbox.ledger.sent(secret_digest, identifier(id_))

    def settled(self, id_: str, at: float) -> list[Entry]:
        """Return the entry that says that a message was sent of which that was not known, if that is news.

        Args:
            id_: Its identifier, which `identified` has noted.
            at: When that was clear, in Unix seconds.
        """
        inbox, known = self._rules.inbox, identifier(id_)
        chat = None if inbox is None else inbox.ledger.sent_chats([known]).get(known)
        if inbox is None or chat is None or not self._is_news(inbox, chat, chat, (), known, "sent"):
            return []
        return [self._status(chat, chat, known, at, "sent", b"")]

    def ended(self) -> None:
        """Note that the sending that `sending` has begun is over, however it ended."""
        with self._lock:
            self._in_flight -= 1
            if not self._in_flight:
                self._early.clear()

    # Helpers

    def _others(self, chat: str) -> list[str]:
        return [other for one, other in self._rules.other_address(chat).items() if one == chat]

    def _is_news(
        self, inbox: InboxStore, chat: str, sender: str, others: Iterable[str], id_: str, status: str
    ) -> bool:
        """Tell whether nobody has said that of a message, or more than that."""
        people = {sender, *others, *self._others(sender)}
        pairs = [(chat, one) for one in people] if _is_group(chat) else [(one, one) for one in people]
        said = (status, *_LATER[status])
        keys = [Entry("receipt", *pair, id_, 0.0, extra=one).key for pair in pairs for one in said]
        return not inbox.ledger.known(keys)

    def _status(
        self, chat: str, sender: str, id_: str, at: float, status: str, raw: bytes, row: Row | None = None
    ) -> Entry:
        if row is None and self.rows is not None:
            with contextlib.suppress(*UNUSABLE):  # then the news is without it
                row = self.rows.by_message(id_)
        notes = self._rules.notes((chat, sender)) | {"status": status} | _about(row)
        return Entry("receipt", chat, sender, id_, at, _fitting(raw), notes, extra=status)

    def _entry(
        self,
        source: Source,
        chat: str,
        sender: str,
        id_: str,
        at: float,
        raw: bytes,
        *,
        people: Iterable[str],
    ) -> Entry:
        return Entry(source, chat, sender, identifier(id_), at, _fitting(raw), self._rules.notes(people))


class Rejections:
    """Rejects calls, one after the other, in a thread of its own: the library waits for what hears a call.

    Args:
        reject: Has the library reject a call, by the caller's address and the call's identifier.
        wall: Returns Unix seconds.
    """

    def __init__(self, reject: Callable[[Proto, str], object], wall: Callable[[], float] = time.time) -> None:
        self._reject = reject
        self._wall = wall
        self._waiting: deque[tuple[Proto, str]] = deque(maxlen=MAX_CALLS)
        self._lock = threading.Lock()
        self._works = False

    def hear(self, event: Proto) -> bool:
        """Have a call rejected, whoever calls, unless it is over or of a group; return whether it will be."""
        about = event.basicCallMeta
        try:
            is_of_group = group_of(event) is not None
        except UnfitError:  # whoever calls has written what no phone writes
            return False
        if is_of_group or not self._wall() - RING_SECONDS <= seconds(about.timestamp):
            return False
        caller = about.callCreator if about.callCreator.User else _from(about)
        if not _CALL.fullmatch(about.callID):
            return False
        with self._lock:
            self._waiting.append((caller, about.callID))
            if self._works:
                return True
            self._works = True
        try:
            threading.Thread(target=self._work, name="reject", daemon=True).start()
        except RuntimeError:  # there is no thread to be had
            self._works = False
            return False
        return True

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._works = False
                    return
                caller, call = self._waiting.popleft()
            try:
                self._reject(caller, call)
            except Exception as error:  # noqa: BLE001 - the next call may be rejected all the same
                log.warning("a call could not be rejected: %s", type(error).__name__)


def group_of(event: Proto) -> str | None:
    """Return the address of the group that a call is for, None if it is for nobody else.

    Args:
        event: Neonize_pb2.CallOffer or Neonize_pb2.CallOfferNotice.

    Raises:
        UnfitError: There is no such address.
    """
    for attribute in event.data.Attrs:
        if attribute.name == "group-jid":
            found = bare(attribute.jid) if attribute.HasField("jid") else attribute.text
            return found if _is_group(found) else None
    return None


def bare(jid: Proto) -> str:
    """Return an address without a device.

    Raises:
        UnfitError: It is none.
    """
    return address(jid.User, jid.Server)


def chat_of(source: Proto) -> str:
    """Return the address of the chat that a message belongs to; see `allow.chat_of`.

    Args:
        source: Neonize_pb2.MessageSource.

    Raises:
        UnfitError: There is no such address.
    """
    return allow.chat_of(bare(source.Chat), bare(source.Sender), from_me=source.IsFromMe)


def _status_of(receipt: Proto) -> str | None:
    types = receipt.DESCRIPTOR.fields_by_name["Type"].enum_type.values_by_number
    return _STATUSES.get(types[receipt.Type].name) if receipt.HasField("Type") else None


def _without_ids(receipt: Proto) -> Proto:
    """Return a receipt without the identifiers of its messages.

    Each entry has its own. With all of them, whoever answers a hundred messages by one receipt, and adds as
    many identifiers as they like, would have all of these stored a hundred times.
    """
    return type(receipt)(MessageSource=receipt.MessageSource, Timestamp=receipt.Timestamp, Type=receipt.Type)


def _from(about: Proto) -> Proto:
    return getattr(about, "from")  # a word of Python's


def _about(row: Row | None) -> dict[str, Any]:
    """Return what an entry says of a row, for `rendering.events`."""
    if row is None:
        return {}
    said = {"row": row.number, "tag": row.tag, "code": row.code, "why": row.why}
    return {key: value for key, value in said.items() if value is not None}


def _ignore(_: object) -> None:
    """Do nothing."""


def _is_group(chat: str) -> bool:
    return chat.endswith(f"@{GROUP}")


def _fitting(raw: bytes) -> bytes:
    return raw if len(raw) <= MAX_RAW else b""
