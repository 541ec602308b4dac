"""Logs an account out at WhatsApp before it is removed, and brings back or deletes what is in quarantine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.accounts import deadlines
from orchestrator.accounts.events import Order, Ordered, Removed
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.service import who
from orchestrator.service.devices import Devices
from orchestrator.service.machines import Machines
from orchestrator.service.recorder import Recorder
from orchestrator.service.reload import Reloader
from orchestrator.service.roster import Roster
from orchestrator.store.moving import Restored
from orchestrator.store.protocols import Store

log = logging.getLogger(__name__)

_BETWEEN_SECONDS: Final = deadlines.STOPPING.outer + 5.0
"""How long a restore waits for a process that a repair ends, or that has not said yet what it does."""

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
    """

    def __init__(
        self,
        roster: Roster,
        store: Store,
        machines: Machines,
        recorder: Recorder,
        reloader: Reloader,
        devices: Devices,
    ) -> None:
        self._roster = roster
        self._store = store
        self._machines = machines
        self._recorder = recorder
        self._reloader = reloader
        self._devices = devices

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
            self._machines.handle(name, Removed(keep_session=True, why=why, unlink=True, by=who.current()))
            while self._roster.accounts.get(name) is managed:
                await self._roster.wait_for_change()
            parting = former.parting
            unlinked = parting is not None and parting.unlinked
            self._recorder.others.pop(name, None)
            settings = self._roster.settings.accounts.get(name)
            if settings is not None and not self._machines.closing:
                self._machines.add(settings, replace(kept, stopped=kept.stopped or unlinked), former)
                self._recorder.save()
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
