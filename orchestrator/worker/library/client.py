"""neonize, as far as a child needs it: calls that return at once, and events as plain data.

This module and `groups` are the only ones that import neonize, and neonize loads Go's library: whoever
imports one of them must be the process that connects, and must not fork any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias
from urllib.parse import quote

from google.protobuf import message as protobuf
from google.protobuf.message import DecodeError
from neonize import client
from neonize import events as library
from neonize._binder import ProxySettings, free_bytes, gocode
from neonize.proto.Neonize_pb2 import LogEntry, MessageInfo, ReturnFunctionWithError
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.utils import ffmpeg
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, MediaType, ReceiptType
from neonize.utils.jid import build_jid

from orchestrator.accounts import failure
from orchestrator.accounts.acts import Fate
from orchestrator.messages.allow import HIDDEN
from orchestrator.messages.entry import Source, address
from orchestrator.sending import asks
from orchestrator.sending.forms import Kind
from orchestrator.worker import asking, events, session_check
from orchestrator.worker.composing.contents import Uploaded
from orchestrator.worker.intake import Intake
from orchestrator.worker.library import groups, phone_signs
from orchestrator.worker.library.callbacks import Callbacks
from orchestrator.worker.library.farewell import Farewell
from orchestrator.worker.library.groups import Groups, jid
from orchestrator.worker.library.lines import UNDECRYPTED, log_event, secret_is_missing, store_has_failed
from orchestrator.worker.library.phone_signs import PhoneSigns
from orchestrator.worker.library.traffic import Traffic
from orchestrator.worker.outcomes import BANS, REASONS
from orchestrator.worker.tidings import Rejections

log = logging.getLogger(__name__)

Put: TypeAlias = Callable[[events.Event], None]
Proto: TypeAlias = Any
"""A message of neonize's, which ship without types."""

MAX_ACTS = 16
"""Things that an account does at once when it is asked, each in a thread; the service asks for no more."""
NONCE_BYTES = 12
"""Bytes of what a vote is encrypted with besides the secret. Whoever votes chooses them, and with any other
number of them the library's cipher ends the process."""

_UPLOADS = {
    Kind.IMAGE: MediaType.MediaImage,
    Kind.VIDEO: MediaType.MediaVideo,
    Kind.AUDIO: MediaType.MediaAudio,
    Kind.VOICE: MediaType.MediaAudio,
    Kind.DOCUMENT: MediaType.MediaDocument,
    Kind.STICKER: MediaType.MediaImage,
}
# WhatsApp checks this pair against the browsers and systems it knows; neonize's own names are in capitals.
_TAKE_RECORD: Callable[[int, int], None] = client.log_whatsmeow
_BROWSER = SimpleNamespace(name="Chrome", value=1)
_SYSTEM = SimpleNamespace(name="Linux")


class _PatientEvent(threading.Event):
    """An event that is waited for until it happens.

    While it connects, neonize looks five times a second whether a key on the terminal has ended it: half of
    what an idle process costs. Here it connects in a thread of its own, which no such key reaches.
    """

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - what it is there to ignore
        return super().wait()


client.ThreadEvent = _PatientEvent
# Before it connects, neonize looks for ffmpeg where programs are. Nothing here converts pictures or sounds.
ffmpeg.check_ffmpeg_available = lambda: True


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client is made with.

    Attributes:
        name: The account's name.
        database: The session's SQLite file, absolute.
        device_name: What the phone shows under linked devices.
        proxy: URL of a proxy, or None for what the environment says.
        log_level: What is wanted of the library's log, a level of `logging`.
        rejects_calls: Whether calls are rejected.
        dsn: The database that has the session instead, with a password.
        hold: Returns when the process may go on: another machine may have the account by now.
    """

    name: str
    database: Path
    device_name: str
    proxy: str | None = field(default=None, repr=False)
    log_level: int = logging.WARNING
    rejects_calls: bool = False
    dsn: str | None = field(default=None, repr=False)
    hold: Callable[[], None] | None = None


class Client:
    """One client, for one connection life; there must be no second one in the process.

    Args:
        settings: What it is made with.
        put: Takes the events; it is called from the library's threads and has to return at once.
        intake: Takes what is stored, likewise.
    """

    def __init__(self, settings: ClientSettings, put: Put, intake: Intake) -> None:
        self._put = put
        self._intake = intake
        intake.ask(self)
        self._proxy = ProxySettings(settings.proxy) if settings.proxy else None
        self._is_there = False
        self._callbacks = Callbacks()
        self._signs = PhoneSigns(time.time)
        self._rejections: Rejections | None = None
        self._room = threading.BoundedSemaphore(MAX_ACTS)
        folder = settings.database.parent if settings.dsn is None else None
        _hear_log(settings.log_level, self._heard_by_log, folder)
        if folder is None:
            client.log_whatsmeow = _ending_in_time(settings.hold or _at_once)
        # The library opens "file:NAME?options", where the name is one of a URL, or a DSN of Postgres.
        self._client = client.NewClient(
            settings.dsn or quote(str(settings.database)),
            props=DeviceProps(os=settings.device_name, platformType=DeviceProps.SAFARI),
            uuid=settings.name,
        )
        if settings.rejects_calls:
            self._rejections = Rejections(self._client.reject_call)
        self.groups = Groups(self._client)
        silence = None if settings.dsn is None else Traffic(settings.dsn).idle_seconds
        self._farewell = Farewell(self._client.disconnect, self._callbacks, lambda: self._is_there, silence)
        self._client.event.qr(self._callbacks.watch(lambda _, text: self._report(events.Qr(text.decode()))))
        # All other events come by way of this one, which neonize hands to Go when it connects.
        self._execute = self._client.event.execute
        self._client.event.execute = self._callbacks.watch(self._hear)
        for kind, translate in _TRANSLATIONS.items():
            self._client.event(kind)(self._hand_over(translate))

    @property
    def logged_in(self) -> bool:
        """Whether the library takes the account for logged in; does not block.

        Go's table of clients is not locked, so it is left alone until the first event shows that the client
        has been entered there. Asked about people before, Go ends the process.
        """
        return self._is_there and bool(self._client.is_logged_in)

    @property
    def oldest_callback(self) -> int | None:
        """The number of Go's oldest call into Python that has not returned, None if all have."""
        return self._callbacks.oldest

    def phone(self) -> str | None:
        """Return the digits of the number the device is linked to, if it is."""
        if not self._is_there:
            return None
        # The name that neonize gives to a person's own address.
        return str(self._client.get_me().JID.User) or None

    @property
    def calls(self) -> int:
        """How many of Go's calls into Python have begun or ended."""
        return self._callbacks.count

    def own_addresses(self) -> list[str]:
        """See `losses.Library`."""
        me = self._client.get_me()
        return [f"{one.User}:{one.Device}@{one.Server}" for one in (me.JID, me.LID) if one.User]

    def number_of(self, user: str) -> str | None:
        """See `intake.People`."""
        if not self._is_there:
            return None
        found = self._client.get_pn_from_lid(build_jid(user, HIDDEN))
        return str(found.User) if found.User.isdecimal() else None

    def name_of(self, user: str, server: str) -> str | None:
        """See `intake.People`."""
        if not self._is_there:
            return None
        found = self._client.contact.get_contact(build_jid(user, server))
        return str(found.FullName or found.FirstName) or None if found.Found else None

    def vote_of(self, event: Proto) -> list[bytes]:
        """See `intake.People`."""
        if len(event.Message.pollUpdateMessage.vote.encIV) != NONCE_BYTES:
            raise ValueError("nobody can decrypt this vote")
        # neonize's decrypt_poll_vote takes the library's answer for bytes, which it is not in 0.5.2.
        data = event.SerializeToString()
        answer = gocode.DecryptPollVote(self._client.uuid, data, len(data))
        try:
            result = ReturnFunctionWithError.FromString(
                answer if isinstance(answer, bytes) else answer.contents.get_bytes()
            )
        finally:
            free_bytes(answer)
        if result.Error:
            raise client.DecryptPollVoteError(result.Error)
        return list(result.PollVoteMessage.selectedOptions)

    def hidden_address_of(self, digits: str) -> str | None:
        """See `composer.Library`."""
        if not self._is_there:
            return None
        found = self._client.get_lid_from_pn(build_jid(digits))
        return address(found.User, found.Server) if found.User else None

    def send(self, chat: str, message: Proto) -> tuple[str, float]:
        """See `composer.Library`.

        Raises:
            TypeError: It is a text, in which the library would look for people, links and files.
        """
        if not isinstance(message, protobuf.Message):
            raise TypeError("only finished messages are sent")
        done = self._client.send_message(jid(chat), message)
        return done.ID, float(done.Timestamp)

    def upload(self, data: bytes, kind: Kind) -> Uploaded:
        """See `composer.Library`. Only bytes: neonize opens or fetches what it is given as a text."""
        done = self._client.upload(bytes(data), _UPLOADS[kind])
        return Uploaded(
            done.url, done.DirectPath, done.MediaKey, done.FileEncSHA256, done.FileSHA256, done.FileLength
        )

    def is_on_whatsapp(self, numbers: tuple[str, ...]) -> list[asks.Found]:
        """See `asking.Library`."""
        return groups.found(self._client.is_on_whatsapp(*(f"+{one}" for one in numbers)))

    def mark_read(self, chat: str, sender: str, ids: tuple[str, ...]) -> None:
        """See `composer.Library`."""
        self._client.mark_read(*ids, chat=jid(chat), sender=jid(sender), receipt=ReceiptType.READ)

    def show_typing(self, chat: str, *, writes: bool, records: bool) -> None:
        """See `composer.Library`."""
        state = ChatPresence.CHAT_PRESENCE_COMPOSING if writes else ChatPresence.CHAT_PRESENCE_PAUSED
        media = (
            ChatPresenceMedia.CHAT_PRESENCE_MEDIA_AUDIO
            if records
            else ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        )
        self._client.send_chat_presence(jid(chat), state, media)

    def dial(self) -> None:
        """Connect, and stay connected; how that ends is an event."""
        self._in_thread("connect", self._connect)

    def ask_link_code(self, phone: str) -> None:
        """Have WhatsApp wait for a code from that phone; the code, or why there is none, is an event."""
        self._in_thread("pair-phone", lambda: self._pair_phone(phone))

    def words(self, error: Exception) -> str:
        """Return what an error that a call has raised says, without what anybody has written.

        neonize's errors are the library's words. All others may quote what was to be done.
        """
        known = isinstance(error, client.NeonizeError)
        return (known and str(error)) or type(error).__name__

    def act(self, number: int, ask: asks.Ask) -> None:
        """Do something at once; how that ends is an event, within some 75 s."""
        if not self._room.acquire(blocking=False):
            self._put(events.ActEnded(number, Fate.BUSY))
            return
        try:
            self._in_thread("act", lambda: self._act(number, ask))
        except RuntimeError:  # there is no thread to be had
            self._room.release()
            self._put(events.ActEnded(number, Fate.BUSY))

    def unlink(self) -> None:
        """Have WhatsApp unlink this device; whether it did is an event."""
        self._in_thread("logout", self._log_out)

    def hang_up(self, seconds: float) -> None:
        """Close the link in good order, and take what the library still holds; that it is done is an event.

        Args:
            seconds: How long that may take.
        """
        until = time.monotonic() + seconds
        self._in_thread("hang-up", lambda: self._hang_up(until))

    def leave(self, seconds: float, *, closes: bool) -> bool:
        """Do what `hang_up` does and wait for it, whoever else does the same; return whether it was done.

        Args:
            seconds: How long that may take.
            closes: Whether there is a link, whose end is to be waited for.
        """
        return self._farewell.drain(time.monotonic() + seconds, closes=closes)

    def _connect(self) -> None:
        try:
            self._client.connect(self._proxy)
        except client.NeonizeError as error:
            self._put(events.ConnectEnded(str(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the run is over and says so
            self._put(events.ConnectEnded(f"{type(error).__name__}: {error}", known=False))
        else:
            self._put(events.ConnectEnded(None))

    def _pair_phone(self, phone: str) -> None:
        try:
            code = self._client.PairPhone(phone, True, _SYSTEM, _BROWSER)
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no code
            self._put(events.LinkCodeFailed(str(error)))
        else:
            self._put(events.LinkCodeIssued(code))

    def _act(self, number: int, ask: asks.Ask) -> None:
        done = asking.answer(self, ask)
        result = None if done.result is None else asks.result_text(done.result)
        self._room.release()
        self._put(events.ActEnded(number, done.fate, done.code, done.about, result))

    def _log_out(self) -> None:
        try:
            self._client.logout()
        except Exception as error:  # noqa: BLE001 - whatever it is, the device is still linked
            self._put(events.Unlinked(str(error) or type(error).__name__))
        else:
            self._put(events.Unlinked(None))

    def _hang_up(self, until: float) -> None:
        try:
            self._farewell.drain(until, closes=True)
        finally:
            self._put(events.HungUp())

    def _in_thread(self, name: str, call: Callable[[], None]) -> None:
        threading.Thread(target=call, name=name, daemon=True).start()

    def _hand_over(self, translate: Callable[[Proto], events.Event]) -> Callable[[object, Proto], None]:
        # The library stands still while a callback runs, and drops nothing: hand over and return.
        return lambda _, event: self._report(translate(event))

    def _hear(self, uuid: int, binary: int, size: int, code: int) -> None:
        """Take an event from Go; what is stored goes past neonize, which would drop what it cannot read."""
        source = _STORED.get(code)
        try:
            if source is None:
                self._execute(uuid, binary, size, code)
            else:
                self._take(source, library.INT_TO_EVENT[code], ctypes.string_at(binary, size))
        except Exception as error:  # noqa: BLE001 - ctypes would print it whole, whatever it quotes
            log.error("an event of the library's was left out: %s", type(error).__name__)

    def _take(self, source: Source, kind: Proto, raw: bytes) -> None:
        self._report(events.Activity())
        try:
            event = kind.FromString(raw)
        except DecodeError:
            self._intake.take_unread(source, raw, MessageInfo.FromString)
            return
        self._intake.take(source, event, raw)
        if (seen := self._signs.heard(phone_signs.of(source, event))) is not None:
            self._put(seen)
        if source == "call" and self._rejections is not None:
            self._rejections.hear(event)

    def _heard_by_log(self, event: events.Event) -> None:
        if isinstance(event, events.DiskFull):
            self._intake.make_room()
        self._put(event)

    def _report(self, event: events.Event) -> None:
        self._is_there = True
        self._put(event)


def _named(event: Proto, name: str) -> str:
    """Return the name of an enum field's value."""
    values = event.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number
    return str(values[getattr(event, name)].name)


def _pair_status(event: Proto) -> events.Event:
    if _named(event, "Status") != "SUCCESS":
        return events.PairStatus(error=event.Error or "no reason given")
    return events.PairStatus(phone=event.ID.User)


_SOURCES: dict[type[Any], Source] = {
    library.MessageEv: "message",
    library.ReceiptEv: "receipt",
    library.UndecryptableMessageEv: "undecryptable",
    library.CallOfferEv: "call",
    library.CallOfferNoticeEv: "call_notice",
    library.GroupInfoEv: "group",
    library.JoinedGroupEv: "joined",
}
"""What is stored."""
_STORED: dict[int, Source] = {library.EVENT_TO_INT[kind]: source for kind, source in _SOURCES.items()}

_TRANSLATIONS: dict[type[Any], Callable[[Proto], events.Event]] = {
    library.PairStatusEv: _pair_status,
    library.ConnectedEv: lambda _: events.Connected(),
    library.DisconnectedEv: lambda _: events.Disconnected(),
    library.KeepAliveTimeoutEv: lambda event: events.KeepAliveTimeout(float(event.LastSuccess) or None),
    library.KeepAliveRestoredEv: lambda _: events.KeepAliveRestored(),
    library.StreamErrorEv: lambda event: events.StreamError(event.Code),
    library.LoggedOutEv: lambda event: events.LoggedOut(_number_of_logout(_named(event, "Reason"))),
    library.StreamReplacedEv: lambda _: events.StreamReplaced(),
    library.TemporaryBanEv: lambda event: events.TemporaryBan(
        BANS.get(_named(event, "Code")), float(event.Expire)
    ),
    library.ConnectFailureEv: lambda event: events.ConnectFailure(
        REASONS.get(_named(event, "Reason")), event.Message
    ),
    library.ClientOutdatedEv: lambda _: events.ClientOutdated(),
    # What only shows that WhatsApp is there.
    library.OfflineSyncCompletedEv: lambda _: events.CaughtUp(),
    **dict.fromkeys(_SOURCES, lambda _: events.Activity()),
}


def _number_of_logout(name: str) -> int | None:
    return None if name == "GENERIC" else REASONS.get(name)


class _LogEvents(logging.Handler):
    """Makes events of those records that tell more than the library's events do.

    Args:
        put: Takes the events.
        folder: Where the session is; None if that is a database.
    """

    def __init__(self, put: Put, folder: Path | None) -> None:
        super().__init__()
        self._put = put
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        if secret_is_missing(record.name, record.getMessage()):
            self._put(events.SecretMissing())
        event = log_event(record.name, record.getMessage())
        # A name that somebody gave themselves may end in any words.
        if isinstance(event, events.DiskFull) and (
            self._folder is None or session_check.has_room(self._folder)
        ):
            return
        if isinstance(event, events.StoreLost) and self._folder is not None:
            return
        if event is not None:
            self._put(event)


def _at_once() -> None:
    """Wait for nothing."""


def _ending_in_time(hold: Callable[[], None]) -> Callable[[int, int], None]:
    """Return what takes a record of Go's half, as neonize's own function does; Go waits meanwhile.

    - A record says that the link is gone, before Go's half dials again. It may not if another machine has the
      account by now.
    - What cannot be decrypted because the database has failed is confirmed to WhatsApp as soon as this
      returns. So the process ends here: WhatsApp delivers the message again.

    Args:
        hold: Returns when the process may go on.
    """

    def take(binary: int, size: int) -> None:
        hold()
        if binary and size > 0 and UNDECRYPTED in (data := ctypes.string_at(binary, size)):
            with contextlib.suppress(DecodeError):
                if store_has_failed(LogEntry.FromString(data).Message):
                    os._exit(failure.EXIT_CODES[failure.Kind.STORE])
        _TAKE_RECORD(binary, size)

    return take


def _hear_log(level: int, put: Put, folder: Path | None) -> None:
    """Have Go's half log at least what is told by its log alone, and hear it.

    Go's half takes its level from this logger of neonize's; what is not wanted in the log is held back by
    whoever writes it.
    """
    logging.getLogger("neonize.utils.log").setLevel(logging.DEBUG if level <= logging.DEBUG else logging.INFO)
    go = logging.getLogger("whatsmeow")
    go.setLevel(logging.DEBUG)
    go.addHandler(_LogEvents(put, folder))
    # Nothing here converts pictures or voice notes.
    logging.getLogger("neonize.utils.ffmpeg").setLevel(logging.ERROR)
