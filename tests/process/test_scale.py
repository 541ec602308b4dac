"""A hundred accounts under the real supervisor, each with a process: light ones, which load no library."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import support.fleet
from support.fleet import Fleet, asynchronous, is_alive

from orchestrator.accounts import running as account
from orchestrator.accounts.events import Event, ShuttingDown
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.service import supervisor
from orchestrator.service.roster import Managed

COUNT = 100
PARALLEL = 8
NAMES = [f"a{number:03}" for number in range(COUNT)]
PATIENCE = 240.0
"""Seconds for what takes ten on an idle machine."""
STOP_SECONDS = 2.0
"""Seconds that a process which will not stop gets for that."""
pytestmark = pytest.mark.timeout(900)


class Scale:
    """A fleet, and what was seen of it.

    Attributes:
        most: How many have been starting or connecting at once, at the most.
        away: How many have not been connected, or were about to be so no more, at the most.
        stopping: Of each account, by when its process must have stopped, in monotonic seconds, and when it is
            looked whether it has.
        killed: Of each, when it was asked to be killed because it had not stopped.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.most = self.away = 0
        self.stopping: dict[str, tuple[float | None, float]] = {}
        self.killed: dict[str, float] = {}
        self._fleet = fleet
        self._handle = fleet.supervisor._machines.handle
        self._kill = fleet.supervisor._children.kill
        fleet.supervisor._machines.handle = self._look  # type: ignore[method-assign]
        fleet.supervisor._children.kill = self._see_killed  # type: ignore[method-assign]

    def _see_killed(self, name: str, managed: Managed, why: str, *, holds: bool) -> None:
        assert why == "it did not stop in time"
        assert name not in self.killed
        self.killed[name] = time.monotonic()
        self._kill(name, managed, why, holds=holds)

    def _look(self, name: str, event: Event) -> None:
        self._handle(name, event)
        managed = self._fleet.supervisor._roster.accounts.get(name)
        if isinstance(event, ShuttingDown) and managed and managed.account.child and managed.timer:
            self.stopping[name] = managed.account.child.deadline, managed.timer.when()
        machines = self._fleet.supervisor._roster.machines.values()
        self.most = max(self.most, sum(machine.dials for machine in machines))
        away = sum(machine.state is not State.CONNECTED or machine.stopping for machine in machines)
        self.away = max(self.away, away)

    def pids(self) -> dict[str, int]:
        """Return the accounts' processes; all must have one."""
        return {name: self._fleet.pid(name) for name in self._fleet.supervisor.names()}

    def runs(self) -> Counter[str]:
        """Return how many processes each account has had."""
        return Counter({name: len(self._fleet.puppets.runs(name)) for name in self._fleet.supervisor.names()})

    async def until_connected(self, *, but: dict[str, int] | None = None) -> None:
        """Wait until all are connected, with other processes than those."""
        before = but or {}

        def missing() -> int:
            about = map(self._fleet.about, self._fleet.supervisor.names())
            return sum(
                one["state"] != State.CONNECTED or one["pid"] == before.get(one["name"]) for one in about
            )

        # All of them may take long on a busy machine. The patience is for the next one, not for all.
        while left := missing():
            await self._fleet.until_true(partial(_is_less, missing, left), f"fewer than {left} are missing")


def _is_less(count: Callable[[], int], than: int) -> bool:
    return count() < than


def configuration(**changed: str) -> str:
    lines = [f"  {name}: {changed.get(name, '{}')}\n" for name in NAMES if changed.get(name) != "removed"]
    lines += [f"  {name}: {{}}\n" for name, words in changed.items() if words == "added"]
    return f"start: {{parallel: {PARALLEL}, spread: 0s}}\naccounts:\n" + "".join(lines)


@asynchronous
async def test_a_hundred_accounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support.fleet, "PATIENCE", PATIENCE)
    for module, constant in ((account, "STOP_DEADLINE"), (supervisor, "SHUTDOWN_SECONDS")):
        monkeypatch.setattr(module, constant, PATIENCE)  # so that all can stop by themselves
    fleet = Fleet(
        tmp_path,
        *(AccountSettings(name) for name in NAMES),
        start=False,
        start_parallel=PARALLEL,
        control=True,
        preload=("support.stand_in_child",),
    )
    added = [f"new{number}" for number in range(5)]
    for name in (*NAMES, *added):
        fleet.has_session(name)
    async with fleet:
        scale = Scale(fleet)
        fleet.supervisor.start()
        await scale.until_connected()
        assert scale.runs() == Counter(NAMES)
        assert scale.most == PARALLEL

        # `restart --all`: each goes and comes back once, no more at once than may start, and each goes only
        # after the process of the one before has loaded the library. Commands are answered meanwhile.
        first = scale.pids()
        scale.away = 0
        assert (await fleet.call("restart", all=True))["done"] == NAMES
        assert len((await fleet.call("list"))["accounts"]) == COUNT
        await scale.until_connected(but=first)
        assert scale.runs() == Counter(dict.fromkeys(NAMES, 2))
        assert 1 <= scale.away <= PARALLEL == scale.most
        assert not [pid for pid in first.values() if is_alive(pid)]

        # Half a hundred changes in the configuration are felt by those alone.
        second = scale.pids()
        changed, removed = NAMES[:80:2], NAMES[81:91:2]
        words = dict.fromkeys(changed, "{device_name: Elsewhere}") | dict.fromkeys(removed, "removed")
        scale.away = 0
        fleet.config_file.write_text(configuration(**words, **dict.fromkeys(added, "added")))
        changes = await fleet.call("reload")
        assert (changes["changed"], changes["removed"], changes["added"]) == (changed, removed, added)
        await fleet.until_true(lambda: not set(removed) & set(fleet.supervisor.names()), "they are gone")
        await scale.until_connected(but={name: second[name] for name in changed})
        assert scale.away <= PARALLEL + len(removed) + len(added)
        third = scale.pids()
        assert {name for name, pid in third.items() if pid != second.get(name)} == {*changed, *added}
        assert all(fleet.puppets.runs(name)[-1]["device_name"] == "Elsewhere" for name in changed)
        assert scale.runs() == Counter({name: 2 + (name in changed) for name in NAMES}) - Counter(
            dict.fromkeys(removed, 2)
        ) + Counter(added)
        assert scale.most == PARALLEL

        # The end, in good order.
        await asyncio.wait_for(fleet.supervisor.stop(), PATIENCE)
        assert not [pid for pid in third.values() if is_alive(pid)]
        assert {fleet.about(name)["last_exit"]["code"] for name in third} == {10}


@asynchronous
async def test_a_hundred_processes_that_do_not_stop_are_killed_when_their_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support.fleet, "PATIENCE", PATIENCE)
    monkeypatch.setattr(account, "STOP_DEADLINE", STOP_SECONDS)
    fleet = Fleet(tmp_path, *NAMES, start=False, start_parallel=PARALLEL, preload=("support.stand_in_child",))
    for name in NAMES:
        fleet.puppets.play(name, ["connecting", "connected", "deaf"])
    async with fleet:
        scale = Scale(fleet)
        fleet.supervisor.start()
        await scale.until_connected()
        pids = scale.pids()
        begun = time.monotonic()
        stopping = asyncio.ensure_future(fleet.supervisor.stop())
        await asyncio.sleep(0)
        told = time.monotonic()
        # All are told at once, each has its time from then on, and when that is over the loop wakes for it.
        assert list(scale.stopping) == NAMES
        for deadline, looks_at in scale.stopping.values():
            assert deadline is not None
            assert begun + STOP_SECONDS <= deadline <= told + STOP_SECONDS
            assert looks_at <= deadline
        await asyncio.wait_for(stopping, PATIENCE)
        assert set(scale.killed) == set(NAMES)
        assert all(at >= (scale.stopping[name][0] or 0) for name, at in scale.killed.items())
        assert not [pid for pid in pids.values() if is_alive(pid)]
        assert {fleet.about(name)["last_exit"]["kind"] for name in NAMES} == {"stopped"}
