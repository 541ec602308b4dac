"""The running service: feeds each account's machine, and carries out what it says."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from orchestrator import actions, config, sending, session, status, texts
from orchestrator.account import Account
from orchestrator.actions import Action
from orchestrator.errors import ConfigError, NoSuchAccount, OrchestratorError, StateError
from orchestrator.events import (
    Begin,
    Configured,
    Event,
    Exited,
    Held,
    Moment,
    Order,
    Ordered,
    Released,
    Removed,
    Said,
    ShuttingDown,
    Spawned,
    SpawnFailed,
    Ticked,
    TurnCame,
)
from orchestrator.failure import Kind
from orchestrator.messages import Code, FromChild, LinkCode, Pairing, Sent, Stop
from orchestrator.pacing import Breaker, Ramp
from orchestrator.paths import StatePaths
from orchestrator.process import Callbacks, ChildProcess, Spawner
from orchestrator.qr import QrFolder
from orchestrator.settings import AccountSettings, Settings
from orchestrator.states import State
from orchestrator.timeline import Timeline, TimelineEntry
from orchestrator.worker.spec import ChildSpec

log = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 15.0
"""The time all accounts together get to stop; those that have not by then are killed."""
HURRY_SECONDS = 1.0
"""What is left of it after a second signal."""
SAVE_SECONDS = 1.0
"""How long a change of state may wait to be written down together with others."""
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
    told_to_stop: bool = False
    to_be_killed: bool = False


class Supervisor:
    """Keeps the accounts of a configuration running.

    Args:
        settings: The configuration.
        paths: The state folder.
        spawner: Starts the children.
        version: The library's version, for the timelines.
        log_level: What the children log.
        log_format: How: "text" or "json".
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
    ) -> None:
        self.settings = settings
        self.paths = paths
        self.version = 0
        self._spawner = spawner
        self._library = version
        self._log_level = log_level
        self._log_format = log_format
        self._accounts: dict[str, Managed] = {}
        self._gone: dict[str, int] = {}
        self._ramp = Ramp(settings.start_parallel, settings.start_spread, random.random)
        self._breaker = Breaker()
        self._qr = QrFolder(settings.qr_dir, settings.qr_group)
        self._timeline = Timeline(paths.timeline)
        self._changes: deque[float] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._started = False
        self._closing = False
        self._dispatching = False
        self._told: set[str] = set()
        self._others: dict[str, status.Kept] = {}
        self._reloading = asyncio.Lock()

    # Life

    def start(self, *, only: str | None = None) -> None:
        """Prepare the folders, take up every account, and start those that are to run.

        Args:
            only: Take up this account alone, and wait for an order about it; what was kept of others stays.

        Raises:
            StateError: A folder cannot be used, or what was kept is damaged.
        """
        self._qr.prepare(self.settings.accounts)
        kept = status.load(self.paths.status)
        for settings in self.settings.accounts.values():
            known = kept.get(settings.name, status.Kept())
            if only is None:
                self._add(settings, known)
            elif settings.name == only:
                self._add(settings, replace(known, stopped=True))
            else:
                self._others[settings.name] = known
        self._started = True
        self._prune()

    async def stop(self) -> None:
        """Stop every account and wait until no child is left; `hurry` shortens the wait."""
        self._closing = True
        self._shut_down(SHUTDOWN_SECONDS)
        await self._idle.wait()
        for timer in self._timers.values():
            timer.cancel()
        if self._started:  # or what was kept, and could not be read, would be written over
            self.save()
        await asyncio.get_running_loop().run_in_executor(None, self._spawner.close)

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

    def describe(self, name: str, *, reveal: bool = False) -> dict[str, Any]:
        """Return what is shown of an account.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        managed = self._get(name)
        code = managed.code
        shown = self._qr.path(name) if isinstance(code, Code) else None
        return status.describe(
            managed.account,
            self._now(),
            qr_path=shown,
            code_expires_at=code.expires_at if code else None,
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
        self.handle(name, Ordered(order, pairing))
        if save:
            self.save()

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
            What has changed: names ``added``, ``changed`` and ``removed``, and ``restart``: settings that
            take effect only when the service is started anew.

        Raises:
            ConfigError: The new configuration is not valid; the old one stays.
        """
        async with self._reloading:  # or the older of two readings could win
            return await self._reload(set(drop))

    async def _reload(self, dropped: set[str]) -> dict[str, Any]:
        before = self.settings
        loop = asyncio.get_running_loop()
        after = await loop.run_in_executor(None, self._read_config)
        self.settings = after
        self._ramp.parallel, self._ramp.spread = after.start_parallel, after.start_spread
        removed = [name for name in self._accounts if name not in after.accounts]
        for name in removed:
            self.handle(name, Removed(keep_session=name not in dropped))
        added, changed = [], []
        for name, settings in after.accounts.items():
            managed = self._accounts.get(name)
            if managed is None:
                self._add(settings, status.Kept())
                added.append(name)
            elif managed.account.leaving:
                self._told.add(name)  # it comes back once its old process is gone
                added.append(name)
            elif managed.account.settings != settings:
                self.handle(name, Configured(settings))
                changed.append(name)
        needs_restart = [
            key for key in ("state_dir", "qr_dir", "qr_group") if getattr(before, key) != getattr(after, key)
        ]
        self._dispatch()
        return {"added": added, "changed": changed, "removed": removed, "restart": needs_restart}

    def _read_config(self) -> Settings:
        try:
            return config.load(self.settings.config_file, state_dir=self.settings.state_dir)
        except ConfigError as error:
            log.error("the configuration was not taken over: %s", error)
            raise

    # The machines

    def handle(self, name: str, event: Event) -> None:
        """Hand an event to an account's machine, and do what it says."""
        managed = self._accounts.get(name)
        if managed is None:
            return  # it was removed, and this is a late word of its process
        for action in managed.account.handle(event, self._now()):
            self._do(name, managed, action)
        self._touch(name, managed)

    def _touch(self, name: str, managed: Managed) -> None:
        """Follow up what an event has changed: the next wake-up, watchers, whose turn it is."""
        self.version += 1
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
                self._ramp.queue(name)
            case actions.Unqueue():
                self._ramp.unqueue(name)
            case actions.Spawn(pairing):
                managed.told_to_stop = managed.to_be_killed = False
                self._background(self._spawn(name, managed, pairing))
            case actions.TellStop():
                managed.told_to_stop = True
                if managed.child is not None:
                    managed.child.tell(Stop())
            case actions.Kill(why):
                log.warning("%s: process killed: %s", name, why)
                managed.to_be_killed = True
                if managed.child is not None:
                    managed.child.kill()
            case actions.Quarantine(reason):
                self._quarantine(name, reason)
            case actions.ShowCode(code):
                self._show(name, managed, code)
            case actions.HideCode():
                self._hide(name, managed)
            case actions.Record():
                self._record(name, action)
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
        )
        callbacks = Callbacks(
            said=lambda message: self._said(name, managed, message),
            exited=lambda code: self._exited(name, managed, code),
        )
        try:
            child = await self._spawner.spawn(name, spec, callbacks)
        except OSError as error:
            self.handle(name, SpawnFailed(f"no process could be started: {error}"))
            return
        managed.child = child
        self.handle(name, Spawned(child.pid))
        # The machine may have changed its mind while the process was being made.
        if managed.to_be_killed:
            child.kill()
        elif managed.told_to_stop:
            child.tell(Stop())

    def _said(self, name: str, managed: Managed, message: FromChild) -> None:
        if isinstance(message, Sent):
            managed.sends.sent(message)
        else:
            self.handle(name, Said(message))

    def _exited(self, name: str, managed: Managed, code: int | None) -> None:
        managed.child = None
        managed.sends.process_ended()
        self.handle(name, Exited(code))

    def _background(self, work: Any) -> None:  # noqa: ANN401 - a coroutine
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What the machines ask for

    def _add(self, settings: AccountSettings, kept: status.Kept) -> None:
        account = Account(
            settings, self._now(), random=random.random, stopped=kept.stopped, parked=kept.parked
        )
        self._accounts[settings.name] = Managed(account, sending.Waiting(settings.name))
        self.handle(settings.name, Begin())

    def _forget(self, name: str, managed: Managed) -> None:
        if managed.timer is not None:
            managed.timer.cancel()
        self._ramp.unqueue(name)
        del self._accounts[name]
        self._gone[name] = self.version + 1
        self._later("save", SAVE_SECONDS, self.save)
        if name in self._told and name in self.settings.accounts:
            self._told.discard(name)
            asyncio.get_running_loop().call_soon(self._add, self.settings.accounts[name], status.Kept())

    def _quarantine(self, name: str, reason: str) -> None:
        try:
            place = session.quarantine(self.paths.session(name), self.paths.quarantine, reason, time.time())
        except OSError as error:
            # Nothing is lost: the session stays where it is, and the next try meets it again.
            log.error("%s: the session could not be put into quarantine: %s", name, error)
        else:
            if place is not None:
                log.warning("%s: the session was put into quarantine (%s): %s", name, reason, place)

    def _show(self, name: str, managed: Managed, code: Code | LinkCode) -> None:
        managed.code = code
        if isinstance(code, Code):
            try:
                self._qr.show(name, code.png, code.issued_at)
            except (OSError, StateError) as error:
                log.error("%s: the code could not be written to %s: %s", name, self._qr.path(name), error)

    def _hide(self, name: str, managed: Managed) -> None:
        managed.code = None
        try:
            self._qr.hide(name)
        except OSError as error:
            log.error("%s: the code could not be removed: %s", self._qr.path(name), error)

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
                version=self._library,
                others=others,
            ),
        )
        level = logging.WARNING if record.kind else logging.INFO
        why = f": {record.reason}" if record.reason else ""
        then = f", next try in {record.delay:.0f} s" if record.delay is not None else ""
        log.log(level, "%s: %s → %s%s%s", name, record.before, record.after, why, then)
        self._later("save", SAVE_SECONDS, self.save)
        self._mind_the_fleet(name, record)

    # The fleet

    def _mind_the_fleet(self, name: str, record: actions.Record) -> None:
        now = time.monotonic()
        if record.after is State.OUTDATED and record.kind is Kind.OUTDATED and record.before in (
            State.STARTING, State.CONNECTING, State.PAIRING, State.RECONNECTING, State.CONNECTED
        ):  # fmt: skip
            if self._breaker.refused(name, now):
                log.error("WhatsApp refuses this version of the client: nobody connects until it is updated")
                self._later("hold", 0, self._hold_all)
            self._plan_probe()
        elif record.after is State.CONNECTED and self._breaker.connected():
            log.warning("WhatsApp accepts this version of the client again")
            self._later("release", 0, self._release_all)
        elif record.after in (State.BACKOFF, State.FAILED, State.STOPPED, State.BANNED, State.REPLACED):
            self._breaker.canary_ended(name, now)
            self._plan_probe()

    def _hold_all(self) -> None:
        for name in list(self._accounts):
            self.handle(name, Held())

    def _release_all(self) -> None:
        for name in list(self._accounts):
            self.handle(name, Released())

    def _plan_probe(self) -> None:
        if self._breaker.probe_at is not None:
            self._later("probe", max(0.0, self._breaker.probe_at - time.monotonic()), self._probe)

    def _probe(self) -> None:
        waiting = (n for n, m in self._accounts.items() if m.account.state is State.OUTDATED)
        canary = self._breaker.probe(time.monotonic(), waiting)
        if canary is None:
            self._plan_probe()
        else:
            log.warning("%s probes whether WhatsApp accepts this version of the client", canary)
            self.handle(canary, Released())

    def _dispatch(self) -> None:
        """Let those start whose turn it is."""
        if self._closing or self._dispatching:
            return
        # Each start is an event that leads back here: without the loop, hundreds at once are too deep.
        self._dispatching = True
        try:
            while self._start_next():
                pass
        finally:
            self._dispatching = False

    def _start_next(self) -> bool:
        """Let the next one start if it may; return whether there may be another."""
        if self._breaker.tripped:
            canary = self._breaker.canary
            if canary in self._accounts and self._accounts[canary].account.queued:
                self._ramp.unqueue(canary)
                self.handle(canary, TurnCame())
            elif len(self._ramp):
                self._later("hold", 0, self._hold_all)
            return False
        now = time.monotonic()
        dialling = sum(managed.account.dials for managed in self._accounts.values())
        name = self._ramp.next(now, dialling)
        if name is not None:
            self.handle(name, TurnCame())
            return True
        wakes_at = self._ramp.wakes_at(dialling)
        if wakes_at is not None:
            self._later("dispatch", max(0.0, wakes_at - now), self._dispatch)
        return False

    # Time and disk

    @staticmethod
    def _now() -> Moment:
        return Moment(time.monotonic(), time.time())

    def _later(self, what: str, seconds: float, call: Any) -> None:  # noqa: ANN401 - any callable
        """Do something once, after a while; what is planned already is not planned again."""
        timer = self._timers.get(what)
        if timer is not None and not timer.cancelled() and timer.when() > time.monotonic():
            return
        self._timers[what] = asyncio.get_running_loop().call_later(seconds, call)

    def save(self) -> bool:
        """Write down what operators wish and what is known of the accounts.

        Returns:
            Whether it is written; a failure is logged.
        """
        kept = self._others | {
            name: status.Kept(
                managed.account.stopped, managed.account.parked, {**self.describe(name), "qr_path": None}
            )
            for name, managed in self._accounts.items()
        }
        try:
            status.save(self.paths.status, kept)
        except OSError as error:
            log.error("%s: could not be written: %s", self.paths.status, error)
            return False
        return True

    def _prune(self) -> None:
        session.prune(self.paths.quarantine, self.settings.quarantine_days, time.time())
        self._later("prune", PRUNE_SECONDS, self._prune)

    def _get(self, name: str) -> Managed:
        managed = self._accounts.get(name)
        if managed is None:
            raise NoSuchAccount(f"there is no account {name!r}; `orchestrator list` shows them")
        return managed
