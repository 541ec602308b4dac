"""The commands of the control socket. The server hands over requests and sends the answers.

A command either returns its result, or it streams: then it yields events, and a `Result` as the last one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from orchestrator import __version__
from orchestrator.accounts import deadlines
from orchestrator.accounts.events import Order
from orchestrator.accounts.maintenance import REASON
from orchestrator.accounts.names import is_name, no_such_account
from orchestrator.accounts.pipe import Code, LinkCode
from orchestrator.accounts.states import State
from orchestrator.control import view
from orchestrator.control.outlook import outlook
from orchestrator.control.protocol import Json, error_answer
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.elsewhere import Whole
from orchestrator.service.supervisor import Supervisor
from orchestrator.service.usage import UsageReader
from orchestrator.service.view import BUG
from orchestrator.system.clock import iso

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.1
"""Seconds between two events of one `watch`: changes within this time go out together."""
STOP_SECONDS = deadlines.STOP_COMMAND.outer
"""How long `stop` waits for the end of a process."""
LOOKING = ("list", "watch", "explain", "ping", "companions", "facts", "settings", "strips", "process")
"""Commands that change nothing and need no process: they are answered also while the service stops."""
TIMELINE_ENTRIES = 20
"""Entries of the timeline in `explain`, unless asked for more."""
MAX_TIMELINE_ENTRIES = 1000

WAIT = f"{REASON}, except accounts that are named"
"""What an operator is told who starts all accounts during maintenance."""

OVER = frozenset(
    {
        State.CONNECTED,
        State.FAILED,
        State.BANNED,
        State.REPLACED,
        State.OUTDATED,
        State.STOPPED,
        State.DISABLED,
    }
)
"""The states in which an account waits for no code."""


@dataclass(frozen=True, slots=True)
class Result:
    """The last line of a command that streams."""

    value: Json


@dataclass(frozen=True, slots=True)
class Handed:
    """An event that comes with sockets. Whoever sends it closes them.

    Attributes:
        value: The event.
        sockets: What is handed over.
    """

    value: Json
    sockets: tuple[socket.socket, ...]


Events: TypeAlias = AsyncGenerator[Json | Result, None]
Handing: TypeAlias = AsyncGenerator[Handed, None]
Command: TypeAlias = Callable[[Json], Awaitable[Json]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who gives a command.

    Attributes:
        owner: Whose keys count, in words that nobody else has.
        fds: Descriptors of files that came with it. They are closed when it is answered.
    """

    owner: tuple[str, ...] = ("control",)
    fds: Sequence[int] = ()


SendingCommand: TypeAlias = Callable[[Json, Caller], Awaitable[Json]]
StreamingCommand: TypeAlias = Callable[[Json], Events | Handing]


class Commands:
    """The commands of a running service.

    Args:
        supervisor: Runs the accounts.

    Attributes:
        stopping: Whether the service is stopping. Then only commands that look are taken.
        refused: How many connections of other users were refused.
        whole: All accounts, those of other machines of a cluster among them.
        route: Returns what answers a command wherever its account is: see `routing`.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.stopping = False
        self.refused = 0
        self.whole = Whole(supervisor)
        self.route: Callable[[str, Any], Any] = lambda _, command: command
        self._supervisor = supervisor
        self._usage = UsageReader()
        self._started_at = time.time()
        self._once: dict[str, Command] = {
            "list": self._list,
            "start": self._start,
            "stop": self._stop,
            "restart": self._restart,
            "explain": self._explain,
            "reload": self._reload,
            "remove": self._remove,
            "rename": self._rename,
            "restore": self._restore,
            "ping": self._about,
        }
        self._streaming: dict[str, StreamingCommand] = {
            "watch": self._watch,
            "repair": self._repair,
        }
        self._sending: dict[str, SendingCommand] = {}

    def add(self, once: Mapping[str, Command], streaming: Mapping[str, StreamingCommand]) -> None:
        """Take further commands up: those of parts that the supervisor does not know of."""
        self._once.update(once)
        self._streaming.update(streaming)

    def add_sending(self, commands: Mapping[str, SendingCommand]) -> None:
        """Take further commands up for which it matters who gives them, and with which files."""
        self._sending.update(commands)

    def answer(self, request: Json, caller: Caller | None = None) -> Awaitable[Json] | Events | Handing:
        """Carry out a request.

        Args:
            request: It, with its command.
            caller: Who gives it; None for somebody on the control socket who sends no file.

        Raises:
            BadRequest: There is no such command, or it takes no file.
            NotRunning: The service is stopping, and the command would change something.
        """
        name, caller = request.get("command"), caller or Caller()
        sending = self._sending.get(str(name))
        if sending is not None:
            self._refuse_at_the_end(name)
            return cast("Awaitable[Json]", self.route(str(name), sending)(request, caller))
        if caller.fds:
            self.find(name)
            raise BadRequest("the command takes no file")
        return self.find(name)(request)

    def find(self, name: object) -> Command | StreamingCommand:
        """Return the command of this name.

        Raises:
            BadRequest: There is no such command.
            NotRunning: The service is stopping, and the command would change something.
        """
        command = self.plain(name)
        self._refuse_at_the_end(name)
        return cast("Command | StreamingCommand", self.route(str(name), command))

    def plain(self, name: object) -> Command | StreamingCommand:
        """Return the command of this name, for accounts that run here.

        Raises:
            BadRequest: There is no such command.
        """
        command = self._once.get(str(name)) or self._streaming.get(str(name))
        if command is None:
            raise BadRequest(
                f"the service (version {__version__}) does not know this command", key="unknown_command"
            )
        return command

    def _refuse_at_the_end(self, name: object) -> None:
        if self.stopping and name not in LOOKING:
            raise NotRunning("the service is stopping")

    # To look

    async def _list(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "reveal", "own")
        own = arguments.flag("own")
        if not own:
            await self.whole.refresh()
        names = self._known(arguments.names(), own=own)
        reveal = arguments.flag("reveal")
        result: Json = {"accounts": await self._with_usage(names, reveal=reveal)}
        if not arguments.names():
            result["without_account"] = await self._supervisor.reloader.find_strays()
        return result | self.whole.about(own=own) | {"maintenance": iso(self._supervisor.upkeep.since)}

    async def _watch(self, request: Json) -> Events:
        arguments = Arguments(request, "names", "reveal", "numbers", "own")
        wanted, own = arguments.names(), arguments.flag("own")
        reveal, numbers = arguments.flag("reveal"), arguments.flag("numbers")
        supervisor = self._supervisor
        changed, gone = self._known(wanted, own=own), list[str]()
        version = supervisor.version
        is_first = not wanted
        while True:
            if changed or gone or is_first:
                told = {"gone": gone, **self.whole.apart(changed, own=own)}
                yield {"accounts": await self._with_usage(changed, reveal=reveal), **told}
            is_first = False
            await asyncio.sleep(WATCH_SECONDS)
            while supervisor.version == version:
                await supervisor.wait_for_change()
            changed, gone = self.whole.changed_since(version, numbers=numbers, own=own)
            version = supervisor.version
            if wanted:
                changed = [name for name in changed if name in wanted]
                gone = [name for name in gone if name in wanted]
            gone = [name for name in gone if name not in changed]  # an account may have come back

    async def _explain(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "reveal", "entries")
        name = arguments.name()
        entries = arguments.number("entries", TIMELINE_ENTRIES, MAX_TIMELINE_ENTRIES)
        await self.whole.refresh()
        about = self.whole.describe(name, reveal=arguments.flag("reveal"))
        timeline = await self._supervisor.timeline(name, entries)
        if self.whole.is_here(name):
            (about,) = await self._usage.add([about])
        ahead = outlook(about).as_json()
        since = iso(self._supervisor.upkeep.since)
        return {"account": about.as_json(), "outlook": ahead, "timeline": timeline, "maintenance": since}

    async def _with_usage(self, names: Iterable[str], *, reveal: bool) -> list[Json]:
        # All views are made at once: the service may change while the processes are looked at.
        views = [self.whole.describe(name, reveal=reveal) for name in names]
        here = {view.name for view in views if self.whole.is_here(view.name)}
        used = {one.name: one for one in await self._usage.add([one for one in views if one.name in here])}
        return [used.get(view.name, view).as_json() for view in views]

    async def _about(self, request: Json) -> Json:
        Arguments(request)
        settings = self._supervisor.settings
        return {
            "version": __version__,
            "view_version": view.VERSION,
            "neonize": self._supervisor.library,
            "pid": os.getpid(),
            "started_at": iso(self._started_at),
            "config_file": str(settings.config_file),
            "state_dir": str(settings.state_dir),
            "accounts": self._supervisor.counts().total(),
            "unseen": self._supervisor.looking.missed(),
            "refused": self.refused,
            "maintenance": iso(self._supervisor.upkeep.since),
        }

    # To act

    async def _start(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all", "as_all")
        return await self._order(Order.START, self._named(arguments), by_name=not _for_all(arguments))

    async def _restart(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all", "as_all")
        names = self._named(arguments)
        if _for_all(arguments):  # as `list --check` has it: what somebody stopped on purpose stays so
            names = [name for name in names if not self._is_stopped(name)]
        machines = map(self._supervisor.machine, names)
        if any(machine is not None and machine.child is not None for machine in machines):
            try:
                await self._supervisor.try_start()  # before accounts that work are disconnected
            except OrchestratorError as error:
                raise OrchestratorError(f"nothing was restarted: {error}", key=error.key) from None
        return await self._order(Order.RESTART, names, by_name=not _for_all(arguments))

    def _is_stopped(self, name: str) -> bool:
        machine = self._supervisor.machine(name)
        return machine is not None and machine.stopped

    async def _stop(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all", "as_all", "wait")
        result = await self._order(Order.STOP, self._named(arguments))
        if arguments.flag("wait"):
            await self._until_stopped(result["done"])
            result["accounts"] = self._describe(result["done"])
        return result

    async def _order(self, order: Order, names: Iterable[str], *, by_name: bool = False) -> Json:
        """Give an order to each account. An error of one account does not affect the others."""
        done: list[str] = []
        errors: dict[str, Json] = {}
        for name in names:
            try:
                self._supervisor.order(name, order, by_name=by_name, save=False)
            except OrchestratorError as error:
                errors[name] = error_answer(error)
            except Exception:
                log.exception("%s: unhandled exception in the order %s", name, order)
                errors[name] = error_answer(OrchestratorError(f"{name}: {BUG}", key="internal_error"))
            else:
                done.append(name)
        result: Json = {"done": done, "errors": errors, "accounts": self._describe(done)}
        if done and self._supervisor.upkeep.since is not None and not by_name and order is not Order.STOP:
            result["warning"] = WAIT
        if done and not (self._supervisor.save() and await self._supervisor.is_kept()):
            result["warning"] = (
                f"the service forgets this order when it ends: {self._supervisor.record_place} cannot be"
                " written; the service's log says why"
            )
        return result

    def _describe(self, names: Iterable[str]) -> list[Json]:
        known = set(self.whole.names())
        return [self.whole.describe(name).as_json() for name in names if name in known]

    async def _until_stopped(self, names: Iterable[str]) -> None:
        left = set(names)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while left := {
                    n for n in left & set(self._supervisor.names()) if self._supervisor.is_stopping(n)
                }:
                    await self._supervisor.wait_for_change()
        except TimeoutError:
            names = ", ".join(sorted(left))
            raise OrchestratorError(
                f"still stopping after {STOP_SECONDS:.0f} s: {names}; see the service's log",
                key="still_stopping",
            ) from None

    async def _reload(self, request: Json) -> Json:
        Arguments(request)
        changes = await self._supervisor.reload()
        return {**changes, "without_account": self._supervisor.reloader.strays()}

    async def _remove(self, request: Json) -> Json:
        """Remove an account from the service after the command has removed it from the configuration.

        Commands edit the configuration themselves, since they run as the operator, who owns the file.
        """
        arguments = Arguments(request, "name", "keep_session", "unlink")
        name = arguments.name()
        (name,) = self._known([name])
        unlink = arguments.flag("unlink") and not arguments.flag("keep_session")
        machine, linked = self._supervisor.machine(name), self._supervisor.is_linked(name)
        drop = () if arguments.flag("keep_session") else (name,)
        result = await self._supervisor.reload(drop=drop, unlink=unlink)
        if name in self._supervisor.settings.accounts:
            raise OrchestratorError(
                f"{name} is still in {self._supervisor.settings.config_file}: remove the account there first",
                key="still_configured",
            )
        await self._until_gone(name)
        self._supervisor.forget(name)
        if unlink and linked and machine is not None and machine.parting is not None:
            result |= {"unlinked": machine.parting.unlinked, "why_linked": machine.parting.why}
        return result

    async def _rename(self, request: Json) -> Json:
        """Rename an account in three steps: ``begin``, the command's edit of the configuration, and the rest.

        If the command ends early, the next reload does the rest.
        """
        arguments = Arguments(request, "name", "new", "begin")
        name, new = arguments.name(), arguments.text("new")
        if not is_name(new) or name == new:
            raise BadRequest("new must be a valid name, and another one than name")
        begins = arguments.flag("begin")
        edit = await self._supervisor.reloader.begin_rename(name, new, anew=begins)
        if begins:
            return {"edit": edit}
        await self._supervisor.reload()
        return {"accounts": self._describe([new])}

    async def _restore(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "quarantine")
        name = arguments.name()
        about = await self._supervisor.leaving.restore(name, arguments.text("quarantine") or None)
        return {"folder": about.folder, "notes": list(about.notes), "accounts": self._describe([name])}

    async def _until_gone(self, name: str) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while name in self._supervisor.names() and name not in self._supervisor.settings.accounts:
                    await self._supervisor.wait_for_change()
        except TimeoutError:
            raise OrchestratorError(
                f"{name} is removed from the configuration, but its process still runs after"
                f" {STOP_SECONDS:.0f} s; the session moves to quarantine when the process has ended",
                key="still_stopping",
            ) from None

    # To pair

    async def _repair(self, request: Json) -> Events:
        arguments = Arguments(request, "name", "pairing", "any_phone", "wait")
        name = arguments.name()
        pairing = arguments.pairing()
        any_phone = arguments.flag("any_phone")
        self._supervisor.order(name, Order.REPAIR, pairing, any_phone=any_phone, by_name=True)
        if arguments.flag("wait"):
            async for event in follow(self._supervisor, name):
                yield event
        else:
            yield Result({"account": self._supervisor.describe(name).as_json()})

    # Shared

    def _known(self, names: list[str], *, own: bool = False) -> list[str]:
        """Return the names, or the names of all accounts if no name is given.

        Args:
            names: The names.
            own: Only accounts that run on this machine count.

        Raises:
            NoSuchAccount: Some names are unknown; the message has all of them.
        """
        known = self._supervisor.names() if own else self.whole.names()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise no_such_account(*unknown, known=known)
        return names or known

    def _named(self, arguments: Arguments) -> list[str]:
        names, everyone = arguments.names(), arguments.flag("all")
        if everyone == bool(names):
            raise BadRequest("name the accounts, or set all")
        if not everyone:
            return names
        accounts, here = self._supervisor.settings.accounts, {*self._supervisor.names()}
        return [name for name, settings in accounts.items() if settings.enabled and name in here]


def _for_all(arguments: Arguments) -> bool:
    """Tell whether the accounts are some of all, and were not named one by one."""
    return arguments.flag("all") or arguments.flag("as_all")


async def follow(supervisor: Supervisor, name: str) -> Events:
    """Yield an account's changes of state and its codes, until the account waits for no code. That is a look.

    An event has ``account``, as in a list, and ``stopping``: whether the old process still has to end. Or the
    event has ``code``: null, or ``kind`` ("qr" or "link"), ``text``, which is a secret, and ``expires_at``.
    The result is the account in its last state.

    Raises:
        NoSuchAccount: The account does not exist, or was removed.
    """
    async with supervisor.looking.on(name):
        async for event in _changes(supervisor, name):
            yield event


async def _changes(supervisor: Supervisor, name: str) -> Events:
    before: tuple[Any, ...] = ()
    shown: Code | LinkCode | None = None
    while True:
        version = supervisor.version
        about = supervisor.describe(name)
        settled = not supervisor.is_stopping(name)
        now = (about.state, about.reason, about.next_retry_at, settled)
        if now != before:
            before = now
            yield {"account": about.as_json(), "stopping": not settled}
        code = supervisor.code(name)
        if code is not shown:
            shown = code
            yield {"code": None if code is None else _code(code)}
        if settled and about.state in OVER:
            yield Result({"account": about.as_json()})
            return
        while supervisor.version == version:
            await supervisor.wait_for_change()


def _code(code: Code | LinkCode) -> Json:
    return {
        "kind": "qr" if isinstance(code, Code) else "link",
        "text": code.text if isinstance(code, Code) else code.code,
        "expires_at": iso(code.expires_at),
    }
