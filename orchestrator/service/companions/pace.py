"""Keeps what clients of the gateway ask for from taking all the time of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

SHARE: Final = 0.25
"""Which part of the time goes into it at most."""

T = TypeVar("T")


class Pace:
    """Has things done one after the other, with pauses in which accounts have the service for themselves."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._free_at = 0.0

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what a piece of work returns, which begins in its turn."""
        loop = asyncio.get_running_loop()
        async with self._turn:
            if (pause := self._free_at - loop.time()) > 0:
                await asyncio.sleep(pause)
            began = loop.time()
            try:
                return await work()
            finally:
                now = loop.time()
                self._free_at = now + (now - began) * (1 / SHARE - 1)
