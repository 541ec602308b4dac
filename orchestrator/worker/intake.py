"""What the library brings: checked against the list of who is allowed, and appended to the inbox.

All of this runs in the library's callback. The library tells WhatsApp that a message has arrived once the
message is in a queue of 100, from which the callback takes it. So the callback returns as soon as the message
is on the disk, and does nothing else: the shorter it is, the less is in the queue when the process is killed.
While it does not return and the queue is full, WhatsApp keeps what comes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.settings import Messages
from orchestrator.errors import OrchestratorError, StoreAway
from orchestrator.messages import loss, media, reserve
from orchestrator.messages.allow import GROUP, HIDDEN, PERSON, Allow
from orchestrator.messages.database import InboxError
from orchestrator.messages.entry import MAX_RAW, Entry, Source, UnfitError, identifier, inner, seconds
from orchestrator.messages.files import FileMessages
from orchestrator.messages.protocols import UNUSABLE, AccountMessages, InboxStore
from orchestrator.messages.rendering import grammar
from orchestrator.messages.retention import Retention
from orchestrator.system.os_errors import FULL, shortage, trouble
from orchestrator.worker import events, session_check
from orchestrator.worker.tidings import Tidings, bare, chat_of

log = logging.getLogger(__name__)

Proto: TypeAlias = Any
"""A protobuf of the library's, which ship without types."""
Put: TypeAlias = Callable[[events.Event], None]

RETRY_SECONDS: Final = 0.5
"""Seconds between two tries to store what could not be stored. The library waits meanwhile."""
INFO: Final = 1
"""The number of the field of the library's messages that says who wrote them, and where."""
PEER: Final = "peer"
"""The category of what another device of the account says to this one."""
REMEMBERED: Final = 2000
"""People whose number and name are remembered."""
MAX_OPTIONS: Final = 100
"""Options that a vote in a poll chooses; WhatsApp's polls have 12."""
SHA_256: Final = 32
"""Bytes of a hash, by which a vote names an option."""
MAX_NAME: Final = 200
"""Characters of a name in an address book."""


class People(Protocol):
    """What the session knows of people."""

    def number_of(self, user: str) -> str | None:
        """Return the digits of the number behind a hidden address, None if the session does not know."""

    def name_of(self, user: str, server: str) -> str | None:
        """Return the name of a person in the address book of the account's phone, None without one."""

    def vote_of(self, event: Proto) -> list[bytes]:
        """Return the SHA-256 of each option that a vote in a poll chooses.

        Raises:
            Exception: The vote cannot be decrypted; whatever the library raises.
        """


class Heard(Protocol):
    """Is told who has written."""

    def __call__(self, names: Iterable[str], at: float, *, from_me: bool) -> object:
        """Take note that somebody has written in a chat.

        Args:
            names: The chat's addresses.
            at: When, in Unix seconds.
            from_me: Whether that was the account's own phone.
        """


class Watcher(Protocol):
    """Who is told what comes; it returns at once."""

    def taken(self, chat: str, sender: str, id_: str) -> None:
        """A message is stored."""

    def passed(self, chat: str, sender: str, id_: str) -> None:
        """Something of somebody who is allowed came that is not stored."""

    def copied(self) -> None:
        """A history, or secrets of messages to others, come from the account's phone."""


class Intake:
    """Takes what the library brings.

    Args:
        inbox: Where it is stored; None where nobody is allowed.
        settings: Whose messages are kept.
        put: Takes an event when nothing can be stored.
        folder: The folder of the account's messages; None if there is none.
        messages: Where the account's messages are kept; None: in the folder.

    Attributes:
        messages: Where the account's messages are kept, None if nowhere.
        refused: Number of messages that were not stored, since they are not allowed.
        taken: The number up to which every consumer has had the entries; None: there is no consumer.
        watcher: Is told what comes, to find out what is missing.
        tidings: Makes entries of what comes besides messages.
        folder: The folder of the account's messages; None if there is none.
        on_media: Called when an entry with an attachment was stored; it has to return at once.
        on_clear: Called when old entries were deleted, or could have been.
        on_heard: Told the addresses of a chat in which somebody has written, when, and whether that was the
            account's own phone; it returns at once.
    """

    def __init__(
        self,
        inbox: InboxStore | None,
        settings: Messages,
        put: Put,
        folder: Path | None = None,
        messages: AccountMessages | None = None,
    ) -> None:
        self.inbox = inbox
        self.messages = FileMessages(folder) if messages is None and folder is not None else messages
        self.refused = 0
        self.taken: int | None = None
        self.watcher: Watcher = _Nobody()
        self.tidings = Tidings(self)
        self.on_media: Callable[[], object] = _nothing
        self.on_clear: Callable[[], object] = _nothing
        self.on_heard: Heard = _nothing
        self._allow = Allow.of(settings)
        self._keep = Retention.of(settings)
        self._put = put
        self.folder = folder
        self._people: People = _Nobody()
        self._numbers, self._names = _Memory(), _Memory()
        self._never = threading.Event()

    @property
    def stored(self) -> int | None:
        """Number of entries in the inbox, None without one."""
        return None if self.inbox is None else self.inbox.count

    @property
    def lost(self) -> int:
        """Number of entries about lost messages in the inbox."""
        return 0 if self.inbox is None else self.inbox.lost

    @property
    def last_in_at(self) -> float | None:
        """When the inbox got its last message, in Unix seconds; None if none is known."""
        return None if self.inbox is None else self.inbox.last_message_at

    @property
    def clears_every(self) -> float:
        """Seconds between two calls of `clear`."""
        return self._keep.interval

    @property
    def keep(self) -> Retention:
        """For how long what is kept."""
        return self._keep

    def ask(self, people: People) -> None:
        """Ask this one about people from now on."""
        self._people = people

    def make_room(self) -> None:
        """Give up the reserve, because the disk is full: what is on its way finds room."""
        if self.folder is not None and self.messages is not None and self.messages.is_local:
            reserve.spend(self.folder)

    def clear(self) -> None:
        """Delete what was kept long enough."""
        if self.inbox is None:
            return
        try:
            deleted = self.inbox.clear(self._keep, taken=self.taken, pause=lambda: self._never.wait(0.01))
        except UNUSABLE as error:
            log.warning("the inbox could not be cleared of old messages: %s", error)
        else:
            if deleted:
                log.info("%d old messages were deleted", deleted)
            if not self.inbox.is_clean:
                log.warning(
                    "deleted messages may still be on the disk, because another program reads the inbox all"
                    " the time: end the program"
                )
        self.on_clear()

    def take(self, source: Source, event: Proto, raw: bytes) -> None:
        """Store what the library brings, if it is allowed; called by the library, in any of its threads.

        Args:
            source: Which protobuf it is.
            event: The protobuf.
            raw: Its bytes.
        """
        try:
            entries = self._entries(source, event, raw)
        except UnfitError:
            self.refused += 1
            return
        except Exception as error:  # noqa: BLE001 - the library would drop the error, and the message with it
            # Not more than the name: what the error quotes may be what somebody wrote.
            log.error("something that came in could not be read: %s", type(error).__name__)
            self.take_unread(source, raw, lambda _: event.Info)
            return
        for entry in entries:
            self._store_or_refuse(entry)

    def take_unread(self, source: Source, raw: bytes, read_info: Callable[[bytes], Proto]) -> None:
        """Store a message that cannot be read, if what is around it says that its sender is allowed.

        Args:
            source: Which protobuf it is.
            raw: Its bytes.
            read_info: Reads the part that says who wrote the message, and where; raises if it cannot.
        """
        entry = None
        if source == "message":
            with contextlib.suppress(Exception):  # who wrote it is not readable, either
                entry = self._unread(read_info(inner(raw, INFO) or b""), raw)
        if entry is None:
            self.refused += 1
            log.warning("something that came in is not readable, and was not stored")
        else:
            self._store_or_refuse(entry)

    def _store_or_refuse(self, entry: Entry) -> None:
        try:
            self.store(entry)
        except UnfitError as error:
            log.error("something that came in could not be stored: %s", error)
            self.refused += 1
        except Exception as error:  # noqa: BLE001 - as above
            log.error("something that came in could not be stored: %s", type(error).__name__)
            self.refused += 1

    def _unread(self, info: Proto, raw: bytes) -> Entry | None:
        source = info.MessageSource
        chat, sender, message_id = chat_of(source), bare(source.Sender), identifier(info.ID)
        others = [bare(one) for one in (source.SenderAlt, source.RecipientAlt) if one.User]
        if info.Category == PEER or not self.admits(chat, others, from_me=source.IsFromMe):
            return None
        self.watcher.taken(chat, sender, message_id)
        notes = self.notes((chat, sender))
        return Entry("message", chat, sender, message_id, seconds(info.Timestamp), raw[:MAX_RAW], notes)

    def _entries(self, source: Source, event: Proto, raw: bytes) -> list[Entry]:
        entry: Entry | None = None
        match source:
            case "message":
                entry = self._message(event, raw)
            case "group":
                entry = self._group("group", event.JID, event.Sender, event.Timestamp, raw)
            case "joined":
                created = event.GroupInfo.GroupCreated
                entry = self._group("joined", event.GroupInfo.JID, event.Sender, created, raw)
            case "undecryptable":
                return self.tidings.undecryptable(event, raw)
            case "receipt":
                return self.tidings.receipts(event, raw)
            case "call" | "call_notice":
                return self.tidings.call(source, event, raw)
        return [] if entry is None else [entry]

    def _message(self, event: Proto, raw: bytes) -> Entry | None:
        info = event.Info
        source = info.MessageSource
        chat, sender, message_id = chat_of(source), bare(source.Sender), identifier(info.ID)
        about = grammar.facts(event)
        others = [bare(one) for one in (source.SenderAlt, source.RecipientAlt) if one.User]
        admitted = self.admits(chat, others, from_me=source.IsFromMe)
        if not about.is_message:
            if source.IsFromMe and grammar.brings_secrets(event):
                self.watcher.copied()
            if admitted:
                self.watcher.passed(chat, sender, message_id)
            return None
        # Whoever they are: it decides how soon they are answered, and leaves no address behind.
        alt = source.RecipientAlt if source.IsFromMe else source.SenderAlt
        names = (chat,) if chat.endswith(f"@{GROUP}") or not alt.User else (chat, bare(alt))
        self.on_heard(names, seconds(info.Timestamp), from_me=source.IsFromMe)
        if not admitted:
            self.refused += 1
            return None
        self.watcher.taken(chat, sender, message_id)
        notes = self.notes((chat, sender))
        if about.is_poll_vote:
            with contextlib.suppress(Exception):  # then the vote says no more than that there was one
                votes = [one for one in self._people.vote_of(event)[:MAX_OPTIONS] if len(one) == SHA_256]
                notes["vote"] = [base64.b64encode(one).decode() for one in votes]
        if about.media:
            notes["media"] = media.draw_id()
        if len(raw) > MAX_RAW:
            notes["too_large"], raw = len(raw), b""
        return Entry("message", chat, sender, message_id, seconds(info.Timestamp), raw, notes)

    def _group(self, source: Source, jid: Proto, sender: Proto, at: float, raw: bytes) -> Entry | None:
        chat = bare(jid)
        if not self._allow.admits(chat):
            return None
        by = bare(sender) if sender.User else chat
        # WhatsApp gives such news no identifier: the same news twice is the same bytes.
        return Entry(source, chat, by, _digest(raw), seconds(at), raw[:MAX_RAW], self.notes((chat, by)))

    def admits(self, chat: str, others: Iterable[str], *, from_me: bool = False) -> bool:
        """Tell whether messages of a chat are stored; see `Allow.admits`."""
        if self._allow.nobody:
            return False
        known = [*others]
        user, _, server = chat.rpartition("@")
        if self._allow.knows_numbers and server == HIDDEN and (number := self._number(user)):
            known.append(f"{number}@{PERSON}")
        # In a chat with a person, the other addresses are those of the sender and the receiver.
        return self._allow.admits(chat, known if server != GROUP else (), from_me=from_me)

    def notes(self, people: Iterable[str]) -> dict[str, Any]:
        """Return what is known of people: by address, their numbers and names."""
        phones: dict[str, str] = {}
        names: dict[str, str] = {}
        for one in dict.fromkeys(people):
            user, _, server = one.rpartition("@")
            if server == HIDDEN and (number := self._number(user)):
                phones[one] = f"+{number}"
            if name := self._name(user, server):
                names[one] = name
        return {key: value for key, value in (("phones", phones), ("names", names)) if value}

    def other_address(self, address: str) -> dict[str, str]:
        """Return the other address of somebody by both, as far as the session knows it."""
        user, _, server = address.rpartition("@")
        number = self._number(user) if server == HIDDEN else None
        return {} if number is None else loss.other_address(user, number)

    def _number(self, user: str) -> str | None:
        return self._numbers.get(user, lambda: self._people.number_of(user))

    def _name(self, user: str, server: str) -> str | None:
        if server not in (PERSON, HIDDEN):
            return None
        name = self._names.get(f"{user}@{server}", lambda: self._people.name_of(user, server))
        return name[:MAX_NAME] if name else None

    def store(self, entry: Entry) -> None:
        """Store an entry; return when it is on the disk."""
        assert self.inbox is not None, "somebody is allowed"
        is_told = False
        while True:
            try:
                self.inbox.append(entry)
            except (*UNUSABLE, MemoryError, UnicodeDecodeError) as error:
                if not is_told and (event := _failure(error)) is not None:
                    is_told = True
                    self.make_room()
                    self._put(event)
            else:
                if "media" in entry.notes:
                    self.on_media()
                return
            # While this call lasts, WhatsApp keeps what comes after; the process may end meanwhile.
            self._never.wait(RETRY_SECONDS)


def _nothing(*_: object, **__: object) -> None:
    """Do nothing."""


class _Nobody:
    """Knows nobody: the session is not open yet."""

    def number_of(self, user: str) -> str | None:  # noqa: ARG002
        return None

    def name_of(self, user: str, server: str) -> str | None:  # noqa: ARG002
        return None

    def vote_of(self, event: Proto) -> list[bytes]:  # noqa: ARG002
        return []

    def taken(self, chat: str, sender: str, id_: str) -> None:
        pass

    passed = taken

    def copied(self) -> None:
        pass


def open_inbox(
    folder: Path | None, settings: Messages, messages: AccountMessages | None = None
) -> InboxStore | None:
    """Open the inbox of an account, if somebody is allowed or there is an inbox already.

    Args:
        folder: The folder of the account's messages; None if there is none.
        settings: Whose messages are kept.
        messages: Where they are kept; None: in the folder.

    Raises:
        SessionUnusable: It cannot be used as things are.
    """
    if folder is None:
        return None
    kept = messages or FileMessages(folder)
    if Allow.of(settings).nobody and not kept.has_inbox():
        return None
    try:
        inbox = kept.inbox()
        if kept.is_local and not Allow.of(settings).nobody:
            _keep_reserve(folder)
        return inbox
    except (InboxError, *UNUSABLE, OSError) as error:
        raise unusable(error, "inbox", folder) from None


def unusable(error: Exception, what: str, folder: Path) -> session_check.SessionUnusable:
    """Return how a run ends for which a database in the folder of the account's messages cannot be opened.

    Args:
        error: What was raised: an `OrchestratorError`, or an error of SQLite or of the system.
        what: What the database is called.
        folder: The folder.
    """
    if isinstance(error, StoreAway):
        return session_check.SessionUnusable(Kind.STORE, str(error))
    if isinstance(error, OrchestratorError):
        return session_check.SessionUnusable(Kind.CONFIG, str(error))
    lack = shortage(error)
    if lack is not None or not isinstance(error, OSError):
        return session_check.SessionUnusable(
            Kind.MACHINE, lack or f"the {what} in {folder} cannot be used: {error}"
        )
    advice = f"the {what} in {folder} cannot be used ({trouble(error)}): check its owner and its mode"
    return session_check.SessionUnusable(Kind.CONFIG, advice)


def _keep_reserve(folder: Path) -> None:
    """See that there is a reserve. Where a file system has none to give, the account goes on without.

    Raises:
        OSError: There is no room for it.
    """
    try:
        reserve.keep(folder)
    except OSError as error:
        if error.errno in FULL:
            raise
        log.warning(
            "the inbox has no reserve for a full disk (%s): if the disk becomes full, messages may be lost",
            error.strerror,
        )


def _failure(error: Exception) -> events.Event | None:
    """Return what is to be said of an error, None if a further try may do."""
    if isinstance(error, MemoryError):
        return None
    if isinstance(error, StoreAway):
        return events.InboxFailed(Outcome(Kind.STORE, str(error)))
    if isinstance(error, UnicodeDecodeError):  # in what SQLite says of a damaged schema
        return events.InboxFailed(
            Outcome(Kind.MACHINE, "a message could not be stored: the inbox is damaged")
        )
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return None  # another program reads or copies the inbox
    if code == sqlite3.SQLITE_FULL:
        return events.DiskFull()
    return _inbox_failed(str(error))


def _inbox_failed(why: str) -> events.InboxFailed:
    return events.InboxFailed(Outcome(Kind.MACHINE, f"a message could not be stored: {why}"))


def _digest(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]


class _Memory:
    """Remembers what the session knows of people. Several threads may ask at once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, key: str, find: Callable[[], str | None]) -> str | None:
        """Return what is known of somebody, None if nothing is: then the next to ask has it looked up again.

        Args:
            key: Stands for the person.
            find: Asks the session.
        """
        with self._lock:
            found = self._known.get(key)
        if found is not None:
            return found
        with contextlib.suppress(Exception):  # a message of somebody unknown is stored, too
            found = find()
        if found is not None:
            with self._lock:
                if len(self._known) >= REMEMBERED:
                    del self._known[next(iter(self._known))]
                self._known[key] = found
        return found
