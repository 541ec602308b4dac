"""The commands of the control socket. The server hands over requests and sends the answers.

A command either returns its result, or it streams: then it yields events, and a `Result` as the last one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from orchestrator import __version__
from orchestrator.accounts import deadlines
from orchestrator.accounts.events import Order
from orchestrator.accounts.names import is_name, no_such_account
from orchestrator.accounts.pipe import Code, LinkCode
from orchestrator.accounts.states import State
from orchestrator.control import view
from orchestrator.control.outlook import outlook
from orchestrator.control.protocol import Json, error_answer
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service.control.arguments import Arguments, BadRequest
from orchestrator.service.supervisor import Supervisor
from orchestrator.service.usage import UsageReader
from orchestrator.service.view import BUG
from orchestrator.system.clock import iso

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.25
"""Seconds between two events of one `watch`: changes within this time go out together."""
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
"""The states in which an account waits for no code."""


@dataclass(frozen=True, slots=True)
class Result:
    """The last line of a command that streams."""

    value: Json


Events: TypeAlias = AsyncGenerator[Json | Result, None]
Command: TypeAlias = Callable[[Json], Awaitable[Json]]
StreamingCommand: TypeAlias = Callable[[Json], Events]


class Commands:
    """The commands of a running service.

    Args:
        supervisor: Runs the accounts.

    Attributes:
        stopping: Whether the service is stopping. Then only commands that look are taken.
        refused: How many connections of other users were refused.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.stopping = False
        self.refused = 0
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
            "send": self._send,
            "ping": self._about,
            "trial": self._trial,
        }
        self._streaming: dict[str, StreamingCommand] = {
            "watch": self._watch,
            "repair": self._repair,
            "qr": self._qr,
        }

    def find(self, name: object) -> Command | StreamingCommand:
        """Return the command of this name.

        Raises:
            BadRequest: There is no such command.
            NotRunning: The service is stopping, and the command would change something.
        """
        command = self._once.get(str(name)) or self._streaming.get(str(name))
        if command is None:
            raise BadRequest(
                f"the service (version {__version__}) does not know this command", key="unknown_command"
            )
        if self.stopping and name not in ("list", "watch", "explain", "ping"):
            raise NotRunning("the service is stopping")
        return command

    # To look

    async def _list(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "reveal")
        names = self._known(arguments.names())
        reveal = arguments.flag("reveal")
        result: Json = {"accounts": await self._with_usage(names, reveal=reveal)}
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
                yield {"accounts": await self._with_usage(changed, reveal=reveal), "gone": gone}
            await asyncio.sleep(WATCH_SECONDS)
            while supervisor.version == version:
                await supervisor.wait_for_change()
            changed, gone = supervisor.changed_since(version)
            version = supervisor.version
            if wanted:
                changed = [name for name in changed if name in wanted]
                gone = [name for name in gone if name in wanted]
            gone = [name for name in gone if name not in changed]  # an account may have come back

    async def _explain(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "reveal", "entries")
        name = arguments.name()
        entries = arguments.number("entries", TIMELINE_ENTRIES, MAX_TIMELINE_ENTRIES)
        about = self._supervisor.describe(name, reveal=arguments.flag("reveal"))
        timeline = self._supervisor.timeline(name, entries)
        (about,) = await self._usage.add([about])
        return {"account": about.as_json(), "outlook": outlook(about).as_json(), "timeline": timeline}

    async def _with_usage(self, names: Iterable[str], *, reveal: bool) -> list[Json]:
        # All views are made at once: the service may change while the processes are looked at.
        views = [self._supervisor.describe(name, reveal=reveal) for name in names]
        return [view.as_json() for view in await self._usage.add(views)]

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
            "accounts": len(self._supervisor.names()),
            "refused": self.refused,
        }

    async def _trial(self, request: Json) -> Json:
        """Test whether processes can be started."""
        Arguments(request)
        await self._supervisor.try_start()
        return {}

    # To act

    async def _start(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all")
        return self._order(Order.START, self._named(arguments), by_name=not arguments.flag("all"))

    async def _restart(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all")
        names = self._named(arguments)
        machines = map(self._supervisor.machine, names)
        if any(machine is not None and machine.child is not None for machine in machines):
            try:
                await self._supervisor.try_start()  # before accounts that work are disconnected
            except OrchestratorError as error:
                raise OrchestratorError(f"nothing was restarted: {error}", key=error.key) from None
        return self._order(Order.RESTART, names, by_name=not arguments.flag("all"))

    async def _stop(self, request: Json) -> Json:
        arguments = Arguments(request, "names", "all", "wait")
        result = self._order(Order.STOP, self._named(arguments))
        if arguments.flag("wait"):
            await self._until_stopped(result["done"])
            result["accounts"] = self._describe(result["done"])
        return result

    def _order(self, order: Order, names: Iterable[str], *, by_name: bool = False) -> Json:
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
        if done and not self._supervisor.save():
            result["warning"] = (
                f"the service forgets this order when it ends: {self._supervisor.record_place} cannot be"
                " written; the service's log says why"
            )
        return result

    def _describe(self, names: Iterable[str]) -> list[Json]:
        known = set(self._supervisor.names())
        return [self._supervisor.describe(name).as_json() for name in names if name in known]

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
        return {**changes, "without_account": self._supervisor.strays()}

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
                f"{name} is removed from the configuration, but its process still runs after"
                f" {STOP_SECONDS:.0f} s; the session moves to quarantine when the process has ended",
                key="still_stopping",
            ) from None

    async def _send(self, request: Json) -> Json:
        arguments = Arguments(request, "name", "to", "text")
        name = arguments.name()
        (name,) = self._known([name])
        await self._supervisor.send(name, arguments.text("to"), arguments.text("text"))
        return {}

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

    async def _qr(self, request: Json) -> Events:
        name = Arguments(request, "name").name()
        state = State(self._supervisor.describe(name).state)
        if state in OVER and not self._supervisor.is_stopping(name):
            if state is State.CONNECTED:
                raise OrchestratorError(
                    f"{name} is connected: there is no code to scan", key="already_connected"
                )
            raise OrchestratorError(
                f"{name} is {state}, so there is no code: `orchestrator explain {name}` says why,"
                f" `orchestrator repair {name}` pairs the account again",
                key="no_code",
            )
        async for event in follow(self._supervisor, name):
            yield event

    # Shared

    def _known(self, names: list[str]) -> list[str]:
        """Return the names, or the names of all accounts if no name is given.

        Raises:
            NoSuchAccount: Some names are unknown; the message has all of them.
        """
        known = self._supervisor.names()
        unknown = [name for name in names if name not in known]
        if unknown:
            raise no_such_account(*unknown, known=known)
        return names or known

    def _named(self, arguments: Arguments) -> list[str]:
        names = arguments.names()
        everyone = arguments.flag("all")
        if everyone == bool(names):
            raise BadRequest("name the accounts, or set all")
        if not everyone:
            return names
        accounts = self._supervisor.settings.accounts
        return [name for name, settings in accounts.items() if settings.enabled]


async def follow(supervisor: Supervisor, name: str) -> Events:
    """Yield an account's changes of state and its codes, until the account waits for no code.

    An event has ``account``, as in a list, and ``stopping``: whether the old process still has to end. Or the
    event has ``code``: null, or ``kind`` ("qr" or "link"), ``text``, which is a secret, and ``expires_at``.
    The result is the account in its last state.

    Raises:
        NoSuchAccount: The account does not exist, or was removed.
    """
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
