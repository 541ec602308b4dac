"""What an account's past has to say of its present: why it has no session, and how long it has been at rest.

Pure. Both outlast the service, an operator's stop and another name.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.states import State

CAUSES: Final = frozenset({Kind.LOGGED_OUT, Kind.LOCKED, Kind.DAMAGED})
"""The kinds of end that cost an account a session that worked. A phone that was the wrong one never did."""
RESTS: Final = frozenset(
    {
        State.PAIRING,
        State.BACKOFF,
        State.REPLACED,
        State.BANNED,
        State.OUTDATED,
        State.FAILED,
        State.STOPPED,
        State.DISABLED,
    }
)
"""The states in which an account stays by itself. A new service leads an account back to such a state."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why an account has no session any more.

    Attributes:
        kind: One of `CAUSES`.
        reason: What was seen, for people; None if nobody knows any more.
        at: Unix time at which it happened.
    """

    kind: Kind
    reason: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Rest:
    """A state in which an account is at rest, and since when.

    Attributes:
        state: One of `RESTS`.
        kind: The kind of end that led to it, None if no end did.
        since: Unix time.
    """

    state: State
    kind: Kind | None
    since: float

    def goes_on(self, state: State, kind: Kind | None) -> bool:
        """Tell whether an account that comes to rest now is where it was before.

        A service that starts anew does not know of each state which end has led there.
        """
        return self.state is state and kind in (None, self.kind)


@dataclass(frozen=True, slots=True)
class Past:
    """What outlasts the service.

    Attributes:
        cause: Why the account has no session any more, None if it has one, or never had one.
        rest: Where it has come to rest, None if it is on its way.
    """

    cause: Cause | None = None
    rest: Rest | None = None

    def after(self, outcome: Outcome, at: float) -> Past:
        """Return what follows when a process has ended, which may have cost the account its session."""
        if outcome.kind not in CAUSES:
            return self
        return replace(self, cause=Cause(outcome.kind, outcome.text, at))

    def linked(self) -> Past:
        """Return what follows when the account has a session again."""
        return replace(self, cause=None) if self.cause is not None else self

    def moved(self) -> Past:
        """Return what follows when the account was led elsewhere while no service ran."""
        return replace(self, rest=None)
