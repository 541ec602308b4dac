"""Two accounts with the session of one device: one connects, and the other is told why it does not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import Cli, bare
from support.devices import write_device, write_unlinked
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts.events import Order
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError

WAYS: dict[str, Callable[[Path, Path], object]] = {
    "a copy": shutil.copy,
    "a hard link": os.link,
}


def has_device(fleet: Fleet, name: str) -> Path:
    return write_device(fleet.place(name))


def refused(fleet: Fleet, name: str, other: str) -> None:
    about = fleet.about(name)
    assert (about["state"], about["kind"]) == ("failed", "duplicate")
    assert f"the account {other}:" in about["reason"]
    assert f"orchestrator repair {name}" in about["reason"]


@pytest.mark.parametrize("way", WAYS)
def test_the_first_in_the_configuration_connects(tmp_path: Path, way: str) -> None:
    @asynchronous
    async def check() -> None:
        fleet = Fleet(tmp_path, "first", "second", "other")
        WAYS[way](has_device(fleet, "first"), fleet.place("second"))
        has_device(fleet, "other")
        content = fleet.paths.session("second").read_bytes()
        async with fleet:
            await fleet.until("second", State.FAILED)
            await fleet.until("first", State.CONNECTED)
            await fleet.until("other", State.CONNECTED)
            refused(fleet, "second", "first")
            assert fleet.puppets.runs("second") == []
            assert fleet.paths.session("second").read_bytes() == content
            assert fleet.history("second") == ["starting", "failed"]

    check()


@asynchronous
async def test_both_at_the_same_time_many_times_over(tmp_path: Path) -> None:
    names = [f"a{number}" for number in range(8)]
    fleet = Fleet(tmp_path, *names)
    source = has_device(fleet, "a0")
    for name in names[1:]:
        shutil.copy(source, fleet.place(name))
    async with fleet:
        for name in names[1:]:
            await fleet.until(name, State.FAILED)
        await fleet.until("a0", State.CONNECTED)
        for _ in range(3):
            for name in names:
                if name != "a0":
                    with pytest.raises(OrchestratorError, match="copy of the session of the account a0"):
                        fleet.supervisor.order(name, Order.START)
        assert all(not fleet.puppets.runs(name) for name in names[1:])


@asynchronous
async def test_whoever_is_connected_stays_so(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "first", "second")
    source = has_device(fleet, "second")
    async with fleet:
        await fleet.until("first", State.PAIRING)
        fleet.supervisor.order("first", Order.STOP)
        await fleet.until("first", State.STOPPED)
        await fleet.until("second", State.CONNECTED)
        shutil.copy(source, fleet.place("first"))
        fleet.supervisor.order("first", Order.START)
        await fleet.until("first", State.FAILED)
        refused(fleet, "first", "second")
        # Also with a new process, and with the one that is refused asking all the while.
        pid = fleet.pid("second")
        fleet.supervisor.order("second", Order.RESTART)
        with pytest.raises(OrchestratorError, match="orchestrator repair first"):
            fleet.supervisor.order("first", Order.RESTART)
        await fleet.until("second", State.CONNECTED, after=pid)
        refused(fleet, "first", "second")


@asynchronous
async def test_one_that_does_not_run_is_in_nobodys_way(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, AccountSettings("first", enabled=False, backoff=QUICK), "second", "third")
    source = has_device(fleet, "first")
    for name in ("second", "third"):
        shutil.copy(source, fleet.place(name))
    async with fleet:
        await fleet.until("second", State.CONNECTED)
        await fleet.until("third", State.FAILED)
        fleet.supervisor.order("second", Order.STOP)
        await fleet.until("second", State.STOPPED)
        fleet.supervisor.order("third", Order.START)
        await fleet.until("third", State.CONNECTED)
        fleet.supervisor.order("second", Order.START)
        await fleet.until("second", State.FAILED)
        refused(fleet, "second", "third")


@asynchronous
async def test_once_one_of_them_is_linked_anew_both_run(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "first", "second")
    shutil.copy(has_device(fleet, "first"), fleet.place("second"))
    async with fleet:
        await fleet.until("second", State.FAILED)
        await fleet.until("first", State.CONNECTED)
        fleet.supervisor.order("second", Order.REPAIR)
        await fleet.until("second", State.PAIRING)
        fleet.puppets.scan("second")
        await fleet.until("second", State.CONNECTED)
        assert fleet.state("first") is State.CONNECTED


@asynchronous
async def test_once_the_first_is_linked_anew_the_second_may_start(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "first", "second")
    shutil.copy(has_device(fleet, "first"), fleet.place("second"))
    async with fleet:
        await fleet.until("second", State.FAILED)
        await fleet.until("first", State.CONNECTED)
        fleet.supervisor.order("first", Order.REPAIR)
        await fleet.until("first", State.PAIRING)
        fleet.supervisor.order("second", Order.START)
        await fleet.until("second", State.CONNECTED)


@asynchronous
async def test_a_copy_of_what_was_linked_while_the_service_runs(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "first", AccountSettings("second", backoff=QUICK))
    paired = ["connecting: unpaired", "code", "await: linked", "paired", "connected", "idle"]
    fleet.puppets.play("first", paired)
    async with fleet:
        await fleet.until("first", State.PAIRING)
        fleet.supervisor.order("second", Order.STOP)
        await fleet.until("second", State.STOPPED)
        fleet.puppets.go("first", "linked")
        await fleet.until("first", State.CONNECTED)
        # What the stand-in has written is no database.
        path = fleet.paths.session("first")
        path.unlink()
        shutil.copy(write_device(path), fleet.place("second"))
        fleet.supervisor.order("second", Order.START)
        await fleet.until("second", State.FAILED)
        refused(fleet, "second", "first")


@asynchronous
async def test_devices_of_one_phone_and_files_of_no_device_do_not_fight(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", "b", "c", "d", "e", "f")
    for number, name in enumerate("ab"):
        write_device(fleet.place(name), device=number)
    for name in "cd":
        write_unlinked(fleet.place(name))
    for name in "ef":
        fleet.place(name).write_bytes(b"no database")
    async with fleet:
        for name in "abcdef":
            await fleet.until(name, State.CONNECTED)


# As an operator sees it


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    found = Cli(tmp_path)
    found.configure("first: {}", "second: {}")
    found.has_session("first").unlink()
    source = write_device(found.state / "sessions" / "first" / "session.sqlite3")
    target = found.has_session("second")
    target.unlink()
    shutil.copy(source, target)
    return found


def findings(cli: Cli) -> list[dict[str, str]]:
    found = json.loads(cli("doctor", "--json", code=1).stdout)
    return [one for one in found if one["check"] == "sessions"]


def test_what_it_is_told(cli: Cli) -> None:
    (found,) = findings(cli)
    assert found["status"] == "FAIL"
    assert "first and second" in found["text"]
    assert "orchestrator repair second" in found["advice"]
    with cli.service():
        cli.until("second", "failed")
        cli.until("first", "connected")
        assert findings(cli) == [found]
        said = bare(cli("explain", "second").stdout)
        assert "orchestrator repair second" in said
        assert "stop the other program" not in said
        assert "account first" in cli("start", "second", code=1).stderr
        assert cli("list", "--check", code=3)
        cli("stop", "second")
        (found,) = findings(cli)
        assert found["status"] == "WARN"
        cli("remove", "first", "--yes")
        assert findings(cli) == []
        cli("start", "second")
        cli.until("second", "connected")
    assert cli.accounts()["second"]["kind"] is None


def test_without_a_service_it_is_remembered(cli: Cli) -> None:
    with cli.service():
        cli.until("second", "failed")
    about = cli.accounts()["second"]
    assert (about["state"], about["kind"]) == ("failed", "duplicate")
