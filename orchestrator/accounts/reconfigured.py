"""An account whose configuration changes, and how its next process takes the new settings up. Pure.

A process that works is replaced in its turn. The next process is on trial until it has connected: if it does
not, the accounts that wait with other new settings keep their processes, and with them their old settings.
Otherwise one wrong proxy would take all accounts away.
"""

from __future__ import annotations

from orchestrator.accounts.child import Child
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.memory_limit import MemoryWatch
from orchestrator.accounts.orderers import STOPPED
from orchestrator.accounts.remembering import Remembering
from orchestrator.accounts.running import KEEPS_SETTINGS
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import WAITS_FOR_TURN, State

CHANGED = "its configuration has changed"
"""Why an account gets a new process, for people."""
_OF_SETTINGS = (f"{WAITS_FOR_TURN}: {CHANGED}", KEEPS_SETTINGS)


class Reconfigured(Remembering):
    """What an account makes of new settings, and how its next process begins."""

    def _configure(self, settings: AccountSettings, keep: str | None) -> None:
        starts = self.starts_with(settings)
        before, self.settings = self.settings, settings
        if before.memory_limit != settings.memory_limit:
            self.reason = None if self.reason == self._memory.text else self.reason
            self._memory = MemoryWatch()
        if (before == settings and not self.behind) or self._closing:
            return
        if not self.behind and self.reason is not None and self.reason.startswith(_OF_SETTINGS):
            self._unqueue()  # what it runs with is in the configuration again
            self.reason = None
        self.phone = self.wanted_phone or self.phone
        if not settings.enabled:
            if not self._ask_to_stop("disable"):
                self._settle(State.DISABLED, None)
            return
        if self.stopped:
            if self.child is None:
                self._settle(State.STOPPED, STOPPED)
            return
        if self.child is not None:
            matters = self.behind
            if self.child.purpose == "disable":
                self._restart_instead(self.child)
            elif matters and self.child.ends:
                self.child.superseded = True
            elif matters and keep is not None and self.child.purpose is None:
                self._keep(keep)
            elif matters and self.child.purpose != "repair":
                self._renew(self.child, "restart", CHANGED)
        elif starts:
            self._attempts.clear()
            self._start()

    def _start(self, why: str = "waiting for its turn to start", *, in_turn: bool = False) -> None:
        """Ask for a turn; nothing happens unless the account is meant to run and has no process."""
        if self.child is not None or self.stopped or self._closing or not self.settings.enabled:
            return
        if self._ban is not None and self._now.monotonic < self._ban.until:
            wait = self._ban.until - self._now.monotonic
            self._rest(State.BANNED, self._ban.reason, Kind.TEMPORARY_BAN, wait)
            return
        if self._stays_dark:
            self._stay_dark()
            return
        self.held = False
        self.next_retry_at = None
        self._change(State.STARTING, why, self.kind)
        if in_turn:
            self._spawn()
        else:
            self._queue()

    def _rolls(self, before: Child) -> None:
        """Note that the new process, if there is one already, took the place of one that worked."""
        if self.child is not None:
            self.child.rolling = before.in_turn
            old = before.settings
            self.child.trial = before.in_turn and old is not None and self.settings.needs_new_process(old)

    def _fails_trial(self, child: Child) -> bool:
        """Tell whether the end of a process shows that new settings do not work; it still counts as there."""
        return child.trial and child.purpose is None and self.connected_at is None
