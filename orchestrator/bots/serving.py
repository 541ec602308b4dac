"""A bot's side of its port: takes events, answers what came of them, and asks for what handlers want."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import faulthandler
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from orchestrator.bots import quiet, runner
from orchestrator.bots.bot import Bot
from orchestrator.bots.contents import Source
from orchestrator.bots.runner import Outcome, Runner
from orchestrator.control.companions import BEAT_SECONDS, BotExit
from orchestrator.control.port import Port, Request
from orchestrator.control.protocol import Json
from orchestrator.errors import OrchestratorError

log = logging.getLogger("orchestrator.bots")

T = TypeVar("T")

MAX_EVENT: Final = 4 * 1024 * 1024
"""Bytes of an event. Longer ones than fit into a request come as a file in memory."""
LEAVE_SECONDS: Final = 10.0
"""How long handlers may go on once the process is asked to end."""
HELLO_SECONDS: Final = 30.0
"""How long the service may take to hear of the bot."""
_TICK: Final = 2.0
"""How often the event loop shows that nobody blocks it."""
_MARGIN: Final = 10.0
"""Seconds beyond a handler's deadline after which the event loop counts as blocked, or as many as the
deadline has, if these are fewer. A coroutine that awaits is canceled before."""

Tell = Callable[[Mapping[str, Any], Outcome], None]
"""Hears of each event that was handled."""


class Serving:
    """Runs a bot at one end of a port, in an event loop.

    Args:
        bot: The bot.
        sock: The end of the port, which is owned from now on.
        folder: The folder with the bot's code.
        seconds: How long a handler may take.
        beat: A descriptor on which to say that all is well; None if nobody listens.
        show_errors: Log the texts of exceptions, too; see `Runner`.
        tell: Hears of each event that was handled.
        ready: Is called when the service has taken the bot.
    """

    def __init__(
        self,
        bot: Bot,
        sock: socket.socket,
        *,
        folder: Path,
        seconds: float = runner.SECONDS,
        beat: int | None = None,
        show_errors: bool = False,
        tell: Tell = lambda *_: None,
        ready: Callable[[], None] = lambda: None,
    ) -> None:
        self._bot = bot
        self._seconds = seconds
        self._beat = beat
        self._tell = tell
        self._ready = ready
        self._end: asyncio.Future[BotExit] = asyncio.get_running_loop().create_future()
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._port = Port(sock, self._serve, self._lost, peer="the service", finish=False)
        self._runner = Runner(bot, _Way(self._port), folder=folder, seconds=seconds, show_errors=show_errors)

    async def run(self) -> BotExit:
        """Handle events until somebody says that it is over; say why it is.

        Raises:
            OrchestratorError: The service does not take the bot.
        """
        loop = asyncio.get_running_loop()
        ticking = loop.create_task(self._tick())
        try:
            await self._port.call("hello", types=list(self._bot.types), seconds=HELLO_SECONDS)
            self._ready()
            why = await self._end
            if why is not BotExit.NO_GATEWAY:
                await self._leave(why)
            return why
        finally:
            ticking.cancel()
            faulthandler.cancel_dump_traceback_later()
            self._port.close()

    def stop(self, why: BotExit = BotExit.ASKED) -> None:
        """Have `run` end, as soon as handlers have ended or their time is over."""
        if not self._end.done():
            self._end.set_result(why)

    async def _leave(self, why: BotExit) -> None:
        """Take no more events, and let the handlers that run end."""
        with contextlib.suppress(OrchestratorError):
            # Also says that what was answered before has been read.
            await self._port.call("leaving", seconds=LEAVE_SECONDS)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(runner.GRACE if why is BotExit.HUNG else LEAVE_SECONDS):
                await self._idle.wait()
        with contextlib.suppress(OrchestratorError):
            await self._port.call("leaving", seconds=LEAVE_SECONDS)

    def _lost(self) -> None:
        log.info("the gateway is gone%s", f": {self._port.why}" if self._port.why else "")
        self.stop(BotExit.NO_GATEWAY)

    async def _serve(self, request: Request) -> Json:
        if request.command == "stop":
            self.stop()
            return {}
        if request.command != "event":
            raise OrchestratorError(f"a bot knows no {request.command}", key="unknown_command")
        raw, attempt = _event(request)
        self._running += 1
        self._idle.clear()
        try:
            outcome = await self._runner.handle(raw, attempt)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()
        self._tell(raw, outcome)
        if outcome.hung:
            log.critical(
                "a handler cannot be ended, so the process ends: what else it handles is brought again"
            )
            self.stop(BotExit.HUNG)
        return outcome.as_json()

    async def _tick(self) -> None:
        """Show that all is well, and be ended if that takes too long: see `faulthandler`.

        It tells which code has blocked the event loop, without any text.
        """
        beat_in = 0.0
        while True:
            patience = self._seconds + max(_TICK, min(self._seconds, _MARGIN))
            faulthandler.dump_traceback_later(patience, exit=True, file=sys.__stderr__ or 2)
            if self._beat is not None and beat_in <= 0:
                with contextlib.suppress(OSError):  # nobody reads: the service stands still, or is gone
                    os.write(self._beat, b".")
                beat_in = BEAT_SECONDS
            beat_in -= _TICK
            await asyncio.sleep(_TICK)


class _Way:
    """The way to the service, over a port."""

    def __init__(self, port: Port) -> None:
        self._port = port

    async def send(
        self,
        account: str,
        message: Json,
        event: str | None,
        place: int | None,
        *,
        file: Source = None,
        file_name: str | None = None,
        expires: float | None = None,
    ) -> Json:
        # The handler's deadline says how long; WhatsApp may be slow.
        with contextlib.ExitStack() as stack:
            fds = [] if file is None else [stack.enter_context(_opened(file)).fileno()]
            return await self._port.call(
                "send", seconds=None, fds=fds, account=account, message=message, event=event, place=place,
                file_name=file_name, expires=expires,
            )  # fmt: skip

    async def act(self, account: str, action: Json) -> Json:
        return await self._port.call("act", seconds=None, account=account, action=action)

    async def media(self, account: str, media: str) -> AsyncIterator[bytes]:
        while True:
            try:
                async for piece in self._port.stream("media", account=account, media=media):
                    yield _bytes(piece.get("data"))
            except OrchestratorError as error:
                if error.key != "media_pending":  # which says so within some seconds, and before any piece
                    raise
            else:
                return


def _event(request: Request) -> tuple[Mapping[str, Any], int]:
    """Return the event of a request, and which attempt it is.

    Raises:
        OrchestratorError: The request has another form.
    """
    text, attempt = request.arguments.get("event"), request.arguments.get("attempt")
    if text is None and request.fds:
        (descriptor,) = request.take_fds()[:1]
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            file.seek(0)
            text = file.read(MAX_EVENT).decode("ascii", "replace")
    try:
        raw = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        raw = None
    if not isinstance(raw, dict) or not isinstance(attempt, int):
        raise OrchestratorError("this is no event", key="bad_request")
    return raw, attempt


def _opened(source: bytes | str | Path) -> IO[bytes]:
    """Return a file, open to be read; bytes become a file in memory.

    Raises:
        OrchestratorError: It cannot be opened.
    """
    try:
        if not isinstance(source, bytes):
            return Path(source).open("rb")
        file = open(os.memfd_create("file", os.MFD_CLOEXEC), "w+b")  # noqa: PTH123, SIM115 - no path; the caller's
        file.write(source)
        file.flush()
    except OSError as error:
        raise OrchestratorError(f"the file cannot be opened: {error.strerror}", key="file_missing") from None
    return file


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except binascii.Error:
        raise OrchestratorError("the file does not arrive whole", key="protocol_mismatch") from None


def serve(make: Callable[[], Serving]) -> BotExit:
    """Run a bot in an event loop of its own, until it is over or a signal says so.

    Args:
        make: Makes what is run, in the event loop.

    Raises:
        OrchestratorError: The service does not take the bot.
    """

    async def go() -> BotExit:
        one = make()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, one.stop)
        return await one.run()

    return run(go())


def run(work: Coroutine[Any, Any, T], *, show_errors: bool = False) -> T:
    """Run a coroutine. Unlike `asyncio.run`, it leaves threads of handlers that hang alone.

    Args:
        work: It.
        show_errors: Let the event loop log the texts of exceptions; see `quiet`.
    """
    loop = asyncio.new_event_loop()
    if not show_errors:
        quiet.in_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        if tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
        loop.close()


def end(code: BotExit) -> None:
    """End the process at once, whatever its threads do; where they are is told if a handler hangs."""
    if code is BotExit.HUNG and sys.__stderr__ is not None:
        faulthandler.dump_traceback(file=sys.__stderr__)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
