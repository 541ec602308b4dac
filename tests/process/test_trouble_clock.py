"""The clock on the wall is set: nothing waits longer or shorter for it, whether the service runs or not.

All of the parent has the other time. Its children keep the real one, as a child decides nothing by it.
"""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from support.fleet import PATIENCE, Fleet, asynchronous, until
from support.stand_in_child import NUMBER

from orchestrator.accounts.events import Order
from orchestrator.accounts.states import State
from orchestrator.service import leaving
from orchestrator.store import quarantine, status
from orchestrator.system import clock
from orchestrator.system.clock import Reading, was_set

DAY = 86_400.0
SETS = pytest.mark.parametrize("by", [DAY, -DAY], ids=["forward", "back"])


class Wall:
    """The clock on the wall; `set_by` is what people have done to it, in seconds."""

    def __init__(self) -> None:
        self.set_by = 0.0
        self._real = time.time

    def __call__(self) -> float:
        return self._real() + self.set_by


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    wall = Wall()
    monkeypatch.setattr(time, "time", wall)
    return wall


def wait_of(about: dict[str, Any]) -> float:
    """Return how many seconds an account is still to wait, as people see it."""
    return datetime.fromisoformat(about["next_retry_at"]).timestamp() - time.time()


def is_about_an_hour(seconds: float) -> bool:
    """Tell whether it is a ban's rest, whatever of it is over: a day more or less would show."""
    return 3600 - 10 * PATIENCE < seconds < 3660


def banned(folder: Path, *others: str) -> Fleet:
    fleet = Fleet(folder, "a", *others)
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "end: temporary_ban 3600"])
    return fleet


@SETS
@asynchronous
async def test_the_clock_set_while_the_service_runs(tmp_path: Path, wall: Wall, by: float) -> None:
    fleet = banned(tmp_path, "on", "p")
    fleet.has_session("on")
    async with fleet:
        pid = (await fleet.until("on", State.CONNECTED))["pid"]
        await fleet.until("p", State.PAIRING)
        assert is_about_an_hour(wait_of(await fleet.until("a", State.BANNED)))
        wall.set_by = by
        # Who is connected, or shows a code, goes on; the rest of the ban is the same, by the new clock.
        assert is_about_an_hour(wait_of(fleet.about("a")))
        assert fleet.supervisor.save()
        # What is written down is right by the new clock, too.
        parked = status.load(fleet.paths.status)["a"].parked
        assert parked is not None
        assert parked.until is not None
        assert is_about_an_hour(parked.until - time.time())
        fleet.supervisor.order("a", Order.START)
        assert fleet.state("a") is State.BANNED
        fleet.puppets.scan("p", NUMBER)
        assert (await fleet.until("p", State.CONNECTED))["uptime_s"] < 10 * PATIENCE
        assert not fleet.picture("p").exists()
        assert fleet.pid("on") == pid
        fleet.supervisor.order("on", Order.RESTART)
        await fleet.until("on", State.CONNECTED, after=pid)
        last = fleet.timeline("on", 1)[0]
        assert abs(datetime.fromisoformat(last["at"]).timestamp() - time.time()) < 10 * PATIENCE


@SETS
@asynchronous
async def test_the_clock_set_while_the_service_does_not_run(tmp_path: Path, wall: Wall, by: float) -> None:
    async with banned(tmp_path) as fleet:
        await fleet.until("a", State.BANNED)
    wall.set_by = by
    async with banned(tmp_path) as fleet:
        runs = len(fleet.puppets.runs("a"))
        assert fleet.state("a") is State.BANNED
        assert is_about_an_hour(wait_of(fleet.about("a")))
        assert len(fleet.puppets.runs("a")) == runs


@asynchronous
async def test_the_clock_set_back_while_the_machine_was_off(
    tmp_path: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with banned(tmp_path) as fleet:
        await fleet.until("a", State.BANNED)
    wall.set_by = -30 * DAY
    other = tmp_path / "boot_id"
    other.write_text("another start")
    monkeypatch.setattr(clock, "_BOOT_ID", other)
    async with banned(tmp_path) as fleet:
        assert fleet.state("a") is State.BANNED
        assert wait_of(fleet.about("a")) < 3660, "no longer than the whole ban"


@asynchronous
async def test_the_clock_set_forward_makes_no_session_in_quarantine_old(
    tmp_path: Path, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leaving, "PRUNE_SECONDS", 0.05)
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    asked: list[float] = []
    real = quarantine.prune

    def prune(folder: Path, days: float, now: float) -> list[str]:
        asked.append(now)
        return real(folder, days, now)

    monkeypatch.setattr(quarantine, "prune", prune)
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        fleet.supervisor.order("a", Order.REPAIR)
        await fleet.until("a", State.PAIRING)
        (put_away,) = fleet.sessions("a")
        wall.set_by = 365 * DAY
        before = len(asked)
        await until(lambda: len(asked) > before + 2, "the quarantine was looked through")
        assert put_away.exists()
    # Time that has really gone by counts.
    async with Fleet(tmp_path, "a") as fleet:
        await until(lambda: not put_away.exists(), "the session is deleted")


def test_how_far_the_clock_was_set() -> None:
    before = Reading(wall=1000.0, uptime=50.0, boot="a")
    assert was_set(before, Reading(1100.0, 150.0, "a")) == 0
    assert was_set(before, Reading(1101.5, 150.0, "a")) == 0, "a correction is none"
    assert was_set(before, Reading(5000.0, 150.0, "a")) == 3900
    assert was_set(before, Reading(100.0, 150.0, "a")) == -1000
    # After another start of the machine, it may have been off for any time, but for no negative one.
    assert was_set(before, Reading(5000.0, 10.0, "b")) == 0
    assert was_set(before, Reading(100.0, 10.0, "b")) == -900
    assert was_set(before, Reading(100.0, 150.0, "")) == -900
    assert Reading.of(before.as_json()) == before
