"""neonize, as far as a child needs it: calls that return at once, and events as plain data.

This is the only module that imports neonize, and neonize loads Go's library: whoever imports this module must
be the process that connects, and must not fork any more.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias
from urllib.parse import quote

from neonize import client
from neonize import events as library
from neonize._binder import ProxySettings
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.jid import build_jid

from orchestrator.worker import events, session_check
from orchestrator.worker.library.callbacks import Callbacks
from orchestrator.worker.library.lines import log_event
from orchestrator.worker.outcomes import BANS, REASONS

Put: TypeAlias = Callable[[events.Event], None]
Proto: TypeAlias = Any
"""A message of neonize's, which ship without types."""

# WhatsApp checks this pair against the browsers and systems it knows; neonize's own names are in capitals.
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


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What a client is made with.

    Attributes:
        name: The account's name.
        database: The session's SQLite file, absolute.
        device_name: What the phone shows under linked devices.
        proxy: URL of a proxy, or None for what the environment says.
        log_level: What is wanted of the library's log, a level of `logging`.
    """

    name: str
    database: Path
    device_name: str
    proxy: str | None = field(default=None, repr=False)
    log_level: int = logging.WARNING


class Client:
    """One client, for one connection life; there must be no second one in the process.

    Args:
        settings: What it is made with.
        put: Takes the events; it is called from the library's threads and has to return at once.
    """

    def __init__(self, settings: ClientSettings, put: Put) -> None:
        self._put = put
        self._proxy = ProxySettings(settings.proxy) if settings.proxy else None
        self._is_there = False
        self._callbacks = Callbacks()
        _hear_log(settings.log_level, put, settings.database.parent)
        # The library opens "file:NAME?options", where the name is one of a URL.
        self._client = client.NewClient(
            quote(str(settings.database)),
            props=DeviceProps(os=settings.device_name, platformType=DeviceProps.SAFARI),
            uuid=settings.name,
        )
        self._client.event.qr(self._callbacks.watch(lambda _, text: self._report(events.Qr(text.decode()))))
        # All other events come by way of this one, which neonize hands to Go when it connects.
        self._client.event.execute = self._callbacks.watch(self._client.event.execute)
        for kind, translate in _TRANSLATIONS.items():
            self._client.event(kind)(self._hand_over(translate))

    @property
    def logged_in(self) -> bool:
        """Whether the library takes the account for logged in; does not block.

        Go's table of clients is not locked, so it is left alone until the first event shows that the client
        has been entered there.
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

    def dial(self) -> None:
        """Connect, and stay connected; how that ends is an event."""
        self._in_thread("connect", self._connect)

    def ask_link_code(self, phone: str) -> None:
        """Have WhatsApp wait for a code from that phone; the code, or why there is none, is an event."""
        self._in_thread("pair-phone", lambda: self._pair_phone(phone))

    def send(self, message_id: int, to: str, text: str) -> None:
        """Send a text to the number of these digits; how that ends is an event, within some 75 s."""
        self._in_thread("send", lambda: self._send(message_id, to, text))

    def unlink(self) -> None:
        """Have WhatsApp unlink this device; whether it did is an event."""
        self._in_thread("logout", self._log_out)

    def hang_up(self) -> None:
        """Close the link in good order; that it is closed is an event, which may take for ever."""
        self._is_there = False
        self._in_thread("stop", self._stop)

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

    def _send(self, message_id: int, to: str, text: str) -> None:
        try:
            # A message of its own making: in a plain text, neonize looks for mentions of people and groups.
            self._client.send_message(build_jid(to), Message(conversation=text))
        except client.NeonizeError as error:
            self._put(events.SendEnded(message_id, str(error) or type(error).__name__))
        except Exception as error:  # noqa: BLE001 - whatever it is, it may quote what was to be sent
            self._put(events.SendEnded(message_id, type(error).__name__))
        else:
            self._put(events.SendEnded(message_id, None))

    def _log_out(self) -> None:
        try:
            self._client.logout()
        except Exception as error:  # noqa: BLE001 - whatever it is, the device is still linked
            self._put(events.Unlinked(str(error) or type(error).__name__))
        else:
            self._put(events.Unlinked(None))

    def _stop(self) -> None:
        try:
            self._client.stop()
        finally:
            self._put(events.HungUp())

    def _in_thread(self, name: str, call: Callable[[], None]) -> None:
        threading.Thread(target=call, name=name, daemon=True).start()

    def _hand_over(self, translate: Callable[[Proto], events.Event]) -> Callable[[object, Proto], None]:
        # The library stands still while a callback runs, and drops nothing: hand over and return.
        return lambda _, event: self._report(translate(event))

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
    library.OfflineSyncCompletedEv: lambda _: events.Activity(),
    library.MessageEv: lambda _: events.Activity(),
    library.ReceiptEv: lambda _: events.Activity(),
}


def _number_of_logout(name: str) -> int | None:
    return None if name == "GENERIC" else REASONS.get(name)


class _LogEvents(logging.Handler):
    """Makes events of those records that tell more than the library's events do."""

    def __init__(self, put: Put, folder: Path) -> None:
        super().__init__()
        self._put = put
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        event = log_event(record.name, record.getMessage())
        if isinstance(event, events.DiskFull) and session_check.has_room(self._folder):
            return  # a name that somebody gave themselves may end in any words
        if event is not None:
            self._put(event)


def _hear_log(level: int, put: Put, folder: Path) -> None:
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
