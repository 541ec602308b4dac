"""What changes the running service's accounts: a new configuration, a new name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

from orchestrator.accounts.changes import keys, sentences
from orchestrator.accounts.events import Configured, Removed
from orchestrator.accounts.machine import Account
from orchestrator.config import file as config_file
from orchestrator.config import reader
from orchestrator.config.settings import Settings
from orchestrator.config.state_dir import find_state
from orchestrator.errors import ConfigError, OrchestratorError, StoreAway
from orchestrator.service import admissible, reload_plan, who
from orchestrator.service.children import Children
from orchestrator.service.devices import Devices
from orchestrator.service.forkserver import Spawner
from orchestrator.service.machines import Machines
from orchestrator.service.recorder import Recorder
from orchestrator.service.roster import Roster
from orchestrator.service.timers import now
from orchestrator.store import status
from orchestrator.store.layout import StatePaths
from orchestrator.store.moving import Rename
from orchestrator.store.protocols import Store

log = logging.getLogger(__name__)

T = TypeVar("T")
_TOLD_OTHERWISE: Final = frozenset(
    {"config_file", "accounts", "http", "webhooks", "bots", "missing_variables", "digest"}
)
"""Settings that are no keys of the service, or whose changes are told by `changed_programs`."""
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

    @property
    def one_at_a_time(self) -> asyncio.Lock:
        """Whoever holds it, changes the accounts or moves what is kept of them."""
        return self._one_at_a_time

    async def aside(self, call: Callable[[], T]) -> T:
        """Return what a call returns that may take a moment, made in a thread."""
        return await self._spawner.aside(call)

    # The configuration

    async def reload(self, dropped: set[str], *, unlink: bool = False) -> dict[str, Any]:
        """Read the configuration again and touch only what has changed; see `Supervisor.reload`."""
        async with self._one_at_a_time:
            with self._announce():
                after, folder = await self._spawner.aside(self._read)
                renamed = await self._finish_rename(after)
                before = self._roster.settings
                programs = changed_programs(before, after)
                self._roster.settings = after
                self._recorder.summarize()
                self._machines.fleet.set_pace(after.start_parallel, after.start_spread)
                removed = self._remove(after, dropped, unlink=unlink)
                changes = await self._take_over(after)
                needs_restart = self._needs_restart(after, folder)
                self._machines.dispatch()
        kept, reconnect = changes.pop("kept"), changes.pop("reconnect")
        self._tell(before, after, programs)
        result = {**changes, "removed": removed, "restart": needs_restart}
        further = {"kept": kept, "reconnect": reconnect, "renamed": renamed, "programs": programs}
        return result | {what: said for what, said in further.items() if said}

    def _tell(self, before: Settings, after: Settings, programs: list[str]) -> None:
        """Log which keys have changed, and who had the configuration read."""
        service = keys(before, after, _TOLD_OTHERWISE)
        said = sentences(service, before.accounts, after.accounts)
        log.info("reload%s: %s", who.by(), "; ".join([*said, *programs]) or "nothing has changed")

    async def plan(self) -> dict[str, Any]:
        """Read the configuration again, and return what `reload` would do; see `reload_plan.described`.

        Raises:
            ConfigError: The configuration is not valid.
        """
        async with self._one_at_a_time:
            after, folder = await self._spawner.aside(self._parse)
            plan = reload_plan.described(self._roster.machines, self._roster.settings, after)
            programs = changed_programs(self._roster.settings, after)
            return {**plan, "programs": programs, "restart": self._needs_restart(after, folder)}

    def _read(self) -> tuple[Settings, Path]:
        """Return what `_parse` does; an error is logged as well."""
        try:
            return self._parse()
        except ConfigError as error:
            log.error("the new configuration is not used: %s", error)
            raise

    def _parse(self) -> tuple[Settings, Path]:
        """Return the configuration, with the state folder in use, and the folder that the file names."""
        settings = self._roster.settings
        file = settings.config_file
        text = config_file.decode(config_file.read(file), file)
        after = reader.parse(text, file, state_dir=settings.state_dir)
        admissible.check_reload(settings, after, StatePaths.of(after.state_dir))
        # If not in use, the folder it names does not matter, and cannot stop anybody from reloading.
        return after, find_state(text, file) if self._state_configured else after.state_dir

    def _remove(self, after: Settings, dropped: set[str], *, unlink: bool) -> list[str]:
        """Let accounts go that are not configured any more; return their names."""
        removed = [name for name in self._roster.accounts if name not in after.accounts]
        for name in removed:
            if name not in dropped and self._store.sessions.exists(name):
                # It may have been renamed by hand: what it was told comes along, once that is known.
                self._recorder.keep_as_other(name)
            goes = name in dropped
            removal = Removed(keep_session=not goes, unlink=unlink and goes, by=who.current())
            self._machines.handle(name, removal)
        return removed

    async def _take_over(self, after: Settings) -> dict[str, list[str]]:
        """Let accounts have what the configuration says of them; return the names of those that changed."""
        added, changed = list[str](), list[str]()
        kept, reconnect = list[str](), list[str]()
        self._machines.fleet.renewals.reloaded()
        why = await self._why_none_starts(after)
        for name, settings in after.accounts.items():
            managed = self._roster.accounts.get(name)
            if managed is None and self._roster.owned is not None:
                continue  # another machine has it; or it is this one's, and comes once it is known how it was
            if managed is None:
                self._recorder.others.pop(name, None)
                self._machines.add(settings, status.Kept())
                added.append(name)
            elif managed.account.leaving:
                self._told.add(name)  # it comes back once its old process is gone
                added.append(name)
            elif managed.account.settings != settings or managed.account.keeps_settings:
                self._machines.fleet.wanted(name)
                if managed.account.is_renewed_by(settings):
                    (reconnect if why is None else kept).append(name)
                self._machines.handle(name, Configured(settings, why, who.current()))
                changed.append(name)
        return {"added": added, "changed": changed, "kept": kept, "reconnect": reconnect}

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
        fixed = ("qr_dir", "qr_group", "confine", "memory_merge", "store")
        keys += [key for key in fixed if getattr(used, key) != getattr(after, key)]
        return keys + ["cluster.shard"] * (_shard(used) != _shard(after))

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
        gone = name not in self._roster.accounts and self._roster.is_ours(name)
        if settings is not None and gone and not self._machines.closing:
            self._recorder.others.pop(name, None)
            self._machines.add(settings, status.Kept())

    # A new name

    async def begin_rename(self, old: str, new: str, *, anew: bool) -> bool:
        """See that an account can be renamed, and write down that it is to be.

        Args:
            old: The account; or the name it had, if it was renamed in the configuration by hand.
            new: Its new name.
            anew: Look at everything again, even if this was begun already.

        Returns:
            Whether the configuration still has the old name: then it is to be edited before it is read again.

        Raises:
            NoSuchAccount: There is nothing of that name.
            OrchestratorError: The new name is taken, or the account is about to come to this machine.
            ConfigError: The configuration is not valid.
            StateError: The state folder cannot be written.
        """
        moves = self._store.moves
        async with self._one_at_a_time:
            settings, _ = await self._spawner.aside(self._read)
            task = moves.pending()
            if isinstance(task, Rename) and (task.old, task.new) == (old, new):
                if task.begun or not anew:
                    return old in settings.accounts
            elif task is not None:
                moves.finish(settings)
            if (
                self._roster.owned is not None
                and self._roster.is_ours(old)
                and old not in self._roster.accounts
            ):
                raise OrchestratorError(  # what is kept of it would not come along
                    f"{old} is just coming to this machine: nothing was done; try again in a moment. If that"
                    " lasts, the service's log says why the account does not start",
                    key="order_not_taken",
                )
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
        log.info("%s%s", said, f" ({who.by().strip()})" if said and who.by() else "")
        return [said] if said else []

    async def _let_go(self, old: str, new: str) -> tuple[Account | None, Account | None]:
        """Let the accounts of both names go until their processes are gone; return what they were."""
        accounts = self._roster.accounts
        for name in {old, new} & accounts.keys():
            self._renaming[name] = accounts[name].account
            # Should the service be killed before the files have followed, this must not be lost.
            self._recorder.keep_as_other(name)
            why = f"renamed to {new}"
            self._machines.handle(name, Removed(keep_session=True, why=why, by=who.current()))
        while not self._renaming.keys().isdisjoint(accounts):
            await self._roster.wait_for_change()
        return self._renaming.pop(old, None), self._renaming.pop(new, None)

    # Sessions without an account

    def strays(self) -> list[str]:
        """Return what is to be said of sessions that no account has, a sentence each; from any thread.

        While the store is away, nothing is.
        """
        with contextlib.suppress(StoreAway):
            return self._strays()
        return []

    async def find_strays(self) -> list[str]:
        """Return what `strays` does, found beside the event loop."""
        return await self.aside(self.strays)

    def _strays(self) -> list[str]:
        accounts, store = self._roster.settings.accounts, self._store
        machines = [*self._roster.machines.items()]
        names = store.moves.strays(accounts)
        if not names:
            return []
        unpaired = {
            name for name, one in machines if one.waits_for_look or (one.child and one.child.paired is False)
        }
        free = [name for name in accounts if name in unpaired or not store.sessions.exists(name)]
        return store.moves.about_strays(names, free)


def _shard(settings: Settings) -> tuple[str | None] | None:
    """Return by what name the service is a part of a cluster, None if it is none."""
    return None if settings.cluster is None else (settings.cluster.shard,)


def changed_programs(before: Settings, after: Settings) -> list[str]:
    """Return a sentence for each change of what programs use: the HTTP server, webhooks, bots, on_change."""
    found: dict[str, tuple[Mapping[str, object], Mapping[str, object]]] = {
        "http": (_alone(before.http), _alone(after.http)),
        "webhook": (before.webhooks, after.webhooks),
        "bot": (before.bots, after.bots),
        "on_change": (_alone(before.on_change), _alone(after.on_change)),
    }
    return [
        f"{kind} {name}".rstrip() + f": {what}"
        for kind, (old, new) in found.items()
        for name in sorted({*old, *new})
        if (what := _change(old.get(name), new.get(name)))
    ]


def _alone(one: object) -> dict[str, object]:
    return {} if one is None else {"": one}


def _change(old: object, new: object) -> str:
    if old == new:
        return ""
    return "added" if old is None else "removed" if new is None else "changed"
