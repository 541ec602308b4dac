"""What is known of an account, and how its state changes: the ground that its machine stands on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from orchestrator.accounts.actions import Action, HideCode, Queue, Record, Unqueue
from orchestrator.accounts.child import Ban, Child, LastExit, Parked, Parting
from orchestrator.accounts.events import Configured, Event, Held, Moment, Ordered, Removed
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.limits import Limits
from orchestrator.accounts.phone_watch import GRACE, PhoneWatch, was_set
from orchestrator.accounts.policy import Verdict
from orchestrator.accounts.received import Received
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
        watch: When its phone was last seen.

    Attributes:
        settings: What the configuration says of it.
        state: What it is doing.
        reason: Why it is not connected, for people; None if there is nothing to say.
        since: Unix time of the last change of state.
        kind: The kind of end that led to the state, None if no end did.
        next_retry_at: Monotonic time of the next try, None if none is planned.
        phone: Digits of its number once they are known.
        guard: Says which phone it may be linked to.
        watch: When that phone was last seen.
        stopped: The operator's wish.
        restarts: How many processes came after the first.
        queued: Whether it waits for its turn to start, or to be given a new process.
        held: Whether it waits for what all accounts wait for; `Released` ends it.
        child: Its process.
        connected_at: Monotonic time of the present log-in, None if there is none.
        last_seen_at: Unix time at which something of WhatsApp was last heard.
        memory_bytes: What its process uses.
        open_files: How many files its process has open.
        received: What its processes have said of messages.
        limits: What it may not send for now.
        to_send: Messages that wait in its outbox; None as long as no process has said so.
        last_in_at: Unix time at which its inbox got its last message, None if nobody knows of any.
        last_out_at: Unix time at which WhatsApp took a message of its outbox last, None as before.
        last_exit: How its last process ended.
        parting: What became of its device when it was removed, None if nobody asked, or it is not over.
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
        self.settings = settings
        self.stopped = stopped
        self.state = State.STOPPED
        self.reason: str | None = None
        self.kind: Kind | None = None
        self.since = now.wall
        self.next_retry_at: float | None = None
        self.guard = guard or Guard()
        self.watch = watch or PhoneWatch()
        self.phone = self.wanted_phone
        self.restarts = 0
        self.queued = False
        self.held = False
        self.child: Child | None = None
        self.connected_at: float | None = None
        self.last_seen_at: float | None = None
        self.memory_bytes: int | None = None
        self.open_files: int | None = None
        self.received = Received()
        self.limits = Limits()
        self.to_send: int | None = None
        self.last_in_at: float | None = None
        self.last_out_at: float | None = None
        self.last_exit: LastExit | None = None
        self.parting: Parting | None = None
        self._ban: Ban | None = None
        self._attempts: Counter[Kind] = Counter()
        self._stable_at: float | None = None
        self._code_until: float | None = None
        self._closing = False
        self._actions: list[Action] = []
        self._now = now
        self._by: str | None = None  # who has given the command that is being followed

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
    def waits_for_look(self) -> bool:
        """Whether it has to show a code, and starts as soon as somebody looks."""
        return self.state is State.PAIRING and self.child is None

    @property
    def waits_for_renewal(self) -> bool:
        """Whether it has a process and waits for its turn to be given a new one."""
        return self.queued and self.child is not None

    @property
    def behind(self) -> bool:
        """Whether its process was started with other settings than it is to have by now."""
        child = self.child
        if child is None or child.settings is None:
            return False
        return self.settings.needs_new_process(child.settings)

    @property
    def has_process(self) -> bool:
        """Whether it has a process."""
        return self.child is not None

    def starts_with(self, settings: AccountSettings) -> bool:
        """Tell whether new settings have it start. They end neither a ban nor an operator's stop.

        Args:
            settings: What the configuration says by now.
        """
        if self.child is not None or self.stopped or not settings.enabled:
            return False
        if self.waits_for_look:
            return settings.pairing == "always"
        if self.state in (State.DISABLED, State.STOPPED):
            return True
        return self.state in (State.FAILED, State.BACKOFF) and settings.needs_new_process(self.settings)

    @property
    def keeps_settings(self) -> bool:
        """Whether its process works on with other settings than it is to have, and nothing changes that."""
        return self.behind and not self.queued and not self.stopping

    @property
    def on_trial(self) -> bool:
        """Whether its process is being replaced for new settings, and the new one has not connected yet."""
        child = self.child
        if child is None:
            return False
        return (child.makes_room and self.behind) or (child.trial and self.connected_at is None)

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
            and settings.needs_new_process(self.in_force)
        )

    @property
    def in_force(self) -> AccountSettings:
        """The settings that it runs with, which may be older than those of the configuration."""
        if self.child is None or self.child.settings is None or not self.behind:
            return self.settings
        return self.child.settings

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
        times.append(self._phone_missed_at())
        if self.child is not None:
            times += [self.child.deadline, self.child.silent_at]
        return min((time for time in times if time is not None), default=None)

    def take_over(self, former: Standing) -> None:
        """Go on where an account has left off that had another name; this one has not begun yet."""
        self._attempts = Counter(former._attempts)
        self.phone = self.wanted_phone or former.phone
        self.restarts = former.restarts
        self.last_seen_at = former.last_seen_at
        self.watch = former.watch
        self.received = former.received
        self.limits = former.limits
        self.to_send = former.to_send
        self.last_in_at, self.last_out_at = former.last_in_at, former.last_out_at
        self.last_exit = former.last_exit

    def _phone_missed_at(self) -> float | None:
        """Return the monotonic time at which somebody is to be told that its phone is missing."""
        due = self.watch.next_at
        if due is None or self.state is not State.CONNECTED or self.connected_at is None:
            return None
        return max(self.connected_at + GRACE, self._now.monotonic + due - self._now.wall)

    # How it changes

    def _take_in(self, event: Event, now: Moment) -> None:
        """Begin with an event: nothing is to be done yet, and what follows is caused by whoever it names."""
        self.watch = self.watch.moved(was_set(self._now, now))
        self._now = now
        self._actions = []
        self._by = event.by if isinstance(event, Ordered | Configured | Removed) else None

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
        if not (self.held and self.state is state and self.reason == held.reason):
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
            self._actions.append(Record(before, state, kind, reason, code, self.attempt, delay, by=self._by))
        self._has_changed()

    def _has_changed(self) -> None:
        """Take in that the state was set, also if it is the one from before."""

    def _remark(
        self,
        reason: str | None,
        event: str | None = None,
        *,
        code: int | None = None,
        delay: float | None = None,
    ) -> None:
        """Record what there is to say of a state that stays."""
        self._actions.append(Record(self.state, self.state, None, reason, code, 0, delay, event, self._by))

    def _hide_code(self) -> None:
        if self.state is State.PAIRING:
            self._code_until = None
            self._actions.append(HideCode())
