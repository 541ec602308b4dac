"""What is to be done about an account: the output of its machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from orchestrator.accounts import pipe
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.pipe import Pairing
from orchestrator.accounts.states import State


@dataclass(frozen=True, slots=True)
class Queue:
    """Put the account in the queue of those that want to start."""


@dataclass(frozen=True, slots=True)
class Unqueue:
    """Take it out of the queue."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start its process."""

    pairing: Pairing


@dataclass(frozen=True, slots=True)
class LookUp:
    """See whether its session is of a linked device; `LookedUp` has the answer."""


@dataclass(frozen=True, slots=True)
class TellStop:
    """Ask the process to stop."""


@dataclass(frozen=True, slots=True)
class TellUnlink:
    """Ask the process to have its device unlinked at WhatsApp, and then to stop."""


@dataclass(frozen=True, slots=True)
class TellStoreLost:
    """Tell the process that the database is away that has its session: it hangs up and ends at once."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process with SIGKILL.

    Attributes:
        why: Why, for people.
        holds: Whether it may hold messages that WhatsApp takes for delivered. Then it is to take them first,
            if it still can.
    """

    why: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Put the session away. Only ever asked for while there is no process.

    Attributes:
        reason: A word that says why.
        messages: Put the messages away, too: the account is gone for good.
    """

    reason: str
    messages: bool = False


@dataclass(frozen=True, slots=True)
class ShowCode:
    """Show a code to be scanned, or one to be typed in."""

    code: pipe.Code | pipe.LinkCode


@dataclass(frozen=True, slots=True)
class HideCode:
    """Take the code away: it is used, out of date, or its process is gone."""


@dataclass(frozen=True, slots=True)
class Record:
    """Note a change of state, or something else that has happened to an account.

    Attributes:
        event: A word for what has happened besides: ``phone_offline``, ``phone_seen``, ``restricted`` or
            ``unrestricted``.
        by: Who has caused that by a command, for people; None if nobody has.
    """

    before: State
    after: State
    kind: Kind | None
    reason: str | None
    code: int | None
    attempt: int
    delay: float | None
    event: str | None = None
    by: str | None = None


@dataclass(frozen=True, slots=True)
class RenewMaker:
    """Have the next processes come from a fork server that has imported nothing yet."""


@dataclass(frozen=True, slots=True)
class CallOff:
    """Take no other account's process away for a new one: this account did not get its own.

    Attributes:
        why: Why, for people.
        seen: Whether the service itself has seen that; else it is the word of the account's process.
        changed: Whether that concerns only accounts whose configuration has changed.
    """

    why: str
    seen: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """The account is gone."""


Action: TypeAlias = (
    Queue
    | Unqueue
    | Spawn
    | LookUp
    | TellStop
    | TellUnlink
    | TellStoreLost
    | Kill
    | Quarantine
    | ShowCode
    | HideCode
    | Record
    | RenewMaker
    | CallOff
    | Forget
)
