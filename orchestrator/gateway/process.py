"""The running gateway: its parts put together, what the service tells it, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

from orchestrator.access.tokens import Tokens
from orchestrator.accounts import deadlines
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.outcomes import Endpoint
from orchestrator.consumers.wire import GatewaySettings, load
from orchestrator.control.companions import GatewaySpec
from orchestrator.control.port import Port, Request
from orchestrator.control.protocol import Json
from orchestrator.errors import NoSuchConsumer, NotRunning, OrchestratorError
from orchestrator.gateway.accounts import Accounts
from orchestrator.gateway.bot_roster import BotRoster
from orchestrator.gateway.cloud.numbers import Numbers
from orchestrator.gateway.cloud.promised import Promised
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.dispatch.following import END_SECONDS, Following
from orchestrator.gateway.dispatch.pull_store import InService
from orchestrator.gateway.dispatch.pulls import Pulls
from orchestrator.gateway.feed import Feed, FeedError
from orchestrator.gateway.http.app import Api
from orchestrator.gateway.links import Links
from orchestrator.gateway.metrics import Metrics, Times
from orchestrator.gateway.operators import Operators
from orchestrator.gateway.outboxes import Outboxes
from orchestrator.gateway.page.board import Board
from orchestrator.gateway.page.flows import Flows
from orchestrator.gateway.parent import GATEWAY, Parent
from orchestrator.gateway.reader.maker import ReaderHandle
from orchestrator.gateway.sending import LARGEST, Submitter
from orchestrator.gateway.services import Services
from orchestrator.gateway.uploads import Uploads
from orchestrator.gateway.webhooks.client import trust
from orchestrator.gateway.webhooks.endpoint import Webhooks
from orchestrator.messages.retention import Retention

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 5.0
"""How often the gateway tells the service that it is alive. The service waits six times as long."""
_TRIES, _PAUSE = 100, 0.1  # seconds
TAKEN_SECONDS: Final = 5.0
"""How often the gateway tells the service what all consumers have had, if that has changed."""
PING_SECONDS: Final = 2.0
"""How long the service may take to say how it is, when a client asks for metrics."""
DRAIN_SECONDS: Final = deadlines.DRAINING.inner
"""How long requests and deliveries that are on their way may take at the end. The service waits longer."""


_Numbers: TypeAlias = dict[str, int | None]
"""A number of each account; None: the account has no consumer."""


def unsaid(told: _Numbers, now: _Numbers) -> _Numbers:
    """Return which numbers the service does not know.

    Args:
        told: What it was told. Accounts that are gone are forgotten: the process of one that is added again
            knows nothing.
        now: The numbers.
    """
    for gone in told.keys() - now.keys():
        del told[gone]
    return {name: number for name, number in now.items() if name not in told or told[name] != number}


class Gateway:
    """The gateway.

    Args:
        spec: What it was started with.
        port: The socket that leads to the service.
        reader: The process that reads messages.
        lacks: Words for what the process could not give up.
    """

    def __init__(self, spec: GatewaySpec, port: socket.socket, reader: ReaderHandle, lacks: str) -> None:
        self._lacks = lacks
        self._configured = asyncio.Event()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._port = Port(port, self._serve, self._stop.set, peer="the service")
        self._parent = Parent(self._port)
        self._accounts = Accounts(self._parent, self._changed, self._own_changed)
        self._board = Board(lambda: self._accounts.views)
        self._feed = Feed(spec.messages, reader, self._parent, stored=spec.stored)
        self._dispatcher = Dispatcher(spec.folder, self._feed, follows=spec.stored)
        self._following = None
        if spec.stored:
            self._dispatcher.lines.pull_store = InService(self._parent)
            self._following = Following(self._parent, self._dispatcher.lines)
        tls = trust()
        self._numbers = Numbers(self._parent, lambda: self._accounts.own)
        self._promised = Promised(spec.folder)
        self._webhooks = Webhooks(tls, number=self._numbers.of, names=self._promised.names)
        self._times = Times()
        pulls = Pulls(self._dispatcher)
        self._operators = Operators(self._dispatcher, self._webhooks, pulls)
        outboxes = Outboxes(self._feed.reader)
        self._uploads = Uploads(spec.folder)
        links = Links(tls, lambda: self.services.settings.http)
        self.services = Services(
            self._parent,
            self._accounts,
            self._feed,
            outboxes,
            self._dispatcher,
            pulls,
            Tokens(spec.tokens),
            Metrics(
                lambda: self._accounts.own,
                self._dispatcher.figures,
                self._times,
                lambda: self._parent.ask(GATEWAY, "companions", seconds=PING_SECONDS),
                lambda: self.services.sending.sends,
            ),
            self._uploads,
            Submitter(self._parent, self._uploads, links, outboxes, self._largest),
            self._numbers,
            self._promised,
            self._board,
            Flows(self._dispatcher.status, self._times),
        )
        self._bots = BotRoster(self.services.sending, self._feed, self._hand_out)
        self._api = Api(self.services, self._operators, self.services.metrics.render, spec.folder)
        self._answering: asyncio.Task[None] | None = None
        self._sockets: frozenset[int] = frozenset()
        self._commands: dict[str, Callable[[Request], Awaitable[Json]]] = {
            "configure": self._configure,
            "drain": self._drain,
            "bot": self._bot,
            "let_go": self._let_go,
        }

    def stop(self) -> None:
        """End in good order."""
        self._stop.set()

    async def run(self) -> None:
        """Run until the service says so, or is gone."""
        self._background(self._beat())
        await self._first(self._configured.wait(), self._stop.wait())
        if self._configured.is_set():
            parts = (
                self._accounts.run(), self._feed.run(), self._dispatcher.run(), self._tell_taken(),
                self._uploads.run(), *([self._following.run()] if self._following else ()),
            )  # fmt: skip
            for part in parts:
                self._background(part)
            await self._stop.wait()
        self._bots.drain()
        # Both at once: the service waits for no more than a little longer than one of them.
        seconds = DRAIN_SECONDS - (END_SECONDS if self._following else 0.0)
        closing = asyncio.ensure_future(self._dispatcher.close(seconds))
        await asyncio.wait([closing, *filter(None, [self._answering])], timeout=DRAIN_SECONDS)
        await closing
        self._webhooks.close()
        self._bots.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._feed.close()
        await self._uploads.close()
        await self._promised.close()
        self._port.close()

    def _largest(self, account: str) -> int:
        """Return how many bytes the largest file may have that an account sends."""
        known = self.services.settings.accounts.get(account)
        return LARGEST if known is None else known.largest

    def _changed(self, names: list[str], gone: list[str]) -> None:
        """Take in that accounts have changed or are gone."""
        self._board.changed(names, gone)

    def _own_changed(self, names: list[str], gone: list[str]) -> None:
        """Take in that accounts of this machine have changed or are gone."""
        self._feed.changed([self._accounts.own[name] for name in names], gone)
        if gone:
            self._background(self._forget(gone))

    async def _forget(self, gone: list[str]) -> None:
        """Delete what belongs to accounts that are gone."""
        try:
            await self._uploads.forget(gone)
        except OrchestratorError as error:
            log.warning("%s", error)

    @staticmethod
    async def _first(*waits: Coroutine[Any, Any, object]) -> None:
        tasks = [asyncio.ensure_future(one) for one in waits]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    def _background(self, part: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(part)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Half a gateway would look alive: the service starts another one.
            log.critical("a part of the gateway has ended because of a bug", exc_info=error)
            self._stop.set()

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(OrchestratorError):
                await self._parent.ask(GATEWAY, "beat", lacks=self._lacks)
            await asyncio.sleep(BEAT_SECONDS)

    async def _tell_taken(self) -> None:
        told = [_Numbers(), _Numbers()]
        while True:
            accounts = self._dispatcher.accounts()
            found = (self._dispatcher.taken(), self._dispatcher.waiting())
            now = [{name: one.get(name) for name in accounts} for one in found]
            news = [unsaid(old, new) for old, new in zip(told, now, strict=True)]
            if any(news):
                try:
                    await self._parent.ask(GATEWAY, "taken", accounts=news[0], waiting=news[1])
                    for old, new in zip(told, news, strict=True):
                        old |= new
                except NotRunning:
                    return
                except OrchestratorError as error:
                    log.warning("the accounts do not hear what all consumers have had: %s", error)
            await asyncio.sleep(TAKEN_SECONDS)

    # What the service asks for

    async def _serve(self, request: Request) -> Json:
        command = self._commands.get(request.command)
        if command is None:
            return await self._operators.answer(request.command, request.arguments)
        return await command(request)

    async def _configure(self, request: Request) -> Json:
        self.services.settings = load(GatewaySettings, request.arguments["settings"])
        self._bots.configure(self.services.settings.bots)
        self._hand_out()
        await self._listen(request)
        self._configured.set()
        return {}

    async def _listen(self, request: Request) -> None:
        """Listen on the sockets that came with a configuration, all of them, and on no others."""
        sockets = [socket.socket(fileno=descriptor) for descriptor in request.take_fds()]
        numbers = frozenset(one["number"] for one in request.arguments["listeners"])
        if self._answering is None and sockets:
            self._answering = asyncio.get_running_loop().create_task(self._answer(sockets))
        elif numbers != self._sockets:
            await self._api.configured(sockets)
        else:
            for one in sockets:
                one.close()
            await self._api.configured()
        self._sockets = numbers

    async def _answer(self, sockets: list[socket.socket]) -> None:
        """Answer clients for as long as the gateway runs."""
        try:
            await self._api.run(sockets, self._stop)
        except Exception:
            log.critical("a part of the gateway has ended because of a bug", exc_info=True)
        self._stop.set()

    def _hand_out(self) -> None:
        """Have the dispatcher hand events to those who get them now."""
        settings = self.services.settings
        consumers = dict(self._bots.consumers)
        consumers |= {
            name: Consumer(name, "webhook", one.accounts, one.wanted, one.parallel)
            for name, one in settings.webhooks.items()
        }
        consumers |= {
            name: Consumer(name, "bot", one.accounts, one.events, one.parallel)
            for name, one in settings.bots.items()
        }
        keep = {name: Retention(one.keep, one.at_most) for name, one in settings.accounts.items()}
        endpoints: dict[str, Endpoint] = {**self._webhooks.configure(settings.webhooks)}
        endpoints |= self._bots.endpoints
        self._dispatcher.configure(consumers, self._times.watch(endpoints), keep, settings.read_at)

    async def _bot(self, request: Request) -> Json:
        self._bots.attach(request)
        if request.arguments.get("is_new") is True:
            # It gets what comes from now on, even if a bot of that name was run some days ago.
            name = request.arguments["name"]
            try:
                await self._skip(name)
            finally:
                self._bots.release(name)
        return {}

    async def _skip(self, name: str) -> None:
        """Have a consumer get what comes from now on."""
        for _ in range(_TRIES):
            try:
                await self._dispatcher.reset(name, "now")
            except NoSuchConsumer:
                await asyncio.sleep(_PAUSE)  # the dispatcher takes the configuration over in its own time
            except FeedError as error:
                log.warning("%s gets what came before, too: %s", name, error)
                return
            else:
                return

    async def _let_go(self, request: Request) -> Json:
        """Hand an account's events over no more, because another machine does from now on."""
        if self._following is not None:
            await self._following.let_go(str(request.arguments["account"]))
        return {}

    async def _drain(self, request: Request) -> Json:  # noqa: ARG002 - as all commands
        self._stop.set()
        return {}
