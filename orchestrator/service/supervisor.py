"""The running service: its parts put together, its life, and what operators may ask of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.accounts import deadlines
from orchestrator.accounts.events import Order, Ordered, ShuttingDown
from orchestrator.accounts.failure import Kind
from orchestrator.accounts.guard import refuse_any_phone
from orchestrator.accounts.machine import Account
from orchestrator.accounts.pipe import Code, LinkCode, Pairing
from orchestrator.accounts.states import State
from orchestrator.config.settings import Settings
from orchestrator.control.view import AccountView
from orchestrator.errors import OrchestratorError
from orchestrator.messages.protocols import OutboxStore
from orchestrator.service import who
from orchestrator.service.adopting import Adopting
from orchestrator.service.children import Children
from orchestrator.service.codes import Pictures
from orchestrator.service.devices import Devices
from orchestrator.service.enabling import Enabling
from orchestrator.service.forkserver import Spawner
from orchestrator.service.isolation import Isolation
from orchestrator.service.leaving import Leaving
from orchestrator.service.looking import Looking
from orchestrator.service.machines import Machines
from orchestrator.service.messages import InFiles, Messages
from orchestrator.service.outbox.sends import Sends
from orchestrator.service.recorder import Recorder
from orchestrator.service.reload import Announce, Reloader
from orchestrator.service.roster import Managed, Roster
from orchestrator.service.stall import Pulse
from orchestrator.service.timers import Timers, now
from orchestrator.service.upkeep import Upkeep
from orchestrator.service.view import BUG, Views
from orchestrator.store import status
from orchestrator.store.protocols import Store
from orchestrator.store.tracebacks import Tracebacks
from orchestrator.worker.seal import Seal

SHUTDOWN_SECONDS = deadlines.SHUTDOWN.outer
"""The time all accounts together get to stop; those that have not by then are killed."""
HURRY_SECONDS = 1.0
"""What is left of it after a second signal."""
OOM_SECONDS = 30.0
"""How often what the kernel has ended for lack of memory is taken for known: 0.1 ms each."""


class Supervisor:
    """Keeps the accounts of a configuration running.

    Args:
        settings: The configuration.
        store: What is kept of the accounts.
        spawner: Starts the children.
        version: The library's version, for the timelines; empty for one that is not watched.
        seal: Which files of the library were checked; None: each process checks them by itself.
        log_level: What the children log.
        log_format: How: "text" or "json".
        around_reload: Makes the context of every reading of the configuration, so that it can be announced.
        state_configured: Whether the configuration says where the state folder is, and not ``--state-dir``.
        messages: Where messages are kept; None: in the accounts' files.

    Attributes:
        messages: Where messages are kept.
        sends: Has accounts send.
        upkeep: Looks after the fleet as a whole.
        reloader: Renames accounts, and looks after sessions that no account has.
        leaving: Logs accounts out, and brings back or deletes what lies in quarantine.
        looking: Who looks at codes.
        adopting: Takes accounts up and gives them up in a cluster; None where there is none.
        terms: For which time the gateway hands over the events of which accounts.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        spawner: Spawner,
        *,
        version: str = "",
        seal: Seal | None = None,
        log_level: str = "WARNING",
        log_format: str = "text",
        around_reload: Announce = contextlib.nullcontext,
        state_configured: bool = False,
        messages: Messages | None = None,
    ) -> None:
        self._store = store
        self.messages = messages or InFiles(store.paths.message_folder)
        self._spawner = spawner
        self._roster = roster = Roster(settings)
        self.terms = roster.terms
        self._timers = timers = Timers()
        self._pictures = Pictures(store.codes, roster.touch)
        self._tracebacks = Tracebacks(store.paths.tracebacks)
        self._devices = devices = Devices(store.sessions)
        self._views = Views(roster, self._pictures)
        self._recorder = Recorder(roster, store.record, store.sessions, devices, timers, self._views.describe)
        self._children = Children(
            roster,
            store.sessions,
            spawner,
            self._tracebacks,
            devices,
            Isolation.of(settings, store.paths, store.reads),
            library=version,
            seal=seal,
            log_level=log_level,
            log_format=log_format,
            messages=self.messages,
        )
        self.sends = Sends(_Senders(roster, store, self.messages), self._children.aside)
        self._machines = Machines(roster, self._children, self._recorder, self._pictures, devices, timers)
        self.upkeep = Upkeep(roster, store, self._machines, self._children.aside, lambda: self.library)
        self.looking = Looking(roster, self._machines)
        self._enabling = Enabling(roster, self._machines, timers)
        self.adopting = None
        if settings.cluster is not None:
            self.adopting = Adopting(
                roster, self._machines, self._children, self._recorder, store.record, settings.cluster
            )
        self._machines.after = self._check_idle
        self._machines.forgotten = self._forgotten
        self.reloader = Reloader(
            roster,
            store,
            self._machines,
            self._children,
            self._recorder,
            devices,
            spawner,
            announce=around_reload,
            state_configured=state_configured,
        )
        self.leaving = Leaving(
            roster, store, self._machines, self._recorder, self.reloader, devices, self._children.aside
        )
        if self.adopting is not None:
            self.leaving.left = self.adopting.forgotten
        self._pulse, self._idle, self._started = Pulse(self._machines.stalled), asyncio.Event(), False

    @property
    def settings(self) -> Settings:
        """The configuration in use."""
        return self._roster.settings

    @property
    def version(self) -> int:
        """Grows with every change of any account."""
        return self._roster.version

    @property
    def library(self) -> str:
        """The library's version that processes load from now on."""
        return self._children.library

    @property
    def record_place(self) -> str:
        """Where operators' wishes are written down, for people."""
        return self._store.record.place

    # Life

    def start(self, *, only: str | None = None) -> None:
        """Prepare the folders, take up every account, and start those that are to run.

        Args:
            only: Take up this account alone, and wait for an order about it; what was kept of others stays.

        Raises:
            StateError: A folder cannot be used, or what was kept is damaged.
        """
        accounts, others = self.settings.accounts, self._recorder.others
        self._pictures.prepare(accounts)
        self._tracebacks.prepare(accounts)
        kept = self._store.record.load()
        alone = self.adopting is None
        self._recorder.begin(accounts if alone else ())
        if only is None:
            self.upkeep.begin()
        for settings in accounts.values():
            known = kept.get(settings.name, status.Kept())
            if not alone and only is None:
                continue  # they come as the lease says
            if only is None:
                self._machines.add(settings, known)
            elif settings.name == only:
                self._machines.add(settings, replace(known, stopped=True))
            else:
                others[settings.name] = known
        for name, known in kept.items():
            if alone and name not in accounts and self._store.sessions.exists(name):
                others[name] = known  # one that was renamed by hand, most likely
        self._started = True
        self._recorder.summarize()
        self._pulse.start()
        self.leaving.begin()
        self._look_for_oom_kills()
        if only is None:
            self._enabling.look()
        if self.library:
            self._machines.updates.mind()

    async def stop(self) -> None:
        """Stop every account and wait until no child is left; `hurry` shortens the wait."""
        self._machines.closing = self._children.closing = True
        self._shut_down(SHUTDOWN_SECONDS)
        await self._idle.wait()
        await self._machines.updates.close()
        self.upkeep.end()
        self.leaving.end()
        self._pulse.stop()
        self._pictures.stop()
        self._timers.stop()
        if self._started:  # or what was kept, and could not be read, would be written over
            self.save()
            await self._recorder.flush(self._children.aside)
        self._children.aside.close()
        await self._spawner.close()

    def hurry(self) -> None:
        """Give the accounts that are still stopping no more than a moment."""
        self._children.hurries = True
        self._shut_down(HURRY_SECONDS)

    def _shut_down(self, seconds: float) -> None:
        self._machines.handle_all(ShuttingDown(now().monotonic + seconds))
        self._check_idle()

    def _check_idle(self) -> None:
        if self._machines.closing and all(one.child is None for one in self._roster.machines.values()):
            self._idle.set()

    def _forgotten(self, name: str) -> None:
        if name not in self.leaving.returning:
            self.leaving.left(name)
        if self.reloader.forgotten(name):
            self._tracebacks.forget(name)

    def _look_for_oom_kills(self) -> None:
        self._timers.later("oom", OOM_SECONDS, self._look_for_oom_kills)
        self._children.oom_kills.look()

    # What operators may ask

    def names(self) -> list[str]:
        """Return the accounts' names, in the configuration's order."""
        return list(self._roster.accounts)

    def counts(self) -> Counter[State]:
        """Return how many accounts are in which state."""
        return Counter(managed.account.state for managed in self._roster.accounts.values())

    def describe(self, name: str, *, reveal: bool = False) -> AccountView:
        """Return what others see of an account. One that cannot be described keeps nobody from the others.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        return self._views.describe(name, reveal=reveal)

    def changed_since(self, version: int, *, numbers: bool = False) -> tuple[list[str], list[str]]:
        """Return the names of accounts that have changed after a version, and of those that are gone.

        Args:
            version: The version.
            numbers: Also those of which only numbers have changed: memory, messages and the like.
        """
        return self._roster.changed_since(version, numbers=numbers)

    async def wait_for_change(self) -> None:
        """Return when something has changed."""
        await self._roster.wait_for_change()

    def code(self, name: str) -> Code | LinkCode | None:
        """Return the code an account shows at the moment.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        return self._roster.get(name).code

    async def timeline(self, name: str, count: int) -> list[dict[str, Any]]:
        """Return the last entries of an account's timeline, of a cluster's account wherever it runs."""
        return await self._children.aside.run(lambda: self._store.record.tail(name, count))

    def taken(self, accounts: Mapping[str, int | None], waiting: Mapping[str, int | None]) -> None:
        """Take note of what consumers have had, and of how much waits: see `Children`."""
        self._children.taken(accounts)
        self._children.waiting(waiting)

    def is_stopping(self, name: str) -> bool:
        """Tell whether an account's process was asked to stop and is still there.

        Raises:
            NoSuchAccount: There is none of that name.
        """
        return self._roster.get(name).account.stopping

    def machine(self, name: str) -> Account | None:
        """Return an account's machine, to look at; None if there is no such account."""
        return self._roster.machines.get(name)

    def is_linked(self, name: str) -> bool:
        """Tell whether an account's session may be of a linked device."""
        return self._store.sessions.device(name).linked is not False

    # What operators may want

    def order(
        self,
        name: str,
        order: Order,
        pairing: Pairing = "qr",
        *,
        any_phone: bool = False,
        by_name: bool = False,
        save: bool = True,
    ) -> None:
        """Do what an operator wants of an account.

        Args:
            name: The account.
            order: What is wanted.
            pairing: How to pair on a repair.
            any_phone: Let any phone be linked on a repair, and not only the one that the account had.
            by_name: Try the account at once, whatever holds the others: the operator has named it.
            save: Write the wish down at once; a caller that gives many orders does that once, by `save`.

        Raises:
            NoSuchAccount: There is none of that name.
            OrchestratorError: The account is disabled, lacks what the order needs, or goes elsewhere.
        """
        managed = self._roster.get_ours(name)
        account = managed.account
        if order is Order.REPAIR:
            self.upkeep.need_store()
            self._machines.find_phone(name)
        _refuse_impossible(account, order, pairing, any_phone=any_phone)
        if order in (Order.START, Order.RESTART) and account.kind is Kind.DUPLICATE:
            self._children.refuse_duplicate(name)
        self._machines.order(name, Ordered(order, pairing, any_phone, by_name, who.current()))
        if save:
            self.save()
        if managed.bug:
            raise OrchestratorError(f"{name}: {BUG}", key="internal_error")

    def save(self) -> bool:
        """Write down what operators wish and what is known of the accounts; tell whether that worked."""
        return self._recorder.save()

    async def is_kept(self) -> bool:
        """Return whether what was written down is kept by now: a database takes a moment."""
        return await self._recorder.is_kept(self._children.aside)

    async def try_start(self) -> None:
        """See that processes can be started, by starting one that does nothing.

        Raises:
            OrchestratorError: No process can be started; the message says why.
        """
        await self._children.try_start()

    async def fetch(self, name: str, media: str) -> Path:
        """Have an attachment of an account fetched if need be; see `Children.fetch`."""
        return await self._children.fetch(name, self._roster.get(name), media)

    async def reload(self, *, drop: Iterable[str] = (), unlink: bool = False) -> dict[str, Any]:
        """Read the configuration again and touch only what has changed.

        An account that is not in it any more stops and keeps its session, unless it is to be dropped.

        Args:
            drop: Accounts whose session goes into quarantine when they are no longer configured.
            unlink: Have WhatsApp unlink their devices first, where they are connected.

        Returns:
            What has changed: names ``added``, ``changed`` and ``removed``, ``restart``: settings that take
            effect only when the service is started anew; and, if there are any, ``kept``: accounts that have
            changed and keep their old process, since none can be started; ``reconnect``: accounts that get a
            new process in their turn; ``renamed``: what is to be said of that; and ``programs``: what has
            changed of the HTTP server, webhooks and bots.

        Raises:
            ConfigError: The new configuration is not valid; the old one stays.
        """
        before = self.settings.needs_gateway
        result = await self.reloader.reload(set(drop), unlink=unlink)
        self._enabling.look()
        if self.settings.needs_gateway != before:
            for managed in self._roster.accounts.values():
                self._children.tell_taken(managed)
        return result

    def forget(self, name: str) -> None:
        """Do not remember what was last known of an account that is gone."""
        self._recorder.forget(name)


class _Senders:
    """The accounts, as far as sending goes."""

    def __init__(self, roster: Roster, store: Store, messages: Messages) -> None:
        self._roster = roster
        self._store = store
        self._messages = messages

    def sender(self, name: str) -> Managed:
        return self._roster.get(name)

    def messages(self, name: str) -> Path:
        return self._store.paths.message_folder(name)

    def outbox(self, name: str, *, makes: bool = True) -> AbstractContextManager[OutboxStore]:
        return self._messages.outbox(name, makes=makes)

    def note_queued(self, name: str, count: int) -> None:
        managed = self._roster.accounts.get(name)
        if managed is not None and managed.child is None:
            managed.account.to_send = count
            self._roster.touch(name)


def _refuse_impossible(account: Account, order: Order, pairing: Pairing, *, any_phone: bool) -> None:
    """See that an account is configured for what an operator wants of it."""
    settings = account.settings
    name = settings.name
    if order is not Order.STOP and not settings.enabled:
        raise OrchestratorError(
            f"{name} is disabled: run `orchestrator enable {name}` first", key="account_disabled"
        )
    if any_phone:
        refuse_any_phone(settings)
    if order is Order.REPAIR and pairing == "code" and (any_phone or account.wanted_phone is None):
        raise OrchestratorError(
            f"{name}: pairing by code needs `phone:` in the configuration", key="phone_missing"
        )
