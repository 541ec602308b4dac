"""Accounts that are linked to one phone: what the service and the commands say of them."""

import json
import logging
from pathlib import Path

import pytest
from support.cli import Cli
from support.devices import write_device
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts.guard import Guard
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.store import status

OLD, NEW = "553187654321", "5531987654321"
"""One phone in Brazil: as WhatsApp writes its number, and as people do."""
OTHER = "4915112345678"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if "linked to one phone" in one.getMessage()]


@asynchronous
async def test_the_same_number_is_told_once_and_again_when_it_comes_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    fleet = Fleet(tmp_path, "a", "b", "c", control=True)
    for name, number in (("a", OLD), ("c", OTHER)):
        fleet.has_session(name)
        fleet.puppets.play(name, ["connecting", f"connected: {number}", "idle"])
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        await fleet.until("c", State.CONNECTED)
        await fleet.until("b", State.PAIRING)
        assert [fleet.about(name)["same_phone"] for name in "abc"] == [[], [], []]
        assert not warnings(caplog)
        version = fleet.supervisor.version
        fleet.puppets.scan("b", NEW)
        await fleet.until("b", State.CONNECTED)
        assert [fleet.about(name)["same_phone"] for name in "abc"] == [["b"], ["a"], []]
        assert {"a", "b"} <= {*fleet.supervisor.changed_since(version)[0]}
        (said,) = warnings(caplog)
        assert said.startswith("a and b are linked to one phone (+55…21): ")
        assert "87654321" not in caplog.text
        # A stopped account is linked as before, and a new process changes nothing.
        await fleet.call("stop", names=["a"], wait=True)
        await fleet.call("start", names=["a"])
        await fleet.until("a", State.CONNECTED)
        assert fleet.about("b")["same_phone"] == ["a"]
        assert len(warnings(caplog)) == 1
        # One that is to be paired anew is not linked, and told again once it is.
        await fleet.call("repair", name="b")
        await fleet.until("b", State.PAIRING)
        assert fleet.about("a")["same_phone"] == []
        fleet.puppets.scan("b", OLD)
        await fleet.until("b", State.CONNECTED)
        assert fleet.about("a")["same_phone"] == ["b"]
        assert len(warnings(caplog)) == 2


@asynchronous
async def test_a_session_counts_and_a_memory_of_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    settings = [AccountSettings(name, backoff=QUICK, enabled=name == "a") for name in ("a", "linked", "gone")]
    fleet = Fleet(tmp_path, *settings)
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", f"connected: {NEW}", "idle"])
    write_device(fleet.place("linked"), number=OLD)
    status.save(fleet.paths.status, {name: status.Kept(guard=Guard(OLD)) for name in ("linked", "gone")})
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        assert [fleet.about(name)["same_phone"] for name in ("a", "linked", "gone")] == [
            ["linked"],
            ["a"],
            [],
        ]
        assert len(warnings(caplog)) == 1


def test_list_explain_and_doctor_say_so(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}", "c: {}")
    for name, number in (("a", OLD), ("b", NEW)):
        cli.has_session(name)
        cli.puppets.play(name, ["connecting", f"connected: {number}", "idle"])
    said = "a and b are linked to one phone (+55…21): messages to it arrive in both"
    with cli.service():
        cli.until("b", "connected")
        cli.until("a", "connected")
        assert said in cli("list").stdout
        assert said in cli("list", "b").stdout, "also where only one of them is asked for"
        assert "linked to one phone" not in cli("list", "c").stdout
        assert said in cli("list", "a", "b", "--check").stdout, "which is no failure of its own"
        assert said in " ".join(cli("explain", "a").stdout.split())
        assert [one["same_phone"] for one in cli.accounts().values()] == [["b"], ["a"], []]
    assert said not in cli("list").stdout, "the files are no sessions, so nothing is known of them"
    for name, number in (("a", OLD), ("b", NEW)):
        path = cli.has_session(name)
        path.unlink()
        write_device(path, number=number)
    assert said in cli("list").stdout
    found = json.loads(cli("doctor", "--only", "sessions", "--json").stdout)
    (about,) = (one for one in found if "one phone" in one["text"])
    assert (about["status"], about["text"]) == ("WARN", "a and b are linked to one phone (+55…21)")
    assert "`orchestrator remove b`" in about["advice"]
