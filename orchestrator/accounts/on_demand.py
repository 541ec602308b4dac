"""An account that shows codes only while somebody looks at them: `pairing: on_demand`. Pure.

While nobody looks, an account that has to show a code has no process, and WhatsApp hears nothing of it. Only
its session tells such an account from one that just connects. What was found there is remembered, until a
process or an operator may have changed it.
"""

from __future__ import annotations

from orchestrator.accounts.actions import LookUp
from orchestrator.accounts.child import Child
from orchestrator.accounts.events import Moment
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.looking import UNSEEN, Looks
from orchestrator.accounts.phone_watch import PhoneWatch
from orchestrator.accounts.pipe import FromChild
from orchestrator.accounts.running import Running
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import State

LOOKED_AT = "somebody looks at its code: waiting for its turn to start"
"""The reason of an account that starts because somebody looks."""
_LOOKS_UP = "its session is being looked at: whether it is linked"


class OnDemand(Running):
    """What an account makes of those who look at its codes.

    Attributes:
        looks: Who looks at its codes.
        linked: Whether its session is of a linked device, None if that has to be looked up.
    """

    def __init__(
        self,
        settings: AccountSettings,
        now: Moment,
        *,
        stopped: bool = False,
        guard: Guard | None = None,
        watch: PhoneWatch | None = None,
    ) -> None:
        super().__init__(settings, now, stopped=stopped, guard=guard, watch=watch)
        self.looks = Looks()
        self.linked: bool | None = None

    def wakes_at(self) -> float | None:
        """Return the monotonic time at which `Ticked` is due, None if nothing is waited for."""
        times = [super().wakes_at(), self.looks.ends_at() if self._could_go_dark else None]
        return min((time for time in times if time is not None), default=None)

    def take_over(self, former: Standing) -> None:
        """Go on where an account has left off that had another name; this one has not begun yet."""
        super().take_over(former)
        if isinstance(former, OnDemand):
            self.looks = former.looks

    @property
    def code_is_coming(self) -> bool:
        """Whether it shows a code soon, because somebody looks."""
        starts = self.state in (State.STARTING, State.PAIRING)
        return self._on_demand and not self.linked and starts and not self.stopping

    @property
    def _on_demand(self) -> bool:
        return self.settings.pairing == "on_demand"

    @property
    def _stays_dark(self) -> bool:
        """Whether it is not to start: for all that is known, it would show a code, and nobody looks."""
        return self._on_demand and not self.linked and not self.looks.at(self._now.monotonic)

    @property
    def _could_go_dark(self) -> bool:
        """Whether it has a process that is there for nothing but codes, and was not asked to stop."""
        child = self.child
        if child is None or child.purpose is not None or child.ends or not self._on_demand:
            return False
        return child.paired is False and not child.may_hold_messages

    def _is_looked_at(self) -> bool:
        """Note that somebody looks; return whether the account is to start for that."""
        self.looks = self.looks.looked(self._now.monotonic)
        return self.waits_for_look

    def _has_found(self, linked: bool) -> bool:
        """Note what its session says; return whether the account has waited for that in order to start."""
        if self.child is not None or self.linked is not None:
            return False  # its process, or a quarantine, has told more meanwhile
        self.linked = linked
        return self.state in (State.STARTING, State.PAIRING) and not self.queued

    def _hear(self, child: Child, message: FromChild) -> None:
        super()._hear(child, message)
        if child.paired is not None:
            self.linked = child.may_hold_messages
        if self.linked and child.purpose is None:  # or a repair has asked for what comes after its end
            self.looks = self.looks.served()

    def _go_dark_unless_seen(self) -> None:
        """End a process that shows codes which nobody sees; this follows each event."""
        if self._could_go_dark and self._stays_dark:
            self._ask_to_stop("unseen")

    def _stay_dark(self) -> None:
        """Do not start: wait until somebody looks, or see first whether there is a code to show at all."""
        if self.linked is None:
            self._actions.append(LookUp())
        if self.linked is None and self.state is not State.PAIRING:
            self._unqueue()
            self.held = False
            self.next_retry_at = None
            self._change(State.STARTING, _LOOKS_UP, self.kind)
        else:
            self._await_look()

    def _await_look(self) -> None:
        """Wait, without a process, until somebody looks; the next who looks gets all rounds of codes."""
        self._unqueue()
        self._attempts.pop(Kind.PAIRING_EXPIRED, None)
        self.kind = None if self.kind is Kind.PAIRING_EXPIRED else self.kind
        self._rest(State.PAIRING, UNSEEN, None)

    def _round_is_over(self) -> bool:
        """Note that a round of codes has passed unused; return whether nobody has looked at the end of it."""
        self.linked = False
        self.looks = self.looks.served()
        return self._stays_dark
