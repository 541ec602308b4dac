"""What the running service writes down: each change, what must outlive it, and sessions put away."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable

from orchestrator.accounts import actions
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.orderers import with_who
from orchestrator.accounts.states import SERVICE_WAS_GONE, State
from orchestrator.control.view import AccountView
from orchestrator.errors import NotRunning, StateError
from orchestrator.service.aside import Aside
from orchestrator.service.devices import Devices
from orchestrator.service.roster import Roster
from orchestrator.service.timers import Timers, now
from orchestrator.store import status
from orchestrator.store.protocols import Record, SessionStore
from orchestrator.store.summary import summarize
from orchestrator.store.timeline import TimelineEntry
from orchestrator.system import clock

log = logging.getLogger(__name__)

SAVE_SECONDS = 1.0
"""How long a change of state may wait to be written down together with others."""
LATER_SECONDS = 600.0
"""How long a sign of a phone may wait to be written down: it matters by the day."""
RETRY_SECONDS = 5.0
"""How long to wait before the next try to write what could not be written."""
KEPT_SECONDS = 6.0
"""How long somebody who has ordered something waits for that to be kept."""
END_SECONDS = 5.0
"""How long the end waits for what was written down to be kept."""
ALIVE_SECONDS = 60.0
"""How often to note that the service is there."""
MINUTE = 60.0
"""How long a change counts as one that happened together with the next."""

_LINKS = frozenset({State.CONNECTING, State.CONNECTED, State.RECONNECTING, State.PAIRING})
"""The states in which an account's process may have a link."""


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
        self._unsaved = False
        self._unkept: set[str] = set()

    # A service that was gone without a word

    def begin(self, names: Iterable[str]) -> None:
        """Close the histories that an earlier service left open, and note from now on that this one is there.

        Args:
            names: The accounts.
        """
        last = self._record.alive()
        left = [] if last is None else [name for name in names if self._close(name, last)]
        if left:
            log.warning("the last service was gone without a word; it had %d accounts connected", len(left))
        self._note_alive()

    def _close(self, name: str, last: float) -> bool:
        """Note that an account had no process any more since a service was there last, if that is not noted.

        Only an account that had a process that used its session is noted: each of them is, whenever a service
        ends in good order.
        """
        entry = next(iter(self._record.tail(name, 1)), None)
        if entry is None or entry["to"] not in (State.CONNECTING, State.CONNECTED, State.RECONNECTING):
            return False
        since = clock.unix(entry["at"])
        # The entry shows that the service was there, too, perhaps some seconds after it last said so.
        if since is None or not since - last < 2 * ALIVE_SECONDS or max(last, since) > time.time():
            return False  # the clock was set, or a version ran since that does not say that it is there
        before, at = State(entry["to"]), max(last, since)
        self._record.append(name, TimelineEntry(at, before, State.STOPPED, reason=SERVICE_WAS_GONE))
        return before is State.CONNECTED

    def _note_alive(self) -> None:
        self._record.keep_alive(time.time())
        self._timers.later("alive", ALIVE_SECONDS, self._note_alive)

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
                event=record.event,
                by=record.by,
            ),
        )
        self.save_soon()
        if {record.before, record.after} & {State.BANNED, State.REPLACED}:
            # Were the service killed before, the next one would try the account at once, ban or no ban; or it
            # would wait for what this one does not wait for any more.
            self._timers.later("save at once", 0, self.save)

    def cut(self, name: str, reason: str, ago: float) -> None:
        """Write down that the link of an account ended, of which nobody hears more here; nothing without one.

        Args:
            name: The account.
            reason: Why, for people.
            ago: How many seconds ago, by when the link should have ended.
        """
        state = self._roster.accounts[name].state
        if state in _LINKS:
            entry = TimelineEntry(time.time() - ago, state, State.BACKOFF, Kind.STORE, reason)
            self._record.append(name, entry)

    def _tell(self, name: str, record: actions.Record) -> None:
        stays = record.before is record.after  # which is told only where an operator should know why
        level = logging.WARNING if record.kind or stays else logging.INFO
        why = with_who(record.reason, record.by)
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
        accounts = {name: summarize(one) for name, one in settings.accounts.items()}
        self._record.summarize(settings.digest, accounts)

    def save_soon(self) -> None:
        """Write down what must outlive the service within `SAVE_SECONDS`."""
        self._timers.later("save", SAVE_SECONDS, self.save)

    def save_later(self) -> None:
        """Write down within `LATER_SECONDS` what may be that old when the service is killed."""
        self._timers.later("save later", LATER_SECONDS, self.save)

    def save(self) -> bool:
        """Write down what operators wish and what is known of the accounts.

        Returns:
            Whether it is written; a failure is logged.
        """
        self._record.keep_alive(time.time())
        ours = [name for name, managed in self._roster.accounts.items() if not managed.disowned]
        kept = {name: self._kept_at_least(name) for name in ours} | self.others
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

    async def is_kept(self, aside: Aside) -> bool:
        """Return whether what was written down is kept by now; that may take a moment.

        Args:
            aside: Waits beside the event loop.
        """
        return await aside.run(lambda: self._record.flush(KEPT_SECONDS))

    async def flush(self, aside: Aside) -> None:
        """Wait for what was written down last to be kept; that it is not is logged.

        Args:
            aside: Waits beside the event loop.
        """
        kept = True
        with contextlib.suppress(NotRunning):  # it was stopped before, and waited then
            kept = await aside.run(lambda: self._record.flush(END_SECONDS))
        if not kept:
            log.error(
                "%s: what was last known of the accounts could not be written before the end",
                self._record.place,
            )

    def kept(self, name: str) -> status.Kept:
        """Return what must outlive the service of an account."""
        account = self._roster.accounts[name].account
        shown = self._describe(name)._replace(qr_path=None)
        return status.Kept(
            account.stopped,
            account.parked(now()),
            shown.as_json(),
            account.guard,
            account.watch,
            account.past,
        )

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

    def quarantine(self, name: str, reason: str, *, messages: bool = False) -> None:
        """Put the session of an account into quarantine; a failure is logged, and the session stays.

        Args:
            name: The account.
            reason: A word that says why.
            messages: Put the account's messages away, too.
        """
        if reason == "repair":
            self._sessions.make_room()  # who pairs anew does not wait for a folder that is gone
        try:
            place = self._sessions.quarantine(name, reason, time.time(), messages=messages)
        except StateError as error:
            # Nothing is lost: the next try meets the session again.
            what = "the session and the messages" if messages else "the session"
            log.error("%s: %s could not be put into quarantine: %s", name, what, error)
        else:
            self._devices.changed(name)
            if place is not None:
                what = "what is kept of the account" if messages else "the session"
                log.warning("%s: %s was put into quarantine (%s): %s", name, what, reason, place)
