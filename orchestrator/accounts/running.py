"""An account while its process runs: what it says, how long it may take, and how it is asked to stop.

Pure. What follows the process's end, and what operators wish, is in `machine`.
"""

from __future__ import annotations

from orchestrator.accounts import deadlines, pipe
from orchestrator.accounts.actions import Kill, ShowCode, Spawn, TellStop, TellUnlink
from orchestrator.accounts.child import Child, Purpose, Renewal
from orchestrator.accounts.events import Moment
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import Guard
from orchestrator.accounts.memory_limit import Advice, MemoryWatch
from orchestrator.accounts.pipe import FromChild, Pairing
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.standing import Standing
from orchestrator.accounts.states import WAITS_FOR_TURN, State

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

_CODE_WAITS = "waiting for its code to be used"
_CODE_EXPIRED = "its code is out of date, waiting for the next one"


class Running(Standing):
    """What is known of an account, and what it makes of its process."""

    def __init__(
        self, settings: AccountSettings, now: Moment, *, stopped: bool = False, guard: Guard | None = None
    ) -> None:
        super().__init__(settings, now, stopped=stopped, guard=guard)
        self._pairing: Pairing = "qr"
        self._renewal: Renewal = "restart"
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
            self._mind_memory(child, message.memory_bytes)
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
                    self._change(State.PAIRING, _CODE_WAITS)
                self._show_code(message)
            case pipe.Paired(phone):
                self.phone = phone
                self.guard = self.guard.linked(phone, self.settings.phone)
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

    def _breach(self, child: Child, why: str) -> None:
        """Take in that its process was killed because nothing that it says can be trusted any more."""
        child.broke = f"its process broke the rules of its pipe ({why}), so the service killed it"
        child.killed_because = child.broke
        child.deadline = None
        self._unqueue()
        self._hide_code()

    def _show_code(self, code: pipe.Code | pipe.LinkCode) -> None:
        self.reason = _CODE_WAITS
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

    # How long it may take

    def _check_times(self, now: float) -> None:
        """Follow up what time has brought to the connection, the code and the process."""
        if self._stable_at is not None and now >= self._stable_at:
            self._stable_at = None
            self._attempts.clear()
        if self._code_until is not None and now >= self._code_until:
            self.reason = _CODE_EXPIRED
            self._hide_code()
        if self.child is not None and (why := self.child.why_to_kill(self.state, now)) is not None:
            self.child.killed_because = why
            self.child.deadline = None
            self._unqueue()
            self._hide_code()
            self._actions.append(Kill(why))

    # How it is asked to stop

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

    def _ask_to_unlink(self, child: Child) -> None:
        """Ask the process of an account that is removed to have its device unlinked, and to end."""
        child.purpose = "remove"
        child.deadline = self._now.monotonic + UNLINK_DEADLINE
        self._unqueue()
        self._actions.append(TellUnlink())

    def _renew(self, child: Child, purpose: Renewal, why: str) -> None:
        """Replace the process: when it is the account's turn, as long as the one it has is connected.

        Of hundreds that are renewed at once, no more are away than may start at once.
        """
        if self.state is not State.CONNECTED or child.purpose is not None or child.ends:
            self._ask_to_stop(purpose)
            return
        self._renewal = purpose
        self.reason = f"{WAITS_FOR_TURN}: {why}"
        self._queue()

    def _keep(self, why: str) -> None:
        """Stay with the process there is; an operator has to ask again for a new one."""
        self._unqueue()
        name = self.settings.name
        self.reason = f"keeps its old process ({why}): run `orchestrator restart {name}` once that is mended"
        self._remark(self.reason)
