"""A bot that somebody runs by hand: attached to the running service, and started anew when its code changes.

To start anew, the process executes itself once more. So no trace of the old code is left, and no other
process has to be looked after.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from orchestrator.accounts import names
from orchestrator.bots import changes, loader, quiet, serving
from orchestrator.bots.bot import Bot
from orchestrator.bots.errors import BotError
from orchestrator.bots.runner import Outcome
from orchestrator.bots.serving import Serving
from orchestrator.control.client import Client, Stream
from orchestrator.control.companions import BotExit
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.system import interpreter, logs

T = TypeVar("T")

VARIABLE: Final = "ORCHESTRATOR_BOT_ATTACHED"
"""The variable with the descriptor of the connection that the process had before it began anew."""


@dataclass(slots=True)
class Run:
    """A bot that is run by hand.

    Attributes:
        app: The bot, as ``module:attribute``.
        folder: The folder with the module, absolute.
        name: The bot's name as a consumer, None for one after its module.
        accounts: The accounts that it may use, None for all.
        events: Patterns of the types that it gets, None for those that it has handlers for.
        seconds: How long a handler may take.
        reload: Whether it starts anew when its code changes.
        show_errors: Whether the texts of exceptions are shown.
        client: Asks the service.
        say: Prints a line.
    """

    app: str
    folder: Path
    name: str | None
    accounts: Sequence[str] | None
    events: Sequence[str] | None
    seconds: int
    reload: bool
    show_errors: bool
    client: Client
    say: Callable[[str], None]
    _before: int | None = field(default=None, init=False)
    _stream: Stream | None = field(default=None, init=False)
    _marks: changes.Marks = field(default_factory=dict, init=False)

    def run(self) -> None:
        """Run the bot until Ctrl-C.

        Raises:
            BotError: The bot cannot be loaded, and it is not started anew.
            OrchestratorError: The service cannot be asked, refuses, or has ended.
        """
        before = os.environ.pop(VARIABLE, "")
        self._before = int(before) if before.isdigit() else None
        handler = logs.configure("INFO", "text")
        if not self.show_errors:
            quiet.keep_out(handler, self.folder)
        loader.split(self.app)  # what is no name of a bot will not become one
        self._marks = changes.mark(changes.sources(self.folder))  # what changes from now on may not be loaded
        try:
            bot = loader.load(self.app, self.folder)
        except BotError as error:
            self._cannot_load(error)
            return
        with self._attached(bot) as stream:
            serving.run(self._serve(bot, stream), show_errors=self.show_errors)

    def _cannot_load(self, error: BotError) -> None:
        if not self.reload:
            if error.trace:
                self.say(error.trace.rstrip("\n"))
            raise error
        self.say(f"{error.trace}the bot does not run: {error}")
        self.say("waiting for a change of its files; Ctrl-C ends it")
        before = self._marks | changes.mark(changes.loaded(self.folder) - self._marks.keys())
        # Another module may appear: it is the one that was missing, perhaps.
        while (file := changes.changed(before)) is None and changes.sources(self.folder) <= before.keys():
            time.sleep(changes.POLL_SECONDS)
        self._begin_anew(f"{self._short(file)} has changed" if file else "there is a new file")

    @contextlib.contextmanager
    def _attached(self, bot: Bot) -> Iterator[Stream]:
        """Attach the bot to the service, and let go of the connection that the process had before."""
        events = [*(self.events or bot.types)]
        about: dict[str, object] = {"name": self._consumer, "events": events, "timeout": self.seconds}
        if self.accounts:
            about["accounts"] = list(self.accounts)
        with self.client.stream("attach", **about, replace=self._before is not None) as stream:
            self._stream = stream
            yield stream

    @property
    def _consumer(self) -> str:
        if self.name is not None:
            return self.name
        module = self.app.partition(":")[0].lower()
        name = f"dev-{re.sub('[^a-z0-9._-]', '-', module)}"[:63]
        return names.check_name(name)

    async def _serve(self, bot: Bot, stream: Stream) -> None:
        """Serve one gateway after the other: the service hands over a socket for each."""
        loop = asyncio.get_running_loop()
        sockets: asyncio.Queue[socket.socket] = asyncio.Queue()
        over: asyncio.Future[str] = loop.create_future()
        events = iter(stream)

        def more() -> None:
            try:
                next(events)
                for descriptor in stream.take_fds():
                    sockets.put_nowait(socket.socket(fileno=descriptor))
            except (OrchestratorError, StopIteration) as error:
                loop.remove_reader(connection)
                _end(
                    over,
                    error if isinstance(error, OrchestratorError) else NotRunning("the service has ended"),
                )

        def interrupt() -> None:
            if over.done():  # for the second time
                serving.end(BotExit.ASKED)
            _end(over, "")

        connection = os.dup(stream.fileno())
        loop.add_reader(connection, more)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, interrupt)
        watching = loop.create_task(self._watch(over))
        try:
            while not over.done():
                sock = await _either(sockets.get(), over)
                if sock is not None:
                    await self._with(bot, sock, over)
            if why := over.result():
                self._begin_anew(why)
        finally:
            watching.cancel()
            loop.remove_reader(connection)
            os.close(connection)

    async def _with(self, bot: Bot, sock: socket.socket, over: asyncio.Future[str]) -> None:
        """Serve one gateway until it is gone, or all is over."""
        one = Serving(
            bot,
            sock,
            folder=self.folder,
            seconds=self.seconds,
            show_errors=self.show_errors,
            tell=self._tell,
            ready=lambda: self.say(f"{self._consumer}: ready for {self._whose}; Ctrl-C ends it"),
        )
        run = asyncio.get_running_loop().create_task(one.run())
        await asyncio.wait((run, over), return_when=asyncio.FIRST_COMPLETED)
        if over.done():
            one.stop()
        why = await run
        if why is BotExit.HUNG:
            _end(over, "a handler cannot be ended otherwise")
        elif why is BotExit.NO_GATEWAY and not over.done():
            self.say("the gateway is gone; waiting for the next one")

    async def _watch(self, over: asyncio.Future[str]) -> None:
        """End everything when a file of the bot has changed."""
        loaded = changes.loaded(self.folder)
        before: changes.Marks = {file: was for file, was in self._marks.items() if file in loaded}
        while self.reload:
            # A handler may import more.
            before |= changes.mark(changes.loaded(self.folder) - before.keys())
            await asyncio.sleep(changes.POLL_SECONDS)
            if (file := changes.changed(before)) is not None:
                _end(over, f"{self._short(file)} has changed")
                return

    def _begin_anew(self, why: str) -> NoReturn:
        """Execute this program once more. The service keeps the bot's place meanwhile."""
        self.say(f"{why}: starting anew")
        descriptor = self._before if self._stream is None else self._stream.fileno()
        if descriptor is not None:
            os.set_inheritable(descriptor, True)
            os.environ[VARIABLE] = str(descriptor)
        sys.stdout.flush()
        sys.stderr.flush()
        command = interpreter.again()
        os.execv(command[0], command)

    def _tell(self, raw: Mapping[str, Any], outcome: Outcome) -> None:
        """Print a line for an event, without anything that somebody has written."""
        data = raw.get("data")
        kind = data.get("kind") if isinstance(data, dict) and raw.get("type") == "message.received" else None
        about = " ".join(str(one) for one in (raw.get("id"), raw.get("type"), kind) if one)
        took = f"{outcome.seconds * 1000:.0f} ms"
        match outcome.result:
            case "ignored":
                came = "no handler is for it"
            case "failed":
                came = f"{outcome.handler} failed: {outcome.why}"
            case result:
                came = f"{outcome.handler} {'has handled it' if result == 'done' else 'rejected it'}"
        self.say(f"{time.strftime('%H:%M:%S')} {about}: {came} ({took})")

    @property
    def _whose(self) -> str:
        return ", ".join(self.accounts) if self.accounts else "all accounts"

    def _short(self, file: Path) -> str:
        return str(file.relative_to(self.folder)) if file.is_relative_to(self.folder) else str(file)


def _end(over: asyncio.Future[str], why: str | OrchestratorError) -> None:
    if not over.done():
        if isinstance(why, str):
            over.set_result(why)
        else:
            over.set_exception(why)


async def _either(wanted: Coroutine[Any, Any, T], over: asyncio.Future[str]) -> T | None:
    """Return what is wanted, None if all is over before."""
    task = asyncio.ensure_future(wanted)
    await asyncio.wait((task, over), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        return task.result()
    task.cancel()
    return None
