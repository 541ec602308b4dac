"""What the running service writes down: each change, what must outlive it, and sessions put away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from orchestrator.accounts import actions
from orchestrator.accounts.states import State
from orchestrator.control.view import AccountView
from orchestrator.errors import StateError
from orchestrator.service.devices import Devices
from orchestrator.service.roster import Roster
from orchestrator.service.timers import Timers, now
from orchestrator.store import status
from orchestrator.store.protocols import Record, SessionStore
from orchestrator.store.summary import Summary
from orchestrator.store.timeline import TimelineEntry
from orchestrator.system.masking import mask_number

log = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
"""How long a change of state may wait to be written down together with others."""
RETRY_SECONDS = 5.0
"""How long to wait before the next try to write what could not be written."""
PRUNE_SECONDS = 3600.0
"""How often old sessions are deleted from the quarantine."""
MINUTE = 60.0
"""How long a change counts as one that happened together with the next."""


class Recorder:
    """Writes down what happens to the accounts.

    Args:
        roster: The accounts.
        record: Where it is written.
        sessions: The accounts' sessions.
        devices: Tells which account uses which linked device.
        timers: What is planned.
        describe: Returns what is shown of an account.

    Attributes:
        others: What was kept of accounts that do not run here: it stays as it is.
    """

    def __init__(
        self,
        roster: Roster,
        record: Record,
        sessions: SessionStore,
        devices: Devices,
        timers: Timers,
        describe: Callable[[str], AccountView],
    ) -> None:
        self.others: dict[str, status.Kept] = {}
        self._roster = roster
        self._record = record
        self._sessions = sessions
        self._devices = devices
        self._timers = timers
        self._describe = describe
        self._recent: dict[str, float] = {}  # by the time of the last change, the oldest first
        self._born = now()
        self._unsaved = False
        self._unkept: set[str] = set()

    # Each change

    def changed(self, name: str, record: actions.Record, library: str) -> None:
        """Write down that the state of an account has changed, or that there is more to say of it."""
        self._tell(name, record)
        self._record.append(
            name,
            TimelineEntry(
                at=time.time(),
                before=record.before,
                after=record.after,
                kind=record.kind,
                reason=record.reason,
                code=record.code,
                attempt=record.attempt,
                delay=record.delay,
                version=library,
                others=self._count_others(name),
            ),
        )
        self.save_soon()
        if record.after in (State.BANNED, State.REPLACED):
            # Were the service killed before, the next one would try the account at once, ban or no ban.
            self._timers.later("save at once", 0, self.save)

    def _tell(self, name: str, record: actions.Record) -> None:
        stays = record.before is record.after  # which is told only where an operator should know why
        level = logging.WARNING if record.kind or stays else logging.INFO
        why = f": {record.reason}" if record.reason else ""
        then = f", next try in {record.delay:.0f} s" if record.delay is not None else ""
        log.log(level, "%s: %s → %s%s%s", name, record.before, record.after, why, then)

    def _count_others(self, name: str) -> int:
        """Return how many other accounts have changed within the last minute, and note that this one has."""
        at = time.monotonic()
        self._recent.pop(name, None)
        while self._recent and (oldest := next(iter(self._recent))) and self._recent[oldest] < at - MINUTE:
            del self._recent[oldest]
        others = len(self._recent)
        self._recent[name] = at
        return others

    # What outlives the service

    def summarize(self) -> None:
        """Note what commands show of the configuration while no service runs."""
        settings = self._roster.settings
        accounts = {
            name: Summary(name, one.enabled, None if one.phone is None else mask_number(one.phone))
            for name, one in settings.accounts.items()
        }
        self._record.summarize(settings.digest, accounts)

    def save_soon(self) -> None:
        """Write down what must outlive the service within `SAVE_SECONDS`."""
        self._timers.later("save", SAVE_SECONDS, self.save)

    def save(self) -> bool:
        """Write down what operators wish and what is known of the accounts.

        Returns:
            Whether it is written; a failure is logged.
        """
        kept = {name: self._kept_at_least(name) for name in self._roster.accounts} | self.others
        try:
            self._record.save(kept)
        except StateError as error:
            if not self._unsaved:
                log.error("%s", error)
            self._unsaved = True
            self._timers.later("save again", RETRY_SECONDS, self.save)
            return False
        if self._unsaved:
            log.warning("%s: can be written again", self._record.place)
            self._unsaved = False
        return True

    def kept(self, name: str) -> status.Kept:
        """Return what must outlive the service of an account."""
        account = self._roster.accounts[name].account
        shown = self._describe(name)._replace(qr_path=None)
        return status.Kept(account.stopped, account.parked(now()), shown.as_json(), account.guard)

    def _kept_at_least(self, name: str) -> status.Kept:
        """Return what must outlive the service; after a bug, no more than an operator's wish."""
        try:
            kept = self.kept(name)
        except Exception:
            if name not in self._unkept:
                log.exception("%s: a bug in the service: what is known of the account cannot be kept", name)
            self._unkept.add(name)
            return status.Kept(self._roster.accounts[name].account.stopped)
        self._unkept.discard(name)
        return kept

    def keep_as_other(self, name: str) -> None:
        """Keep what is known of an account that is about to go, until another one takes it over."""
        self.others[name] = self.kept(name)

    def forget(self, name: str) -> None:
        """Keep nothing any more of an account that is gone."""
        if self.others.pop(name, None) is not None:
            self.save()

    # Sessions put away

    def quarantine(self, name: str, reason: str) -> None:
        """Put the session of an account into quarantine; a failure is logged, and the session stays."""
        if reason == "repair":
            self._sessions.make_room()  # who pairs anew does not wait for a folder that is gone
        try:
            place = self._sessions.quarantine(name, reason, time.time())
        except StateError as error:
            # Nothing is lost: the next try meets the session again.
            log.error("%s: the session could not be put into quarantine: %s", name, error)
        else:
            self._devices.changed(name)
            if place is not None:
                log.warning("%s: the session was put into quarantine (%s): %s", name, reason, place)

    def prune(self) -> None:
        """Delete old sessions from the quarantine, now and every `PRUNE_SECONDS`."""
        # A clock that is set forward, as after a start without a battery, must not make anything old at once.
        present = now()
        steady = self._born.wall + present.monotonic - self._born.monotonic
        gone = self._sessions.prune(self._roster.settings.quarantine_days, min(present.wall, steady))
        if gone:
            log.info(
                "the quarantine has kept these sessions for long enough, so they are deleted: %s; a device"
                " that a phone still shows under Linked devices stays linked until somebody removes it there",
                ", ".join(gone),
            )
        self._timers.later("prune", PRUNE_SECONDS, self.prune)
