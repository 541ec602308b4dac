"""What a child can observe of its library: the input of its course. Plain data, nothing of neonize's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from orchestrator.accounts.acts import Fate
from orchestrator.accounts.attachments import Fault
from orchestrator.accounts.failure import Outcome
from orchestrator.accounts.pipe import FromChild
from orchestrator.sending.asks import Ask

# Of the start


@dataclass(frozen=True, slots=True)
class Loaded:
    """The session is ours and sound, and the library is there.

    Attributes:
        paired: Whether the session is of a linked device.
        phone: Digits of the number it is linked to, None if it is not or cannot be told.
    """

    paired: bool
    phone: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """The run ends before it began."""

    outcome: Outcome


# Of linking


@dataclass(frozen=True, slots=True)
class Qr:
    """The library wants a code shown; its text is a log-in secret."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkCodeIssued:
    """WhatsApp waits for an eight-character code, which is a log-in secret."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkCodeFailed:
    """WhatsApp gave no eight-character code."""

    error: str


@dataclass(frozen=True, slots=True)
class LoginLine:
    """The library printed ``Login event: WORD``: often the only sign of how the linking ended."""

    word: str


@dataclass(frozen=True, slots=True)
class PairStatus:
    """A phone used the code: its digits, or the error that kept it from being linked."""

    phone: str = field(default="", repr=False)
    error: str = ""


# Of the link


@dataclass(frozen=True, slots=True)
class Connected:
    """WhatsApp said that the account is logged in; its digits, if the library knows them."""

    phone: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone; the library tries to get it back."""


@dataclass(frozen=True, slots=True)
class KeepAliveTimeout:
    """A ping was not answered; the Unix time of the last one that was, if it is known."""

    last_success: float | None = None


@dataclass(frozen=True, slots=True)
class KeepAliveRestored:
    """A ping was answered after some that were not."""


@dataclass(frozen=True, slots=True)
class StreamError:
    """WhatsApp ended the stream with a code the library has no name for."""

    code: str


@dataclass(frozen=True, slots=True)
class Activity:
    """WhatsApp sent something that does not matter here, except that it did."""


@dataclass(frozen=True, slots=True)
class PhoneSeen:
    """The account's own phone has done something at that Unix time, by WhatsApp's clock."""

    at: float


@dataclass(frozen=True, slots=True)
class Checked:
    """How things are at a heartbeat.

    Attributes:
        logged_in: What the library answered when asked whether it is.
        callback: The number of its oldest call into Python that has not returned, None if all have.
    """

    logged_in: bool
    callback: int | None = None


# Of the end


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """WhatsApp ended the session for good: 401, 403, 406, or None for a reason without a number."""

    reason: int | None


@dataclass(frozen=True, slots=True)
class StreamReplaced:
    """Another client took the session over."""


@dataclass(frozen=True, slots=True)
class TemporaryBan:
    """WhatsApp refuses the account: the ban's code (101 to 106) and its seconds, if it named them."""

    code: int | None
    expire: float | None


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """WhatsApp refused the log-in with a reason's number, None for one that is not known."""

    reason: int | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class ClientOutdated:
    """WhatsApp refuses this version of the client."""


@dataclass(frozen=True, slots=True)
class ConnectEnded:
    """The call that should last as long as the session has ended.

    Attributes:
        error: What it raised, None if it just returned.
        known: Whether that was an error of the library's own, and not one that nobody has thought of.
    """

    error: str | None
    known: bool = True


# From the library's log, where events are missing


@dataclass(frozen=True, slots=True)
class RefusalLogged:
    """A log-in was refused: reason, and a ban's code and seconds. It comes before its event, if one comes.

    Attributes:
        deleted: The library deletes the session for that.
    """

    reason: int
    code: int | None = None
    expire: float | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class SocketLost:
    """The connection broke; orderly if WhatsApp said goodbye."""

    orderly: bool
    error: str


@dataclass(frozen=True, slots=True)
class RedialFailed:
    """The library could not connect again; for good means that it does not try any more."""

    error: str
    for_good: bool = False


@dataclass(frozen=True, slots=True)
class LinkingFailed:
    """A phone used the code, and the link did not come about."""

    error: str


# Of what it was asked to do


@dataclass(frozen=True, slots=True)
class StopAsked:
    """The parent, or a signal, wants the run to end."""


@dataclass(frozen=True, slots=True)
class UnlinkAsked:
    """The parent wants the device unlinked at WhatsApp, and the run to end: the account is removed."""


@dataclass(frozen=True, slots=True)
class ActAsked:
    """The parent wants something done at once: the number of its order, and what is to be done."""

    id: int
    ask: Ask


@dataclass(frozen=True, slots=True)
class ActEnded:
    """What became of an act.

    Attributes:
        id: The number of the order.
        fate: What became of it.
        code: WhatsApp's number for why it was not done, None without one.
        about: What happened, in plain words, where the fate alone does not tell.
        result: What came of it, in JSON; None if it was not done, or if there is nothing to tell.
    """

    id: int
    fate: Fate
    code: int | None = None
    about: str = ""
    result: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class FetchAsked:
    """The parent wants an attachment fetched: the number of its question, and the attachment's identifier."""

    id: int
    media: str


@dataclass(frozen=True, slots=True)
class FetchEnded:
    """An attachment is there, or why it is not, and what happened."""

    id: int
    fault: Fault | None
    about: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What the sender tells the parent: what becomes of messages that are to be sent."""

    message: FromChild


@dataclass(frozen=True, slots=True)
class SecretMissing:
    """The library sends a message whose secret it could not write into the session."""


@dataclass(frozen=True, slots=True)
class HungUp:
    """The library has closed the link, as it was asked to."""


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The parent says that the database is away that has the session."""


@dataclass(frozen=True, slots=True)
class Unlinked:
    """The library was asked to unlink the device at WhatsApp: None if it did, or why it could not."""

    error: str | None


@dataclass(frozen=True, slots=True)
class DiskFull:
    """The library could not write to the session."""


@dataclass(frozen=True, slots=True)
class InboxFailed:
    """A message could not be stored; the run ends with this outcome."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Repeated:
    """The library ignores a message that it has decrypted before.

    Attributes:
        id: WhatsApp's identifier of the message.
        sender: The sender's address, without a device.
        chat: The chat's, likewise.
    """

    id: str = field(repr=False)
    sender: str = field(repr=False)
    chat: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HistoryCopied:
    """The session has secrets of messages that were not sent to this device."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """WhatsApp has delivered what waited for the account while it was away."""


LogEvent: TypeAlias = (
    RefusalLogged | SocketLost | RedialFailed | LinkingFailed | DiskFull | Repeated | HistoryCopied
)
Event: TypeAlias = (
    Loaded
    | LoadFailed
    | Qr
    | LinkCodeIssued
    | LinkCodeFailed
    | LoginLine
    | PairStatus
    | Connected
    | Disconnected
    | KeepAliveTimeout
    | KeepAliveRestored
    | StreamError
    | Activity
    | PhoneSeen
    | CaughtUp
    | Checked
    | LoggedOut
    | StreamReplaced
    | TemporaryBan
    | ConnectFailure
    | ClientOutdated
    | ConnectEnded
    | LogEvent
    | StopAsked
    | UnlinkAsked
    | StoreLost
    | ActAsked
    | ActEnded
    | FetchAsked
    | FetchEnded
    | Told
    | SecretMissing
    | HungUp
    | Unlinked
    | InboxFailed
)
