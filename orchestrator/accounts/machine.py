"""The machine of one account: what happens → what to do. Pure: no I/O, no clock, no randomness of its own.

An account has a wish (run, or stopped by an operator) and an actual state. Events come in with the
moment they happened; actions come out, and whoever carries them out (`supervisor`) reports back by
further events. Nothing else decides anything about an account.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from orchestrator.accounts import deadlines, pipe
from orchestrator.accounts.actions import (
    Action,
    CallOff,
    Forget,
    HideCode,
    Kill,
    Quarantine,
    Queue,
    Record,
    RenewMaker,
    ShowCode,
    Spawn,
    TellStop,
    Unqueue,
)
from orchestrator.accounts.child import Ban, Child, LastExit, Parked, Purpose, Renewal
from orchestrator.accounts.events import (
    Begin,
    CalledOff,
    Configured,
    Event,
    Exited,
    Held,
    Moment,
    Order,
    Ordered,
    Released,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    SpawnFailed,
    Stalled,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import HAS_ENDED_SESSION, Kind, Outcome, from_exit
from orchestrator.accounts.memory_limit import Advice, MemoryWatch
from orchestrator.accounts.pipe import FromChild, Pairing
from orchestrator.accounts.policy import Verdict, judge
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import WAITS_FOR_TURN, State

STARTING_DEADLINE = deadlines.STARTING.outer
"""Seconds from the start of a process to its first word."""
CONNECTING_DEADLINE = deadlines.CONNECTING.outer
"""Seconds a process may dial."""
SLOT_SECONDS = 5.0
"""Seconds of dialling for which a process keeps accounts of other ways out from starting; a log-in takes one
or two, and one that gets no answer costs this machine nothing."""
PAIRING_DEADLINE = deadlines.PAIRING.outer
"""Seconds of a round of codes."""
RECONNECTING_DEADLINE = deadlines.RECONNECTING.outer
"""Seconds without a link before the process is replaced."""
CODE_GRACE = 0.5
"""Seconds for which a code is shown after it is out of date, so that the next one can take its place."""
HEARTBEAT_DEADLINE = deadlines.HEARTBEAT.outer
"""Seconds without a heartbeat."""
STOP_DEADLINE = deadlines.STOPPING.outer
"""Seconds from being asked to stop to being killed."""
EXIT_DEADLINE = deadlines.EXITING.outer
"""Seconds from the last word to the exit."""

_CODE_WAITS = "waiting for its code to be used"
_CODE_EXPIRED = "its code is out of date, waiting for the next one"
_OUTGROWN = "its process has outgrown `memory_limit`"


class Account:
    """One account.

    Args:
        settings: What the configuration says of it.
        now: The present moment.
        random: Returns numbers from 0 up to 1, for the jitter.
        stopped: An operator has stopped it earlier.
        parked: The state it was in when the service last ended, if it must stay in it.

    Attributes:
        state: What it is doing.
        reason: Why it is not connected, for people; None if there is nothing to say.
        since: Unix time of the last change of state.
        kind: The kind of end that led to the state, None if no end did.
        next_retry_at: Monotonic time of the next try, None if none is planned.
        phone: Digits of its number once they are known.
        stopped: The operator's wish.
        restarts: How many processes came after the first.
        queued: Whether it waits for its turn to start, or to be given a new process.
        held: Whether it waits for what all accounts wait for; `Released` ends it.
        child: Its process.
    """

    def __init__(
        self,
        settings: AccountSettings,
        now: Moment,
        *,
        random: Callable[[], float],
        stopped: bool = False,
        parked: Parked | None = None,
    ) -> None:
        self.settings = settings
        self.stopped = stopped
        self.state = State.STOPPED
        self.reason: str | None = None
        self.kind: Kind | None = None
        self.since = now.wall
        self.next_retry_at: float | None = None
        self.phone = settings.phone
        self.restarts = 0
        self.queued = False
        self.held = False
        self._renewal: Renewal = "restart"
        self._memory = MemoryWatch()
        self.child: Child | None = None
        self.connected_at: float | None = None
        self.last_seen_at: float | None = None
        self.memory_bytes: int | None = None
        self.last_exit: LastExit | None = None
        self._parked = parked
        self._ban: Ban | None = None
        if parked is not None and parked.state is State.BANNED and parked.until is not None:
            self._ban = Ban(now.monotonic + parked.until - now.wall, parked.reason)
        self._random = random
        self._attempts: Counter[Kind] = Counter()
        self._stable_at: float | None = None
        self._code_until: float | None = None
        self._pairing: Pairing = "qr"
        self._closing = False
        self._gone_because = "removed"
        self._actions: list[Action] = []
        self._now = now

    # What others may ask

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
        if child is None:
            return False
        return (child.in_turn and child.purpose in ("restart", "recycle")) or (child.rolling and child.begins)

    def is_renewed_by(self, settings: AccountSettings) -> bool:
        """Tell whether new settings would have a process replaced that works."""
        return (
            self.state is State.CONNECTED
            and not self.stopping
            and settings.enabled
            and settings.needs_new_process(self.settings)
        )

    @property
    def dials(self) -> bool:
        """Whether it starts, connects, or stops in order to, which only a few accounts may at once."""
        child = self.child
        if child is None:
            return False
        renews = child.in_turn and child.purpose in ("restart", "recycle")
        return renews or self.state in (State.STARTING, State.CONNECTING)

    def dials_freshly(self, now: float) -> bool:
        """Tell whether it `dials`, and has not waited for an answer for longer than a log-in takes."""
        at = None if self.child is None else self.child.dialled_at
        return self.dials and (at is None or now < at + SLOT_SECONDS)

    def take_over(self, former: Account) -> None:
        """Go on where an account has left off that had another name; this one has not begun yet."""
        self._attempts = Counter(former._attempts)
        self.phone = self.settings.phone or former.phone
        self.restarts = former.restarts
        self.last_seen_at = former.last_seen_at
        self.last_exit = former.last_exit

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
            times.append(self.child.deadline)
            if self.child.heard_at is not None and self.child.killed_because is None:
                times.append(self.child.heard_at + HEARTBEAT_DEADLINE)
        return min((time for time in times if time is not None), default=None)

    # The machine

    def handle(self, event: Event, now: Moment) -> list[Action]:
        """Take an event in and return what is to be done about it, in this order."""
        self._now = now
        self._actions = []
        match event:
            case Begin():
                self._begin()
            case Ordered(order, pairing):
                self._obey(order, pairing)
            case Configured(settings, keep):
                self._configure(settings, keep)
            case CalledOff(why):
                self._keep(why)
            case Removed(keep_session, why):
                self._gone_because = why
                self._remove(keep_session)
            case TurnCame():
                self._take_turn()
            case Spawned(pid):
                if self.child is not None:
                    self.child.pid = pid
            case SpawnFailed(why, kind):
                if self.child is not None:
                    self._over(Outcome(kind, why), None)
            case Said(message):
                if self.child is not None:
                    self._hear(self.child, message)
            case Exited():
                if self.child is not None:
                    self._reaped(self.child, event)
            case Ticked():
                self._tick()
            case Stalled(seconds):
                if self.child is not None:
                    self._allow(self.child, seconds)
            case Held():
                if self.child is not None:
                    self.child.in_turn = False  # its turn is over: the next process waits like all others
                elif self.state in (State.STARTING, State.BACKOFF, State.OUTDATED):
                    self._hold(event)
            case Released():
                if self.held:
                    self._start()
            case ShuttingDown(deadline):
                self._shut_down(deadline)
        return self._actions

    # Wishes

    def _begin(self) -> None:
        parked, self._parked = self._parked, None
        if parked is not None and parked.state is State.REPLACED:
            self._attempts[Kind.REPLACED] = parked.count
        if not self.settings.enabled:
            self._change(State.DISABLED)
        elif self.stopped:
            self._change(State.STOPPED, "stopped by an operator")
        elif parked is not None and (parked.until is None or parked.until > self._now.wall):
            wait = None if parked.until is None else parked.until - self._now.wall
            self._rest(parked.state, parked.reason, None, wait)
        else:
            self._start()

    def _obey(self, order: Order, pairing: Pairing) -> None:
        if order is Order.STOP:
            self.stopped = True
            if not self.leaving and not self._ask_to_stop("stop"):
                self._settle(State.STOPPED, "stopped by an operator")
            return
        self.stopped = False
        if not self.settings.enabled or self._closing:
            return
        match order:
            case Order.REPAIR:
                self._repair(pairing)
            case Order.RESTART if self.child is not None:
                self._attempts.clear()
                self._memory = MemoryWatch()  # an operator wants a new try
                self._renew(self.child, "restart", "an operator wants it to have a new process")
            case _:
                self._resume()

    def _resume(self) -> None:
        """Start now whatever does not run, except where WhatsApp has named a time or a version."""
        if self.child is not None:
            if self.child.purpose not in (None, "repair"):
                self.child.purpose = "restart"
            return
        waits = self.state is State.BANNED and self.next_retry_at is not None
        if not self.queued and not waits and self.state is not State.OUTDATED:
            self._attempts.clear()
            self._start()

    def _repair(self, pairing: Pairing) -> None:
        unpaired = self.child is not None and self.child.paired is False
        begins = self.state in (State.STARTING, State.PAIRING)
        pairs_already = unpaired and begins and self._pairing == pairing
        self._pairing = pairing
        if self.child is not None and pairs_already and self.child.purpose is None:
            return
        self._ban = None
        self._attempts.clear()
        if not self._ask_to_stop("repair"):
            self._unqueue()
            self._actions.append(Quarantine("repair"))
            self._start()

    def _configure(self, settings: AccountSettings, keep: str | None) -> None:
        before, self.settings = self.settings, settings
        if before.memory_limit != settings.memory_limit:
            self.reason = None if self.reason == self._memory.text else self.reason
            self._memory = MemoryWatch()
        if before == settings or self._closing:
            return
        self.phone = settings.phone or self.phone
        if not settings.enabled:
            if not self._ask_to_stop("disable"):
                self._settle(State.DISABLED, None)
            return
        if self.stopped:
            if self.child is None:
                self._settle(State.STOPPED, "stopped by an operator")
            return
        matters = settings.needs_new_process(before)
        if self.child is not None:
            if self.child.purpose == "disable":
                self.child.purpose = "restart"
            elif matters and self.child.ends:
                self.child.superseded = True
            elif matters and keep is not None and self.child.purpose is None:
                self._keep(keep)
            elif matters and self.child.purpose != "repair":
                self._renew(self.child, "restart", "its configuration has changed")
        elif self.state in (State.DISABLED, State.STOPPED) or (
            matters and self.state in (State.FAILED, State.BACKOFF)
        ):
            self._attempts.clear()
            self._start()

    def _remove(self, keep_session: bool) -> None:
        self._closing = True
        keep_session = keep_session and (self.child is None or self.child.purpose != "remove")
        if not self._ask_to_stop("remove keeping" if keep_session else "remove"):
            self._unqueue()
            self._leave(keep_session)

    def _leave(self, keep_session: bool) -> None:
        if not keep_session:
            self._actions.append(Quarantine("removed"))
        self._settle(State.STOPPED, self._gone_because)
        self._actions.append(Forget())

    def _shut_down(self, deadline: float) -> None:
        self._closing = True
        self._unqueue()
        self.next_retry_at = self.next_retry_at if self.state in (State.BANNED, State.REPLACED) else None
        if self.child is not None:
            self._ask_to_stop(self.child.purpose or "shutdown")
            if self.child.killed_because is None:
                self.child.deadline = min(self.child.deadline or deadline, deadline)

    # A process's life

    def _start(self, why: str = "waiting for its turn to start", *, in_turn: bool = False) -> None:
        """Ask for a turn; nothing happens unless the account is meant to run and has no process."""
        if self.child is not None or self.stopped or self._closing or not self.settings.enabled:
            return
        if self._ban is not None and self._now.monotonic < self._ban.until:
            wait = self._ban.until - self._now.monotonic
            self._rest(State.BANNED, self._ban.reason, Kind.TEMPORARY_BAN, wait)
            return
        self.held = False
        self.next_retry_at = None
        self._change(State.STARTING, why, self.kind)
        if in_turn:
            self._spawn()
        elif not self.queued:
            self.queued = True
            self._actions.append(Queue())

    def _unqueue(self) -> None:
        if self.queued:
            self.queued = False
            self._actions.append(Unqueue())

    def _take_turn(self) -> None:
        if not self.queued:
            return
        self.queued = False
        if self.child is None:
            self.reason = None
            self._spawn()
        elif self._ask_to_stop(self._renewal):
            self.child.in_turn = True

    def _spawn(self) -> None:
        now = self._now.monotonic
        self._memory.another_process()
        self.restarts += self.last_exit is not None
        self.child = Child(started_at=now, deadline=now + STARTING_DEADLINE, proxy=self.settings.proxy)
        self._actions.append(Spawn(self._pairing))

    def _keep(self, why: str) -> None:
        """Stay with the process there is; an operator has to ask again for a new one."""
        self._unqueue()
        name = self.settings.name
        self.reason = f"keeps its old process ({why}): run `orchestrator restart {name}` once that is mended"
        self._actions.append(Record(self.state, self.state, None, self.reason, None, 0, None))

    def _renew(self, child: Child, purpose: Renewal, why: str) -> None:
        """Replace the process: when it is the account's turn, as long as the one it has is connected.

        Of hundreds that are renewed at once, no more are away than may start at once.
        """
        if self.state is not State.CONNECTED or child.purpose is not None or child.ends:
            self._ask_to_stop(purpose)
            return
        self._renewal = purpose
        self.reason = f"{WAITS_FOR_TURN}: {why}"
        if not self.queued:
            self.queued = True
            self._actions.append(Queue())

    def _hear(self, child: Child, message: FromChild) -> None:
        child.heard_at = self._now.monotonic
        if isinstance(message, pipe.Ended):
            child.outcome = message.outcome
            child.deadline = self._now.monotonic + EXIT_DEADLINE
            self._unqueue()
            self._hide_code()
            return
        if isinstance(message, pipe.Heartbeat):
            self.last_seen_at = message.last_seen_at or self.last_seen_at
            self.memory_bytes = message.memory_bytes
            self._mind_memory(child, message.memory_bytes)
            return
        if child.purpose is not None or child.ends:
            return  # it is on its way out: what it says of its link does not matter any more
        match message:
            case pipe.Loading():
                child.loading = True
            case pipe.NotLoaded():
                child.stale = True
            case pipe.Connecting(paired):
                child.loading = False
                child.paired = paired
                child.dialled_at = self._now.monotonic
                child.deadline = self._now.monotonic + CONNECTING_DEADLINE
                if paired:
                    self._change(State.CONNECTING)
            case pipe.Code() | pipe.LinkCode():
                if self.state is not State.PAIRING:
                    child.deadline = self._now.monotonic + PAIRING_DEADLINE
                    self._change(State.PAIRING, _CODE_WAITS)
                self._show_code(message)
            case pipe.Paired(phone):
                self.phone = phone
                self._pairing = "qr"
                child.dialled_at = self._now.monotonic
                child.deadline = self._now.monotonic + CONNECTING_DEADLINE
                self._change(State.CONNECTING)
            case pipe.Connected(phone):
                self._connected(child, phone)
            case pipe.LinkLost(why):
                if self.state is State.CONNECTED:
                    child.deadline = self._now.monotonic + RECONNECTING_DEADLINE
                    self._change(State.RECONNECTING, why, Kind.NETWORK)

    def _show_code(self, code: pipe.Code | pipe.LinkCode) -> None:
        self.reason = _CODE_WAITS
        self._code_until = None  # an eight-character code is the only one of its round, and ends with that
        if isinstance(code, pipe.Code):
            self._code_until = self._now.monotonic + code.expires_at - code.issued_at + CODE_GRACE
        self._actions.append(ShowCode(code))

    def _mind_memory(self, child: Child, used: int) -> None:
        """Give an account that has outgrown its limit a new process, before its neighbours feel it."""
        stable = self.state is State.CONNECTED and self._stable_at is None
        if not stable or child.purpose is not None or child.ends:
            return
        told = self._memory.text
        match self._memory.look(used, self.settings.memory_limit, self._now.monotonic):
            case Advice.REPLACE:
                self._renew(child, "recycle", _OUTGROWN)
                return
            case Advice.KEEP if told is None:
                self._actions.append(Record(self.state, self.state, None, self._memory.text, None, 0, None))
        if self.reason in (None, told):  # or it has something else to say
            self.reason = self._memory.text

    def _connected(self, child: Child, phone: str) -> None:
        now = self._now
        self.phone = phone or self.phone
        self._pairing = "qr"
        self._ban = None
        self.last_seen_at = now.wall
        child.deadline = None
        if self.state is not State.CONNECTED:
            self.connected_at = now.monotonic
            self._stable_at = now.monotonic + self.settings.backoff.reset_after
            self._change(State.CONNECTED)

    def _ask_to_stop(self, purpose: Purpose) -> bool:
        """Ask the process to stop; return False if there is none. The newest purpose counts."""
        child = self.child
        if child is None:
            return False
        first = child.purpose is None and child.killed_because is None
        child.purpose = purpose
        self._unqueue()
        self._hide_code()
        if first:
            child.deadline = self._now.monotonic + STOP_DEADLINE
            self._actions.append(TellStop())
        return True

    def _tick(self) -> None:
        now = self._now.monotonic
        if self._stable_at is not None and now >= self._stable_at:
            self._stable_at = None
            self._attempts.clear()
        if self._code_until is not None and now >= self._code_until:
            self.reason = _CODE_EXPIRED
            self._hide_code()
        if self.child is not None:
            self._check_deadlines(self.child, now)
        elif (
            self.next_retry_at is not None and now >= self.next_retry_at and not (self.held or self._closing)
        ):
            self._start()

    def _check_deadlines(self, child: Child, now: float) -> None:
        if child.killed_because is not None:
            return  # SIGKILL cannot be refused: the exit will come
        why = None
        if child.deadline is not None and now >= child.deadline:
            why = self._overdue(child)
        elif child.heard_at is not None and now >= child.heard_at + HEARTBEAT_DEADLINE:
            why = f"no sign of life for {HEARTBEAT_DEADLINE:.0f} s"
        if why is not None:
            child.killed_because = why
            child.deadline = None
            self._unqueue()
            self._hide_code()
            self._actions.append(Kill(why))

    def _allow(self, child: Child, seconds: float) -> None:
        """Give the process so much more time for everything: it could not be heard, or stood still, too."""
        if child.deadline is not None:
            child.deadline += seconds
        if child.heard_at is not None:
            child.heard_at = min(child.heard_at + seconds, self._now.monotonic)

    def _overdue(self, child: Child) -> str:
        if child.purpose is not None:
            return "it did not stop in time"
        if child.outcome is not None:
            return "it did not exit after its last word"
        waited = self._now.monotonic - child.started_at
        return f"still {self.state} after {waited:.0f} s"

    # A process's end

    def _reaped(self, child: Child, exited: Exited) -> None:
        outcome = from_exit(
            exited.status,
            child.outcome,
            killed_because=child.killed_because if child.outcome is None else None,
            out_of_memory=exited.out_of_memory,
            loading=child.loading,
        )
        if outcome.kind is Kind.STOPPED and child.purpose is None:
            outcome = Outcome(Kind.CRASH, "somebody else stopped the process")
        if child.purpose is not None and outcome.kind is Kind.CRASH:
            outcome = Outcome(Kind.STOPPED, outcome.text)
        self._over(outcome, exited.status)

    def _over(self, outcome: Outcome, status: int | None) -> None:
        child, self.child = self.child, None
        assert child is not None
        self._unqueue()
        self._hide_code()
        self._stable_at = self.connected_at = self.memory_bytes = None
        self.last_exit = LastExit(self._now.wall, outcome.kind, status, child.proxy)
        purpose = child.purpose
        if child.stale:
            self._actions.append(RenewMaker())
        if child.rolling and child.begins and purpose is None and outcome.kind in (Kind.MACHINE, Kind.CRASH):
            self._actions.append(CallOff(f"{self.settings.name} could not be given one: {outcome.text}"))
        if outcome.kind in HAS_ENDED_SESSION and purpose not in ("repair", "remove"):
            self._actions.append(Quarantine(outcome.kind.value))
        if outcome.kind is Kind.TEMPORARY_BAN and purpose not in (None, "repair"):
            self._note_ban(judge(outcome, 1, self.settings, self._random()))
        match purpose:
            case None:
                self._follow(outcome)
                if child.superseded and self.state in (State.FAILED, State.BACKOFF):
                    self._attempts.clear()
                    self._start()
            case "stop" | "shutdown":
                why = "stopped by an operator" if purpose == "stop" else "the service stops"
                self._settle(State.STOPPED, why)
            case "disable":
                self._settle(State.DISABLED, None)
            case "restart" if child.in_turn:
                self.kind = None
                self._start("a new process, in its turn", in_turn=True)
                self._rolls(child)
            case "restart":
                self.kind = None
                self._start()
            case "recycle":
                self.kind = None
                self._start(_OUTGROWN, in_turn=child.in_turn)
                self._memory.replaced(self._now.monotonic)
                self._rolls(child)
            case "repair":
                self._actions.append(Quarantine("repair"))
                self.kind = None
                self._start()
            case "remove" | "remove keeping":
                self._leave(purpose == "remove keeping")

    def _rolls(self, before: Child) -> None:
        """Note that the new process, if there is one already, took the place of one that worked."""
        if self.child is not None:
            self.child.rolling = before.in_turn

    def _follow(self, outcome: Outcome) -> None:
        """Do what the policy says of an end that nobody asked for."""
        self._attempts[outcome.kind] += 1
        verdict = judge(outcome, self._attempts[outcome.kind], self.settings, self._random())
        self._note_ban(verdict)
        self._rest(verdict.state, verdict.reason, outcome.kind, verdict.wait, outcome.code)
        self.held = verdict.state is State.OUTDATED and not self._closing

    def _note_ban(self, verdict: Verdict) -> None:
        self._ban = None
        if verdict.state is State.BANNED and verdict.wait is not None:
            self._ban = Ban(self._now.monotonic + verdict.wait, verdict.reason)

    def _hold(self, held: Held) -> None:
        """Wait for what all wait for; the time of the next probe is shown, but is not this account's own."""
        self._unqueue()
        state = State.OUTDATED if held.kind is Kind.OUTDATED else State.BACKOFF
        if not (self.held and self.state is state):
            wait = None if held.until is None else max(0.0, held.until - self._now.monotonic)
            self._rest(state, held.reason, held.kind, wait)
        self.next_retry_at = held.until
        self.held = True

    # States

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

    def _hide_code(self) -> None:
        if self.state is State.PAIRING:
            self._code_until = None
            self._actions.append(HideCode())
