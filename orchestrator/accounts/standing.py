"""What is known of an account, and how its state changes: the ground that its machine stands on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.accounts.actions import Action, HideCode, Queue, Record, Unqueue
from orchestrator.accounts.child import Ban, Child, LastExit, Parked, Parting
from orchestrator.accounts.events import Held, Moment
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.policy import Verdict
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State

SLOT_SECONDS = 5.0
"""Seconds of dialing for which a process keeps accounts of other ways out from starting; a log-in takes one
or two, and one that gets no answer costs this machine nothing."""


class Standing:
    """What is known of an account.

    Args:
        settings: What the configuration says of it.
        now: The present moment.
        stopped: An operator has stopped it earlier.
        guard: What is remembered of its phone.

    Attributes:
        settings: What the configuration says of it.
        state: What it is doing.
        reason: Why it is not connected, for people; None if there is nothing to say.
        since: Unix time of the last change of state.
        kind: The kind of end that led to the state, None if no end did.
        next_retry_at: Monotonic time of the next try, None if none is planned.
        phone: Digits of its number once they are known.
        guard: Says which phone it may be linked to.
        stopped: The operator's wish.
        restarts: How many processes came after the first.
        queued: Whether it waits for its turn to start, or to be given a new process.
        held: Whether it waits for what all accounts wait for; `Released` ends it.
        child: Its process.
        connected_at: Monotonic time of the present log-in, None if there is none.
        last_seen_at: Unix time at which something of WhatsApp was last heard.
        memory_bytes: What its process uses.
        open_files: How many files its process has open.
        last_exit: How its last process ended.
        parting: What became of its device when it was removed, None if nobody asked, or it is not over.
    """

    def __init__(
        self, settings: AccountSettings, now: Moment, *, stopped: bool = False, guard: Guard | None = None
    ) -> None:
        self.settings = settings
        self.stopped = stopped
        self.state = State.STOPPED
        self.reason: str | None = None
        self.kind: Kind | None = None
        self.since = now.wall
        self.next_retry_at: float | None = None
        self.guard = guard or Guard()
        self.phone = self.wanted_phone
        self.restarts = 0
        self.queued = False
        self.held = False
        self.child: Child | None = None
        self.connected_at: float | None = None
        self.last_seen_at: float | None = None
        self.memory_bytes: int | None = None
        self.open_files: int | None = None
        self.last_exit: LastExit | None = None
        self.parting: Parting | None = None
        self._ban: Ban | None = None
        self._attempts: Counter[Kind] = Counter()
        self._stable_at: float | None = None
        self._code_until: float | None = None
        self._closing = False
        self._actions: list[Action] = []
        self._now = now

    # What others may ask

    @property
    def wanted_phone(self) -> str | None:
        """Digits of the only number it may be linked to, None if it may be any."""
        return self.guard.wanted(self.settings.phone)

    @property
    def attempt(self) -> int:
        """How often in a row it has ended for the present reason."""
        return self._attempts[self.kind] if self.kind else 0

    @property
    def attempts(self) -> Mapping[Kind, int]:
        """How often in a row it has ended by each kind, without a stable connection between."""
        return self._attempts

    @property
    def leaving(self) -> bool:
        """Whether it was removed from the configuration and only its process is still there."""
        return self.child is not None and self.child.purpose in ("remove", "remove keeping")

    @property
    def stopping(self) -> bool:
        """Whether its process was asked to stop and is still there; `state` is that from before meanwhile."""
        return self.child is not None and self.child.purpose is not None

    @property
    def runs(self) -> bool:
        """Whether it has a process, or is to get one by itself."""
        return self.child is not None or self.queued or self.held or self.next_retry_at is not None

    @property
    def waits_for_renewal(self) -> bool:
        """Whether it has a process and waits for its turn to be given a new one."""
        return self.queued and self.child is not None

    @property
    def tries_renewal(self) -> bool:
        """Whether its process is being replaced, and the new one has not shown yet that it can work."""
        child = self.child
        return child is not None and (child.makes_room or (child.rolling and child.begins))

    @property
    def dials(self) -> bool:
        """Whether it starts, connects, or stops in order to, which only a few accounts may at once."""
        child = self.child
        return child is not None and (child.makes_room or self.state in (State.STARTING, State.CONNECTING))

    def dials_freshly(self, now: float) -> bool:
        """Tell whether it `dials`, and has not waited for an answer for longer than a log-in takes."""
        at = None if self.child is None else self.child.dialled_at
        return self.dials and (at is None or now < at + SLOT_SECONDS)

    def is_renewed_by(self, settings: AccountSettings) -> bool:
        """Tell whether new settings would have a process replaced that works."""
        return (
            self.state is State.CONNECTED
            and not self.stopping
            and settings.enabled
            and settings.needs_new_process(self.settings)
        )

    def parked(self, now: Moment) -> Parked | None:
        """Return what must outlive the service, its time by the present clock; None if nothing must."""
        if self._ban is not None:
            return Parked(State.BANNED, self._ban.reason, now.wall_at(self._ban.until))
        if self.state is State.BANNED or (self.state is State.REPLACED and not self.child):
            until = None if self.next_retry_at is None else now.wall_at(self.next_retry_at)
            return Parked(self.state, self.reason, until, self._attempts[Kind.REPLACED])
        return None

    def wakes_at(self) -> float | None:
        """Return the monotonic time at which `Ticked` is due, None if nothing is waited for."""
        times = [None if self.held else self.next_retry_at, self._stable_at, self._code_until]
        if self.child is not None:
            times += [self.child.deadline, self.child.silent_at]
        return min((time for time in times if time is not None), default=None)

    def take_over(self, former: Standing) -> None:
        """Go on where an account has left off that had another name; this one has not begun yet."""
        self._attempts = Counter(former._attempts)
        self.phone = self.wanted_phone or former.phone
        self.restarts = former.restarts
        self.last_seen_at = former.last_seen_at
        self.last_exit = former.last_exit

    # How it changes

    def _queue(self) -> None:
        if not self.queued:
            self.queued = True
            self._actions.append(Queue())

    def _unqueue(self) -> None:
        if self.queued:
            self.queued = False
            self._actions.append(Unqueue())

    def _settle(self, state: State, reason: str | None) -> None:
        """Come to rest without a next try."""
        self._unqueue()
        self.held = False
        self.kind = None
        self.next_retry_at = None
        self._change(state, reason)

    def _rest(
        self,
        state: State,
        reason: str | None,
        kind: Kind | None,
        wait: float | None = None,
        code: int | None = None,
    ) -> None:
        """Come to rest until the next try in so many seconds, or until something else happens."""
        self.held = False
        if self._closing:
            wait = wait if state in (State.BANNED, State.REPLACED) else None
        self.next_retry_at = None if wait is None else self._now.monotonic + wait
        self._change(state, reason, kind, code=code, delay=wait)

    def _hold(self, held: Held) -> None:
        """Wait for what all wait for; the time of the next probe is shown, but is not this account's own."""
        self._unqueue()
        state = State.OUTDATED if held.kind is Kind.OUTDATED else State.BACKOFF
        if not (self.held and self.state is state):
            wait = None if held.until is None else max(0.0, held.until - self._now.monotonic)
            self._rest(state, held.reason, held.kind, wait)
        self.next_retry_at = held.until
        self.held = True

    def _note_ban(self, verdict: Verdict) -> None:
        self._ban = None
        if verdict.state is State.BANNED and verdict.wait is not None:
            self._ban = Ban(self._now.monotonic + verdict.wait, verdict.reason)

    def _change(
        self,
        state: State,
        reason: str | None = None,
        kind: Kind | None = None,
        *,
        code: int | None = None,
        delay: float | None = None,
    ) -> None:
        before, self.state = self.state, state
        self.reason = reason
        if kind is not None or state in (State.CONNECTED, State.STOPPED, State.DISABLED):
            self.kind = kind
        if state is not State.CONNECTED:
            self._stable_at = None
        if before is State.PAIRING and state is not State.PAIRING:
            self._code_until = None
            self._actions.append(HideCode())
        if before is not state:
            self.since = self._now.wall
        if before is not state or delay is not None:
            self._actions.append(Record(before, state, kind, reason, code, self.attempt, delay))

    def _remark(self, reason: str | None) -> None:
        """Record what there is to say of a state that stays."""
        self._actions.append(Record(self.state, self.state, None, reason, None, 0, None))

    def _hide_code(self) -> None:
        if self.state is State.PAIRING:
            self._code_until = None
            self._actions.append(HideCode())
