"""What the machine of an account keeps: its process, how the last one ended, what outlives the service."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.states import State

Purpose = Literal["stop", "disable", "restart", "recycle", "repair", "remove", "remove keeping", "shutdown"]
"""Why a process was asked to stop, which says what follows its end."""
Renewal = Literal["restart", "recycle"]
"""The purposes after which another process follows at once."""


@dataclass(slots=True)
class Child:
    """The process of an account as the machine sees it.

    Attributes:
        started_at: Monotonic time of its start.
        deadline: Monotonic time by which its present state must be over, or None.
        heard_at: Monotonic time of its last word, None before the first.
        pid: Its process id once it is there.
        paired: Whether it began with a linked session, None until it has said so.
        outcome: Its last word.
        purpose: Why it was asked to stop, None if it was not.
        in_turn: Whether it was asked when its turn had come, so that its successor needs none.
        killed_because: Why it was killed, None if it was not.
        superseded: Whether the configuration has changed while it was about to end.
        proxy: URL of the proxy it goes through, None for what the environment says.
        dialled_at: Monotonic time from which it dials, None as long as it is being loaded.
        rolling: Whether it took the place of a process that worked, in its turn.
        loading: Whether it has said that it loads the library, and not yet that it dials.
        stale: Whether it could not load the library, perhaps because of what its fork server has imported.
    """

    started_at: float
    deadline: float | None
    heard_at: float | None = None
    pid: int | None = None
    paired: bool | None = None
    outcome: Outcome | None = None
    purpose: Purpose | None = None
    in_turn: bool = False
    killed_because: str | None = None
    superseded: bool = False
    proxy: str | None = field(default=None, repr=False)
    dialled_at: float | None = None
    rolling: bool = False
    loading: bool = False
    stale: bool = False

    @property
    def begins(self) -> bool:
        """Whether nothing of WhatsApp was heard from it yet, so that it may not be able to work at all."""
        return self.paired is None

    @property
    def ends(self) -> bool:
        """Whether it was killed or has said its last word, so that its exit is all that can come."""
        return self.killed_because is not None or self.outcome is not None


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the last process ended, and by which proxy it went (None for what the environment says)."""

    at: float
    kind: Kind
    code: int | None
    proxy: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Ban:
    """A temporary ban: nobody but a repair starts the account before that monotonic time."""

    until: float
    reason: str | None


@dataclass(frozen=True, slots=True)
class Parked:
    """What outlives the service: an account that must not be tried just because the service restarts.

    Attributes:
        state: ``banned`` or ``replaced``.
        reason: Why, for people.
        until: Unix time of the next try, None for until an operator acts.
        count: How often in a row it was ``replaced``.
    """

    state: State
    reason: str | None
    until: float | None
    count: int = 0
