"""Writes down what the machines ask for, in one thread, many things at once. A full disk stops nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from orchestrator.consumers.writes import LaneRow, Pending, Place, Write
from orchestrator.errors import OrchestratorError
from orchestrator.gateway.dispatch.store import Store, is_damage

log = logging.getLogger(__name__)
T = TypeVar("T")

DELAY: Final = 0.02
"""Seconds that what was delivered waits to be written with more: that is delivered again after a kill."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0  # seconds until what could not be written is written again


class Source(Protocol):
    """Whose writes they are."""

    def reach_of(self, places: set[Place]) -> Mapping[Place, int]:
        """Return up to where nothing is needed any more, as far as what was asked for is written down."""

    def wrote(self, reach: Mapping[Place, int]) -> None:
        """Everything that was asked for before `reach_of` was called is written down."""

    def strain(self, *, is_strained: bool) -> None:
        """Nothing can be written down, or it can again."""


class StoreError(OrchestratorError):
    """What is kept of consumers cannot be read or written now."""

    key = "state_unusable"


class Writer:
    """The store and its thread.

    Args:
        folder: The gateway's folder.
        damaged: Called when the store turns out to be damaged while it is used.
        follows: Whether what changes follows into a database.
    """

    def __init__(self, folder: Path, damaged: Callable[[], None], *, follows: bool = False) -> None:
        self._folder = folder
        self._follows = follows
        self._damaged = damaged
        self._thread = ThreadPoolExecutor(1, "consumers")
        self._store: Store | None = None  # its thread sets it: an end finds what a start was still opening
        self._is_closed = False
        self._pending: dict[str, Pending] = {}
        self._sources: dict[str, Source] = {}
        self._go = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self._is_strained = False
        self._lock = asyncio.Lock()

    async def open(self) -> bool:
        """Open the store; return whether it is new because the one before was damaged.

        Raises:
            OrchestratorError: It cannot be opened.
        """
        return await self._in_thread(self._open)

    def join(self, name: str, source: Source) -> None:
        """Say whose the writes of a consumer are."""
        self._sources[name] = source

    def leave(self, name: str) -> None:
        """Forget a consumer, and what was not written down of it."""
        self._sources.pop(name, None)
        self._pending.pop(name, None)

    def note(self, name: str, writes: list[Write], *, is_urgent: bool) -> None:
        """Take in what is to be written down."""
        if name not in self._sources:
            return
        pending = self._pending.get(name)
        if pending is None:
            pending = self._pending[name] = Pending()
        pending.add(writes)
        if self._is_strained:
            return
        if is_urgent:
            self._go.set()
        elif self._later is None:
            self._later = asyncio.get_running_loop().call_later(DELAY, self._go.set)

    def row(self, name: str, place: Place, lane: str) -> LaneRow | None:
        """Return the row of a lane that is yet to be written down."""
        pending = self._pending.get(name)
        return None if pending is None else pending.row(place, lane)

    async def call(self, do: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - as `do` takes them
        """Have something done with the store: a method of `Store`, given without one.

        Raises:
            StoreError: It cannot be done.
        """
        if self._store is None and not self._is_closed:
            raise StoreError("the gateway has not read yet what is kept of consumers; try again in a moment")
        return await self._in_thread(do, self._store, *arguments)

    async def run(self) -> None:
        """Write until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            await self._go.wait()
            if await self.flush():
                pause = _FIRST_PAUSE
            else:
                await asyncio.sleep(pause)  # `_failed` has asked for another try
                pause = min(_LONGEST_PAUSE, pause * 2)

    async def flush(self) -> bool:
        """Write everything now; return whether that worked."""
        async with self._lock:
            self._go.clear()
            if self._later is not None:
                self._later.cancel()
                self._later = None
            batch = {name: one.take() for name, one in self._pending.items() if len(one)}
            if not batch or self._store is None:
                return True
            reaches = {}
            for name, writes in batch.items():
                if (source := self._sources.get(name)) is not None:
                    places = {
                        place for write in writes if (place := getattr(write, "place", None)) is not None
                    }
                    reaches[name] = source.reach_of(places)
            try:
                await self._in_thread(self._write, batch)
            except StoreError as error:
                self._failed(batch, error)
                return False
            self._strain(is_strained=False)
            for name, reach in reaches.items():
                if (source := self._sources.get(name)) is not None:
                    source.wrote(reach)
            return True

    async def close(self) -> None:
        """Write everything, and close the store."""
        await self.flush()
        with contextlib.suppress(StoreError):
            await self._in_thread(self._close)
        self._is_closed = True
        self._thread.shutdown(wait=False)

    def _open(self) -> bool:
        self._close()
        self._store = Store.open(self._folder, follows=self._follows)
        return self._store.was_damaged

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def _write(self, batch: dict[str, tuple[Write, ...]]) -> None:
        assert self._store is not None
        self._store.apply(batch)

    def _failed(self, batch: dict[str, tuple[Write, ...]], error: StoreError) -> None:
        for name, writes in batch.items():
            if name in self._sources:
                self._pending.setdefault(name, Pending()).give_back(writes)
        if not self._is_strained:
            log.error(
                "what becomes of events cannot be written down: %s; deliveries go on, and what was delivered"
                " since is delivered again if the gateway ends before that works",
                error,
            )
        self._strain(is_strained=True)
        self._go.set()  # whoever wanted it written down: `run` tries again, after a pause

    def _strain(self, *, is_strained: bool) -> None:
        if is_strained == self._is_strained:
            return
        self._is_strained = is_strained
        if not is_strained:
            log.info("what becomes of events is written down again")
        for source in tuple(self._sources.values()):
            source.strain(is_strained=is_strained)

    async def _in_thread(self, do: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401 - as `do` takes them
        if self._is_closed:
            raise StoreError("the gateway is stopping; try again when it is back")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, do, *arguments)
        except sqlite3.Error as error:
            if self._store is not None and is_damage(error):
                self._damaged()
            raise StoreError(f"what is kept of consumers in {self._folder} cannot be used: {error}") from None
        except OSError as error:
            words = error.strerror or str(error)
            raise StoreError(f"what is kept of consumers in {self._folder} cannot be used: {words}") from None
