"""The maintenance switch, and what else concerns the fleet as a whole: with a running service and without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli
from support.fleet import Fleet, asynchronous

from orchestrator.accounts.maintenance import REASON
from orchestrator.accounts.states import State
from orchestrator.accounts.strips import SLOTS
from orchestrator.errors import ExitCode, NoSuchAccount, OrchestratorError, StateError
from orchestrator.service.control.commands import WAIT
from orchestrator.store import maintenance

CRASH = ["connecting", "connected", "await: fall", "kill: 9"]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def status(cli: Cli) -> dict[str, Any]:
    found = json.loads(cli("maintenance", "status", "--json").stdout)
    assert isinstance(found, dict)
    return found


def test_the_switch_outlasts_the_service_and_is_told_everywhere(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    for name in ("a", "b"):
        cli.has_session(name)
    with cli.service():
        cli.until("a", "connected")
        cli.until("b", "connected")
        assert cli("maintenance", "status").stdout == "maintenance is off: accounts start by themselves\n"
        assert "maintenance" not in cli("list").stdout
        assert "no account starts by itself" in cli("maintenance", "on").stdout
        assert {one["state"] for one in cli.accounts().values()} == {"connected"}, "what runs goes on"
    assert status(cli)["on"]
    assert "maintenance is on since" in cli("list").stdout
    with cli.service():
        for name in ("a", "b"):
            assert cli.until(name, "backoff")["reason"] == REASON
        assert status(cli) | {"since": 0} == {"on": True, "since": 0, "waiting": 2}
        assert "2 accounts wait for that" in cli("maintenance", "status").stdout
        assert "maintenance is on since" in cli("list").stdout
        said = cli("explain", "a").stdout
        assert "nothing until maintenance is turned off" in said
        assert "maintenance is on since" in said
        found = json.loads(cli("doctor", "--only", "service", "--json").stdout)
        assert any("maintenance is on" in one["text"] and one["status"] == "WARN" for one in found)
        cli("start", "a")
        cli.until("a", "connected")
        assert status(cli)["waiting"] == 1
        assert cli("maintenance", "off").stdout == "maintenance is off: accounts start by themselves\n"
        cli.until("b", "connected")
    assert not status(cli)["on"]


def test_the_switch_can_be_set_before_the_service_starts(cli: Cli) -> None:
    cli.configure("a: {}")
    cli.has_session("a")
    assert "maintenance is on since" in cli("maintenance", "on").stdout
    since = status(cli)["since"]
    assert cli("maintenance", "on", "--json").stdout == cli("maintenance", "status", "--json").stdout
    assert status(cli)["since"] == since, "it is on since it was turned on first"
    with cli.service():
        cli.until("a", "backoff")
    cli("maintenance", "off")
    with cli.service():
        cli.until("a", "connected")


def test_a_repair_without_a_service_is_an_operators_own(cli: Cli) -> None:
    cli.configure("a: {}")
    cli("maintenance", "on")
    with cli.popen("repair", "a") as process:
        cli.puppets.scan("a", "4915100000099")
        assert process.wait(90) == 0


@asynchronous
async def test_a_process_that_dies_is_not_replaced_until_the_end(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", "b", control=True)
    for name in ("a", "b"):
        fleet.has_session(name)
    fleet.puppets.play("a", CRASH, ["connecting", "connected", "idle"])
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        told = await fleet.call("maintenance", on=True)
        assert (told["on"], told["waiting"]) == (True, 0)
        assert await fleet.call("maintenance") == told
        fleet.puppets.go("a", "fall")
        about = await fleet.until("a", State.BACKOFF)
        await fleet.until_true(lambda: fleet.about("a")["held"], "a waits")
        about = fleet.about("a")
        assert (about["reason"], about["next_retry_at"]) == (REASON, None)
        assert fleet.state("b") is State.CONNECTED
        answer = await fleet.call("start", all=True)
        assert answer["warning"] == WAIT
        assert fleet.state("a") is State.BACKOFF
        assert (await fleet.call("list"))["maintenance"] is not None
        assert (await fleet.call("explain", name="a"))["maintenance"] is not None
        assert (await fleet.call("ping"))["maintenance"] is not None
        facts = await fleet.call("facts")
        assert facts["maintenance"] == {"on": True, "since": told["since"], "waiting": 1}
        assert await fleet.call("maintenance", on=False) == {"on": False, "since": None, "waiting": 0}
        await fleet.until("a", State.CONNECTED)
        assert (await fleet.call("list"))["maintenance"] is None


@asynchronous
async def test_a_switch_that_cannot_be_written_down_stays(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", control=True)
    (fleet.paths.maintenance / "in the way").mkdir(parents=True)
    fleet._start = False
    async with fleet:
        with pytest.raises(StateError):
            fleet.supervisor.start()
        (fleet.paths.maintenance / "in the way").rmdir()
        fleet.paths.maintenance.rmdir()
        fleet.supervisor.start()
        (fleet.paths.maintenance / "in the way").mkdir(parents=True)
        with pytest.raises(OrchestratorError) as error:
            await fleet.call("maintenance", on=True)
        assert error.value.key == "state_unusable"
        assert not (await fleet.call("maintenance"))["on"]
        (fleet.paths.maintenance / "in the way").rmdir()
        fleet.paths.maintenance.rmdir()
    assert maintenance.load(fleet.paths.maintenance) is None


@asynchronous
async def test_facts_strips_and_settings_of_a_running_fleet(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", "b", control=True)
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        await fleet.until("b", State.PAIRING)
        facts = await fleet.call("facts")
        (way,) = facts["ways"]
        assert (way["way"], way["state"]) == ("direct", "works")
        assert dict(way["members"]) == {"a": "connected", "b": ""}
        assert facts["library"] == {
            "version": "0.5.2", "refused": False, "accounts": 0, "probe_at": None, "canary": None,
        }  # fmt: skip
        assert facts["breakers"] == []
        assert 0 < facts["disk"]["free"] <= facts["disk"]["total"]
        assert 0 < facts["memory"]["free"] <= facts["memory"]["total"]
        assert facts["starting"]["parallel"] == 10
        strips = await fleet.call("strips")
        assert strips["slots"] == SLOTS
        assert strips["slot"] * SLOTS == 86_400
        assert strips["accounts"]["b"][-1][1] == "pairing"
        assert strips["accounts"]["a"][-1][0] >= SLOTS - 2, "of the time before, nothing is known"
        assert list((await fleet.call("strips", names=["b"], hours=1))["accounts"]) == ["b"]
        settings = (await fleet.call("settings", name="a"))["settings"]
        assert {"key": "enabled", "value": "true", "origin": "built-in"} in settings
        with pytest.raises(NoSuchAccount):
            await fleet.call("strips", names=["nobody"])
        with pytest.raises(NoSuchAccount):
            await fleet.call("settings", name="nobody")
        wrong: list[dict[str, Any]] = [
            {"hours": 0},
            {"hours": 169},
            {"hours": 1.5},
            {"hours": "1"},
            {"more": 1},
        ]
        for arguments in wrong:
            with pytest.raises(OrchestratorError) as error:
                await fleet.call("strips", **arguments)
            assert error.value.key == "bad_request"
        with pytest.raises(OrchestratorError):
            await fleet.call("maintenance", on="yes")


def test_config_show_says_the_same_with_a_service_and_without(cli: Cli) -> None:
    cli.configure(
        "a: {max_retries: 3, phone: '+4915100001', proxy: 'http://joe:hunter2@127.0.0.1:9'}", "b: {}"
    )
    without = cli("config", "show", "a").stdout
    rows = [line.split() for line in without.splitlines()]
    assert ["max_retries", "3", "account"] in rows
    assert ["phone", "+49…01", "account"] in rows
    assert ["proxy", "http://127.0.0.1:9", "account"] in rows
    assert ["backoff.base", "50ms", "defaults"] in rows
    assert ["backoff.factor", "2", "built-in"] in rows
    assert "hunter2" not in without
    as_json = cli("config", "show", "a", "--json").stdout
    with cli.service():
        assert cli("config", "show", "a").stdout == without
        assert cli("config", "show", "a", "--json").stdout == as_json
        cli.configure("a: {max_retries: 4}", "b: {}")
        assert cli("config", "show", "a").stdout == without, (
            "what is in force, and not what the file says by now"
        )
        cli("config", "show", "nobody", code=ExitCode.NO_SUCH_ACCOUNT)
    assert ["max_retries", "4", "account"] in [
        line.split() for line in cli("config", "show", "a").stdout.splitlines()
    ]
    cli("config", "show", "nobody", code=ExitCode.NO_SUCH_ACCOUNT)
