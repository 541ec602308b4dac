"""What takes time, done in threads of its own: neither the event loop nor a starting account waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from orchestrator.errors import NotRunning
from orchestrator.system import threads

_THREADS: Final = 2
"""One is not enough: a file system that hangs must not keep a process from being started."""

T = TypeVar("T")


class Aside:
    """A few threads, which are there from the start.

    Args:
        name: How their names begin.
        size: How many there are.

    Raises:
        StateError: The system lets this process have no threads.
    """

    def __init__(self, name: str, size: int = _THREADS) -> None:
        self._pool = threads.pool(size, name)

    async def run(self, call: Callable[[], T]) -> T:
        """Return what a call returns that may take a moment.

        Raises:
            NotRunning: This is closed.
        """
        try:
            answer = asyncio.get_running_loop().run_in_executor(self._pool, call)
        except RuntimeError:
            raise NotRunning("the service has stopped") from None
        return await answer

    def close(self) -> None:
        """Take nothing on any more; what was begun is finished."""
        self._pool.shutdown(wait=False)
