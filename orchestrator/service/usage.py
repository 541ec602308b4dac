"""Reads what the accounts' processes use, for those who ask, without holding up the service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from orchestrator.control.view import AccountView
from orchestrator.system import processes
from orchestrator.system.processes import Usage

FRESH_SECONDS = 2.0
"""How long what was read counts as present: programs that ask more often get the same numbers again."""
SLICE_SECONDS = 0.005
"""How long the event loop is held up at a time. 500 processes take 50 ms in all."""


class UsageReader:
    """Reads, and remembers for a moment, what processes use."""

    def __init__(self) -> None:
        self._read: dict[int, tuple[float, Usage]] = {}

    async def add(self, views: Iterable[AccountView]) -> list[AccountView]:
        """Return views of accounts with what the accounts' processes use."""
        found: list[AccountView] = []
        since = time.monotonic()
        for view in views:
            if view.pid is not None:
                found.append(view._replace(**self._of(view.pid)._asdict()))
            else:
                found.append(view)
            if time.monotonic() - since > SLICE_SECONDS:
                await asyncio.sleep(0)
                since = time.monotonic()
        self._forget()
        return found

    def _of(self, pid: int) -> Usage:
        at, usage = self._read.get(pid, (-FRESH_SECONDS, Usage()))
        now = time.monotonic()
        if now - at >= FRESH_SECONDS:
            usage = processes.usage(pid)
            self._read[pid] = (now, usage)
        return usage

    def _forget(self) -> None:
        now = time.monotonic()
        self._read = {pid: entry for pid, entry in self._read.items() if now - entry[0] < FRESH_SECONDS}
