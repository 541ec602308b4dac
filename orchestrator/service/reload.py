"""What changes the running service's accounts: a new configuration, a new name, a session put back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.accounts.events import Configured, Order, Ordered, Removed
from orchestrator.accounts.machine import Account
from orchestrator.config import file as config_file
from orchestrator.config import reader
from orchestrator.config.settings import Settings
from orchestrator.config.state_dir import find_state
from orchestrator.errors import ConfigError, OrchestratorError
from orchestrator.service.children import Children
from orchestrator.service.devices import Devices
from orchestrator.service.forkserver import Spawner
from orchestrator.service.machines import Machines
from orchestrator.service.recorder import Recorder
from orchestrator.service.roster import Roster
from orchestrator.service.timers import now
from orchestrator.store import status
from orchestrator.store.moving import Rename, Restored
from orchestrator.store.protocols import Store

log = logging.getLogger(__name__)

Announce = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes the context of every reading of the configuration."""


class Reloader:
    """Takes over what the configuration says anew. One change at a time: the older one must not win.

    Args:
        roster: The accounts.
        store: What is kept of them.
        machines: Their machines.
        children: Their processes.
        recorder: Writes down what must outlive the service.
        devices: Tells which account uses which linked device.
        spawner: Does what takes time beside the event loop.
        announce: Makes the context of every reading of the configuration, so that it can be announced.
        state_configured: Whether the configuration says where the state folder is, and not ``--state-dir``.
    """

    def __init__(
        self,
        roster: Roster,
        store: Store,
        machines: Machines,
        children: Children,
        recorder: Recorder,
        devices: Devices,
        spawner: Spawner,
        *,
        announce: Announce,
        state_configured: bool,
    ) -> None:
        self._roster = roster
        self._store = store
        self._machines = machines
        self._children = children
        self._recorder = recorder
        self._devices = devices
        self._spawner = spawner
        self._announce = announce
        self._state_configured = state_configured
        self._started_with = roster.settings
        self._told: set[str] = set()
        self._renaming: dict[str, Account] = {}
        self._one_at_a_time = asyncio.Lock()

    # The configuration

    async def reload(self, dropped: set[str], *, unlink: bool = False) -> dict[str, Any]:
        """Read the configuration again and touch only what has changed; see `Supervisor.reload`."""
        async with self._one_at_a_time:
            with self._announce():
                after, folder = await self._spawner.aside(self._read)
                renamed = await self._finish_rename(after)
                self._roster.settings = after
                self._recorder.summarize()
                self._machines.fleet.set_pace(after.start_parallel, after.start_spread)
                removed = self._remove(after, dropped, unlink=unlink)
                changes = await self._take_over(after)
                needs_restart = self._needs_restart(after, folder)
                self._machines.dispatch()
        kept = changes.pop("kept")
        result = {**changes, "removed": removed, "restart": needs_restart}
        further = {"kept": kept, "renamed": renamed}
        return result | {what: said for what, said in further.items() if said}

    def _read(self) -> tuple[Settings, Path]:
        """Return the configuration, with the state folder in use, and the folder that the file names."""
        settings = self._roster.settings
        file = settings.config_file
        try:
            text = config_file.decode(config_file.read(file), file)
            after = reader.parse(text, file, state_dir=settings.state_dir)
            # If not in use, the folder it names does not matter, and cannot stop anybody from reloading.
            return after, find_state(text, file) if self._state_configured else after.state_dir
        except ConfigError as error:
            log.error("the new configuration is not used: %s", error)
            raise

    def _remove(self, after: Settings, dropped: set[str], *, unlink: bool) -> list[str]:
        """Let accounts go that are not configured any more; return their names."""
        removed = [name for name in self._roster.accounts if name not in after.accounts]
        for name in removed:
            if name not in dropped and self._store.sessions.exists(name):
                # It may have been renamed by hand: what it was told comes along, once that is known.
                self._recorder.keep_as_other(name)
            self._machines.handle(name, Removed(keep_session=name not in dropped, unlink=unlink))
        return removed

    async def _take_over(self, after: Settings) -> dict[str, list[str]]:
        """Let accounts have what the configuration says of them; return the names of those that changed."""
        added, changed, kept = [], [], []
        why = await self._why_none_starts(after)
        for name, settings in after.accounts.items():
            managed = self._roster.accounts.get(name)
            if managed is None:
                self._recorder.others.pop(name, None)
                self._machines.add(settings, status.Kept())
                added.append(name)
            elif managed.account.leaving:
                self._told.add(name)  # it comes back once its old process is gone
                added.append(name)
            elif managed.account.settings != settings:
                self._machines.fleet.wanted(name)
                if why is not None and managed.account.is_renewed_by(settings):
                    kept.append(name)
                self._machines.handle(name, Configured(settings, why))
                changed.append(name)
        return {"added": added, "changed": changed, "kept": kept}

    async def _why_none_starts(self, after: Settings) -> str | None:
        """Return why no process can be started, if accounts would be given new ones; else None."""
        renewed = [
            name
            for name, machine in self._roster.machines.items()
            if name in after.accounts and machine.is_renewed_by(after.accounts[name])
        ]
        if renewed:
            try:
                await self._children.try_start()
            except OrchestratorError as error:
                log.error("%d accounts keep their old process: %s", len(renewed), error)
                return str(error)
        return None

    def _needs_restart(self, after: Settings, folder: Path) -> list[str]:
        """Return the keys that have changed and take effect only when the service is started anew."""
        used = self._started_with
        keys = ["state_dir"] if self._state_configured and folder != used.state_dir else []
        return keys + [
            key for key in ("qr_dir", "qr_group", "confine") if getattr(used, key) != getattr(after, key)
        ]

    def forgotten(self, name: str) -> bool:
        """Note that an account is gone, once its process is.

        Returns:
            Whether it is gone for good: it is not about to get another name.
        """
        settings = self._roster.settings
        if name in self._told and name in settings.accounts:
            self._told.discard(name)
            asyncio.get_running_loop().call_soon(self._add_again, name)
        return name not in self._renaming

    def _add_again(self, name: str) -> None:
        """Take up an account that was removed and is configured again, now that its old process is gone."""
        settings = self._roster.settings.accounts.get(name)
        if settings is not None and name not in self._roster.accounts and not self._machines.closing:
            self._recorder.others.pop(name, None)
            self._machines.add(settings, status.Kept())

    # A new name

    async def begin_rename(self, old: str, new: str, *, anew: bool) -> bool:
        """See that an account can be renamed, and write down that it is to be; see `Supervisor`."""
        moves = self._store.moves
        async with self._one_at_a_time:
            settings, _ = await self._spawner.aside(self._read)
            task = moves.pending()
            if isinstance(task, Rename) and (task.old, task.new) == (old, new):
                if task.begun or not anew:
                    return old in settings.accounts
            elif task is not None:
                moves.finish(settings)
            edit = moves.check_rename(settings, old, new, self._roster.accounts)
            moves.begin(Rename(old, new))
        return edit

    async def _finish_rename(self, after: Settings) -> list[str]:
        """Rename what a new configuration has under a new name, if that was begun.

        Returns:
            What is said of it.
        """
        moves, others = self._store.moves, self._recorder.others
        task = moves.pending()
        if not isinstance(task, Rename):
            return []
        old, new = task.old, task.new
        if new not in after.accounts or old in after.accounts:
            moves.finish(after)
            return []
        if not task.begun and self._store.sessions.exists(old) and moves.has_session(new):
            log.error("%s cannot be renamed: %s has a session of its own", old, new)
            moves.give_up()
            return []
        former, target = await self._let_go(old, new)
        self._recorder.save()
        said = moves.finish(after)
        # What was last known of the one that had the session counts, and what was last ordered.
        kept = status.renamed(others.pop(old, status.Kept()), old, new)
        others.pop(new, None)
        if former is not None:
            kept = replace(kept, stopped=former.stopped, parked=kept.parked or former.parked(now()))
        if target is not None and target.stopped:
            kept = replace(kept, stopped=True)
        self._devices.changed(new)
        self._machines.add(after.accounts[new], kept, former)
        self._recorder.save()
        log.info("%s", said)
        return [said] if said else []

    async def _let_go(self, old: str, new: str) -> tuple[Account | None, Account | None]:
        """Let the accounts of both names go until their processes are gone; return what they were."""
        accounts = self._roster.accounts
        for name in {old, new} & accounts.keys():
            self._renaming[name] = accounts[name].account
            # Should the service be killed before the files have followed, this must not be lost.
            self._recorder.keep_as_other(name)
            self._machines.handle(name, Removed(keep_session=True, why=f"renamed to {new}"))
        while not self._renaming.keys().isdisjoint(accounts):
            await self._roster.wait_for_change()
        return self._renaming.pop(old, None), self._renaming.pop(new, None)

    # A session put back

    async def restore(self, name: str, wanted: str | None) -> Restored:
        """Put an account's session back from quarantine, and start the account; see `Supervisor`."""
        moves = self._store.moves
        async with self._one_at_a_time:
            settings = self._roster.settings
            self._refuse_running(name)
            task, about = await self._spawner.aside(lambda: moves.check_restore(settings, name, wanted))
            self._refuse_running(name)
            moves.begin(task)
            moves.finish(settings)
        log.warning("%s: the session was put back from the quarantine (%s)", name, about.folder)
        self._devices.changed(name)
        self._machines.find_phone(name, restored=True)
        managed = self._roster.accounts.get(name)
        if managed is not None and managed.account.settings.enabled and not managed.account.stopped:
            self._machines.handle(name, Ordered(Order.START))
        return about

    def _refuse_running(self, name: str) -> None:
        managed = self._roster.accounts.get(name)
        if managed is not None and managed.account.child is not None:
            raise OrchestratorError(
                f"{name} is {managed.account.state}, and nothing may use a session while it is put back: stop"
                f" it by `orchestrator stop {name}`, restore it, then `orchestrator start {name}`",
                key="account_running",
            )

    def strays(self) -> list[str]:
        """Return what is to be said of sessions that no account has, a sentence each."""
        accounts, store = self._roster.settings.accounts, self._store
        names = store.moves.strays(accounts)
        if not names:
            return []
        machines = self._roster.machines.items()
        unpaired = {name for name, one in machines if one.child and one.child.paired is False}
        free = [name for name in accounts if name in unpaired or not store.sessions.exists(name)]
        return store.moves.about_strays(names, free)
