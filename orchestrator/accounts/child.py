"""What is known of an account's process, how the last one ended, and what outlives the service. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from orchestrator.accounts import deadlines, pipe
from orchestrator.accounts.events import Exited
from orchestrator.accounts.failure import Kind, Outcome, from_exit
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State

HEARTBEAT_DEADLINE = deadlines.HEARTBEAT.outer
"""Seconds without a heartbeat."""

Purpose = Literal[
    "stop", "disable", "restart", "recycle", "repair", "unseen", "remove", "remove keeping", "shutdown"
]
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
        by: Who has asked, for people; None if no command has caused that.
        in_turn: Whether it was asked when its turn had come, so that its successor needs none.
        killed_because: Why it was killed, None if it was not.
        broke: How it broke the rules of the pipe, None if it did not.
        store_lost: Whether it was told that the database is away that has its session.
        superseded: Whether the configuration has changed while it was about to end.
        proxy: URL of the proxy it goes through, None for what the environment says.
        dialled_at: Monotonic time from which it dials, None as long as it is being loaded.
        rolling: Whether it took the place of a process that worked, in its turn.
        loading: Whether it has said that it loads the library, and not yet that it dials.
        missing: Words for what it could not give up, None before it has said so; see `pipe.Loading`.
        stale: Whether it could not load the library, perhaps because of what its fork server has imported.
        any_phone: Whether it was started to be linked to any phone, because an operator wants that.
        settings: What it was started with; None in tests of what does not depend on that.
        trial: Whether it took the place of a process that worked with other settings, in its turn.
        said: The kinds of messages that count once and that it has sent.
    """

    started_at: float
    deadline: float | None
    heard_at: float | None = None
    pid: int | None = None
    paired: bool | None = None
    outcome: Outcome | None = None
    purpose: Purpose | None = None
    by: str | None = None
    in_turn: bool = False
    killed_because: str | None = None
    broke: str | None = None
    store_lost: bool = False
    superseded: bool = False
    proxy: str | None = field(default=None, repr=False)
    dialled_at: float | None = None
    rolling: bool = False
    loading: bool = False
    missing: str | None = None
    stale: bool = False
    any_phone: bool = False
    settings: AccountSettings | None = field(default=None, repr=False)
    trial: bool = False
    said: set[type[object]] = field(default_factory=set)

    @property
    def begins(self) -> bool:
        """Whether nothing of WhatsApp was heard from it yet, so that it may not be able to work at all."""
        return self.paired is None

    @property
    def may_hold_messages(self) -> bool:
        """Whether its library may have messages that WhatsApp takes for delivered and nobody has stored."""
        return bool(self.paired) or pipe.Paired in self.said

    @property
    def ends(self) -> bool:
        """Whether it was killed or has said its last word, so that its exit is all that can come."""
        return self.killed_because is not None or self.outcome is not None

    @property
    def makes_room(self) -> bool:
        """Whether it was asked to stop, in its turn, for another process to take its place."""
        return self.in_turn and self.purpose in ("restart", "recycle")

    @property
    def silent_at(self) -> float | None:
        """The monotonic time at which silence is taken for a hang, None before its first word."""
        if self.heard_at is None or self.killed_because is not None:
            return None
        return self.heard_at + HEARTBEAT_DEADLINE

    def has_said(self, message: type[object]) -> bool:
        """Tell whether it has sent such a message before, and note that it has now."""
        before = message in self.said
        self.said.add(message)
        return before

    def allow(self, seconds: float, now: float) -> None:
        """Give it so much more time for everything: it could not be heard, or stood still, too."""
        if self.deadline is not None:
            self.deadline += seconds
        if self.heard_at is not None:
            self.heard_at = min(self.heard_at + seconds, now)

    def why_to_kill(self, state: State, now: float) -> str | None:
        """Return why it is to be killed, None if it is in time.

        Args:
            state: The account's.
            now: Monotonic seconds.
        """
        if self.killed_because is not None:
            return None  # SIGKILL cannot be refused: the exit will come
        if self.deadline is not None and now >= self.deadline:
            if self.purpose is not None:
                return "it did not stop in time"
            if self.outcome is not None:
                return "it did not exit after its last word"
            return f"still {state} after {now - self.started_at:.0f} s"
        if self.silent_at is not None and now >= self.silent_at:
            return f"no sign of life for {HEARTBEAT_DEADLINE:.0f} s"
        return None

    def outcome_of(self, exited: Exited) -> Outcome:
        """Tell how its run ended, now that it is gone."""
        if self.broke is not None and self.outcome is None:
            outcome = Outcome(Kind.CRASH, self.broke)  # whatever it was at when it did
        else:
            outcome = from_exit(
                exited.status,
                self.outcome,
                killed_because=self.killed_because if self.outcome is None else None,
                out_of_memory=exited.out_of_memory,
                loading=self.loading,
            )
        if outcome.kind is Kind.STOPPED and self.purpose is None:
            return Outcome(Kind.CRASH, "somebody else stopped the process")
        if outcome.kind is Kind.CRASH and self.purpose is not None:
            return Outcome(Kind.STOPPED, outcome.text)
        return outcome


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the last process ended, and by which proxy it went (None for what the environment says)."""

    at: float
    kind: Kind
    code: int | None
    proxy: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Parting:
    """What became of the linked device of an account that was removed.

    Attributes:
        unlinked: Whether WhatsApp has confirmed that the device is unlinked.
        why: Why not, for people.
    """

    unlinked: bool
    why: str | None = None


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
