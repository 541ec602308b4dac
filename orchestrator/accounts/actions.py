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
class TellStop:
    """Ask the process to stop."""


@dataclass(frozen=True, slots=True)
class TellUnlink:
    """Ask the process to have its device unlinked at WhatsApp, and then to stop."""


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process with SIGKILL; the text says why."""

    why: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Put the session away. Only ever asked for while there is no process."""

    reason: str


@dataclass(frozen=True, slots=True)
class ShowCode:
    """Show a code to be scanned, or one to be typed in."""

    code: pipe.Code | pipe.LinkCode


@dataclass(frozen=True, slots=True)
class HideCode:
    """Take the code away: it is used, out of date, or its process is gone."""


@dataclass(frozen=True, slots=True)
class Record:
    """Note a change of state."""

    before: State
    after: State
    kind: Kind | None
    reason: str | None
    code: int | None
    attempt: int
    delay: float | None


@dataclass(frozen=True, slots=True)
class RenewMaker:
    """Have the next processes come from a fork server that has imported nothing yet."""


@dataclass(frozen=True, slots=True)
class CallOff:
    """Take no other account's process away for a new one: this account did not get its own.

    Attributes:
        why: Why, for people.
        seen: Whether the service itself has seen that; else it is the word of the account's process.
    """

    why: str
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Forget:
    """The account is gone."""


Action: TypeAlias = (
    Queue
    | Unqueue
    | Spawn
    | TellStop
    | TellUnlink
    | Kill
    | Quarantine
    | ShowCode
    | HideCode
    | Record
    | RenewMaker
    | CallOff
    | Forget
)
