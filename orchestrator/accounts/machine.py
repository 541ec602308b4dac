"""The machine of one account: what happens → what to do. Pure: no I/O, no clock, no randomness of its own.

An account has a wish (run, or stopped by an operator) and an actual state. Events come in with the moment
they happened. Actions come out, and the service, which carries them out (`service.machines`), reports back
by further events. Nothing else decides anything about an account.
"""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.accounts import flood
from orchestrator.accounts.actions import (
    Action,
    CallOff,
    Forget,
    RenewMaker,
    TellStoreLost,
)
from orchestrator.accounts.child import Ban, LastExit, Parked, Parting
from orchestrator.accounts.events import (
    Begin,
    Broke,
    CalledOff,
    Configured,
    Event,
    Exited,
    Found,
    Held,
    LeftOut,
    Looked,
    LookedUp,
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
    StoreGone,
    Ticked,
    TurnCame,
)
from orchestrator.accounts.failure import Kind, Outcome
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.memory_limit import MemoryWatch
from orchestrator.accounts.on_demand import LOOKED_AT
from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.past import Past
from orchestrator.accounts.phone_watch import PhoneWatch
from orchestrator.accounts.pipe import Pairing
from orchestrator.accounts.policy import judge
from orchestrator.accounts.reconfigured import Reconfigured
from orchestrator.accounts.running import OUTGROWN
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import PAIRED_ANEW, SERVICE_STOPS, State

_NO_START = (Kind.MACHINE, Kind.CRASH)
"""The kinds of end of a process that could not begin."""


class Account(Reconfigured):
    """One account: `Standing` has what is known of it, `Running` its process, this what is decided.

    Args:
        settings: What the configuration says of it.
        now: The present moment.
        random: Returns numbers from 0 up to 1, for the jitter.
        stopped: An operator has stopped it earlier.
        parked: The state it was in when the service last ended, if it must stay in it.
        guard: What is remembered of its phone.
        watch: When its phone was last seen.
        past: Why it has no session any more, and since when it is at rest.
    """

    def __init__(
        self,
        settings: AccountSettings,
        now: Moment,
        *,
        random: Callable[[], float],
        stopped: bool = False,
        parked: Parked | None = None,
        guard: Guard | None = None,
        watch: PhoneWatch | None = None,
        past: Past | None = None,
    ) -> None:
        super().__init__(settings, now, stopped=stopped, guard=guard, watch=watch, past=past)
        self._random = random
        self._parked = parked
        self._gone_because = "removed"
        self._stopped_because = STOPPED
        if parked is not None and parked.state is State.BANNED and parked.until is not None:
            self._ban = Ban(now.monotonic + parked.until - now.wall, parked.reason)

    # The machine

    def handle(self, event: Event, now: Moment) -> list[Action]:
        """Take an event in and return what is to be done about it, in this order."""
        self._take_in(event, now)
        match event:
            case Begin():
                self._begin()
            case Ordered():
                self._obey(event)
            case Configured(settings, keep, _):
                self._configure(settings, keep)
            case Found(number, restored):
                self._found(number, restored=restored)
            case Looked() if self._is_looked_at():
                self._start(LOOKED_AT)
            case LookedUp(linked) if self._has_found(linked):
                self._start()
            case CalledOff(why):
                self._keep(why)
            case Removed(keep_session, why, unlink, _):
                self._gone_because = why
                self._remove(keep_session, unlink=unlink)
            case TurnCame():
                self._take_turn()
            case Spawned(pid):
                if self.child is not None:
                    self.child.pid = pid
                    if self.child.store_lost:
                        self._actions.append(TellStoreLost())
            case SpawnFailed(why, kind):
                if self.child is not None:
                    self._over(Outcome(kind, why), None, seen=True)
            case Said(message):
                if self.child is not None:
                    self._hear(self.child, message)
            case Broke(why):
                if self.child is not None:
                    self._breach(self.child, why)
            case LeftOut(count):
                self._remark(flood.more(count, "change of the link", "changes of the link"))
            case Exited():
                if self.child is not None:
                    self._over(self.child.outcome_of(event), event.status)
            case Ticked():
                self._tick()
            case Stalled(seconds):
                self.looks = self.looks.later(seconds)
                if self.child is not None:
                    self.child.allow(seconds, now.monotonic)
            case Held():
                if self.child is not None:
                    self.child.in_turn = False  # its turn is over: the next process waits like all others
                elif self.state in (State.STARTING, State.BACKOFF, State.OUTDATED):
                    self._hold(event)
            case StoreGone():
                if self.child is not None:
                    self._lose_store(self.child)
            case Released():
                if self.held or self.state is State.OUTDATED:
                    self._start()
            case ShuttingDown(deadline):
                self._shut_down(deadline)
        self._go_dark_unless_seen()
        return self._actions

    # Wishes

    def _begin(self) -> None:
        parked, self._parked = self._parked, None
        if parked is not None and parked.state is State.REPLACED:
            self._attempts[Kind.REPLACED] = parked.count
        if not self.settings.enabled:
            self._change(State.DISABLED)
        elif self.stopped:
            self._change(State.STOPPED, STOPPED)
        elif parked is not None and (parked.until is None or parked.until > self._now.wall):
            wait = None if parked.until is None else parked.until - self._now.wall
            self._rest(parked.state, parked.reason, None, wait)
        else:
            self._start()

    def _obey(self, wish: Ordered) -> None:
        if wish.order is Order.STOP:
            self.stopped = True
            self._stopped_because = wish.why or STOPPED
            self.looks = self.looks.served()
            if not self.leaving and not self._ask_to_stop("stop"):
                self._settle(State.STOPPED, self._stopped_because)
            return
        self.stopped = False
        if not self.settings.enabled or self._closing:
            return
        match wish.order:
            case Order.REPAIR:
                self._repair(wish.pairing, any_phone=wish.any_phone)
            case Order.RESTART if self.child is not None:
                self._attempts.clear()
                self._memory = MemoryWatch()  # an operator wants a new try
                self._renew(self.child, "restart", "an operator wants it to have a new process")
            case _:
                self._resume(by_name=wish.by_name)

    def _resume(self, *, by_name: bool) -> None:
        """Start now whatever does not run, except where WhatsApp has named a time.

        Of all accounts that wait for another version, only those are tried that the operator has named.
        """
        if self.child is not None:
            if self.child.purpose not in (None, "repair"):
                self._restart_instead(self.child)
            return
        waits = self.state is State.BANNED and self.next_retry_at is not None
        outdated = self.state is State.OUTDATED and self.held and not by_name
        if not self.queued and not waits and not outdated:
            self.linked = None  # an operator may have put a session there
            self._attempts.clear()
            self._start()

    def _repair(self, pairing: Pairing, *, any_phone: bool) -> None:
        self.looks = self.looks.wanted()
        if any_phone:
            self.guard = self.guard.open_to_any()
            self.phone = self.settings.phone
        unpaired = self.child is not None and self.child.paired is False
        begins = self.state in (State.STARTING, State.PAIRING)
        pairs_already = unpaired and begins and self._pairing == pairing
        self._pairing = pairing
        same_phones = self.child is not None and self.child.any_phone == self.guard.any_phone
        if self.child is not None and pairs_already and same_phones and self.child.purpose is None:
            return
        self._ban = None
        self._attempts.clear()
        if not self._ask_to_stop("repair"):
            self._unqueue()
            self._quarantine("repair")
            self._start(PAIRED_ANEW)

    def _remove(self, keep_session: bool, *, unlink: bool) -> None:
        self._closing = True
        child = self.child
        keep_session = keep_session and (child is None or child.purpose != "remove")
        if unlink:
            online = self.state is State.CONNECTED and not self.stopping
            if child is not None and online and not child.ends:
                self._ask_to_unlink(child, "remove keeping" if keep_session else "remove")
                return
            self.parting = self.parting or Parting(unlinked=False, why="the account was not connected")
        if not self._ask_to_stop("remove keeping" if keep_session else "remove"):
            self._unqueue()
            self._leave(keep_session)

    def _leave(self, keep_session: bool, outcome: Outcome | None = None) -> None:
        ended = outcome is not None and outcome.kind is Kind.LOGGED_OUT
        if outcome is not None and (ended or self.parting is None):
            self.parting = Parting(ended, None if ended else outcome.text)
        if not keep_session:
            # One that WhatsApp has unlinked is of no use any more, and its name in quarantine says so.
            self._quarantine(Kind.LOGGED_OUT.value if ended else "removed", messages=True)
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

    def _take_turn(self) -> None:
        if not self.queued:
            return
        self.queued = False
        if self.child is None and self._stays_dark:
            self._stay_dark()  # who has looked is gone
        elif self.child is None:
            self.reason = None
            self._spawn()
        elif self._make_room():
            self.child.in_turn = True

    def _tick(self) -> None:
        now = self._now.monotonic
        self._check_times(now)
        waits = self.next_retry_at is not None and not self.held and not self._closing
        if self.child is None and waits and now >= (self.next_retry_at or 0.0):
            self._start()

    # A process's end

    def _over(self, outcome: Outcome, status: int | None, *, seen: bool = False) -> None:
        """Follow up the end of a process, or, if the service has ``seen`` so, that there is none."""
        child, self.child = self.child, None
        assert child is not None
        self._by = child.by
        self._unqueue()
        self._hide_code()
        failed_trial = self._fails_trial(child)
        self._stable_at = self.connected_at = self.memory_bytes = self.open_files = None
        self.received.ended()
        self.last_exit = LastExit(self._now.wall, outcome.kind, status, child.proxy)
        purpose = child.purpose
        if outcome.kind is Kind.WRONG_PHONE:
            self.phone = self.wanted_phone  # and not that of whoever has used the code
        if child.stale:
            self._actions.append(RenewMaker())
        if failed_trial:
            why = f"{self.settings.name} does not connect with its new settings: {outcome.text}"
            self._actions.append(CallOff(why, seen=True, changed=True))
        elif child.rolling and child.begins and purpose is None and outcome.kind in _NO_START:
            why = f"{self.settings.name} could not be given one: {outcome.text}"
            self._actions.append(CallOff(why, seen))
        self._lose_session(outcome, purpose)
        if outcome.kind is Kind.TEMPORARY_BAN and purpose not in (None, "repair"):
            self._note_ban(judge(outcome, 1, self.settings, self._random()))
        match purpose:
            case None:
                self._follow(outcome)
                if child.superseded and self.state in (State.FAILED, State.BACKOFF):
                    self._attempts.clear()
                    self._start()
            case "stop" | "shutdown":
                why = self._stopped_because if purpose == "stop" else SERVICE_STOPS
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
                self._start(OUTGROWN, in_turn=child.in_turn)
                self._memory.replaced(self._now.monotonic)
                self._rolls(child)
            case "repair":
                self._quarantine("repair")
                self.kind = None
                self._start(PAIRED_ANEW)
            case "unseen":
                self.linked = None  # a phone may have used the code in the last moment
                self._start()
            case "remove" | "remove keeping":
                self._leave(purpose == "remove keeping", outcome)

    def _follow(self, outcome: Outcome) -> None:
        """Do what the policy says of an end that nobody asked for."""
        if outcome.kind is Kind.PAIRING_EXPIRED and self._round_is_over():
            self._await_look()
            return
        if outcome.kind is not Kind.STORE:  # of that no account can be said to have failed
            self._attempts[outcome.kind] += 1
        verdict = judge(outcome, self._attempts[outcome.kind] or 1, self.settings, self._random())
        self._note_ban(verdict)
        self._rest(verdict.state, verdict.reason, outcome.kind, verdict.wait, outcome.code)

    # States
