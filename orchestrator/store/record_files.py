"""What is written down of accounts, in files of the state folder.

Commands that only look load this and not what moves sessions: they have to start fast.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from orchestrator.errors import StateError
from orchestrator.store import alive, maintenance, status, summary, told
from orchestrator.store.layout import StatePaths
from orchestrator.store.told import Kept as Told
from orchestrator.system.os_errors import trouble

if TYPE_CHECKING:
    from orchestrator.store.timeline import Timeline, TimelineEntry


class RecordFiles:
    """``status.json`` and the timelines."""

    def __init__(self, paths: StatePaths) -> None:
        self._status = paths.status
        self._summary = paths.summary
        self._maintenance = paths.maintenance
        self._alive = paths.alive
        self._told = paths.on_change
        self._folder = paths.timeline

    @cached_property
    def _timeline(self) -> Timeline:
        from orchestrator.store.timeline import Timeline  # only now: `list` has to start fast

        return Timeline(self._folder)

    @property
    def place(self) -> str:
        """See `Record.place`."""
        return os.fspath(self._status)

    def load(self, damaged: dict[str, StateError] | None = None) -> dict[str, status.Kept]:
        """See `Record.load`: all accounts are in one file."""
        del damaged
        return status.load(self._status)

    def save(self, kept: Mapping[str, status.Kept]) -> None:
        """See `Record.save`."""
        try:
            status.save(self._status, kept)
        except OSError as error:
            raise StateError(f"{self._status}: cannot be written: {trouble(error)}") from None

    def disown(self, name: str) -> None:
        """See `Record.disown`: files are one machine's."""

    def flush(self, seconds: float) -> bool:
        """See `Record.flush`: nothing waits."""
        del seconds
        return True

    def summarize(self, digest: str, accounts: Mapping[str, summary.Summary]) -> None:
        """See `Record.summarize`."""
        with contextlib.suppress(OSError):  # commands then read the configuration itself
            summary.save(self._summary, digest, accounts)

    def summary(self, digest: str) -> dict[str, summary.Summary] | None:
        """See `Record.summary`."""
        return summary.load(self._summary, digest)

    def told(self) -> Told:
        """See `Record.told`."""
        return told.load(self._told)

    def keep_told(self, kept: Told, accounts: Collection[str]) -> None:
        """See `Record.keep_told`: nobody else has accounts."""
        del accounts
        told.save(self._told, kept)

    def maintenance(self) -> float | None:
        """See `Record.maintenance`."""
        return maintenance.load(self._maintenance)

    def keep_maintenance(self, since: float | None) -> None:
        """See `Record.keep_maintenance`."""
        maintenance.save(self._maintenance, since)

    def alive(self) -> float | None:
        """See `Record.alive`."""
        return alive.load(self._alive)

    def keep_alive(self, at: float) -> None:
        """See `Record.keep_alive`."""
        with contextlib.suppress(OSError):  # what else cannot be written is told
            alive.save(self._alive, at)

    def append(self, name: str, entry: TimelineEntry) -> bool:
        """See `Record.append`."""
        return self._timeline.append(name, entry)

    def tail(self, name: str, count: int) -> list[dict[str, Any]]:
        """See `Record.tail`."""
        return self._timeline.tail(name, count)

    def after(self, name: str, number: int, limit: int) -> list[dict[str, Any]]:
        """See `Record.after`."""
        return self._timeline.after(name, number, limit)

    def newest(self, name: str) -> int:
        """See `Record.newest`."""
        return self._timeline.newest(name)

    def backwards(self, name: str) -> Iterator[dict[str, Any]]:
        """See `Record.backwards`."""
        return self._timeline.backwards(name)

    def histories(self) -> list[str]:
        """See `Record.histories`."""
        try:
            return self._timeline.names()
        except OSError as error:
            raise StateError(
                f"{self._folder}: the timelines cannot be read ({trouble(error)}): run this command as the"
                " service's user, with `sudo -u`",
                key="permission_denied" if isinstance(error, PermissionError) else None,
            ) from None
