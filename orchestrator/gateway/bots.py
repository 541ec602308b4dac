"""The gateway's side of bots: hands them events over their ports, and has done what their handlers ask for.

A bot that is not there, because it starts, is renewed or cannot be loaded, is no failure: events wait for it.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import re
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import IO, Any, Final, Protocol

from orchestrator.accounts import names
from orchestrator.accounts.attachments import is_id
from orchestrator.consumers import event_types
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.control.port import MOST_BYTES_A_SECOND, Port, Request
from orchestrator.control.protocol import Json
from orchestrator.errors import NotRunning, OrchestratorError
from orchestrator.gateway.bot_sends import BotSends, Place, Sending

log = logging.getLogger(__name__)

MARGIN_SECONDS: Final = 15.0
"""How much longer than a handler's deadline the answer to an event may take. A bot ends what hangs."""
MAX_INLINE: Final = 256 * 1024
"""Bytes of an event that goes in a request. Longer ones go as a file in memory."""
MAX_PATTERNS: Final = 100
"""Patterns of types that a bot's handlers are for."""
MAX_EXPIRES: Final = 30 * 86_400.0
"""Seconds for which a message may wait, at most."""
MAX_PLACE: Final = 10_000
"""Messages to a chat for one event that are told apart."""
_PIECE: Final = 192 * 1024
"""Bytes of a file in one answer. 16 of them may be on their way."""
_WHY: Final = re.compile(
    r"[\w.<>()]{1,200}(?: in [ -~]{1,300})?|[\w.<>]{1,200} took longer than [0-9.]+ s", re.ASCII
)
"""The form of what a bot says of a failure: names and places of code."""
_DELIVERED: Final = frozenset({"done", "ignored", "rejected"})


class Opened(Protocol):
    """A file of a message: see `gateway.feed.OpenMedia`."""

    @property
    def file(self) -> IO[bytes]:
        """The file, at its beginning."""


class Files(Protocol):
    """What is needed of the feed: see `gateway.feed.Feed`."""

    async def media(self, account: str, media_id: str, asker: Json) -> Opened:
        """Open the file of a message."""
        ...


@dataclass(slots=True)
class _Attached:
    """A bot's process that is there.

    Attributes:
        port: Leads to it.
        lost: Is called when it is gone.
        is_over: Whether it is.
        types: What its handlers are for.
        leaving: Whether it takes no more events.
        running: Events that it handles, by their ids, and until when it may.
        end: How many it handled when it ended, 0 before.
    """

    port: Port
    lost: Callable[[], None]
    is_over: bool = False
    types: tuple[str, ...] | None = None
    leaving: bool = False
    running: dict[str, float] = field(default_factory=dict)
    end: int = 0

    @property
    def crowd(self) -> int:
        """How many events it handled when it ended, which whoever asks first finds out."""
        self.end = self.end or len(self.running)
        return self.end


class BotEndpoint:
    """Where a bot's events go, whichever process runs the bot at the moment.

    Args:
        name: The bot's name.
        sending: Hands messages to the service.
        files: The files of messages.
        accounts: The accounts that the bot may use, None for all.
        seconds: How long a handler may take.
    """

    def __init__(
        self,
        name: str,
        sending: Sending,
        files: Files,
        *,
        accounts: frozenset[str] | None = None,
        seconds: float = 60.0,
    ) -> None:
        self.name = name
        self.accounts = accounts
        self.seconds = seconds
        self._sends = BotSends(name, sending)
        self._files = files
        self._attached: _Attached | None = None
        self._ready = asyncio.Event()
        self._closed = False

    @property
    def is_ready(self) -> bool:
        """Whether the bot is there and takes events."""
        return self._ready.is_set()

    @property
    def is_attached(self) -> bool:
        """Whether there is a process of the bot, which may not take events yet."""
        return self._attached is not None

    @property
    def running(self) -> frozenset[str]:
        """The events that the bot handles, by their ids."""
        return frozenset() if self._attached is None else frozenset(self._attached.running)

    # The bot comes and goes

    def attach(self, sock: socket.socket, lost: Callable[[], None] = lambda: None) -> None:
        """Take a process of the bot, in the place of the one before.

        Args:
            sock: Leads to the process; it is owned from now on.
            lost: Is called once when the process is gone.
        """
        self.detach()
        attached: _Attached

        def gone() -> None:
            self._gone(attached)

        def serve(request: Request) -> Any:  # noqa: ANN401 - one answer or several
            return self._serve(attached, request)

        port = Port(sock, serve, gone, peer=f"the bot {self.name}", most_bytes_a_second=MOST_BYTES_A_SECOND)
        attached = self._attached = _Attached(port, lost)

    def detach(self) -> None:
        """Let go of the bot's process. Events that it has are handed to the next one."""
        if self._attached is not None:
            self._attached.port.close()
            self._gone(self._attached)

    def drain(self) -> None:
        """Have events wait for the bot no longer. What it handles now, it may finish."""
        self._closed = True
        self._ready.set()

    def close(self) -> None:
        """Let go of the bot for good: what waits for it fails."""
        self.drain()
        self.detach()

    def _gone(self, attached: _Attached) -> None:
        if attached.is_over:
            return
        attached.is_over = True
        if attached.port.why:
            log.warning("%s: the bot's port was closed: %s", self.name, attached.port.why)
        if self._attached is attached:
            self._attached = None
            self._ready.clear()
        attached.lost()

    # Events go to it

    async def deliver(self, attempt: Attempt) -> Outcome:
        """Hand over an event, and wait until the bot has handled it.

        The call waits for a bot that is not there. Whoever calls does not begin anything while the bot has no
        process, so only events wait that the process before has not finished. If the bot's process ends while
        it handles this event and no other, that is a failure. If it handles others, too, any of them can be
        at fault: the first time, the event goes to the next process.
        """
        event, ends = attempt.event, 0
        while True:
            attached = await self._wait()
            if attached is None:
                return Failed("the gateway ends, or the bot was removed")
            if not event_types.chosen(attached.types or (), event.type):
                return Delivered()
            attached.running[event.id] = asyncio.get_running_loop().time() + self.seconds
            try:
                answer = await self._hand_over(attached, attempt)
            except NotRunning:
                self._gone(attached)  # which is told later, and by then another one may be there
                if attached.leaving or self._closed:
                    continue
                ends += 1
                if attached.crowd == 1 or ends > 1:
                    return Failed("the bot's process ended while it handled the event")
                continue
            except OrchestratorError as error:
                if error.key == "no_answer":
                    self._drop(attached)  # it hangs whole; whoever started it finds that out, too
                    return Failed(f"the bot gave no answer within {self.seconds + MARGIN_SECONDS:g} s")
                return Failed(f"the bot did not take the event ({error.key})")
            finally:
                attached.running.pop(event.id, None)
            return self._outcome(event.id, answer)

    async def _wait(self) -> _Attached | None:
        """Return the bot's process once there is one, None if none will be."""
        while not self._closed:
            await self._ready.wait()
            if self._attached is not None and not self._attached.leaving:
                return self._attached
            self._ready.clear()
        return None

    async def _hand_over(self, attached: _Attached, attempt: Attempt) -> Json:
        body, seconds = attempt.event.body, self.seconds + MARGIN_SECONDS
        if len(body) <= MAX_INLINE:
            return await attached.port.call(
                "event", seconds=seconds, event=body.decode("ascii"), attempt=attempt.number
            )
        descriptor = os.memfd_create("event", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:  # noqa: ASYNC230 - it is memory
                file.write(body)
            return await attached.port.call(
                "event", seconds=seconds, fds=[descriptor], attempt=attempt.number
            )
        finally:
            os.close(descriptor)

    def _outcome(self, event: str, answer: Json) -> Outcome:
        if answer.get("result") in _DELIVERED:
            self._sends.done(event)
            return Delivered()
        why, after = answer.get("why"), answer.get("retry_after")
        said = why if isinstance(why, str) and _WHY.fullmatch(why) else "the handler failed"
        if not isinstance(after, int | float) or isinstance(after, bool) or after < 0:
            after = None
        return Failed(said, retry_after=None if after is None else float(after))

    def _drop(self, attached: _Attached) -> None:
        attached.port.close()
        self._gone(attached)

    # What it asks for

    def _serve(self, attached: _Attached, request: Request) -> Any:  # noqa: ANN401
        match request.command:
            case "hello":
                return self._hello(attached, request.arguments)
            case "leaving":
                return self._leaving(attached)
            case "send":
                return self._send(attached, request)
            case "act":
                return self._act(request.arguments)
            case "media":
                return self._media(request.arguments)
        return _unknown(request.command)

    async def _hello(self, attached: _Attached, arguments: Json) -> Json:
        types = arguments.get("types")
        if not isinstance(types, list) or len(types) > MAX_PATTERNS:
            raise OrchestratorError("types must be a list of patterns", key="bad_request")
        attached.types = tuple(one for one in types if isinstance(one, str) and event_types.is_pattern(one))
        if self._attached is attached:
            self._ready.set()
        log.info("%s: the bot is ready", self.name)
        return {"name": self.name, "accounts": None if self.accounts is None else sorted(self.accounts)}

    async def _leaving(self, attached: _Attached) -> Json:
        attached.leaving = True
        if self._attached is attached:
            self._ready.clear()
        return {}

    async def _send(self, attached: _Attached, request: Request) -> Json:
        arguments = request.arguments
        account, message = self._account(arguments), arguments.get("message")
        name, expires, fds = arguments.get("file_name"), arguments.get("expires"), request.fds
        if (
            not isinstance(message, dict)
            or not (name is None or isinstance(name, str))
            or not (expires is None or (type(expires) in (int, float) and 0 < expires <= MAX_EXPIRES))
            or len(fds) > 1
        ):
            raise OrchestratorError("what is to be sent makes no sense", key="bad_request")
        event, place, to = arguments.get("event"), arguments.get("place"), message.get("to")
        where: Place | None = None
        until = attached.running.get(event) if isinstance(event, str) else None
        if (
            isinstance(event, str)
            and until is not None
            and isinstance(to, str)
            and type(place) is int
            and 0 <= place < MAX_PLACE
        ):
            where = Place(event, account, to, place)
        file = request.take_fds().pop() if fds else None
        left = self.seconds if until is None else until - asyncio.get_running_loop().time()
        return await self._sends.send(
            account, message, where, self.accounts, wait=left / 2, file=file, file_name=name, expires=expires
        )

    async def _act(self, arguments: Json) -> Json:
        return await self._sends.act(self._account(arguments), arguments.get("action"), self.accounts)

    async def _media(self, arguments: Json) -> AsyncGenerator[Json, None]:
        account, media = self._account(arguments), arguments.get("media")
        if not isinstance(media, str) or not is_id(media):
            raise OrchestratorError("media must be the id of a file", key="bad_request")
        opened = await self._files.media(account, media, {"bot": self.name})
        with opened.file as file:
            while piece := await asyncio.to_thread(file.read, _PIECE):
                yield {"data": base64.b64encode(piece).decode()}

    def _account(self, arguments: Json) -> str:
        account = arguments.get("account")
        if not isinstance(account, str) or not names.is_name(account):
            raise OrchestratorError("account must be the name of an account", key="bad_request")
        if self.accounts is not None and account not in self.accounts:
            raise names.no_such_account(account)
        return account


async def _unknown(command: str) -> Json:
    raise OrchestratorError(f"a bot cannot ask for {command}", key="unknown_command")
