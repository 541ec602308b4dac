"""A gateway's feed and dispatcher as a program, to be killed: what its consumer gets is appended to a file.

python -m support.dispatching_program STATE FILE
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support.readers import spec

from orchestrator.consumers import schedule
from orchestrator.consumers.consumer import Consumer
from orchestrator.consumers.outcomes import Attempt, Delivered, Failed, Outcome
from orchestrator.control.view import AccountView
from orchestrator.gateway.dispatch.dispatcher import Dispatcher
from orchestrator.gateway.feed import Feed
from orchestrator.gateway.reader.maker import start_reader

ACCOUNTS = ("a", "b", "c")


class Service:
    """A service that tells nothing of accounts' histories."""

    async def ask(self, asker: Any, command: str, /, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401, ARG002
        return {"entries": [], "newest": 0}


class Appending:
    """Takes most events at once, and some only when they come again."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def deliver(self, attempt: Attempt) -> Outcome:
        event = json.loads(attempt.event.body)
        takes = zlib.crc32(f"{attempt.event.id} {attempt.number}".encode()) % 5 > 0
        line = {
            "id": attempt.event.id,
            "chat": event["data"]["chat"]["id"],
            "seq": event["seq"],
            "account": event["account"],
            "taken": takes,
            "body": zlib.crc32(attempt.event.body),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")
        await asyncio.sleep(0)
        return Delivered() if takes else Failed("HTTP 500")


async def run(state: Path, path: Path) -> None:
    feed = Feed(state / "messages", start_reader(spec(state)), Service())
    feed.changed([AccountView(name, "connected") for name in ACCOUNTS])
    dispatcher = Dispatcher(state / "gateway", feed)
    dispatcher.configure({"crm": Consumer("crm", "webhook")}, {"crm": Appending(path)})
    running = asyncio.gather(feed.run(), dispatcher.run())
    await dispatcher.lines.ready()
    print("ready", flush=True)
    await running


if __name__ == "__main__":
    with patch.object(schedule, "DELAYS", (0.0, *[0.05] * 11)):
        asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
