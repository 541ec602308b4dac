"""A small real gateway and bot for tests of the service: ``ORCHESTRATOR_TEST_COMPANION`` says what it does.

It tells by a file what it was told, and does nothing that a gateway does beyond its port.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from orchestrator.control.companions import BOT_VARIABLE, VARIABLE
from orchestrator.control.port import Port, Request

Json = dict[str, Any]


class Gateway:
    def __init__(self, spec: Json, orders: Json) -> None:
        self.orders = orders
        self.told = Path(orders["told"])
        self.end = asyncio.Event()
        self.port = Port(socket.socket(fileno=spec["port"]), self.serve, self.end.set)
        self.listeners: dict[int, socket.socket] = {}
        self.bots: dict[str, Port] = {}

    def tell(self, **what: object) -> None:
        with self.told.open("a") as file:
            file.write(json.dumps({"pid": os.getpid(), **what}) + "\n")

    def serve(self, request: Request) -> Any:  # noqa: ANN401
        return self.stream(request) if request.command == "numbers" else self.once(request)

    async def stream(self, request: Request) -> AsyncGenerator[Json, None]:
        for number in range(request.arguments["most"]):
            yield {"number": number}

    async def once(self, request: Request) -> Json:
        arguments = request.arguments
        match request.command:
            case "configure":
                if self.orders.get("refuse"):
                    raise ValueError("a bug of the test's")
                fds = request.take_fds()
                for one, fd in zip(arguments["listeners"], fds, strict=True):
                    self.listeners[one["number"]] = socket.socket(fileno=fd)
                self.tell(configured=arguments["settings"], listeners=arguments["listeners"])
            case "bot":
                (fd,) = request.take_fds()
                self.bots[arguments["name"]] = Port(socket.socket(fileno=fd), self.once)
                self.tell(bot=arguments)
            case "drain":
                self.tell(drain=arguments)
                if self.orders.get("drains") == "never":
                    await asyncio.sleep(3600)
                self.end.set()
            case "consumers":
                return {"consumers": [], "given": arguments}
            case "ask":
                return await self.port.call(arguments["command"], **arguments["arguments"])
            case _:
                self.tell(asked=request.command)
        return {}

    async def run(self) -> None:
        self.tell(began=sorted(os.environ), core=resource.getrlimit(resource.RLIMIT_CORE))
        print("plain words")
        print("<4>a warning of +4915112345678", file=sys.stderr, flush=True)
        match self.orders.get("does"):
            case "exits":
                sys.exit(3)
            case "garbage":
                os.write(self.port._socket.fileno(), b"GET / HTTP/1.1\r\n\r\n")
            case "hangs":
                time.sleep(3600)  # noqa: ASYNC251
        for _ in range(self.orders.get("beats", 10**9)):
            await self.port.call("beat", lacks="files signals")
            try:
                async with asyncio.timeout(self.orders.get("every", 0.05)):
                    await self.end.wait()
            except TimeoutError:
                continue
            break
        await self.end.wait()
        self.port.close()


class Bot:
    def __init__(self, spec: Json) -> None:
        self.spec = spec
        self.end = asyncio.Event()
        self.port = Port(socket.socket(fileno=spec["port"]), lost=self.end.set)

    async def run(self) -> int:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.end.set)
        os.write(self.spec["beat"], b".")
        await self.port.call("hello", name=self.spec["name"])
        while not self.end.is_set():
            os.write(self.spec["beat"], b".")
            try:
                async with asyncio.timeout(0.05):
                    await self.end.wait()
            except TimeoutError:
                pass
        return 0 if self.port.is_open else 75


async def main() -> None:
    if BOT_VARIABLE in os.environ:
        sys.exit(await Bot(json.loads(os.environ[BOT_VARIABLE])).run())
    gateway = Gateway(json.loads(os.environ[VARIABLE]), json.loads(os.environ["ORCHESTRATOR_TEST_COMPANION"]))
    await gateway.run()


if __name__ == "__main__":
    asyncio.run(main())
