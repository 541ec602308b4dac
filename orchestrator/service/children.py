"""The accounts' processes: started, heard, asked to stop, killed, and what the last one leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.accounts import deadlines, duplicates
from orchestrator.accounts.events import (
    Broke,
    Event,
    Exited,
    Found,
    LeftOut,
    LookedUp,
    Said,
    Spawned,
    SpawnFailed,
)
from orchestrator.accounts.failure import Kind, from_exit
from orchestrator.accounts.pipe import (
    Acted,
    Connected,
    Ended,
    Extend,
    Fetched,
    FromChild,
    LinkLost,
    Moved,
    Paired,
    Pairing,
    Queued,
    Secrets,
    Stop,
    StoreLost,
    Taken,
    Unlink,
    Unsettled,
)
from orchestrator.errors import OrchestratorError
from orchestrator.messages import media_files
from orchestrator.messages.loss import digest
from orchestrator.messages.media import FOLDER
from orchestrator.service.aside import Aside
from orchestrator.service.devices import Devices
from orchestrator.service.forkserver import Spawner
from orchestrator.service.isolation import Isolation
from orchestrator.service.messages import Messages
from orchestrator.service.process import Callbacks, ChildProcess
from orchestrator.service.roster import Managed, Roster
from orchestrator.store.protocols import SessionStore
from orchestrator.store.tracebacks import Tracebacks
from orchestrator.system.memory import OomKills
from orchestrator.system.os_errors import trouble
from orchestrator.system.redaction import redact
from orchestrator.worker.seal import Seal
from orchestrator.worker.spec import ChildSpec

log = logging.getLogger(__name__)

TRACEBACK_SECONDS = deadlines.TRACEBACK_SECONDS
"""How long a process that hangs may take to write its traceback and to end; it takes milliseconds."""
LAST_CALL_SECONDS = deadlines.LAST_CALL.outer
"""How long it may take before that for what its library still holds."""
LAST_CALL_SECONDS_IN_A_HURRY = 1.0
"""The same when an operator does not want to wait for the service's end."""
TRACEBACK_SECONDS_AT_THE_END = 0.2
"""The same while the service stops."""

_THREADS = 4
"""For outboxes, files that are to be sent, and sessions. Two may be with pictures for some seconds."""

NO_PROCESS = "no process could be started: "
"""What the reason of an account begins with whose process could not be made."""

Tell = Callable[[str, Event], None]
"""Hands an event to an account's machine."""


class Children:
    """Starts and ends the processes of the accounts.

    Args:
        roster: The accounts.
        sessions: Where their sessions are.
        spawner: Makes the processes.
        tracebacks: Where the processes leave their tracebacks.
        devices: Tells which account uses which linked device.
        isolation: How the processes are isolated.
        library: The library's version, for the timelines.
        seal: Which of its files were checked; None: each process checks them by itself.
        log_level: What the children log.
        log_format: How: "text" or "json".
        messages: Where messages are kept.

    Attributes:
        library: The library's version that processes load from now on.
        seal: Which of its files they load.
        closing: Whether the service stops, so that a process that hangs gets less time.
        hurries: Whether it does so without patience.
        until: When processes end by themselves unless they hear more, by the clock of `cluster.lease`; None
            where no other machine runs accounts.
        oom_kills: What the kernel has ended for lack of memory.
        aside: Reads what accounts' processes have written, beside the event loop.
    """

    def __init__(
        self,
        roster: Roster,
        sessions: SessionStore,
        spawner: Spawner,
        tracebacks: Tracebacks,
        devices: Devices,
        isolation: Isolation,
        *,
        library: str,
        seal: Seal | None,
        log_level: str,
        log_format: str,
        messages: Messages,
    ) -> None:
        self._messages = messages
        self.library = library
        self.seal = seal
        self.closing = self.hurries = False
        self.until: float | None = None
        self.oom_kills = OomKills()
        self.aside = Aside("files", _THREADS)
        self._roster = roster
        self._sessions = sessions
        self._spawner = spawner
        self._tracebacks = tracebacks
        self._devices = devices
        self._isolation = spawner.isolation = isolation
        self._log_level = log_level
        self._log_format = log_format
        self._tasks: set[asyncio.Task[None]] = set()

    async def try_start(self) -> None:
        """See that processes can be started, by starting one that does nothing.

        Raises:
            OrchestratorError: No process can be started; the message says why.
        """
        try:
            await self._spawner.try_out()
        except OSError as error:
            raise OrchestratorError(
                f"no process can be started: {trouble(error)}", key="cannot_start"
            ) from None

    def start(self, name: str, managed: Managed, pairing: Pairing, tell: Tell) -> None:
        """Start the process of an account in the background; the machine is told what becomes of it."""
        managed.told_to_stop = managed.to_be_killed = False
        self._background(self._spawn(name, managed, pairing, tell))

    def ask_to_stop(self, managed: Managed) -> None:
        """Ask the process of an account to stop, now or as soon as it is there."""
        managed.told_to_stop = True
        if managed.child is not None:
            managed.child.tell(Stop())

    def ask_to_unlink(self, managed: Managed) -> None:
        """Ask the process of an account that is connected to have its device unlinked, and then to stop."""
        if managed.child is not None:
            managed.child.tell(Unlink())

    def tell_store_lost(self, managed: Managed) -> None:
        """Have the process of an account hang up at once, if it is there."""
        if managed.child is not None:
            managed.child.tell(StoreLost())

    def kill(self, name: str, managed: Managed, why: str, *, holds: bool) -> None:
        """Kill the process of an account, now or as soon as it is there, and have it write a traceback.

        Args:
            name: The account.
            managed: The same.
            why: Why, for people.
            holds: Whether it may hold messages, which it is to take first.
        """
        managed.to_be_killed = True
        patience = LAST_CALL_SECONDS_IN_A_HURRY if self.hurries else LAST_CALL_SECONDS
        seconds = TRACEBACK_SECONDS_AT_THE_END if self.closing else TRACEBACK_SECONDS
        mute = managed.child and managed.child.give_up(patience if holds else 0.0, seconds)
        log.warning("%s: process killed: %s%s", name, why, f" ({mute})" if mute else "")

    def end(self, managed: Managed) -> None:
        """Kill the process of an account at once and without a word, now or as soon as it is there.

        From any thread. What its library still holds is lost to it: the next owner of the account has either
        got it from WhatsApp, or does.
        """
        managed.to_be_killed = True
        if managed.child is not None:
            managed.child.kill()

    def renew_maker(self, maker: int | None = None) -> None:
        """Have later processes made by a fresh fork server; see `Spawner.renew`."""
        self._spawner.renew(maker)

    def linked_number(self, name: str) -> str | None:
        """Return digits of the number that an account's session is linked to, None if it is not."""
        return self._sessions.device(name).number

    async def fetch(self, name: str, managed: Managed, media: str) -> Path:
        """Have an attachment fetched, if it is not there yet, and return where it is.

        Raises:
            OrchestratorError: It is not there, or not yet; the message says which.
        """
        folder = self._sessions.place(name).messages
        if not await self._spawner.aside(lambda: media_files.is_there(folder, media)):
            await managed.fetches.fetch(_running(name, managed).tell, media)
        return folder / FOLDER / media

    def taken(self, accounts: Mapping[str, int | None]) -> None:
        """Take note of what all consumers of messages have had, and tell the accounts' processes.

        Args:
            accounts: By account the number up to which all have had its messages; None: it has no consumer.
        """
        for name, seq in accounts.items():
            managed = self._roster.accounts.get(name)
            if managed is not None and managed.taken != seq:
                managed.taken = seq
                self.tell_taken(managed)

    def waiting(self, accounts: Mapping[str, int | None]) -> None:
        """Take note of how many events a consumer has not had, by account; None: it has no consumer."""
        for name, number in accounts.items():
            managed = self._roster.accounts.get(name)
            if managed is not None:
                managed.waiting = number

    def tell_taken(self, managed: Managed) -> None:
        """Tell the process of an account, if there is one, what the consumers of its messages have had."""
        if managed.child is not None:
            managed.child.tell(Taken(self._taken(managed)))

    def _taken(self, managed: Managed) -> int | None:
        """Return what an account's process is told; while nobody knows, no message counts as taken."""
        return managed.taken if self._roster.settings.needs_gateway else None

    def look_up(self, name: str, tell: Tell) -> None:
        """See whether an account's session is of a linked device; the machine is told."""
        self._background(self._look_up(name, tell))

    async def _look_up(self, name: str, tell: Tell) -> None:
        try:
            device = await self._spawner.aside(lambda: self._sessions.device(name))
            linked = device.linked is not False
        except Exception:  # or the account would wait for ever
            log.exception("%s: its session could not be looked at", name)
            linked = True  # its process sees more, and says it
        tell(name, LookedUp(linked))

    def refuse_duplicate(self, name: str) -> None:
        """See that no other account uses the session of this one.

        Raises:
            OrchestratorError: Another account does.
        """
        self._devices.read(name, self._roster.before(name))
        if other := self._rival(name):
            raise OrchestratorError(
                f"{name}: {duplicates.why(other)}: {duplicates.advice(name)}", key="duplicate_session"
            )

    def _rival(self, name: str) -> str | None:
        """Return the account because of whose session this one may not start."""
        return self._devices.rival(name, list(self._roster.settings.accounts), self._roster.running())

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _spawn(self, name: str, managed: Managed, pairing: Pairing, tell: Tell) -> None:
        callbacks = Callbacks(
            said=lambda message: self._said(name, managed, message, tell),
            exited=lambda code: self._exited(name, managed, code, tell),
            broke=lambda why: self._broke(name, why, tell),
            left_out=lambda count: tell(name, LeftOut(count)),
        )
        managed.library = self.library
        try:
            refusal = await self._spawner.aside(lambda: self._sessions.admit(name))
            if refusal is not None:
                managed.traceback = None
                lack = NO_PROCESS if refusal.kind is Kind.MACHINE else ""
                tell(name, SpawnFailed(lack + refusal.text, refusal.kind))
                return
            first = self._roster.before(name)
            await self._spawner.aside(lambda: self._devices.read(name, first))
            if other := self._rival(name):
                managed.traceback = None
                tell(name, SpawnFailed(duplicates.why(other), Kind.DUPLICATE))
                return
            self._devices.use(name)
            if managed.account.guard.is_unknown:
                number = await self._spawner.aside(lambda: self.linked_number(name))
                if number is not None:
                    tell(name, Found(number))
            spec = self._spec(name, managed, pairing)
            async with managed.sends.writing:  # no row is written meanwhile that the process would not see
                managed.child = child = await self._make(name, spec, callbacks)
        except OSError as error:
            managed.traceback = None
            tell(name, SpawnFailed(NO_PROCESS + trouble(error)))
            return
        except Exception:  # or the account would wait for ever for a process that does not come
            log.exception("%s: no process could be started", name)
            tell(name, SpawnFailed(NO_PROCESS + "the service's log says more"))
            return
        managed.maker = child.maker
        # What nobody could tell the process while it was being made.
        if self.until is not None and self.until != spec.until:
            child.tell(Extend(self.until))
        if self._taken(managed) != spec.taken:
            self.tell_taken(managed)
        tell(name, Spawned(child.pid))
        # The machine may have changed its mind while the process was being made.
        if managed.to_be_killed:
            child.kill()
        elif managed.told_to_stop:
            child.tell(Stop())

    async def _make(self, name: str, spec: ChildSpec, callbacks: Callbacks) -> ChildProcess:
        """Make a process, with an end of the socket by which it has its messages stored."""
        channel = self._messages.channel(name)
        with channel or contextlib.nullcontext():  # the process has it by then
            return await self._spawner.spawn(name, replace(spec, storing=channel), callbacks)

    def _spec(self, name: str, managed: Managed, pairing: Pairing) -> ChildSpec:
        settings = managed.account.settings
        place = self._sessions.place(name)
        return ChildSpec(
            name=name,
            database=place.database,
            dsn=place.dsn,
            stored=place.stored,
            reads=place.reads,
            lock=place.lock,
            home=place.home,
            messages=place.messages,
            keeps=settings.messages,
            sending=settings.sending,
            taken=self._taken(managed),
            phone=managed.account.wanted_phone,
            remembered=settings.phone is None,
            proxy=settings.proxy,
            device_name=settings.device_name,
            pairing=pairing,
            log_level=self._log_level,
            log_format=self._log_format,
            trace=self._tracebacks.live(name),
            library=self.seal,
            confine=self._isolation.confine,
            closed=self._isolation.closed,
            until=self.until,
        )

    def _said(self, name: str, managed: Managed, message: FromChild, tell: Tell) -> None:
        try:
            self._hear(name, managed, _redacted(message), tell)
        except Exception:
            log.exception("%s: a bug in the service, met at a %s", name, type(message).__name__)
            if managed.child is not None:
                managed.child.kill()

    def _hear(self, name: str, managed: Managed, message: FromChild, tell: Tell) -> None:
        if isinstance(message, Acted | Queued):
            managed.sends.answered(message)
        elif isinstance(message, Moved):
            managed.sends.rows.moved(message)
        elif isinstance(message, Unsettled):
            self._background(self._settle(name, managed, message.digests))
        elif isinstance(message, Fetched):
            managed.fetches.fetched(message)
        else:
            if isinstance(message, Connected):
                self._sessions.settle(name)
            if isinstance(message, Paired):
                self._devices.changed(name)
            tell(name, Said(message))

    async def _settle(self, name: str, managed: Managed, digests: str) -> None:
        """Tell the process of an account which messages its session knows of those that it asks about.

        Where that is not certain, it hears nothing, and asks again.
        """
        child = managed.child
        wanted = [bytes.fromhex(one) for one in digests.split()]
        try:
            found = await self.aside.run(lambda: self._sessions.sent(name, wanted, digest))
        except Exception:
            log.exception("%s: a bug in the service, met at messages of an unknown fate", name)
            return
        if found is not None and child is not None and managed.child is child:
            child.tell(Secrets(digests, " ".join(f"{one.hex()}:{id_}" for one, id_ in found.items())))

    def _broke(self, name: str, why: str, tell: Tell) -> None:
        log.error("%s: the process broke a rule of its pipe (%s): the service kills the process", name, why)
        tell(name, Broke(why))

    def _exited(self, name: str, managed: Managed, code: int | None, tell: Tell) -> None:
        exited = Exited(code, out_of_memory=self.oom_kills.any_of_late())
        if managed.child is not None:
            try:
                self._keep_traceback(name, managed, managed.child.pid, exited)
            except Exception:  # or the account would wait for ever for the end of its process
                log.exception("%s: the traceback of its process could not be kept", name)
        managed.child = None
        managed.sends.process_ended()
        managed.fetches.process_ended()
        tell(name, exited)

    def _keep_traceback(self, name: str, managed: Managed, pid: int, exited: Exited) -> None:
        about = managed.account.child
        outcome, killed_because = (about.outcome, about.killed_because) if about else (None, None)
        why = from_exit(
            exited.status, outcome, killed_because=killed_because, out_of_memory=exited.out_of_memory
        ).text
        managed.traceback = self._tracebacks.keep(name, pid, why, time.time())
        if managed.traceback is not None:
            log.warning("%s: the traceback of process %d is in %s", name, pid, managed.traceback)


def _running(name: str, managed: Managed) -> ChildProcess:
    """Return the process of an account. It need not be connected: an attachment needs only the network."""
    if managed.child is None or managed.account.stopping:
        shown = "stopping" if managed.account.stopping else managed.account.state
        raise OrchestratorError(
            f"{name} is {shown}, and only a running account fetches attachments: `orchestrator start {name}`"
            f" starts it, `orchestrator explain {name}` says more",
            key="not_connected",
        )
    return managed.child


def _redacted(message: FromChild) -> FromChild:
    """Return a message without numbers and secrets in what it has for people: a child may not be honest."""
    match message:
        case Ended(text=text):
            return replace(message, text=redact(text))
        case LinkLost(why):
            return LinkLost(redact(why))
        case Acted(about=about) | Fetched(about=about):
            return replace(message, about=redact(about))
        case Queued(why=str(why)) | Moved(why=str(why)):
            return replace(message, why=redact(why))
    return message
