"""An account that remembers its past: why it has no session, and since when it is at rest. Pure."""

from __future__ import annotations

from dataclasses import replace

from orchestrator.accounts.actions import Quarantine
from orchestrator.accounts.child import Child, Purpose
from orchestrator.accounts.events import Moment
from orchestrator.accounts.failure import HAS_ENDED_SESSION, Outcome
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.limits import Limits
from orchestrator.accounts.on_demand import OnDemand
from orchestrator.accounts.past import RESTS, Past, Rest
from orchestrator.accounts.phone_watch import PhoneWatch
from orchestrator.accounts.pipe import FromChild
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State


class Remembering(OnDemand):
    """What an account keeps of its past.

    Attributes:
        past: What must outlast the service.
    """

    def __init__(
        self,
        settings: AccountSettings,
        now: Moment,
        *,
        stopped: bool = False,
        guard: Guard | None = None,
        watch: PhoneWatch | None = None,
        past: Past | None = None,
    ) -> None:
        super().__init__(settings, now, stopped=stopped, guard=guard, watch=watch)
        self.past = past or Past()
        self._arrives = self.past.rest is not None

    def take_over(self, former: Standing) -> None:
        """Go on where an account has left off that had another name; this one has not begun yet."""
        super().take_over(former)
        if isinstance(former, Remembering):
            self.past = replace(self.past, cause=former.past.cause)

    def _found(self, number: str, *, restored: bool) -> None:
        """Take in whose session it has; one that was put back on purpose is as good as any."""
        self.guard = self.guard.restored(number) if restored else self.guard.found(number)
        self.phone = self.wanted_phone or self.phone
        if restored:
            self.past = self.past.linked()

    def _hear(self, child: Child, message: FromChild) -> None:
        super()._hear(child, message)
        if child.paired:  # it began with a session, whoever has put that there
            self.past = self.past.linked()

    def _lose_session(self, outcome: Outcome, purpose: Purpose | None) -> None:
        """Put the session away that an end has cost, and remember why; an operator may have done so already.

        A repair that is under way is no log-out: the operator wants another session anyway.
        """
        if outcome.kind in HAS_ENDED_SESSION and purpose not in ("repair", "remove"):
            self.past = self.past.after(outcome, self._now.wall)
            self._quarantine(outcome.kind.value)

    def _quarantine(self, reason: str, *, messages: bool = False) -> None:
        self.watch = PhoneWatch()  # no phone is linked any more
        self.limits = Limits()
        self.linked = False
        self._actions.append(Quarantine(reason, messages))

    def _has_changed(self) -> None:
        """Note that it is at rest, or on its way. What an earlier service knew stays until it arrives."""
        super()._has_changed()
        state = self.state
        if state is State.CONNECTED:
            self.past = self.past.linked()
        before = self.past.rest
        if state in RESTS:
            if self._closing and state is State.STOPPED and not self.stopped:
                return  # the service has stopped it, and no operator: the next one leads it back
            kind = self.kind
            if self._arrives and before is not None and before.goes_on(state, kind):
                self.since, kind = min(before.since, self._now.wall), before.kind
            self._arrives = False
            self.past = replace(self.past, rest=Rest(state, kind, self.since))
        elif not self._arrives or state is State.CONNECTED:
            self._arrives = False
            self.past = self.past.moved()
