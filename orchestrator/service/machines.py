"""Feeds each account's machine with what happens, and carries out what it says."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import Callable

from orchestrator.accounts import actions
from orchestrator.accounts.actions import Action
from orchestrator.accounts.events import (
    Begin,
    CalledOff,
    Event,
    Exited,
    Found,
    Looked,
    Order,
    Ordered,
    Said,
    SpawnFailed,
    Stalled,
    Ticked,
)
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.fleet import Fleet
from orchestrator.accounts.machine import Account
from orchestrator.accounts.pipe import Code, Heartbeat, LinkCode, PhoneSeen
from orchestrator.accounts.proxy import Proxy, ProxyError, environment_proxy, parse_environment
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.control.view import AccountView
from orchestrator.service.children import Children
from orchestrator.service.codes import Pictures
from orchestrator.service.devices import Devices
from orchestrator.service.fetching import Fetching
from orchestrator.service.library import Library
from orchestrator.service.outbox.waiting import Waiting
from orchestrator.service.phones import OnePhone
from orchestrator.service.recorder import Recorder
from orchestrator.service.roster import Managed, Roster
from orchestrator.service.timers import Timers, now
from orchestrator.service.updates import Updates
from orchestrator.store.status import Kept
from orchestrator.system.clock import unix

log = logging.getLogger(__name__)

AGAIN_SECONDS = 10.0
"""How long to wait before turns are given again, after a bug."""


class Machines:
    """The machines of all accounts, and whose turn it is to start.

    Args:
        roster: The accounts.
        children: Starts and ends their processes.
        recorder: Writes down what happens.
        pictures: Shows their codes.
        devices: Tells which account uses which linked device.
        timers: What is planned.

    Attributes:
        fleet: Decides whose turn it is.
        closing: Whether the service stops, so that nobody starts any more.
        after: Called after each event.
        forgotten: Called with the name of an account that is gone, once its process is.
        ended: Called with the name of an account whose process has ended by itself, and the kind of the end.
        updates: Notices that neonize was installed again.
    """

    def __init__(
        self,
        roster: Roster,
        children: Children,
        recorder: Recorder,
        pictures: Pictures,
        devices: Devices,
        timers: Timers,
    ) -> None:
        settings = roster.settings
        self.fleet = Fleet(
            roster.machines,
            settings.start_parallel,
            settings.start_spread,
            random.random,
            log.warning,
            _outside(),
        )
        self.closing = False
        self.after: Callable[[], None] = lambda: None
        self.forgotten: Callable[[str], None] = lambda _: None
        self.ended: Callable[[str, Kind], None] = lambda *_: None
        self.updates = Updates(timers, lambda: (children.library, children.seal), self._use_library)
        self._roster = roster
        self._children = children
        self._recorder = recorder
        self._pictures = pictures
        self._devices = devices
        self._timers = timers
        self._one_phone = OnePhone(roster, children.linked_number)
        self._dispatching = False
        self._wakes_at: float | None = None

    def add(self, settings: AccountSettings, kept: Kept, former: Account | None = None) -> None:
        """Take an account up, and let it begin.

        Args:
            settings: What the configuration says of it.
            kept: What was kept of it.
            former: The account that it was until now under another name, if it was one.
        """
        account = Account(
            settings,
            now(),
            random=random.random,
            stopped=kept.stopped,
            parked=kept.parked,
            guard=kept.guard,
            watch=kept.watch,
            past=kept.past,
        )
        if former is not None:
            account.take_over(former)
        elif kept.shown is not None:
            shown = AccountView.from_json({"name": settings.name, "state": "", **kept.shown})
            account.heard_of_messages(unix(shown.last_in_at), unix(shown.last_out_at))
        self._roster.add(Managed(account, Waiting(settings.name), Fetching(settings.name)))
        self.handle(settings.name, Begin())

    def handle(self, name: str, event: Event) -> None:
        """Hand an event to an account's machine, and do what it says; a bug is that account's alone."""
        managed = self._roster.accounts.get(name)
        if managed is None:
            return  # it was removed, and this is a late word of its process
        try:
            wanted = managed.account.handle(event, now())
            if not wanted and _only_puts_off(event):
                if managed.drift.is_news(managed.account, managed.waiting, now().monotonic):
                    self._roster.drift(name)
                return  # the next wake-up sees for itself whether it is too early
            if isinstance(event, Said) and isinstance(event.message, PhoneSeen):
                self._recorder.save_later()
            for action in wanted:
                self._do(name, managed, action)
            self._follow_up(name, managed, event)
            managed.bug = False
        except Exception:
            log.exception("%s: a bug in the service, met at %s", name, type(event).__name__)
            self._contain(managed, event)
        self._roster.touch(name)
        self.after()
        self.dispatch()

    def _contain(self, managed: Managed, event: Event) -> None:
        """After a bug: end the account's process, so that nothing waits for what does not come any more."""
        managed.bug = True
        if isinstance(event, Exited | SpawnFailed):
            managed.account.child = None
        elif managed.child is not None:
            managed.child.kill()
        else:
            managed.to_be_killed = True

    def order(self, name: str, wish: Ordered) -> None:
        """Hand what an operator wants to an account's machine."""
        if wish.order is not Order.STOP:
            self.fleet.wanted(name, by_name=wish.by_name)
        self.handle(name, wish)

    def find_phone(self, name: str, *, restored: bool = False) -> None:
        """Remember the number of an account's session, before the session goes, or since it has come back.

        Args:
            name: The account.
            restored: An operator has put the session there on purpose.
        """
        managed = self._roster.accounts.get(name)
        if managed is not None and (restored or managed.account.guard.is_unknown):
            number = self._children.linked_number(name)
            if number is not None:
                managed.account.handle(Found(number, restored), now())
                self._recorder.save_soon()

    def handle_all(self, event: Event) -> None:
        """Hand an event to every account's machine."""
        for name in list(self._roster.accounts):
            self.handle(name, event)

    def stalled(self, seconds: float) -> None:
        """Give every account the time back for which the service itself stood still."""
        log.warning(
            "the service itself stood still for %.0f s (stopped, paused or starved): each account gets that"
            " time back",
            seconds,
        )
        self.handle_all(Stalled(seconds))

    def _follow_up(self, name: str, managed: Managed, event: Event) -> None:
        """Follow up what an event has changed: what the fleet makes of an end, the next wake-up."""
        if isinstance(event, Exited) and name in self._roster.accounts and managed.account.last_exit:
            kind, updated = managed.account.last_exit.kind, managed.library != self._children.library
            self.fleet.ended(name, kind, time.monotonic(), updated=updated)
            self.ended(name, kind)
        if not managed.account.runs:
            self._devices.free(name)
        self._one_phone.mind(name)
        if name in self._roster.accounts:
            wakes_at = managed.account.wakes_at()
            if managed.timer is not None:
                managed.timer.cancel()
                managed.timer = None
            if wakes_at is not None:
                managed.timer = asyncio.get_running_loop().call_at(wakes_at, self.handle, name, Ticked())

    def _do(self, name: str, managed: Managed, action: Action) -> None:
        match action:
            case actions.Record() | actions.Quarantine() if managed.disowned:
                pass  # its new owner has the word, and its session
            case actions.Queue():
                self.fleet.queue(name)
            case actions.Unqueue():
                self.fleet.unqueue(name)
            case actions.Spawn(pairing):
                self._children.start(name, managed, pairing, self.handle)
            case actions.LookUp():
                self._children.look_up(name, self.handle)
            case actions.TellStop():
                self._children.ask_to_stop(managed)
            case actions.TellUnlink():
                self._children.ask_to_unlink(managed)
            case actions.TellStoreLost():
                self._children.tell_store_lost(managed)
            case actions.Kill(why, holds):
                self._children.kill(name, managed, why, holds=holds)
            case actions.Quarantine(reason, messages):
                if reason == "repair":
                    self.find_phone(name)  # what a version without this memory has linked counts, too
                self._recorder.quarantine(name, reason, messages=messages)
            case actions.ShowCode(code):
                self._show(name, managed, code)
            case actions.HideCode():
                managed.code = None
                self._pictures.hide(name)
            case actions.Record():
                self._record(name, action)
            case actions.RenewMaker():
                alone = len(self._roster.accounts) == 1  # and nobody pays for it but the account itself
                if self.fleet.renewals.not_loaded(name, time.monotonic()) or alone:
                    self._children.renew_maker(managed.maker)
                self.updates.look()
            case actions.CallOff(why, seen, changed):
                if self.fleet.renewals.failed(name, seen=seen):
                    self._call_off(why, changed=changed)
            case actions.Forget():
                self._forget(name, managed)

    def _show(self, name: str, managed: Managed, code: Code | LinkCode) -> None:
        managed.code = code
        if isinstance(code, Code):
            self._pictures.show(name, code.png, code.issued_at)

    def _record(self, name: str, record: actions.Record) -> None:
        self._recorder.changed(name, record, self._children.library)
        if record.after is State.CONNECTED:
            self.fleet.connected(name)
        elif record.after is State.PAIRING and not self._roster.accounts[name].account.waits_for_look:
            self.fleet.reached(name)

    def _forget(self, name: str, managed: Managed) -> None:
        if managed.timer is not None:
            managed.timer.cancel()
        self._roster.remove(name)
        self.fleet.forget(name, time.monotonic())
        self._recorder.save_soon()
        self.forgotten(name)

    # Whose turn it is

    def dispatch(self) -> None:
        """Let those start whose turn it is."""
        if self.closing or self._dispatching:
            return
        # Each start is an event that leads back here: without the loop, hundreds at once are too deep.
        self._dispatching = True
        try:
            while (step := self.fleet.next(time.monotonic())) is not None:
                self.handle(*step)
            wakes_at = self.fleet.wakes_at(time.monotonic())
        except Exception:  # nobody who runs already is to feel it
            log.exception("a bug in the service: nobody can be given a turn to start")
            wakes_at = time.monotonic() + AGAIN_SECONDS
        finally:
            self._dispatching = False
        if wakes_at != self._wakes_at:
            self._timers.cancel("dispatch")
            self._wakes_at = wakes_at
            if wakes_at is not None:
                self._timers.later("dispatch", max(0.0, wakes_at - time.monotonic()), self._wake)

    def _wake(self) -> None:
        self._wakes_at = None
        self.dispatch()

    def _use_library(self, library: Library) -> None:
        """Have later processes load another neonize; one account tries a new version before the others."""
        before, children = self._children.library, self._children
        children.library, children.seal = library.version, library.seal
        children.renew_maker()
        if library.version == before:
            log.warning("neonize %s was installed again: accounts that start from now on use it", before)
        else:
            log.warning(
                "neonize %s is installed instead of %s: accounts that start from now on use it",
                library.version,
                before,
            )
            self.fleet.updated(time.monotonic())
        self.dispatch()

    def _call_off(self, why: str, *, changed: bool) -> None:
        """Leave all accounts as they are that wait for a new process in the place of one that works.

        Args:
            why: Why, for people.
            changed: Only those that wait because their configuration has changed.
        """
        waiting = [
            name
            for name, machine in self._roster.machines.items()
            if machine.waits_for_renewal and (machine.behind or not changed)
        ]
        if not waiting:
            return
        what = "settings" if changed else "process"
        log.error("no other account is restarted: %s; %d accounts keep their old %s", why, len(waiting), what)
        before, self._dispatching = self._dispatching, True  # or the next one would take its turn meanwhile
        try:
            for name in waiting:
                self.handle(name, CalledOff(why))
        finally:
            self._dispatching = before


def _only_puts_off(event: Event) -> bool:
    """Tell whether an event that has led to no action has changed nothing that anybody sees."""
    return isinstance(event, Looked) or (isinstance(event, Said) and isinstance(event.message, Heartbeat))


def _outside() -> Proxy | None:
    """Return the proxy of accounts without their own; one that is not usable stops each of them by itself."""
    url = environment_proxy(os.environ)
    try:
        return None if url is None else parse_environment(url)
    except ProxyError as error:
        log.error("accounts without a proxy of their own cannot connect: %s", error)
        return None
