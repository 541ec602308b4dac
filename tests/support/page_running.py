"""A world of `page_world` in a thread of its own, for tests that drive a browser."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from support.page_accounts import World
from support.page_world import RunningWorld, world

from orchestrator.access.invitations import PAGE_SCOPES
from orchestrator.access.scopes import Scope

T = TypeVar("T")
_SECONDS = 90.0


class PageWorld:
    """A world that runs while the context is open. What changes the world is called with `do`.

    Args:
        folder: An empty folder.
        count: How many accounts.
        **more: What `page_world.world` and `World` take.
    """

    def __init__(self, folder: Path, count: int = 30, **more: Any) -> None:  # noqa: ANN401
        self._folder = folder
        self._count = count
        self._more = more
        self._up: Future[RunningWorld] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="world")

    def __enter__(self) -> Self:
        self._thread.start()
        self._up.result(_SECONDS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_SECONDS)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            async with world(self._folder, self._count, **self._more) as found:
                self._up.set_result(found)
                await self._stop.wait()
        except BaseException as error:
            if not self._up.done():
                self._up.set_exception(error)
            raise

    @property
    def running(self) -> RunningWorld:
        """What runs."""
        return self._up.result()

    @property
    def accounts(self) -> World:
        """The accounts."""
        return self.running.world

    @property
    def origin(self) -> str:
        """Where the page is."""
        return self.running.origin

    def do(self, work: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Call something in the world's thread; return what it returns."""

        async def call() -> T:
            return work(*args, **kwargs)

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_SECONDS)

    def login(self, scopes: Iterable[Scope] = PAGE_SCOPES, accounts: Iterable[str] | None = None) -> str:
        """Return an address that logs a browser in, once."""
        return self.do(self.running.login, scopes, accounts)
