"""The gateway and the bots together: who runs when, what a new configuration changes, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from orchestrator.accounts import deadlines
from orchestrator.config.settings import Settings
from orchestrator.consumers.settings import BotSettings, Listen
from orchestrator.control.port import Port, Serve
from orchestrator.control.protocol import Json
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.service import admissible
from orchestrator.service.aside import Aside
from orchestrator.service.companions import bots
from orchestrator.service.companions.bots import Bot
from orchestrator.service.companions.companion import Companion
from orchestrator.service.companions.gateway import Gateway
from orchestrator.service.companions.listeners import Listeners
from orchestrator.service.companions.machine import State
from orchestrator.service.stall import Pulse
from orchestrator.store.layout import StatePaths

log = logging.getLogger(__name__)

START_SECONDS: Final = 10.0
"""How long a command waits for a gateway that is being started: some seconds on a busy machine."""
LET_GO_SECONDS: Final = 6.0
"""How long the gateway may take to be done with an account that goes to another machine."""
LISTEN_SECONDS: Final = 10.0
"""How often to look whether an address can be listened on by now, or a socket's file was removed."""


class Companions:
    """The gateway and the bots of a running service. Nothing here holds up an account.

    Args:
        settings: Returns the configuration in use.
        paths: The state folder.
        aside: Does what takes time beside the event loop.
        serve: Answers what the gateway asks for.
        given: Sockets that systemd has opened.
        log_level: What companions log.
        stored: Whether messages are in a database, and not in files.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        paths: StatePaths,
        aside: Aside,
        serve: Serve,
        *,
        given: Sequence[socket.socket] = (),
        log_level: str = "INFO",
        stored: bool = False,
    ) -> None:
        self._settings = settings
        self._paths = paths
        self._aside = aside
        self._log_level = log_level
        self._listeners = Listeners(given, lambda: admissible.count_tokens(paths))
        self._nature = Gateway(
            settings,
            paths,
            self._listeners,
            serve,
            configured=self._gateway_is_ready,
            ended=self._touch,
            log_level=log_level,
            stored=stored,
        )
        self._gateway = Companion(self._nature, aside, self._touch)
        self._ready = False
        self._bots: dict[str, Companion] = {}
        self._leaving: set[Companion] = set()
        self._attached: dict[str, BotSettings] = {}
        self._version = 0
        self._news = asyncio.Event()
        self._changed = asyncio.Event()
        self._refused = ""  # why the gateway does not take the configuration, as it is logged
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._pulse = Pulse(self._stalled)

    # Life

    def start(self) -> None:
        """Begin. What is configured is started in the background."""
        self._pulse.start()
        self._background(self._tend())

    def reloaded(self) -> None:
        """Take over a configuration that was read again."""
        self._nature.read_at = time.time()
        self._changed.set()

    async def stop(self) -> None:
        """Stop the bots, then have the gateway finish what is on its way; this takes a bounded time."""
        self._closing = True
        try:
            for companion in self._bots.values():
                companion.want(False, deadlines.BOT_STOPPING.outer)
            for companion in (*self._bots.values(), *self._leaving):
                await companion.over()
            self._gateway.want(False, deadlines.DRAINING.outer)
            await self._gateway.over()
        finally:
            await self.close()

    def hurry(self) -> None:
        """Kill what is still stopping."""
        self._closing = True
        for companion in (*self._bots.values(), *self._leaving, self._gateway):
            companion.want(False, 0.0)

    async def close(self) -> None:
        """Let go of everything else."""
        self._pulse.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listeners.close()

    # What others see

    def about(self) -> Json | None:
        """Return how the gateway and the bots are; None if there are none, and none are configured."""
        if self._gateway.state is State.OFF and not self._bots and not self._settings().needs_gateway:
            return None
        return {
            "gateway": {**self._gateway.about(), **self._nature.about()},
            "bots": [companion.about() for companion in self._bots.values()],
            "attached": sorted(self._attached),
        }

    @property
    def port(self) -> Port:
        """The gateway's port.

        Raises:
            NotRunning: The gateway does not run now, or is not configured.
        """
        if not self._settings().needs_gateway and not self._attached:
            raise NotRunning(
                "there is no gateway: configure `http:`, `webhooks:` or `bots:`, then run"
                " `orchestrator reload`"
            )
        line = self._gateway.line
        assert isinstance(line, Port)
        if not self._ready or not line.is_open:
            raise NotRunning("the gateway is starting: try again in a moment")
        return line

    async def ask(self, command: str, arguments: Json, seconds: float) -> Json:
        """Hand a command on to the gateway, as soon as one that is being started is ready.

        Raises:
            NotRunning: It does not run now, or is not configured.
            OrchestratorError: It refuses, or does not answer in time.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                while self._is_starting:
                    await self._news.wait()
        return await self.port.call(command, seconds=seconds, **arguments)

    async def let_go(self, name: str) -> None:
        """Have the gateway hand an account's events over no more, once all that it knows is in the store."""
        with contextlib.suppress(NotRunning):  # what it knew is there, but for the last seconds
            try:
                await self.port.call("let_go", seconds=LET_GO_SECONDS, account=name)
            except NotRunning:
                raise
            except OrchestratorError as error:
                log.warning("%s: what its consumers got last may not be in the database: %s", name, error)

    @property
    def _is_starting(self) -> bool:
        """Whether a gateway is about to be ready. One that has failed and waits for its next start is not."""
        wanted = self._settings().needs_gateway or bool(self._attached)
        return wanted and not (self._ready or self._closing) and self._gateway.state is not State.WAITING

    # Bots that people run by hand

    @contextlib.contextmanager
    def attached(self, bot: BotSettings, *, replace: bool = False) -> Iterator[None]:
        """Keep a gateway for a bot that somebody runs by hand.

        Args:
            bot: The bot.
            replace: It may take the place of another one of the same name that somebody runs by hand: the
                same bot, whose code has changed.

        Raises:
            OrchestratorError: Something else has the bot's name.
        """
        settings = self._settings()
        is_taken = bot.name in self._attached and not replace
        if is_taken or bot.name in settings.bots or bot.name in settings.webhooks:
            raise OrchestratorError(
                f"a webhook or bot has the name {bot.name} already: choose another one", key="consumer_exists"
            )
        self._attached[bot.name] = bot
        self._changed.set()
        try:
            yield
        finally:
            if self._attached.get(bot.name) is bot:
                del self._attached[bot.name]
            self._changed.set()

    @property
    def given(self) -> tuple[Listen, ...]:
        """Where the sockets of systemd listen."""
        return self._listeners.given

    def by_hand(self) -> dict[str, frozenset[str] | None]:
        """Return the accounts of each bot that somebody runs by hand, None for all."""
        return {name: bot.accounts for name, bot in self._attached.items()}

    async def connect(
        self, bot: BotSettings, after: int, *, is_new: bool = True
    ) -> tuple[socket.socket, int]:
        """Return a bot's end of a port to the gateway, as soon as there is one that it was not handed yet.

        Args:
            bot: The bot, which is attached.
            after: The number of the gateway to which it was connected last, 0 for none.
            is_new: Whether it gets only what comes from now on.

        Returns:
            The end, and the number of the gateway.
        """
        while True:
            number = self._version
            if self._ready and number > after:
                ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    with contextlib.closing(ours):
                        await bots.hand_over(self.port, bot, ours, attached=True, is_new=is_new)
                except NotRunning:
                    theirs.close()  # it has just ended; another one follows
                except BaseException:
                    theirs.close()
                    raise
                else:
                    return theirs, number
            if self._version == number:
                await self._news.wait()

    # What happens

    def _touch(self) -> None:
        if self._gateway.state is not State.RUNNING and self._ready:
            self._ready = False
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news.clear()

    def _gateway_is_ready(self) -> None:
        """Have bots use a gateway that has just begun."""
        self._ready = True
        self._version += 1
        self._tell()
        if self._closing:
            return
        for companion in self._bots.values():
            if companion.state is State.OFF:
                companion.want(True)
            else:
                companion.renew(deadlines.BOT_STOPPING.outer)  # the port of the old one leads nowhere

    def _stalled(self, seconds: float) -> None:
        for companion in (self._gateway, *self._bots.values(), *self._leaving):
            companion.stalled(seconds)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tend(self) -> None:
        """Follow the configuration, and look after the sockets."""
        news = True
        while not self._closing:
            try:
                told = await self._follow(news)
            except Exception:
                log.exception("unhandled exception while the gateway and the bots were looked after")
                told = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LISTEN_SECONDS):
                    await self._changed.wait()
            # What failed is tried again, and a change may come in the very moment in which the time is up.
            news = self._changed.is_set() or not told

    async def _follow(self, news: bool) -> bool:
        """Have everybody follow the configuration; return False if the gateway has yet to be told."""
        self._changed.clear()
        settings = self._settings()
        wanted = settings.http.listen if settings.http is not None else ()
        opened = False
        if wanted or news:
            async with self._listeners.turn:
                opened = await self._aside.run(lambda: self._listeners.open(wanted))
        if self._closing:
            return True
        runs = settings.needs_gateway or bool(self._attached)
        self._gateway.want(runs, deadlines.DRAINING.outer)
        if news:
            self._follow_bots(settings)
        told = True
        if self._ready and (news or opened):
            try:
                line = self._gateway.line
                assert isinstance(line, Port)
                await self._nature.configure(line)
            except NotRunning:
                return True  # the next one is told everything
            except OrchestratorError as error:
                if str(error) != self._refused:
                    log.error("the gateway does not take the new configuration: %s", error)
                self._refused, told = str(error), False
            else:
                self._refused = ""
            if self._listeners.problems and opened:
                # The gateway may only now have closed what was in the way.
                self._background(self._look_again())
        return told

    async def _look_again(self) -> None:
        await asyncio.sleep(1.0)
        self._changed.set()

    def _follow_bots(self, settings: Settings) -> None:
        for name in [name for name in self._bots if name not in settings.bots]:
            self._let_go(self._bots.pop(name))
        for name, bot in settings.bots.items():
            companion = self._bots.get(name)
            if companion is None:
                nature = Bot(bot, self._settings, self._paths, lambda: self.port, self._log_level)
                companion = self._bots[name] = Companion(nature, self._aside)
                if self._ready:
                    companion.want(True)
                continue
            running = companion.nature
            assert isinstance(running, Bot)
            if running.bot != bot:
                running.bot = bot
                companion.renew(deadlines.BOT_STOPPING.outer)

    def _let_go(self, companion: Companion) -> None:
        async def leave() -> None:
            await companion.over()
            self._leaving.discard(companion)

        self._leaving.add(companion)
        companion.want(False, deadlines.BOT_STOPPING.outer)
        self._background(leave())
