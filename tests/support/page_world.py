"""A world to look at the page with: the real HTTP API, and accounts that exist in memory only.

Run it, and open the address that it prints::

    PYTHONPATH=tests .venv/bin/python -m support.page_world --accounts 300 --changes 5

The page's files are read anew with each request: load the page again to see what was edited.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from support.http_api import RunningApi, running
from support.page_accounts import World, iso

from orchestrator.access import invitations
from orchestrator.access.invitations import PAGE_SCOPES
from orchestrator.access.scopes import Scope
from orchestrator.gateway.dispatch.describing import pull
from orchestrator.gateway.metrics import Times, _Histogram
from orchestrator.gateway.page import files
from orchestrator.gateway.recent import Recent


@dataclass
class RunningWorld:
    """A world that runs.

    Attributes:
        world: The accounts.
        running: The API.
        origin: Where it is, such as ``http://127.0.0.1:8080``.
    """

    world: World
    running: RunningApi
    origin: str

    def login(self, scopes: Iterable[Scope] = PAGE_SCOPES, accounts: Iterable[str] | None = None) -> str:
        """Return an address that logs a browser in, once, as `orchestrator page` does."""
        folder = self.running.folder
        _, code = invitations.invite(folder, folder, scopes, accounts, now=time.time(), seconds=43_200)
        self.running.services.tokens.load()
        return invitations.url(self.origin, code)


@contextlib.asynccontextmanager
async def world(
    folder: Path,
    count: int = 30,
    *,
    changes: float = 0.0,
    port: int = 0,
    consumers: bool = False,
    beats: bool = False,
    **more: Any,  # noqa: ANN401
) -> AsyncIterator[RunningWorld]:
    """Run a world.

    Args:
        folder: An empty folder for the gateway.
        count: How many accounts.
        changes: How many changes happen a second.
        port: Where it listens; 0: where there is room.
        consumers: Whether there are webhooks, a bot and a pull.
        beats: Whether the accounts' processes report what they use.
        **more: What `World` takes.
    """
    accounts = World(count, **more)
    sock = socket.create_server(("127.0.0.1", port), backlog=512)
    sock.setblocking(False)
    host, at = sock.getsockname()
    async with running(folder, parent=accounts, sock=sock) as api:
        found = RunningWorld(accounts, api, f"http://{host}:{at}")
        accounts.listen(api.services.board.changed)
        living = [asyncio.ensure_future(accounts.live(changes, beats=beats))]
        if consumers:
            _add_consumers(found)
            living.append(asyncio.ensure_future(_deliver(api.services.flows._times)))
        try:
            yield found
        finally:
            for one in living:
                one.cancel()
            await asyncio.gather(*living, return_exceptions=True)


def _add_consumers(found: RunningWorld) -> None:
    """Give a world webhooks, a bot and a pull."""
    there, now = found.running.services.dispatcher, time.time()
    for name, kind, more in (
        ("crm", "webhook", {"delivered": 48_120, "waiting": 3, "oldest_at": iso(now - 2)}),
        (
            "billing",
            "webhook",
            {"state": "disabled", "why": "410 Gone", "dead": 12, "waiting": 1800, "failed": 60,
             "oldest_at": iso(now - 8000)},
        ),
        (
            "analytics",
            "webhook",
            {"state": "failing", "why": "connection refused", "retrying": 4, "waiting": 96, "failed": 9,
             "oldest_at": iso(now - 90), "next_try_at": iso(now + 30)},
        ),
        ("greeter", "bot", {"delivered": 930}),
        ("export", "pull", {}),
    ):  # fmt: skip
        there.add(name, kind)
        there.rows[name] = pull(name) | there.rows[name] | more
    times = found.running.services.flows._times
    times.recent = {name: Recent() for name in there.rows}
    times.by_consumer = {name: _Histogram() for name in there.rows}
    times.failed("billing", "410 Gone")
    times.failed("analytics", "connection refused")


async def _deliver(times: Times) -> None:
    """Have the consumers that work get events."""
    dice = random.Random(1)
    while True:
        for name, pause in (("crm", 0.25), ("greeter", 3.0)):
            if dice.random() < 0.25 / pause:
                times.delivered(name, time.time() - 0.02 - 0.2 * dice.random())
        await asyncio.sleep(0.25)


async def _main(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    more: dict[str, Any] = {
        "consumers": True,
        "beats": True,
        "seed": options.seed,
        "steady": options.steady,
        "scanned": options.scanned,
    }
    scopes = options.scope or PAGE_SCOPES
    with tempfile.TemporaryDirectory() as folder, patch.object(files, "shared", files.Files):
        async with world(
            Path(folder), options.accounts, changes=options.changes, port=options.port, **more
        ) as found:
            print(f"log in, each address once:  {found.login(scopes)}\n{found.login(scopes)}", flush=True)
            print(f"or with a token:  {found.running.token('page', scopes)}", flush=True)
            await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--accounts", type=int, default=30)
    parser.add_argument("--changes", type=float, default=1.0, help="changes a second")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steady", action="store_true", help="every account is connected")
    parser.add_argument(
        "--scanned", type=float, default=None, help="a person scans codes after so many seconds"
    )
    parser.add_argument("--scope", action="append", choices=PAGE_SCOPES, help="log in with this scope only")
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
