"""Logs an account out at WhatsApp before it is removed, and brings back or deletes what is in quarantine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from orchestrator.accounts import deadlines
from orchestrator.accounts.events import Order, Ordered, Removed
from orchestrator.accounts.states import State
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service import who
from orchestrator.service.aside import Aside
from orchestrator.service.devices import Devices
from orchestrator.service.machines import Machines
from orchestrator.service.recorder import Recorder
from orchestrator.service.reload import Reloader
from orchestrator.service.roster import Roster
from orchestrator.service.timers import now
from orchestrator.store.moving import Restored
from orchestrator.store.protocols import Store

log = logging.getLogger(__name__)

_BETWEEN_SECONDS: Final = deadlines.STOPPING.outer + 5.0
"""How long a restore waits for a process that a repair ends, or that has not said yet what it does."""

PRUNE_SECONDS: Final = 3600.0
"""Between two looks at the quarantine for what has been kept for long enough."""

_MAKES_ROOM: Final = "stopped so that its session can be put back"
"""The reason of an account that showed a code when its session was restored."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """What became of a log-out.

    Attributes:
        unlinked: Whether WhatsApp confirmed it; None if no device was linked.
        why: Why it did not, for people.
    """

    unlinked: bool | None
    why: str | None = None


class Leaving:
    """Lets accounts leave WhatsApp, and sessions leave the quarantine.

    Args:
        roster: The accounts.
        store: What is kept of them.
        machines: Their machines.
        recorder: Writes down what must outlive the service.
        reloader: Changes the accounts, one change at a time.
        devices: Tells which account uses which linked device.
        aside: Deletes what is large, and keeps no process from being started meanwhile.

    Attributes:
        returning: Accounts that have no process for a moment and are about to come back here.
        left: Is told of each account that has gone and does not come back here.
    """

    def __init__(
        self,
        roster: Roster,
        store: Store,
        machines: Machines,
        recorder: Recorder,
        reloader: Reloader,
        devices: Devices,
        aside: Aside,
    ) -> None:
        self._roster = roster
        self._store = store
        self._machines = machines
        self._recorder = recorder
        self._reloader = reloader
        self._devices = devices
        self._aside = aside
        self._born = now()
        self._pruning: asyncio.Task[None] | None = None
        self.returning: set[str] = set()
        self.left: Callable[[str], None] = lambda _: None

    def begin(self) -> None:
        """Look after the quarantine from now on."""
        self._pruning = asyncio.get_running_loop().create_task(self._prune())

    def end(self) -> None:
        """Look after nothing any more."""
        if self._pruning is not None:
            self._pruning.cancel()

    async def log_out(self, name: str) -> LoggedOut:
        """Have WhatsApp log an account out, which stays in the configuration.

        If WhatsApp confirms that, the session goes into quarantine and the account is stopped, so that it
        shows no code. Else the account goes on as before, with its session.

        Args:
            name: The account.

        Raises:
            NoSuchAccount: There is none of that name.
            OrchestratorError: The account has a session and is not connected, so WhatsApp cannot be asked.
        """
        async with self._reloader.one_at_a_time:
            managed = self._roster.get(name)
            if self._store.sessions.device(name).linked is False:
                return LoggedOut(None)
            if managed.account.state is not State.CONNECTED or managed.stopping:
                verb = "start" if managed.account.settings.enabled else "enable"
                raise OrchestratorError(
                    f"{name} is {managed.account.state} and not connected, so WhatsApp cannot be asked to log"
                    " it out: nothing was deleted, and nothing was changed. Either connect the account first"
                    f" (`orchestrator {verb} {name}`), or remove its device on the phone, under Linked"
                    f" devices, and then run `orchestrator remove {name}` without --unlink",
                    key="not_connected",
                )
            former, kept = managed.account, self._recorder.kept(name)
            # Should the service be killed before the account is back, this must not be lost.
            self._recorder.keep_as_other(name)
            why = "logged out at WhatsApp, because an operator wants it"
            leave = Removed(keep_session=True, why=why, unlink=True, by=who.current())
            self.returning.add(name)
            try:
                self._machines.handle(name, leave)
                while self._roster.accounts.get(name) is managed:
                    await self._roster.wait_for_change()
            finally:
                self.returning.discard(name)
            parting = former.parting
            unlinked = parting is not None and parting.unlinked
            kept = replace(kept, stopped=kept.stopped or unlinked)
            settings = self._roster.settings.accounts.get(name)
            if not self._roster.is_ours(name):  # it goes to another machine of the cluster meanwhile
                if not managed.disowned:  # or that machine has it already, and tells how it is
                    self._recorder.others[name] = kept
                self.left(name)
            elif settings is not None and not self._machines.closing:
                self._recorder.others.pop(name, None)
                self._machines.add(settings, kept, former)
                self._recorder.save()
            else:
                self._recorder.others.pop(name, None)
                self.left(name)
        said = "logged out at WhatsApp" if unlinked else "not logged out at WhatsApp"
        log.warning("%s: %s%s", name, said, who.by())
        return LoggedOut(unlinked, None if unlinked or parting is None else parting.why)

    async def restore(self, name: str, wanted: str | None) -> Restored:
        """Put an account's session back from quarantine, and start the account unless it was stopped.

        Args:
            name: The account.
            wanted: The folder in quarantine, by name or path; None for the newest of the account.

        Raises:
            NoSuchAccount: There is neither an account of that name nor a session of one.
            OrchestratorError: The account runs or has a session, or another account has this one; or there is
                none to put back.
            StateError: It cannot be moved.
        """
        moves = self._store.moves
        async with self._reloader.one_at_a_time:
            await self._wait_between(name)
            settings = self._roster.settings
            if not self._only_pairs(name):
                self._refuse_running(name)
            task, about = await self._reloader.aside(lambda: moves.check_restore(settings, name, wanted))
            paused = self._only_pairs(name)
            try:
                if paused:
                    await self._stop(name)
                self._refuse_running(name)
                if paused:  # a phone may have used the code in the last moment
                    task, about = moves.check_restore(settings, name, wanted)
                moves.begin(task)
                moves.finish(settings)
            except BaseException:
                if paused:
                    self._machines.handle(name, Ordered(Order.START, by=who.current()))
                raise
        log.warning("%s: the session was put back from the quarantine%s (%s)", name, who.by(), about.folder)
        self._devices.changed(name)
        self._machines.find_phone(name, restored=True)
        managed = self._roster.accounts.get(name)
        starts = managed is not None and (paused or not managed.account.stopped)
        if managed is not None and starts and managed.account.settings.enabled:
            self._machines.handle(name, Ordered(Order.START, by=who.current()))
        return about

    async def _prune(self) -> None:
        """Delete old sessions from the quarantine, now and every `PRUNE_SECONDS`; large ones take a while."""
        while True:
            # A clock that is set forward, as after a start without a battery, makes nothing old at once.
            present = now()
            steady = min(present.wall, self._born.wall + present.monotonic - self._born.monotonic)
            days = self._roster.settings.quarantine_days
            gone: list[str] = []
            try:
                async with self._reloader.one_at_a_time:
                    gone = await self._aside.run(partial(self._store.sessions.prune, days, steady))
            except NotRunning:
                return
            except Exception:
                log.exception("a bug in the service: the quarantine cannot be looked through")
            if gone:
                log.info(
                    "the quarantine has kept these sessions for long enough, so they are deleted: %s; a"
                    " device that a phone still shows under Linked devices stays linked until somebody"
                    " removes it there",
                    ", ".join(gone),
                )
            await asyncio.sleep(PRUNE_SECONDS)

    def _only_pairs(self, name: str) -> bool:
        """Tell whether an account runs for nothing but its code, which no phone has used."""
        managed = self._roster.accounts.get(name)
        child = None if managed is None else managed.account.child
        return child is not None and child.paired is False and not child.may_hold_messages

    async def _wait_between(self, name: str) -> None:
        """Wait while a repair ends the former process of an account, or its new one has yet to begin.

        Whoever notices a slip undoes it at once. By then, the session may not be in quarantine yet, and
        nobody knows whether the new process is there for a code only.
        """

        def between() -> bool:
            managed = self._roster.accounts.get(name)
            child = None if managed is None else managed.account.child
            return child is not None and (child.purpose == "repair" or child.begins)

        with contextlib.suppress(TimeoutError):  # what follows says in which state the account is
            async with asyncio.timeout(_BETWEEN_SECONDS):
                while between():
                    await self._roster.wait_for_change()

    async def _stop(self, name: str) -> None:
        """Stop an account, and wait until its process is gone."""
        managed = self._roster.accounts[name]
        self._machines.handle(name, Ordered(Order.STOP, by=who.current(), why=_MAKES_ROOM))
        while managed.account.child is not None and self._roster.accounts.get(name) is managed:
            await self._roster.wait_for_change()

    def _refuse_running(self, name: str) -> None:
        managed = self._roster.accounts.get(name)
        if managed is not None and managed.account.child is not None:
            raise OrchestratorError(
                f"{name} is {managed.account.state}, and nothing may use a session while it is put back: stop"
                f" it by `orchestrator stop {name}`, restore it, then `orchestrator start {name}`",
                key="account_running",
            )

    async def purge(self, folders: Iterable[str]) -> dict[str, object]:
        """Delete folders of the quarantine for good.

        Args:
            folders: Their names.

        Returns:
            What is gone (``done``), how many bytes that were (``size``), and what stays, with why (``kept``).

        Raises:
            StateError: The quarantine cannot be used.
        """
        async with self._reloader.one_at_a_time:
            found = await self._reloader.aside(lambda: self._store.sessions.purge(folders))
        if found.done:
            log.warning("deleted from the quarantine%s: %s", who.by(), ", ".join(found.done))
        return {"done": found.done, "size": found.size, "kept": found.kept}
