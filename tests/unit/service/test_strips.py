"""Strips are read from the histories once, and then only what is new of accounts that have changed."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from support.fleet import asynchronous

from orchestrator.accounts.states import State
from orchestrator.accounts.strips import SLOTS
from orchestrator.service.aside import Aside
from orchestrator.service.roster import Roster
from orchestrator.service.strips import BATCH, Strips
from orchestrator.store.protocols import Record
from orchestrator.store.timeline import Timeline, TimelineEntry


class CountingTimeline(Timeline):
    """Histories on disk, and which of them were read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: list[str] = []

    def after(self, name: str, number: int, limit: int) -> list[dict[str, Any]]:
        self.read.append(name)
        return super().after(name, number, limit)


class World:
    """Accounts with histories."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.timeline = CountingTimeline(folder)
        self.accounts = {name: SimpleNamespace(version=1, state=State.CONNECTED) for name in names}
        self.aside = Aside("test")
        roster = cast("Roster", SimpleNamespace(accounts=self.accounts))
        self.strips = Strips(roster, cast("Record", self.timeline), self.aside)

    def change(self, name: str, at: float, before: str, after: str) -> None:
        self.timeline.append(name, TimelineEntry(at, before, after))
        self.accounts[name].version += 1
        self.accounts[name].state = State(after)

    async def of(self, *names: str, hours: int = 24) -> dict[str, Any]:
        return await self.strips.of(names or list(self.accounts), hours)


@asynchronous
async def test_a_second_question_reads_only_what_has_changed(tmp_path: Path) -> None:
    names = [f"a{number:03}" for number in range(3 * BATCH + 1)]
    world, now = World(tmp_path, *names), time.time()
    for name in names:
        world.change(name, now - 40_000, "starting", "connected")
    first = await world.of()
    assert sorted(world.timeline.read) == names
    assert list(first["accounts"]) == names
    assert all(runs[-1][1] == "connected" for runs in first["accounts"].values())
    world.timeline.read.clear()
    await world.of()
    assert world.timeline.read == []
    world.change("a007", now - 10, "connected", "backoff")
    found = await world.of()
    assert world.timeline.read == ["a007"]
    assert found["accounts"]["a007"][-1][1] == "backoff"
    world.aside.close()


@asynchronous
async def test_what_was_long_before_is_known_by_the_state_that_it_led_to(tmp_path: Path) -> None:
    world, now = World(tmp_path, "a", "b"), time.time()
    world.change("a", now - 300_000, "starting", "connected")
    world.change("b", now - 300_000, "starting", "connected")
    world.change("b", now - 7200, "connected", "failed")
    found = await world.of()
    assert found["accounts"]["a"] == [(0, "connected")]
    (first, second) = found["accounts"]["b"]
    assert (first, second[1]) == ((0, "connected"), "failed")
    assert 288 - 26 <= second[0] <= 288 - 24
    longer = await world.of(hours=168)
    assert longer["slot"] * SLOTS >= 168 * 3600
    assert len(longer["accounts"]["b"]) == 3, "and now the start is seen, too"
    assert (await world.of())["accounts"] == found["accounts"]
    world.aside.close()


@asynchronous
async def test_an_account_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "b")
    await world.of()
    del world.accounts["a"]
    found = await world.of("a", "b")
    assert list(found["accounts"]) == ["b"]
    assert list(world.strips._known) == ["b"]
    world.aside.close()


@asynchronous
async def test_entries_that_make_no_sense_are_left_out(tmp_path: Path) -> None:
    world, now = World(tmp_path, "a"), int(time.time())
    (tmp_path / "a.jsonl").write_text(
        f'{{"n": {now - 100}, "at": "no time", "from": "x", "to": "failed"}}\n'
        f'{{"n": {now - 99}, "at": "9999999-01-01T00:00:00Z", "from": "x", "to": "failed"}}\n'
        f'{{"n": {now - 98}, "at": 17, "from": "x", "to": "failed"}}\n'
        "nonsense\n"
    )
    found = await world.of()
    assert found["accounts"]["a"] == [(0, "connected")]
    world.aside.close()
