"""Many who ask for the same at once are one for the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class Together(Generic[T]):
    """Shares answers. None is older than its question: who asks while one is under way shares the next."""

    def __init__(self) -> None:
        self._now: dict[Hashable, asyncio.Task[T]] = {}
        self._next: dict[Hashable, asyncio.Task[T]] = {}

    async def ask(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """Return an answer that was asked for after this was called.

        Args:
            key: By what those know each other who ask for the same.
            call: Asks.

        Raises:
            Exception: Whatever `call` raises.
        """
        task = self._next.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._after(self._now.get(key), key, call))
            task.add_done_callback(_take_note)
            self._next[key] = task
        return await asyncio.shield(task)

    async def _after(
        self, before: asyncio.Task[T] | None, key: Hashable, call: Callable[[], Awaitable[T]]
    ) -> T:
        if before is not None:
            await asyncio.wait((before,))
        self._now[key] = self._next.pop(key)
        try:
            return await call()
        finally:
            del self._now[key]


def _take_note(task: asyncio.Task[T]) -> None:
    """Keep an error from being reported that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
