"""A bot in a process of its own, as the service starts it, with the test in the place of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from support.http_api import StandInOutboxes, StandInParent

from orchestrator.access.scopes import Principal
from orchestrator.consumers.outcomes import Attempt, Outcome
from orchestrator.consumers.settings import Http
from orchestrator.control.companions import BOT_VARIABLE, BotSpec
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.bots import BotEndpoint
from orchestrator.gateway.links import Links
from orchestrator.gateway.sending import Submitter
from orchestrator.gateway.uploads import Uploads
from orchestrator.sending.row import State
from orchestrator.system import interpreter

ECHO = """
from orchestrator.bots import Bot, Message

bot = Bot()

@bot.on_message()
async def answer(message: Message) -> None:
    await message.reply(f"You said {message.text}")
"""


@dataclass
class Event:
    """A message."""

    text: str = "Hello"
    number: int = 17
    type: str = "message.received"
    account: str = "support"
    at: float = 1_800_000_000.0

    @property
    def id(self) -> str:
        return f"evt_{self.account}_{self.number}"

    @property
    def body(self) -> bytes:
        chat = {"id": "4915100002@lid", "type": "direct", "phone": "+4915100002", "name": None}
        data = {
            "id": f"3EB0{self.number}",
            "chat": chat,
            "sender": chat,
            "from_me": False,
            "timestamp": "2026-11-28T10:00:00Z",
            "kind": "text",
            "text": self.text,
            "media": None,
        }
        return json.dumps(
            {"id": self.id, "type": self.type, "account": self.account, "seq": self.number, "data": data}
        ).encode()


class Service(StandInParent):
    """In the place of the service: what bots have had sent, once each, by the real keys of messages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("support", "sales"))
        self.ends = State.SENT
        self.sent: list[dict[str, Any]] = []
        self.uploads = Uploads(folder)
        links = Links(ssl.create_default_context(), Http)
        self.sending = Submitter(self, self.uploads, links, StandInOutboxes(self))

    def _send(self, asker: Principal, fds: Sequence[int], **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        message = {**arguments["message"]}
        answer = super()._send(asker, fds, **arguments)
        if not answer["again"]:
            self.sent.append({"as": asker.id, "name": arguments["name"], **message})
        return answer

    @property
    def texts(self) -> list[str]:
        return [one["text"] for one in self.sent if one["kind"] == "text"]

    @property
    def acts(self) -> list[dict[str, Any]]:
        return [arguments for _, command, arguments in self.asked if command in ("act", "look")]


@dataclass
class Opened:
    file: BytesIO


class NoFiles:
    async def media(self, account: str, media_id: str, asker: dict[str, Any]) -> Opened:  # noqa: ARG002
        raise OrchestratorError(f"{account} has no {media_id}", key="media_unknown")


class BotProcess:
    """A bot, its folders, and the endpoint that its events go to.

    Args:
        folder: Where everything is.
        code: The bot's module, `my_bot`.
        python: What runs it, by default this Python.
        environment: What it is run in beside the usual.
        spec: More of what it is started with.
    """

    def __init__(
        self,
        folder: Path,
        code: str = ECHO,
        *,
        python: Sequence[str] = (sys.executable,),
        environment: Mapping[str, str] | None = None,
        path: Path | None = None,
        **spec: Any,  # noqa: ANN401
    ) -> None:
        self.folder = folder
        self.path = path or folder / "bot"
        self.scratch = folder / "scratch"
        for one in (self.path, self.scratch):
            one.mkdir(exist_ok=True)
        (self.path / "my_bot.py").write_text(code)
        self.log = folder / "bot.log"
        (folder / "gateway").mkdir(exist_ok=True)
        self.service = Service(folder / "gateway")
        self.endpoint = BotEndpoint(
            "echo",
            self.service.sending,
            NoFiles(),
            accounts=frozenset({"support"}),
            seconds=spec.get("seconds", 60.0),
        )
        self.lost = asyncio.Event()
        self._python = python
        self._environment = environment or {}
        self._spec = {"name": "echo", "app": "my_bot:bot", "closed": (folder / "state",), **spec}
        self.process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start a process."""
        ours, theirs = socket.socketpair()
        beat, written = os.pipe()
        os.set_blocking(beat, False)
        self.beat = beat
        self.lost.clear()
        self.endpoint.attach(ours, self.lost.set)
        with theirs:
            spec = BotSpec(
                port=theirs.fileno(), beat=written, path=self.path, folder=self.scratch, **self._spec
            )
            with self.log.open("ab") as log:
                self.process = await asyncio.create_subprocess_exec(
                    *self._python,
                    *interpreter.module("orchestrator.bots")[1:],
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    pass_fds=(theirs.fileno(), written),
                    env={
                        **interpreter.bot_environment(os.environ),
                        **self._environment,
                        BOT_VARIABLE: spec.as_text(),
                    },
                )
        os.close(written)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[BotProcess]:
        """Have a process until the end of the block."""
        await self.start()
        try:
            yield self
        finally:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()
            os.close(self.beat)
            self.endpoint.detach()
            await self.service.uploads.close()

    async def deliver(self, event: Event | None = None, number: int = 1) -> Outcome:
        """Have the bot handle an event."""
        return await self.endpoint.deliver(Attempt(event or Event(), number))

    async def end(self) -> int:
        """Wait for the end of the process, and return how it ended."""
        return await self.process.wait()

    @property
    def said(self) -> str:
        """What it has logged."""
        return self.log.read_text()


def go(test: Callable[[], Coroutine[Any, Any, None]], seconds: float = 60.0) -> None:
    """Run a test in an event loop."""
    asyncio.run(asyncio.wait_for(test(), seconds))


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    while not holds():  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.01)
