"""The running service: feeds each account's machine, and carries out what it says."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.accounts import actions, deadlines, duplicates
from orchestrator.accounts.actions import Action
from orchestrator.accounts.characters import remark
from orchestrator.accounts.events import (
    Begin,
    CalledOff,
    Configured,
    Event,
    Exited,
    Moment,
    Order,
    Ordered,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    SpawnFailed,
    Stalled,
    Ticked,
)
from orchestrator.accounts.failure import Kind, from_exit
from orchestrator.accounts.fleet import Fleet
from orchestrator.accounts.machine import Account
from orchestrator.accounts.pipe import Code, FromChild, Heartbeat, LinkCode, Paired, Pairing, Sent, Stop
from orchestrator.accounts.proxy import Proxy, ProxyError, environment_proxy, parse_environment
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.config import file as config_file
from orchestrator.config import reader
from orchestrator.config.settings import Settings
from orchestrator.config.state_dir import find_state
from orchestrator.errors import ConfigError, NoSuchAccount, OrchestratorError
from orchestrator.messages import texts
from orchestrator.service import sending, view
from orchestrator.service.codes import Pictures
from orchestrator.service.devices import Devices
from orchestrator.service.forkserver import Spawner
from orchestrator.service.library import installed_version
from orchestrator.service.process import Callbacks, ChildProcess
from orchestrator.service.stall import Pulse
from orchestrator.store import moving, sessions, status
from orchestrator.store.codes.folder import QrFolder
from orchestrator.store.layout import StatePaths
from orchestrator.store.timeline import Timeline, TimelineEntry
from orchestrator.store.tracebacks import Tracebacks
from orchestrator.system.memory import OomKills
from orchestrator.system.os_errors import trouble
from orchestrator.worker.spec import ChildSpec

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = deadlines.SHUTDOWN.outer
"""The time all accounts together get to stop; those that have not by then are killed."""
HURRY_SECONDS = 1.0
"""What is left of it after a second signal."""
TRACEBACK_SECONDS = 1.0
"""How long a process that hangs may take to write its traceback and to end; it takes milliseconds."""
TRACEBACK_SECONDS_AT_THE_END = 0.2
"""The same while the service stops."""
SAVE_SECONDS = 1.0
"""How long a change of state may wait to be written down together with others."""
RETRY_SECONDS = 5.0
"""How long what could not be written down waits until it is tried again."""
LIBRARY_SECONDS = 30.0
"""How often it is looked whether another version of neonize was installed: half a millisecond each."""
OOM_SECONDS = 30.0
"""How often what the kernel has ended for lack of memory is taken for known: 0.1 ms each."""
PRUNE_SECONDS = 3600.0
"""How often the quarantine is looked through."""


@dataclass(slots=True)
class Managed:
    """An account with everything that belongs to it in this process."""

    account: Account
    sends: sending.Waiting
    child: ChildProcess | None = None
    code: Code | LinkCode | None = None
    timer: asyncio.TimerHandle | None = None
    version: int = 0
    library: str = ""
    maker: int | None = None
    traceback: Path | None = None
    told_to_stop: bool = False
    to_be_killed: bool = False


class Supervisor:
    """Keeps the accounts of a configuration running.

    Args:
        settings: The configuration.
        paths: The state folder.
        spawner: Starts the children.
        version: The library's version, for the timelines; empty for one that is not watched.
        log_level: What the children log.
        log_format: How: "text" or "json".
        around_reload: Makes the context of every reading of the configuration, so that it can be announced.
        state_configured: Whether the configuration says where the state folder is, and not ``--state-dir``.
    """

    def __init__(
        self,
        settings: Settings,
        paths: StatePaths,
        spawner: Spawner,
        *,
        version: str = "",
        log_level: str = "WARNING",
        log_format: str = "text",
        around_reload: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        state_configured: bool = False,
    ) -> None:
        self.settings = settings
        self._started_with = settings
        self._state_configured = state_configured
        self.paths = paths
        self.version = 0
        self._spawner = spawner
        self.library = version
        self._log_level = log_level
        self._log_format = log_format
        self._around_reload = around_reload
        self._accounts: dict[str, Managed] = {}
        self._machines: dict[str, Account] = {}
        self._gone: dict[str, int] = {}
        self._fleet = Fleet(
            self._machines,
            settings.start_parallel,
            settings.start_spread,
            random.random,
            log.warning,
            _outside(),
        )
        self._pictures = Pictures(QrFolder(settings.qr_dir, settings.qr_group))
        self._timeline = Timeline(paths.timeline)
        self._tracebacks = Tracebacks(paths.tracebacks)
        self._devices = Devices(paths.session)
        self._changes: deque[float] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._pulse = Pulse(self._stalled)
        self._oom_kills = OomKills()
        self._born = self._now()
        self._unsaved = False
        self._started = False
        self._closing = False
        self._dispatching = False
        self._wakes_at: float | None = None
        self._told: set[str] = set()
        self._others: dict[str, status.Kept] = {}
        self._renaming: dict[str, Account] = {}
        self._reloading = asyncio.Lock()

    # Life

    def start(self, *, only: str | None = None) -> None:
        """Prepare the folders, take up every account, and start those that are to run.

        Args:
            only: Take up this account alone, and wait for an order about it; what was kept of others stays.

        Raises:
            StateError: A folder cannot be used, or what was kept is damaged.
        """
        self._pictures.prepare(self.settings.accounts)
        self._tracebacks.prepare(self.settings.accounts)
        kept = status.load(self.paths.status)
        for settings in self.settings.accounts.values():
            known = kept.get(settings.name, status.Kept())
            if only is None:
                self._add(settings, known)
            elif settings.name == only:
                self._add(settings, replace(known, stopped=True))
            else:
                self._others[settings.name] = known
        for name, known in kept.items():
            if name not in self.settings.accounts and self.paths.session(name).exists():
                self._others[name] = known  # one that was renamed by hand, most likely
        self._started = True
        self._pulse.start()
        self._prune()
        self._look_for_oom_kills()
        if self.library:
            self._later("library", LIBRARY_SECONDS, self._mind_the_library)

    async def stop(self) -> None:
        """Stop every account and wait until no child is left; `hurry` shortens the wait."""
        self._closing = True
        self._shut_down(SHUTDOWN_SECONDS)
        await self._idle.wait()
        self._pulse.stop()
        self._pictures.stop()
        for timer in self._timers.values():
            timer.cancel()
        if self._started:  # or what was kept, and could not be read, would be written over
            self.save()
        await self._spawner.close()

    def hurry(self) -> None:
        """Give the accounts that are still stopping no more than a moment."""
        self._shut_down(HURRY_SECONDS)

    def _shut_down(self, seconds: float) -> None:
        deadline = self._now().monotonic + seconds
        for name in list(self._accounts):
            self.handle(name, ShuttingDown(deadline))
        self._check_idle()

    def _check_idle(self) -> None:
        if self._closing and all(managed.account.child is None for managed in self._accounts.values()):
            self._idle.set()

    # What operators may ask

    def names(self) -> list[str]:
        """Return the accounts' names, in the configuration's order."""
        return list(self._accounts)

    def counts(self) -> Counter[State]:
        """Return how many accounts are in which state."""
        return Counter(managed.account.state for managed in self._accounts.values())

    def describe(self, name: str, *, reveal: bool = False) -> dict[str, Any]:
        """Return what is shown of an account.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        managed = self._get(name)
        code = managed.code
        shown, note = None, None
        if isinstance(code, Code):
            shown = self._pictures.shown(name)
            note = None if shown else self._pictures.missing(name)
        return view.describe(
            managed.account,
            self._now(),
            qr_path=shown,
            note=note,
            code_expires_at=code.expires_at if code else None,
            traceback=managed.traceback,
            reveal=reveal,
        )

    def changed_since(self, version: int) -> tuple[list[str], list[str]]:
        """Return the names of accounts that have changed after a version, and of those that are gone."""
        changed = [name for name, managed in self._accounts.items() if managed.version > version]
        return changed, [name for name, at in self._gone.items() if at > version]

    async def wait_for_change(self) -> None:
        """Return when something has changed."""
        await self._changed.wait()

    def code(self, name: str) -> Code | LinkCode | None:
        """Return the code an account shows at the moment.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        return self._get(name).code

    def timeline(self, name: str, count: int) -> list[dict[str, Any]]:
        """Return the last entries of an account's timeline.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        self._get(name)
        return self._timeline.tail(name, count)

    def is_stopping(self, name: str) -> bool:
        """Tell whether an account's process was asked to stop and is still there.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        return self._get(name).account.stopping

    def order(self, name: str, order: Order, pairing: Pairing = "qr", *, save: bool = True) -> None:
        """Do what an operator wants of an account.

        Args:
            name: The account.
            order: What is wanted.
            pairing: How to pair on a repair.
            save: Write the wish down at once; whoever gives many orders does that once, by `save`.

        Raises:
            NoSuchAccount: There is none of that name.
            OrchestratorError: The account is disabled, or lacks what the order needs.
        """
        settings = self._get(name).account.settings
        if order is not Order.STOP and not settings.enabled:
            raise OrchestratorError(f"{name} is disabled: set `enabled: true` in the configuration first")
        if order is Order.REPAIR and pairing == "code" and settings.phone is None:
            raise OrchestratorError(f"{name}: pairing by code needs `phone:` in the configuration")
        if order in (Order.START, Order.RESTART) and self._get(name).account.kind is Kind.DUPLICATE:
            self._devices.read(name, self._first(name))
            if other := self._rival(name):
                raise OrchestratorError(f"{name}: {duplicates.why(other)}: {duplicates.advice(name)}")
        if order is not Order.STOP:
            self._fleet.wanted(name)
        self.handle(name, Ordered(order, pairing))
        if save:
            self.save()

    def has_process(self, name: str) -> bool:
        """Tell whether there is such an account, and a process of it."""
        return name in self._accounts and self._accounts[name].account.child is not None

    async def try_start(self) -> None:
        """See that processes can be started, by starting one that does nothing.

        Raises:
            OrchestratorError: They cannot; the message says why.
        """
        try:
            await self._spawner.try_out()
        except OSError as error:
            raise OrchestratorError(f"no process can be started: {trouble(error)}") from None

    async def send(self, name: str, to: str, text: str) -> None:
        """Send a text from an account, and return when WhatsApp has taken it.

        Args:
            name: The account.
            to: The number it is for, with country code.
            text: The text.

        Raises:
            NoSuchAccount: There is none of that name.
            OrchestratorError: The account is not connected, WhatsApp refuses the text, or nobody knows what
                became of it; the message has neither number nor text.
        """
        digits = texts.check(to, text)
        managed = self._get(name)
        state = managed.account.state
        if managed.child is None or state is not State.CONNECTED or managed.account.stopping:
            now = "stopping" if managed.account.stopping else state
            raise OrchestratorError(
                f"{name} is not connected but {now}: `orchestrator explain {name}` says more"
            )
        await managed.sends.send(managed.child.tell, digits, text)

    async def reload(self, *, drop: Iterable[str] = ()) -> dict[str, Any]:
        """Read the configuration again and touch only what has changed.

        An account that is not in it any more stops and keeps its session, unless it is to be dropped.

        Args:
            drop: Accounts whose session goes into quarantine when they are no longer configured.

        Returns:
            What has changed: names ``added``, ``changed`` and ``removed``, ``restart``: settings that take
            effect only when the service is started anew; and, if there are any, ``kept``: accounts that have
            changed and keep their old process, since none can be started; and ``renamed`` if there is
            something to be said of that.

        Raises:
            ConfigError: The new configuration is not valid; the old one stays.
        """
        async with self._reloading:  # or the older of two readings could win
            with self._around_reload():
                return await self._reload(set(drop))

    async def _reload(self, dropped: set[str]) -> dict[str, Any]:
        after, folder = await self._spawner.aside(self._read_config)
        renamed = await self._rename(after)
        self.settings = after
        self._fleet.set_pace(after.start_parallel, after.start_spread)
        removed = [name for name in self._accounts if name not in after.accounts]
        for name in removed:
            if name not in dropped and self.paths.session(name).exists():
                # It may have been renamed by hand: what it was told comes along, once that is known.
                self._others[name] = self._kept(name)
            self.handle(name, Removed(keep_session=name not in dropped))
        added, changed, kept = [], [], []
        why = await self._why_none_starts(after)
        for name, settings in after.accounts.items():
            managed = self._accounts.get(name)
            if managed is None:
                self._others.pop(name, None)
                self._add(settings, status.Kept())
                added.append(name)
            elif managed.account.leaving:
                self._told.add(name)  # it comes back once its old process is gone
                added.append(name)
            elif managed.account.settings != settings:
                self._fleet.wanted(name)
                if why is not None and managed.account.is_renewed_by(settings):
                    kept.append(name)
                self.handle(name, Configured(settings, why))
                changed.append(name)
        used = self._started_with
        needs_restart = ["state_dir"] if self._state_configured and folder != used.state_dir else []
        needs_restart += [key for key in ("qr_dir", "qr_group") if getattr(used, key) != getattr(after, key)]
        self._dispatch()
        result = {"added": added, "changed": changed, "removed": removed, "restart": needs_restart}
        further = {"kept": kept, "renamed": renamed}
        return result | {what: said for what, said in further.items() if said}

    def forget(self, name: str) -> None:
        """Do not remember what was last known of an account that is gone."""
        if self._others.pop(name, None) is not None:
            self.save()

    def strays(self) -> list[str]:
        """Return what is to be said of sessions that no account has, a sentence each."""
        names = moving.strays(self.paths, self.settings.accounts)
        free: list[str] = []
        if names:
            unpaired = {
                name for name, one in self._machines.items() if one.child and one.child.paired is False
            }
            free = [
                name
                for name in self.settings.accounts
                if name in unpaired or not self.paths.session(name).exists()
            ]
        return moving.about_strays(self.paths, names, free)

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
            OrchestratorError: The new name is taken.
            ConfigError: The configuration is not valid.
            StateError: The state folder cannot be written.
        """
        async with self._reloading:
            settings, _ = await self._spawner.aside(self._read_config)
            task = moving.pending(self.paths)
            if isinstance(task, moving.Rename) and (task.old, task.new) == (old, new):
                if task.begun or not anew:
                    return old in settings.accounts
            elif task is not None:
                moving.finish(self.paths, settings)
            edit = moving.check_rename(self.paths, settings, old, new, known=self._accounts)
            moving.begin(self.paths, moving.Rename(old, new))
        return edit

    async def _rename(self, after: Settings) -> list[str]:
        """Rename what a new configuration has under a new name, if that was begun.

        Returns:
            What is said of it.
        """
        task = moving.pending(self.paths)
        if not isinstance(task, moving.Rename):
            return []
        old, new = task.old, task.new
        if new not in after.accounts or old in after.accounts:
            moving.finish(self.paths, after)
            return []
        if not task.begun and self.paths.session(old).exists() and moving.has_session(self.paths, new):
            log.error("%s: is not renamed: %s has a session of its own", old, new)
            moving.give_up(self.paths)
            return []
        for name in {old, new} & self._accounts.keys():
            self._renaming[name] = self._accounts[name].account
            # Should the service be killed before the files have followed, this must not be lost.
            self._others[name] = self._kept(name)
            self.handle(name, Removed(keep_session=True, why=f"renamed to {new}"))
        while not self._renaming.keys().isdisjoint(self._accounts):
            await self.wait_for_change()
        former, target = self._renaming.pop(old, None), self._renaming.pop(new, None)
        self.save()
        said = moving.finish(self.paths, after)
        # What was last known of the one that had the session counts, and what was last ordered.
        kept = status.renamed(self._others.pop(old, status.Kept()), old, new)
        self._others.pop(new, None)
        now = self._now()
        if former is not None:
            kept = replace(kept, stopped=former.stopped, parked=kept.parked or former.parked(now))
        if target is not None and target.stopped:
            kept = replace(kept, stopped=True)
        self._devices.changed(new)
        self._add(after.accounts[new], kept, former)
        self.save()
        log.info("%s", said)
        return [said] if said else []

    async def restore(self, name: str, wanted: str | None) -> moving.Restored:
        """Put an account's session back from quarantine, and start the account unless it was stopped.

        Args:
            name: The account.
            wanted: See `moving.find`.

        Raises:
            NoSuchAccount: There is neither an account of that name nor a session of one.
            OrchestratorError: The account runs or has a session, or another account has this one; or there is
                none to put back.
            StateError: It cannot be moved.
        """
        async with self._reloading:
            self._refuse_running(name)
            found = moving.find(self.paths, self.settings, name, wanted)
            about = await self._spawner.aside(
                lambda: moving.check_restore(self.paths, self.settings, name, found)
            )
            self._refuse_running(name)
            moving.restore(self.paths, self.settings, name, found)
        log.warning("%s: its session was put back from %s", name, found.path)
        self._devices.changed(name)
        managed = self._accounts.get(name)
        if managed is not None and managed.account.settings.enabled and not managed.account.stopped:
            self.handle(name, Ordered(Order.START))
        return about

    def _refuse_running(self, name: str) -> None:
        managed = self._accounts.get(name)
        if managed is not None and managed.account.child is not None:
            raise OrchestratorError(
                f"{name} is {managed.account.state}, and nothing may use a session while it is put back: stop"
                f" it by `orchestrator stop {name}`, restore it, then `orchestrator start {name}`"
            )

    async def _why_none_starts(self, after: Settings) -> str | None:
        """Return why no process can be started, if accounts would be given new ones; else None."""
        renewed = [
            name
            for name, managed in self._accounts.items()
            if name in after.accounts and managed.account.is_renewed_by(after.accounts[name])
        ]
        if renewed:
            try:
                await self.try_start()
            except OrchestratorError as error:
                log.error("%d accounts keep their old process: %s", len(renewed), error)
                return str(error)
        return None

    def _read_config(self) -> tuple[Settings, Path]:
        """Return the configuration, with the state folder in use, and the folder that the file names."""
        file = self.settings.config_file
        try:
            text = config_file.decode(config_file.read(file), file)
            after = reader.parse(text, file, state_dir=self.settings.state_dir)
            # If not in use, the folder it names does not matter, and cannot stop anybody from reloading.
            return after, find_state(text, file) if self._state_configured else after.state_dir
        except ConfigError as error:
            log.error("the configuration was not taken over: %s", error)
            raise

    # The machines

    def handle(self, name: str, event: Event) -> None:
        """Hand an event to an account's machine, and do what it says."""
        managed = self._accounts.get(name)
        if managed is None:
            return  # it was removed, and this is a late word of its process
        wanted = managed.account.handle(event, self._now())
        if not wanted and isinstance(event, Said) and isinstance(event.message, Heartbeat):
            return  # it only puts off the next wake-up, which sees for itself whether it is too early
        for action in wanted:
            self._do(name, managed, action)
        if isinstance(event, Exited) and name in self._accounts and managed.account.last_exit is not None:
            kind, updated = managed.account.last_exit.kind, managed.library != self.library
            self._fleet.ended(name, kind, time.monotonic(), updated=updated)
        self._touch(name, managed)

    def _touch(self, name: str, managed: Managed) -> None:
        """Follow up what an event has changed: the next wake-up, watchers, whose turn it is."""
        self.version += 1
        if not managed.account.runs:
            self._devices.free(name)
        if name in self._accounts:
            managed.version = self.version
            wakes_at = managed.account.wakes_at()
            if managed.timer is not None:
                managed.timer.cancel()
                managed.timer = None
            if wakes_at is not None:
                managed.timer = asyncio.get_running_loop().call_at(wakes_at, self.handle, name, Ticked())
        self._changed.set()
        self._changed.clear()
        self._check_idle()
        self._dispatch()

    def _do(self, name: str, managed: Managed, action: Action) -> None:
        match action:
            case actions.Queue():
                self._fleet.queue(name)
            case actions.Unqueue():
                self._fleet.unqueue(name)
            case actions.Spawn(pairing):
                managed.told_to_stop = managed.to_be_killed = False
                self._background(self._spawn(name, managed, pairing))
            case actions.TellStop():
                managed.told_to_stop = True
                if managed.child is not None:
                    managed.child.tell(Stop())
            case actions.Kill(why):
                self._kill(name, managed, why)
            case actions.Quarantine(reason):
                self._quarantine(name, reason)
            case actions.ShowCode(code):
                self._show(name, managed, code)
            case actions.HideCode():
                self._hide(name, managed)
            case actions.Record():
                self._record(name, action)
            case actions.RenewMaker():
                self._spawner.renew(managed.maker)
            case actions.CallOff(why):
                self._call_off(why)
            case actions.Forget():
                self._forget(name, managed)

    async def _spawn(self, name: str, managed: Managed, pairing: Pairing) -> None:
        settings = managed.account.settings
        spec = ChildSpec(
            name=name,
            database=self.paths.session(name),
            lock=self.paths.session_lock(name),
            phone=settings.phone,
            proxy=settings.proxy,
            device_name=settings.device_name,
            pairing=pairing,
            log_level=self._log_level,
            log_format=self._log_format,
            trace=self._tracebacks.live(name),
        )
        callbacks = Callbacks(
            said=lambda message: self._said(name, managed, message),
            exited=lambda code: self._exited(name, managed, code),
        )
        managed.library = self.library
        try:
            first = self._first(name)
            await self._spawner.aside(lambda: self._devices.read(name, first))
            if other := self._rival(name):
                managed.traceback = None
                self.handle(name, SpawnFailed(duplicates.why(other), Kind.DUPLICATE))
                return
            self._devices.use(name)
            child = await self._spawner.spawn(name, spec, callbacks)
        except OSError as error:
            managed.traceback = None
            self.handle(name, SpawnFailed(f"no process could be started: {trouble(error)}"))
            return
        except Exception:  # or the account would wait for ever for a process that does not come
            log.exception("%s: no process could be started", name)
            self.handle(name, SpawnFailed("no process could be started: the service's log says more"))
            return
        managed.child = child
        managed.maker = child.maker
        self.handle(name, Spawned(child.pid))
        # The machine may have changed its mind while the process was being made.
        if managed.to_be_killed:
            child.kill()
        elif managed.told_to_stop:
            child.tell(Stop())

    def _first(self, name: str) -> list[str]:
        """Return the accounts before this one that run, or are to: each of them may have its session."""
        order = list(self.settings.accounts)
        before = order[: order.index(name)] if name in order else order
        return [other for other in before if other in self._machines and self._machines[other].runs]

    def _rival(self, name: str) -> str | None:
        """Return the account because of whose session this one may not start."""
        runs = {other for other, managed in self._accounts.items() if managed.account.runs}
        return self._devices.rival(name, list(self.settings.accounts), runs)

    def _said(self, name: str, managed: Managed, message: FromChild) -> None:
        if isinstance(message, Sent):
            managed.sends.sent(message)
        else:
            if isinstance(message, Paired):
                self._devices.changed(name)
            self.handle(name, Said(message))

    def _kill(self, name: str, managed: Managed, why: str) -> None:
        managed.to_be_killed = True
        seconds = TRACEBACK_SECONDS_AT_THE_END if self._closing else TRACEBACK_SECONDS
        mute = None if managed.child is None else managed.child.kill_with_traceback(seconds)
        log.warning("%s: process killed: %s%s", name, why, f" ({mute})" if mute else "")

    def _exited(self, name: str, managed: Managed, code: int | None) -> None:
        exited = Exited(code, out_of_memory=self._oom_kills.any_of_late())
        if managed.child is not None:
            self._keep_traceback(name, managed, managed.child.pid, exited)
        managed.child = None
        managed.sends.process_ended()
        self.handle(name, exited)

    def _background(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What the machines ask for

    def _add(self, settings: AccountSettings, kept: status.Kept, former: Account | None = None) -> None:
        account = Account(
            settings, self._now(), random=random.random, stopped=kept.stopped, parked=kept.parked
        )
        if former is not None:
            account.take_over(former)
        self._accounts[settings.name] = Managed(account, sending.Waiting(settings.name))
        self._machines[settings.name] = account
        self.handle(settings.name, Begin())

    def _keep_traceback(self, name: str, managed: Managed, pid: int, exited: Exited) -> None:
        about = managed.account.child
        outcome, killed_because = (about.outcome, about.killed_because) if about else (None, None)
        why = from_exit(
            exited.status, outcome, killed_because=killed_because, out_of_memory=exited.out_of_memory
        ).text
        managed.traceback = self._tracebacks.keep(name, pid, why, time.time())
        if managed.traceback is not None:
            log.warning("%s: the traceback of process %d is in %s", name, pid, managed.traceback)

    def _forget(self, name: str, managed: Managed) -> None:
        if managed.timer is not None:
            managed.timer.cancel()
        del self._accounts[name], self._machines[name]
        self._fleet.forget(name, time.monotonic())
        if name not in self._renaming:
            self._tracebacks.forget(name)
        self._gone[name] = self.version + 1
        self._later("save", SAVE_SECONDS, self.save)
        if name in self._told and name in self.settings.accounts:
            self._told.discard(name)
            asyncio.get_running_loop().call_soon(self._add_again, name)

    def _add_again(self, name: str) -> None:
        """Take up an account that was removed and is configured again, now that its old process is gone."""
        if name in self.settings.accounts and name not in self._accounts and not self._closing:
            self._others.pop(name, None)
            self._add(self.settings.accounts[name], status.Kept())

    def _quarantine(self, name: str, reason: str) -> None:
        if reason == "repair":
            with contextlib.suppress(OSError):  # whoever pairs anew does not wait for a folder that is gone
                self.paths.sessions.mkdir(0o700)
        try:
            place = sessions.quarantine(self.paths.session(name), self.paths.quarantine, reason, time.time())
        except OSError as error:
            # Nothing is lost: the session stays where it is, and the next try meets it again.
            log.error("%s: the session could not be put into quarantine: %s", name, trouble(error))
        else:
            self._devices.changed(name)
            if place is not None:
                log.warning("%s: the session was put into quarantine (%s): %s", name, reason, place)

    def _show(self, name: str, managed: Managed, code: Code | LinkCode) -> None:
        managed.code = code
        if isinstance(code, Code):
            self._pictures.show(name, code.png, code.issued_at)

    def _hide(self, name: str, managed: Managed) -> None:
        managed.code = None
        self._pictures.hide(name)

    def _record(self, name: str, record: actions.Record) -> None:
        now = time.monotonic()
        while self._changes and self._changes[0] < now - 60:
            self._changes.popleft()
        others = len(self._changes)
        self._changes.append(now)
        self._timeline.append(
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
                version=self.library,
                others=others,
            ),
        )
        stays = record.before is record.after  # which is told only where an operator should know why
        level = logging.WARNING if record.kind or stays else logging.INFO
        why = f": {record.reason}" if record.reason else ""
        then = f", next try in {record.delay:.0f} s" if record.delay is not None else ""
        log.log(level, "%s: %s → %s%s%s", name, record.before, record.after, why, then)
        self._later("save", SAVE_SECONDS, self.save)
        if record.after in (State.BANNED, State.REPLACED):
            # Were the service killed before, the next one would try the account at once, ban or no ban.
            self._later("save at once", 0, self.save)
        if record.after is State.CONNECTED:
            self._fleet.connected(name)
        elif record.after is State.PAIRING:
            self._fleet.reached(name)

    def _dispatch(self) -> None:
        """Let those start whose turn it is."""
        if self._closing or self._dispatching:
            return
        # Each start is an event that leads back here: without the loop, hundreds at once are too deep.
        self._dispatching = True
        try:
            while (step := self._fleet.next(time.monotonic())) is not None:
                self.handle(*step)
        finally:
            self._dispatching = False
        wakes_at = self._fleet.wakes_at(time.monotonic())
        if wakes_at != self._wakes_at:
            self._cancel("dispatch")
            self._wakes_at = wakes_at
            if wakes_at is not None:
                self._later("dispatch", max(0.0, wakes_at - time.monotonic()), self._wake)

    def _wake(self) -> None:
        self._wakes_at = None
        self._dispatch()

    def _call_off(self, why: str) -> None:
        """Leave all accounts as they are that wait for a new process in the place of one that works."""
        waiting = [name for name, account in self._machines.items() if account.waits_for_renewal]
        if not waiting:
            return
        log.error("no other account is restarted: %s; %d keep their old process", why, len(waiting))
        before, self._dispatching = self._dispatching, True  # or the next one would take its turn meanwhile
        try:
            for name in waiting:
                self.handle(name, CalledOff(why))
        finally:
            self._dispatching = before

    # Time and disk

    def _stalled(self, seconds: float) -> None:
        log.warning(
            "the service itself stood still for %.0f s (stopped, paused or starved): all get that time back",
            seconds,
        )
        for name in list(self._accounts):
            self.handle(name, Stalled(seconds))

    @staticmethod
    def _now() -> Moment:
        return Moment(time.monotonic(), time.time())

    def _later(self, what: str, seconds: float, call: Any) -> None:  # noqa: ANN401 - any callable
        """Do something once, after a while; what is planned already is not planned again."""
        timer = self._timers.get(what)
        if timer is not None and not timer.cancelled() and timer.when() > time.monotonic():
            return
        self._timers[what] = asyncio.get_running_loop().call_later(seconds, call)

    def _cancel(self, what: str) -> None:
        timer = self._timers.pop(what, None)
        if timer is not None:
            timer.cancel()

    def save(self) -> bool:
        """Write down what operators wish and what is known of the accounts.

        Returns:
            Whether it is written; a failure is logged.
        """
        kept = {name: self._kept(name) for name in self._accounts} | self._others
        try:
            status.save(self.paths.status, kept)
        except OSError as error:
            if not self._unsaved:
                log.error("%s: could not be written: %s", self.paths.status, trouble(error))
            self._unsaved = True
            self._later("save again", RETRY_SECONDS, self.save)
            return False
        if self._unsaved:
            log.warning("%s: is written again", self.paths.status)
            self._unsaved = False
        return True

    def _kept(self, name: str) -> status.Kept:
        account = self._accounts[name].account
        return status.Kept(
            account.stopped, account.parked(self._now()), {**self.describe(name), "qr_path": None}
        )

    def _prune(self) -> None:
        # A clock that is set forward, as after a start without a battery, must not make anything old at once.
        now = self._now()
        steady = self._born.wall + now.monotonic - self._born.monotonic
        sessions.prune(self.paths.quarantine, self.settings.quarantine_days, min(now.wall, steady))
        self._later("prune", PRUNE_SECONDS, self._prune)

    def _look_for_oom_kills(self) -> None:
        self._later("oom", OOM_SECONDS, self._look_for_oom_kills)
        self._oom_kills.look()

    def _mind_the_library(self) -> None:
        """Use another version of neonize as soon as it is installed: at once, if WhatsApp asks for one."""
        self._later("library", LIBRARY_SECONDS, self._mind_the_library)
        found = installed_version()
        if found is not None and found != self.library:
            log.warning(
                "neonize %s is installed instead of %s: accounts that start from now on use it",
                found,
                self.library,
            )
            self.library = found
            self._spawner.renew()
            self._fleet.updated()
            self._dispatch()

    def _get(self, name: str) -> Managed:
        managed = self._accounts.get(name)
        if managed is None:
            raise NoSuchAccount(f"there is no account {name!r}{remark(name)}; `orchestrator list` shows them")
        return managed


def _outside() -> Proxy | None:
    """Return the proxy of accounts without their own; one that is not usable stops each of them by itself."""
    url = environment_proxy(os.environ)
    try:
        return None if url is None else parse_environment(url)
    except ProxyError as error:
        log.error("accounts without a proxy of their own cannot connect: %s", error)
        return None
