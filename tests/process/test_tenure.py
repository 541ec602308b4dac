"""Until when an account's process may run, where another machine may get the account."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

from support.fleet import Fleet, asynchronous

from orchestrator.accounts.states import State
from orchestrator.service.process import ChildProcess


def boottime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@asynchronous
async def test_a_process_may_run_as_long_as_the_others_however_long_it_takes_to_make(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", start=False) as fleet:
        fleet.has_session("a")
        children, spawn = fleet.supervisor._children, fleet.spawner.spawn
        over = boottime() + 1.0

        async def slowly(*given: Any, **named: Any) -> ChildProcess:  # noqa: ANN401
            child = await spawn(*given, **named)
            children.until = boottime() + 1000  # a renewal, while nobody could tell the process
            return child

        children.until = over
        fleet.spawner.spawn = slowly  # type: ignore[method-assign]
        fleet.supervisor.start()
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        await asyncio.sleep(max(0.0, over - boottime()) + 1.5)  # it looks twice a second
        assert (fleet.state("a"), fleet.pid("a")) == (State.CONNECTED, pid)
        assert "backoff" not in fleet.history("a")
