"""An account while its process runs: what it says, how long it may take, and how it is asked to stop.

Pure. What follows the process's end, and what operators wish, is in `machine`.
"""

from __future__ import annotations

from orchestrator.accounts import deadlines, pipe
from orchestrator.accounts.actions import Kill, ShowCode, Spawn, TellStop, TellStoreLost, TellUnlink
from orchestrator.accounts.child import Child, Purpose, Renewal
from orchestrator.accounts.events import Moment
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.limits import LIFTED, Limits
from orchestrator.accounts.memory_limit import Advice, MemoryWatch
from orchestrator.accounts.phone_watch import PhoneWatch
from orchestrator.accounts.pipe import FromChild, Pairing
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import CODE_WAITS, WAITS_FOR_TURN, State

STARTING_DEADLINE = deadlines.STARTING.outer
"""Seconds from the start of a process to its first word."""
CONNECTING_DEADLINE = deadlines.CONNECTING.outer
"""Seconds a process may dial."""
PAIRING_DEADLINE = deadlines.PAIRING.outer
"""Seconds of a round of codes."""
RECONNECTING_DEADLINE = deadlines.RECONNECTING.outer
"""Seconds without a link before the process is replaced."""
CODE_GRACE = 0.5
"""Seconds for which a code is shown after it is out of date, so that the next one can take its place."""
STOP_DEADLINE = deadlines.STOPPING.outer
"""Seconds from being asked to stop to being killed."""
UNLINK_DEADLINE = deadlines.UNLINKING.outer
"""Seconds from being asked to unlink the device to being killed."""
EXIT_DEADLINE = deadlines.EXITING.outer
"""Seconds from the last word to the exit."""
OUTGROWN = "its process has outgrown `memory_limit`"
KEEPS_SETTINGS = "keeps its old settings"
"""How the reason begins of an account that was to get a new process for new settings, and did not."""

_CODE_EXPIRED = "its code is out of date, waiting for the next one"


class Running(Standing):
    """What is known of an account, and what it makes of its process."""

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
        self._pairing: Pairing = "qr"
        self._renewal: Renewal = "restart"
        self._renewal_by: str | None = None
        self._memory = MemoryWatch()

    # How it begins, and what it says

    def _spawn(self) -> None:
        now = self._now.monotonic
        self._memory.another_process()
        self.restarts += self.last_exit is not None
        self.child = Child(
            started_at=now,
            deadline=now + STARTING_DEADLINE,
            proxy=self.settings.proxy,
            any_phone=self.guard.any_phone,
            settings=self.settings,
        )
        self._actions.append(Spawn(self._pairing))

    def _hear(self, child: Child, message: FromChild) -> None:
        if child.broke is not None:
            return  # nothing of what it says can be trusted
        child.heard_at = self._now.monotonic
        if isinstance(message, pipe.Ended):
            if child.outcome is not None:
                return  # or it could put off its end for ever, and keep others from starting
            child.outcome = message.outcome
            child.deadline = self._now.monotonic + EXIT_DEADLINE
            self._unqueue()
            self._hide_code()
            return
        if isinstance(message, pipe.Heartbeat):
            self.last_seen_at = message.last_seen_at or self.last_seen_at
            self.memory_bytes, self.open_files = message.memory_bytes, message.open_files
            if child.missing is not None:  # before `pipe.Loading`, it does not know its inbox yet
                self.received.heard(message.stored, message.lost, message.refused)
                self.to_send = message.queued
                self.heard_of_messages(message.last_in_at, message.last_out_at)
            self._mind_memory(child, message.memory_bytes)
            return
        if isinstance(message, pipe.PhoneSeen):
            self._phone_seen(message.at)
            return
        if isinstance(message, pipe.Restricted):
            self._limit(Limits(message.what, message.until, message.code))
            return
        if child.purpose is not None or child.ends:
            return  # it is on its way out: what it says of its link does not matter any more
        # What belongs to the start is heard once: a deadline that could be put off would be none, and an
        # account that starts keeps others from starting.
        match message:
            case pipe.Loading(missing):
                child.loading, child.missing = child.begins, missing
            case pipe.NotLoaded():
                child.stale = child.begins
            case pipe.Connecting() | pipe.Paired() if child.has_said(type(message)):
                pass
            case pipe.Connecting(paired):
                child.loading = False
                child.paired = paired
                child.dialled_at = self._now.monotonic
                child.deadline = self._now.monotonic + CONNECTING_DEADLINE
                if paired:
                    self._change(State.CONNECTING)
            case pipe.Code() | pipe.LinkCode():
                child.paired = bool(child.paired)
                if self.state is not State.PAIRING:
                    child.deadline = self._now.monotonic + PAIRING_DEADLINE
                    self._change(State.PAIRING, CODE_WAITS)
                self._show_code(message)
            case pipe.Paired(phone):
                self.phone = phone
                self.guard = self.guard.linked(phone, self.settings.phone)
                self.watch = PhoneWatch().saw(self._now.wall, self._now.wall)
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

    def heard_of_messages(self, last_in_at: float | None, last_out_at: float | None) -> None:
        """Take in when messages came and went last, by a process or as it was kept; the later time counts.

        Args:
            last_in_at: Unix time of the last message that came in, None if nobody knows.
            last_out_at: Unix time of the last one that went out, None if nobody knows.
        """
        self.last_in_at = _later(self.last_in_at, last_in_at, self._now.wall)
        self.last_out_at = _later(self.last_out_at, last_out_at, self._now.wall)

    def _breach(self, child: Child, why: str) -> None:
        """Take in that its process was killed because nothing that it says can be trusted any more."""
        child.broke = f"its process broke the rules of its pipe ({why}), so the service killed it"
        child.killed_because = child.broke
        child.deadline = None
        self._unqueue()
        self._hide_code()

    def _show_code(self, code: pipe.Code | pipe.LinkCode) -> None:
        self.reason = CODE_WAITS
        self._code_until = None  # an eight-character code is the only one of its round, and ends with that
        if isinstance(code, pipe.Code):
            seconds = min(max(0.0, code.expires_at - code.issued_at), PAIRING_DEADLINE)
            self._code_until = self._now.monotonic + seconds + CODE_GRACE
        self._actions.append(ShowCode(code))

    def _mind_memory(self, child: Child, used: int) -> None:
        """Give an account that has outgrown its limit a new process, before its neighbours feel it."""
        stable = self.state is State.CONNECTED and self._stable_at is None
        if not stable or child.purpose is not None or child.ends:
            return
        told = self._memory.text
        match self._memory.look(used, self.settings.memory_limit, self._now.monotonic):
            case Advice.REPLACE:
                self._renew(child, "recycle", OUTGROWN)
                return
            case Advice.KEEP if told is None:
                self._remark(self._memory.text)
        if self.reason in (None, told):  # or it has something else to say
            self.reason = self._memory.text

    def _connected(self, child: Child, phone: str) -> None:
        now = self._now
        self.phone = phone or self.phone
        self.guard = self.guard.connected(phone, self.settings.phone)
        self._pairing = "qr"
        self._ban = None
        self.last_seen_at = now.wall
        child.deadline = None
        child.paired = True if child.paired is None else child.paired
        if self.state is not State.CONNECTED:
            self.connected_at = now.monotonic
            self._stable_at = now.monotonic + self.settings.backoff.reset_after
            self._change(State.CONNECTED)
            self.watch = self.watch.begins(now.wall)
            self.limits = self.limits.at(now.wall)
            self.reason = self.watch.text or self.limits.text

    def _limit(self, limits: Limits) -> None:
        """Take in what it may not send; a process says it at its start, and at each change."""
        wall = self._now.wall
        before, self.limits = self.limits, limits.at(wall)
        if self.state is State.CONNECTED and self.reason in (None, before.text):  # or there is more to say
            self.reason = self.limits.text
        if self.limits == before:
            return
        if self.limits.text is None:
            self._remark(LIFTED, "unrestricted")
        else:
            delay = None if self.limits.until is None else self.limits.until - wall
            self._remark(self.limits.text, "restricted", code=self.limits.code, delay=delay)

    def _phone_seen(self, at: float) -> None:
        """Take in a sign of its phone; what was said of a phone that is missing may be over."""
        before = self.watch
        self.watch = before.saw(at, self._now.wall)
        self._say_of_phone(before)
        if before.told and not self.watch.told:
            self._remark("its phone was seen again", "phone_seen")

    def _miss_phone(self) -> None:
        """Tell that its phone was not seen for long, where that is due."""
        before = self.watch
        self.watch = before.judge(self._now.wall)
        self._say_of_phone(before)
        if self.watch.told > before.told:
            self._remark(self.watch.text, "phone_offline")

    def _say_of_phone(self, before: PhoneWatch) -> None:
        if self.state is State.CONNECTED and self.reason in (None, before.text):  # or there is more to say
            self.reason = self.watch.text

    # How long it may take

    def _check_times(self, now: float) -> None:
        """Follow up what time has brought to the connection, the code and the process."""
        if self._stable_at is not None and now >= self._stable_at:
            self._stable_at = None
            self._attempts.clear()
        missed_at = self._phone_missed_at()
        if missed_at is not None and now >= missed_at:
            self._miss_phone()
        if self._code_until is not None and now >= self._code_until:
            self.reason = _CODE_EXPIRED
            self._hide_code()
        if self.child is not None and (why := self.child.why_to_kill(self.state, now)) is not None:
            self.child.killed_because = why
            self.child.deadline = None
            self._unqueue()
            self._hide_code()
            holds = self.child.may_hold_messages and bool(self.settings.messages.allow)
            self._actions.append(Kill(why, holds))

    # How it is asked to stop

    def _ask_to_stop(self, purpose: Purpose) -> bool:
        """Ask the process to stop; return False if there is none. The newest purpose counts."""
        child = self.child
        if child is None:
            return False
        first = child.purpose is None and child.killed_because is None
        if child.purpose != purpose or child.by is None:
            child.by = self._by
        child.purpose = purpose
        self._unqueue()
        self._hide_code()
        if first:
            child.deadline = self._now.monotonic + STOP_DEADLINE
            self._actions.append(TellStop())
        return True

    def _ask_to_unlink(self, child: Child, purpose: Purpose) -> None:
        """Ask the process of an account that is removed to have its device unlinked, and to end."""
        child.purpose, child.by = purpose, self._by
        child.deadline = self._now.monotonic + UNLINK_DEADLINE
        self._unqueue()
        self._actions.append(TellUnlink())

    def _lose_store(self, child: Child) -> None:
        """Have the process end at once, as what it does cannot be kept; other wishes for its end stay."""
        if child.killed_because is not None or child.outcome is not None:
            return
        self._unqueue()
        self._hide_code()
        deadline = self._now.monotonic + STOP_DEADLINE
        child.deadline = deadline if child.deadline is None else min(child.deadline, deadline)
        child.store_lost = True
        self._actions.append(TellStoreLost())

    def _renew(self, child: Child, purpose: Renewal, why: str) -> None:
        """Replace the process: when it is the account's turn, as long as the one it has is connected.

        Of hundreds that are renewed at once, no more are away than may start at once.
        """
        if self.state is not State.CONNECTED or child.purpose is not None or child.ends:
            self._ask_to_stop(purpose)
            return
        self._renewal, self._renewal_by = purpose, self._by
        self.reason = f"{WAITS_FOR_TURN}: {why}"
        self._queue()

    def _make_room(self) -> bool:
        """Ask the process to stop now that its successor may start; return False if there is none."""
        self._by = self._renewal_by
        return self._ask_to_stop(self._renewal)

    def _restart_instead(self, child: Child) -> None:
        """Have another process follow one that was asked to stop for another purpose."""
        child.purpose, child.by = "restart", self._by

    def _keep(self, why: str) -> None:
        """Stay with the process there is; an operator has to ask again for a new one."""
        self._unqueue()
        name = self.settings.name
        self.reason = f"keeps its old process ({why}): run `orchestrator restart {name}` once that is mended"
        if self.behind:
            self.reason = f"{KEEPS_SETTINGS} ({why}): run `orchestrator reload` once that is mended"
        self._remark(self.reason)


def _later(known: float | None, said: float | None, now: float) -> float | None:
    """Return the later of two times, None if there is none; no message came or went in the future."""
    times = [min(time, now) for time in (known, said) if time is not None]
    return max(times, default=None)
