"""All bots of the gateway: those of the configuration, and those that somebody runs by hand."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.accounts import names
from orchestrator.consumers import event_types
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.settings import BotSettings
from orchestrator.control.port import Request
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.bot_sends import Sending
from orchestrator.gateway.bots import BotEndpoint, Files

log = logging.getLogger(__name__)

LINGER_SECONDS: Final = 600.0
"""How long a bot that somebody has run by hand is remembered: it comes back at once when its code changes.
Events wait for it meanwhile."""
MAX_BY_HAND: Final = 32
"""Bots that people may run by hand at a time."""
MAX_PARALLEL: Final = 64
"""Handlers of a bot that may run at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the service says of a bot whose process it has.

    Attributes:
        consumer: The bot, as a consumer of events.
        seconds: How long a handler may take.
        by_hand: Whether somebody runs it by hand.
        is_new: Whether such a bot gets only what comes from now on.
    """

    consumer: Consumer
    seconds: float
    by_hand: bool
    is_new: bool


@dataclass(slots=True)
class _ByHand:
    """A bot that somebody runs.

    Attributes:
        consumer: The bot, as a consumer of events.
        endpoint: Where its events go.
        is_held: Whether nothing goes to it yet, because it is not to get what came before.
        forget: When it will be forgotten, None while it is there.
    """

    consumer: Consumer
    endpoint: BotEndpoint
    is_held: bool
    forget: asyncio.TimerHandle | None = None


class BotRoster:
    """The bots.

    Args:
        sending: Hands messages to the service.
        files: The files of messages.
        changed: Is called when processes of bots come or go: `consumers` and `endpoints` are others then.
    """

    def __init__(self, sending: Sending, files: Files, changed: Callable[[], None]) -> None:
        self._sending = sending
        self._files = files
        self._changed = changed
        self._endpoints: dict[str, BotEndpoint] = {}
        self._by_hand: dict[str, _ByHand] = {}

    @property
    def endpoints(self) -> Mapping[str, BotEndpoint]:
        """Where the events of bots go, by the bots' names. Events wait for bots that have no process."""
        by_hand = {name: one.endpoint for name, one in self._by_hand.items() if not one.is_held}
        every = self._endpoints | by_hand
        return {name: endpoint for name, endpoint in every.items() if endpoint.is_attached}

    @property
    def consumers(self) -> Mapping[str, Consumer]:
        """The bots that somebody runs by hand, as consumers, without those of the configuration."""
        return {name: one.consumer for name, one in self._by_hand.items()}

    def configure(self, bots: Mapping[str, BotSettings]) -> None:
        """Take over the configuration, at the start and after each reload."""
        for name in self._endpoints.keys() - bots.keys():
            self._endpoints.pop(name).close()
        for name, bot in bots.items():
            if (by_hand := self._by_hand.pop(name, None)) is not None:
                log.warning("%s: the configuration has a bot of that name now", name)
                self._let_go(by_hand)
            if (endpoint := self._endpoints.get(name)) is None:
                self._endpoints[name] = self._make(name, bot.accounts, bot.timeout)
            else:
                endpoint.accounts, endpoint.seconds = bot.accounts, bot.timeout

    def attach(self, request: Request) -> None:
        """Take a process of a bot, which the service or somebody else has started.

        Args:
            request: What the service says of it, with a descriptor that leads to the process.

        Raises:
            OrchestratorError: The request makes no sense, or there is no such bot in the configuration.
        """
        fds = request.take_fds()
        sockets = [socket.socket(fileno=one) for one in fds]
        try:
            asked = _read(request)
            if len(sockets) != 1:
                raise OrchestratorError("a bot has one descriptor", key="bad_request")
            self._attach(asked, sockets.pop())
        finally:
            for one in sockets:
                one.close()

    def release(self, name: str) -> None:
        """Let events go to a bot that is new."""
        if (known := self._by_hand.get(name)) is not None and known.is_held:
            known.is_held = False
            self._changed()

    def drain(self) -> None:
        """Begin nothing more: what waits for a bot that has no process waits no longer."""
        for endpoint in self._endpoints.values():
            endpoint.drain()
        for one in self._by_hand.values():
            one.endpoint.drain()

    def close(self) -> None:
        """Let go of all bots."""
        for endpoint in self._endpoints.values():
            endpoint.close()
        for one in self._by_hand.values():
            self._let_go(one)

    def _attach(self, asked: Asked, sock: socket.socket) -> None:
        name = asked.consumer.name
        if not asked.by_hand:
            endpoint = self._endpoints.get(name)
            if endpoint is None:
                sock.close()
                raise OrchestratorError("the configuration has no bot of that name", key="no_such_consumer")
            endpoint.attach(sock, self._changed)
            self._changed()
            return
        if name in self._endpoints or (name not in self._by_hand and len(self._by_hand) >= MAX_BY_HAND):
            sock.close()
            raise OrchestratorError(
                "the configuration has a bot of that name, or too many bots are run by hand",
                key="bad_request",
            )
        known = self._by_hand.get(name)
        if known is None:
            endpoint = self._make(name, asked.consumer.accounts, asked.seconds)
            known = self._by_hand[name] = _ByHand(asked.consumer, endpoint, asked.is_new)
        else:
            known.consumer, known.is_held = asked.consumer, asked.is_new
            known.endpoint.accounts, known.endpoint.seconds = asked.consumer.accounts, asked.seconds
        known.endpoint.attach(sock, lambda: self._gone(name))  # the end of the process before is told here
        if known.forget is not None:
            known.forget.cancel()
            known.forget = None
        self._changed()

    def _gone(self, name: str) -> None:
        known = self._by_hand.get(name)
        if known is not None and known.forget is None and not known.endpoint.is_attached:
            loop = asyncio.get_running_loop()
            known.forget = loop.call_later(LINGER_SECONDS, self._forget, name)
            self._changed()

    def _forget(self, name: str) -> None:
        if (known := self._by_hand.pop(name, None)) is not None:
            self._let_go(known)
            self._changed()

    def _let_go(self, known: _ByHand) -> None:
        if known.forget is not None:
            known.forget.cancel()
        known.endpoint.close()

    def _make(self, name: str, accounts: frozenset[str] | None, seconds: float) -> BotEndpoint:
        return BotEndpoint(name, self._sending, self._files, accounts=accounts, seconds=seconds)


def _read(request: Request) -> Asked:
    """Return what the service says of a bot.

    Raises:
        OrchestratorError: It makes no sense.
    """
    said: dict[str, Any] = request.arguments
    name, accounts, patterns = said.get("name"), said.get("accounts"), said.get("events")
    seconds, parallel = said.get("timeout"), said.get("parallel")
    if (
        not isinstance(name, str)
        or not names.is_name(name)
        or not (accounts is None or _are_texts(accounts))
        or not _are_texts(patterns)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= 24 * 3600
        or type(parallel) is not int
        or not 0 < parallel <= MAX_PARALLEL
    ):
        raise OrchestratorError("what is said of the bot makes no sense", key="bad_request")
    chosen = tuple(one for one in patterns or () if event_types.is_pattern(one))
    consumer = Consumer(name, "bot", None if accounts is None else frozenset(accounts), chosen, parallel)
    return Asked(consumer, float(seconds), said.get("attached") is True, said.get("is_new") is True)


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 10_000 and all(isinstance(one, str) for one in value)
