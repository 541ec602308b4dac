"""What each command of the control socket does. The server hands over requests and sends out what comes back.

A command either returns its result, or goes on and yields events; its last word is then a `Result`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from orchestrator import __version__
from orchestrator.accounts import deadlines
from orchestrator.accounts.characters import remark
from orchestrator.accounts.events import Order
from orchestrator.accounts.names import is_name
from orchestrator.accounts.pipe import Code, LinkCode
from orchestrator.accounts.states import State
from orchestrator.control.outlook import outlook
from orchestrator.control.protocol import Json
from orchestrator.errors import NoSuchAccount, NotRunning, OrchestratorError
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.supervisor import Supervisor
from orchestrator.system.clock import iso

WATCH_SECONDS = 0.25
"""Seconds between two events of one `watch`: what changes meanwhile goes out together."""
STOP_SECONDS = deadlines.STOP_COMMAND.outer
"""How long `stop` waits for the end of a process."""
TIMELINE_ENTRIES = 20
"""Entries of the timeline in `explain`, unless asked for more."""
MAX_TIMELINE_ENTRIES = 1000

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
"""The states in which nobody waits for a code any more."""


@dataclass(frozen=True, slots=True)
class Result:
    """The last word of a command that goes on."""

    value: Json


Events: TypeAlias = AsyncGenerator[Json | Result, None]
Command: TypeAlias = Callable[[Json], Awaitable[Json]]
StreamingCommand: TypeAlias = Callable[[Json], Events]


class Commands:
    """The commands, on a running supervisor.

    Args:
        supervisor: What they are about.

    Attributes:
        stopping: Whether the service is about to end; then nothing new is begun.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.stopping = False
        self._supervisor = supervisor
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
            "send": self._send,
            "ping": self._about,
            "version": self._about,
            "trial": self._trial,
        }
        self._streaming: dict[str, StreamingCommand] = {
            "watch": self._watch,
            "repair": self._repair,
            "qr": self._qr,
        }

    def find(self, name: object) -> Command | StreamingCommand:
        """Return the command of a name.

        Raises:
            BadRequest: There is none.
            NotRunning: The service is about to end, and the command would begin something.
        """
        command = self._once.get(str(name)) or self._streaming.get(str(name))
        if command is None:
            raise BadRequest(f"this service (version {__version__}) knows no such command")
        if self.stopping and name not in ("list", "watch", "explain", "ping", "version"):
            raise NotRunning("the service is about to stop")
        return command

    # To look at

    async def _list(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "reveal")
        names = self._known(arguments.names())
        reveal = arguments.flag("reveal")
        result: Json = {"accounts": [self._supervisor.describe(name, reveal=reveal) for name in names]}
        if not arguments.names():
            result["without_account"] = self._supervisor.strays()
        return result

    async def _watch(self, request: Json) -> Events:
        arguments = Arguments(request, "names", "reveal")
        wanted = arguments.names()
        reveal = arguments.flag("reveal")
        supervisor = self._supervisor
        changed, gone = self._known(wanted), list[str]()
        version = supervisor.version
        while True:
            if changed or gone or not wanted:
                yield {
                    "accounts": [supervisor.describe(name, reveal=reveal) for name in changed],
                    "gone": gone,
                }
            await asyncio.sleep(WATCH_SECONDS)
            while supervisor.version == version:
                await supervisor.wait_for_change()
            changed, gone = supervisor.changed_since(version)
            version = supervisor.version
            if wanted:
                changed = [name for name in changed if name in wanted]
                gone = [name for name in gone if name in wanted]
            gone = [name for name in gone if name not in changed]  # such a one has come back since

    async def _explain(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "reveal", "entries")
        name = arguments.name()
        entries = arguments.number("entries", TIMELINE_ENTRIES, MAX_TIMELINE_ENTRIES)
        about = self._supervisor.describe(name, reveal=arguments.flag("reveal"))
        return {
            "account": about,
            "outlook": outlook(about).as_json(),
            "timeline": self._supervisor.timeline(name, entries),
        }

    async def _about(self, request: Json) -> Json:
        Arguments(request)
        settings = self._supervisor.settings
        return {
            "version": __version__,
            "neonize": self._supervisor.library,
            "pid": os.getpid(),
            "started_at": iso(self._started_at),
            "config_file": str(settings.config_file),
            "state_dir": str(settings.state_dir),
            "accounts": len(self._supervisor.names()),
        }

    async def _trial(self, request: Json) -> Json:
        """See that processes can be started."""
        Arguments(request)
        await self._supervisor.try_start()
        return {}

    # To act

    async def _start(self, request: Json) -> Json:
        return self._order(Order.START, self._named(Arguments(request, "names", "all")))

    async def _restart(self, request: Json) -> Json:
        names = self._named(Arguments(request, "names", "all"))
        if any(map(self._supervisor.has_process, names)):
            try:
                await self._supervisor.try_start()  # or accounts that work would be taken away for nothing
            except OrchestratorError as error:
                raise OrchestratorError(f"nothing was restarted: {error}") from None
        return self._order(Order.RESTART, names)

    async def _stop(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all", "wait")
        result = self._order(Order.STOP, self._named(arguments))
        if arguments.flag("wait"):
            await self._until_stopped(result["done"])
            result["accounts"] = self._describe(result["done"])
        return result

    def _order(self, order: Order, names: Iterable[str]) -> Json:
        """Give an order to each; what one cannot do keeps no other from doing it."""
        done: list[str] = []
        errors: dict[str, Json] = {}
        for name in names:
            try:
                self._supervisor.order(name, order, save=False)
            except OrchestratorError as error:
                errors[name] = {"error": str(error), "exit_code": error.exit_code}
            else:
                done.append(name)
        result: Json = {"done": done, "errors": errors, "accounts": self._describe(done)}
        if done and not self._supervisor.save():
            result["warning"] = (
                f"this is forgotten when the service ends: {self._supervisor.record_place} cannot be written,"
                " and the service's log says why"
            )
        return result

    def _describe(self, names: Iterable[str]) -> list[Json]:
        known = set(self._supervisor.names())
        return [self._supervisor.describe(name) for name in names if name in known]

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
                f"still stopping after {STOP_SECONDS:.0f} s: {names}; the service's log says more"
            ) from None

    async def _reload(self, request: Json) -> Json:
        Arguments(request)
        changes = await self._supervisor.reload()
        return {**changes, "without_account": self._supervisor.strays()}

    async def _remove(self, request: Json) -> Json:
        """Take an account that the configuration does not name any more out of the service.

        Commands edit the configuration themselves: they run as the operator, whose file it is.
        """
        arguments = Arguments(request, "name", "keep_session")
        name = arguments.name()
        (name,) = self._known([name])
        result = await self._supervisor.reload(drop=() if arguments.flag("keep_session") else (name,))
        if name in self._supervisor.settings.accounts:
            raise OrchestratorError(
                f"{name} is still in {self._supervisor.settings.config_file}: take it out there first"
            )
        await self._until_gone(name)
        self._supervisor.forget(name)
        return result

    async def _rename(self, request: Json) -> Json:
        """Rename an account: first ``begin``, then the configuration is edited by the command, then the rest.

        What the command does not come to do, the next reading of the configuration does.
        """
        arguments = Arguments(request, "name", "new", "begin")
        name, new = arguments.name(), arguments.text("new")
        if not is_name(new) or name == new:
            raise BadRequest("new must be another name, and a valid one")
        begins = arguments.flag("begin")
        edit = await self._supervisor.begin_rename(name, new, anew=begins)
        if begins:
            return {"edit": edit}
        await self._supervisor.reload()
        return {"accounts": self._describe([new])}

    async def _restore(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "quarantine")
        name = arguments.name()
        about = await self._supervisor.restore(name, arguments.text("quarantine") or None)
        return {"folder": about.folder, "notes": list(about.notes), "accounts": self._describe([name])}

    async def _until_gone(self, name: str) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                while name in self._supervisor.names() and name not in self._supervisor.settings.accounts:
                    await self._supervisor.wait_for_change()
        except TimeoutError:
            raise OrchestratorError(
                f"{name} is out of the configuration, but its process still runs after {STOP_SECONDS:.0f} s;"
                " its session is put into quarantine when it has ended"
            ) from None

    async def _send(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "to", "text")
        name = arguments.name()
        (name,) = self._known([name])
        await self._supervisor.send(name, arguments.text("to"), arguments.text("text"))
        return {}

    # To pair

    async def _repair(self, request: Json) -> Events:
        arguments = Arguments(request, "name", "pairing", "wait")
        name = arguments.name()
        pairing = arguments.pairing()
        self._supervisor.order(name, Order.REPAIR, pairing)
        if arguments.flag("wait"):
            async for event in follow(self._supervisor, name):
                yield event
        else:
            yield Result({"account": self._supervisor.describe(name)})

    async def _qr(self, request: Json) -> Events:
        name = Arguments(request, "name").name()
        about = self._supervisor.describe(name)
        state = State(about["state"])
        if state in OVER and not self._supervisor.is_stopping(name):
            if state is State.CONNECTED:
                raise OrchestratorError(f"{name} is connected: there is no code to scan")
            raise OrchestratorError(
                f"{name} is {state}, so it shows no code: `orchestrator explain {name}` says why,"
                f" `orchestrator repair {name}` pairs it again"
            )
        async for event in follow(self._supervisor, name):
            yield event

    # What they have in common

    def _known(self, names: list[str]) -> list[str]:
        """Return the names, or all if there are none.

        Raises:
            NoSuchAccount: There is none of that name; the message has all of those.
        """
        known = self._supervisor.names()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise NoSuchAccount(no_such_account(unknown))
        return names or known

    def _named(self, arguments: Arguments) -> list[str]:
        names = arguments.names()
        everyone = arguments.flag("all")
        if everyone == bool(names):
            raise BadRequest("name the accounts, or ask for all of them")
        if not everyone:
            return names
        accounts = self._supervisor.settings.accounts
        return [name for name, settings in accounts.items() if settings.enabled]


def no_such_account(names: Iterable[str]) -> str:
    """Say that there are no accounts of these names."""
    unknown = ", ".join(f"{name!r}{remark(name)}" for name in names)
    return f"there is no account {unknown}; `orchestrator list` shows them"


async def follow(supervisor: Supervisor, name: str) -> Events:
    """Yield the changes of an account's state, and its codes, until nobody waits for a code any more.

    An event has ``account``, as in a list, and ``stopping``, whether its old process is still to end; or it
    has ``code``: null, or ``kind`` ("qr" or "link"), ``text``, which is a secret, and ``expires_at``. The
    result is the account in its last state.

    Raises:
        NoSuchAccount: There is none, or not any more.
    """
    before: tuple[Any, ...] = ()
    shown: Code | LinkCode | None = None
    while True:
        version = supervisor.version
        about = supervisor.describe(name)
        settled = not supervisor.is_stopping(name)
        now = (about["state"], about["reason"], about["next_retry_at"], settled)
        if now != before:
            before = now
            yield {"account": about, "stopping": not settled}
        code = supervisor.code(name)
        if code is not shown:
            shown = code
            yield {"code": None if code is None else _code(code)}
        if settled and State(about["state"]) in OVER:
            yield Result({"account": about})
            return
        while supervisor.version == version:
            await supervisor.wait_for_change()


def _code(code: Code | LinkCode) -> Json:
    return {
        "kind": "qr" if isinstance(code, Code) else "link",
        "text": code.text if isinstance(code, Code) else code.code,
        "expires_at": iso(code.expires_at),
    }
