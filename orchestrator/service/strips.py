"""Reads how the accounts were from their histories, and remembers, so that it is cheap to ask again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple

from orchestrator.accounts.states import State
from orchestrator.accounts.strips import MOST_CHANGES, MOST_HOURS, SLOTS, Runs, Strip, slots_until
from orchestrator.control.protocol import Json
from orchestrator.errors import StateError
from orchestrator.service.aside import Aside
from orchestrator.service.roster import Roster
from orchestrator.store.protocols import Record

BATCH: Final = 20
"""Accounts that are read at once: others that need the thread wait no longer than these take."""


class _Wanted(NamedTuple):
    """An account, as it is when somebody asks."""

    name: str
    version: int
    state: State


@dataclass(slots=True)
class _Known:
    """What was read of an account: up to which entry of its history, and when it had changed last."""

    strip: Strip
    number: int
    version: int = -1
    runs: Runs | None = None
    of: tuple[float, int] = (0.0, 0)


class Strips:
    """How the accounts were.

    Args:
        roster: The accounts.
        record: Their histories.
        aside: Reads them, beside the event loop.
    """

    def __init__(self, roster: Roster, record: Record, aside: Aside) -> None:
        self._roster = roster
        self._record = record
        self._aside = aside
        self._known: dict[str, _Known] = {}
        self._lock = asyncio.Lock()

    async def of(self, names: Sequence[str], hours: int) -> Json:
        """Return how accounts were: see `gateway.http.routes.page_service`.

        Args:
            names: The accounts. Those that are gone are left out.
            hours: How far back to look.
        """
        now = time.time()
        begin, slot = slots_until(now, hours)
        found: dict[str, Runs] = {}
        async with self._lock:
            for start in range(0, len(names), BATCH):
                some = names[start : start + BATCH]
                accounts = [(name, self._roster.accounts.get(name)) for name in some]
                wanted = [_Wanted(name, one.version, one.state) for name, one in accounts if one is not None]
                found |= await self._aside.run(lambda: self._read(wanted, begin, slot, now))  # noqa: B023
            for name in [name for name in self._known if name not in self._roster.accounts]:
                del self._known[name]
        return {"begin": begin, "slot": slot, "slots": SLOTS, "accounts": found}

    def _read(self, wanted: Sequence[_Wanted], begin: int, slot: int, now: float) -> dict[str, Runs]:
        return {one.name: self._runs(one, begin, slot, now) for one in wanted}

    def _runs(self, wanted: _Wanted, begin: int, slot: int, now: float) -> Runs:
        known = self._known.get(wanted.name)
        if known is None or known.strip.since > begin:
            # A number is never lower than the time of its entry.
            known = self._known[wanted.name] = _Known(Strip(begin), max(0, begin - 1))
        if known.version != wanted.version:
            try:
                entries = self._record.after(wanted.name, known.number, MOST_CHANGES)
            except (
                StateError
            ):  # its newest entry is yet to be written: what is known is shown, and asked again
                return known.strip.runs(begin, slot, SLOTS, now)
            for entry in entries:
                known.number = max(known.number, int(entry["n"]))
                at = _seconds(entry["at"])
                if at is not None:
                    known.strip.add(at, entry.get("from"), entry["to"])
            known.strip.stay(wanted.state)
            known.strip.forget_before(now - MOST_HOURS * 3600)
            known.version, known.runs = wanted.version, None
        if known.runs is None or known.of != (begin, slot):
            known.runs, known.of = known.strip.runs(begin, slot, SLOTS, now), (begin, slot)
        return known.runs


def _seconds(moment: str) -> float | None:
    try:
        return datetime.fromisoformat(moment).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
