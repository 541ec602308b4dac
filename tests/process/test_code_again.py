"""The code of an account whose rounds are over, and what of its past outlasts the service: real processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.cli import COMMAND, Cli, wait_for
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts import running
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.service.companions.requests import Requests
from orchestrator.service.control.commands import Commands
from orchestrator.store import status

EXPIRES = ["connecting: unpaired", "code", "await: end", "end: pairing_expired"]
LOGGED_OUT = ["connecting", "connected", "await: out", "end: logged_out"]
CONNECTS = ["connecting", "connected", "idle"]


def one_round(name: str, **values: Any) -> AccountSettings:  # noqa: ANN401
    return AccountSettings(name, pairing_rounds=1, backoff=QUICK, **values)


async def first_events(fleet: Fleet, name: str) -> list[dict[str, Any]]:
    """Ask for an account's code, and return what comes until there is one."""

    def read() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with fleet.client.stream("qr", name=name) as stream:
            for event in stream:
                found.append(event)
                if event.get("code"):
                    return found
        raise AssertionError(found)

    return await asyncio.to_thread(read)


async def refused(fleet: Fleet, name: str) -> str:
    with pytest.raises(OrchestratorError) as caught:
        await asyncio.to_thread(list, fleet.client.stream("qr", name=name))
    return f"{caught.value.key}: {caught.value}"


async def give_up(fleet: Fleet, name: str) -> None:
    """Log an account out, and let its only round of codes pass."""
    await fleet.until(name, State.CONNECTED)
    fleet.puppets.go(name, "out")
    await fleet.until(name, State.PAIRING)
    fleet.puppets.go(name, "end")
    await fleet.until(name, State.FAILED)


@asynchronous
async def test_the_code_of_an_account_that_was_given_up_comes_by_asking_for_it(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, one_round("a"), control=True)
    fleet.has_session("a")
    fleet.puppets.play("a", LOGGED_OUT, EXPIRES)
    async with fleet:
        await give_up(fleet, "a")
        about = fleet.about("a")
        assert (about["kind"], about["cause"]["kind"]) == ("pairing_expired", "logged_out")
        assert "`orchestrator qr a`" in about["reason"]
        put_away = fleet.sessions("a")
        (note, *_, code) = await first_events(fleet, "a")
        assert "a new round of codes begins" in note["note"]
        assert code["code"]["text"].startswith("2@a-")
        assert len(fleet.puppets.runs("a")) == 3
        assert fleet.about("a")["cause"] == about["cause"]
        assert fleet.sessions("a") == put_away
        assert "note" not in (await first_events(fleet, "a"))[0], "a round goes on"
        fleet.puppets.play("a", CONNECTS)
        fleet.puppets.go("a", "end")
        await fleet.until("a", State.FAILED)
        fleet.has_session("a")
        await fleet.call("start", names=["a"])
        assert (await fleet.until("a", State.CONNECTED))["cause"] is None


@asynchronous
async def test_asking_for_a_code_touches_no_session_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a machine that has much else to do, a process that is late must not count as one that crashes.
    monkeypatch.setattr(running, "STARTING_DEADLINE", 3600.0)
    crashes = AccountSettings("crashes", max_retries=0, backoff=QUICK)
    fleet = Fleet(tmp_path, crashes, "banned", "locked", one_round("idle"),
                  AccountSettings("off", enabled=False), control=True)  # fmt: skip
    session = fleet.has_session("crashes")
    fleet.has_session("banned")
    fleet.has_session("locked")
    fleet.puppets.play("crashes", ["connecting", "exit: 3"])
    fleet.puppets.play("banned", ["connecting", "end: temporary_ban 3600"])
    fleet.puppets.play("locked", ["connecting", "end: locked"])
    fleet.puppets.play("idle", EXPIRES)
    async with fleet:
        await fleet.until("crashes", State.FAILED)
        before = session.read_bytes()
        assert "it has a session, which stays" in await refused(fleet, "crashes")
        assert session.read_bytes() == before
        await fleet.until("banned", State.BANNED)
        assert "an earlier try makes a ban longer" in await refused(fleet, "banned")
        await fleet.until("locked", State.BANNED)
        assert "orchestrator repair locked" in await refused(fleet, "locked")
        assert (await refused(fleet, "off")).startswith("account_disabled: ")
        await fleet.until("idle", State.PAIRING)
        fleet.puppets.go("idle", "end")
        await fleet.until("idle", State.FAILED)
        await fleet.call("maintenance", on=True)
        assert "maintenance is on" in await refused(fleet, "idle")
        assert fleet.state("idle") is State.FAILED
        await fleet.call("maintenance", on=False)
        await fleet.call("stop", names=["idle"])
        assert "`orchestrator start idle`" in await refused(fleet, "idle")
        assert len(fleet.puppets.runs("idle")) == 1
        assert {name: len(fleet.puppets.runs(name)) for name in ("crashes", "banned", "locked")} == {
            "crashes": 1, "banned": 1, "locked": 1
        }  # fmt: skip


@asynchronous
async def test_a_code_is_shown_on_demand_too(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, one_round("a", pairing="on_demand"), control=True)
    fleet.puppets.play("a", EXPIRES)
    async with fleet:
        await first_events(fleet, "a")
        fleet.puppets.go("a", "end")
        await fleet.until("a", State.FAILED)
        (note, *_) = await first_events(fleet, "a")
        assert "a new round of codes begins" in note["note"]


@asynchronous
async def test_a_program_that_polls_for_a_code_begins_no_round(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, one_round("a"), control=True)
    fleet.puppets.play("a", EXPIRES)
    async with fleet:
        await fleet.until("a", State.PAIRING)
        fleet.puppets.go("a", "end")
        await fleet.until("a", State.FAILED)
        supervisor = fleet.supervisor
        requests = Requests(
            Commands(supervisor),
            supervisor,
            supervisor._store.record,
            _NoTokens(),
            supervisor._children.aside,
        )
        with pytest.raises(OrchestratorError) as caught:
            await requests._code({"command": "code", "name": "a"})
        assert caught.value.key == "no_code"
        assert fleet.state("a") is State.FAILED


class _NoTokens:
    def load(self) -> None:
        pass

    def principal(self, token_id: str, now: float) -> None:
        pass


@asynchronous
async def test_what_was_at_rest_is_so_since_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STARTING_DEADLINE", 3600.0)
    crashes = AccountSettings("crashes", max_retries=0, backoff=QUICK)
    fleet = Fleet(tmp_path, crashes, "stopped", AccountSettings("off", enabled=False), "banned", control=True)
    for name in ("stopped", "banned"):
        fleet.has_session(name)
    fleet.puppets.play("crashes", ["exit: 3"])
    fleet.puppets.play("banned", ["connecting", "end: temporary_ban 3600"])
    names = {"crashes": State.FAILED, "stopped": State.STOPPED, "off": State.DISABLED, "banned": State.BANNED}
    async with fleet:
        await fleet.until("stopped", State.CONNECTED)
        await fleet.call("stop", names=["stopped"])
        for name, state in names.items():
            await fleet.until(name, state)
    # An hour before, so that whoever starts anew gives another time.
    kept = status.load(fleet.paths.status)
    document = json.loads(fleet.paths.status.read_text())
    assert set(kept) == set(names)
    for about in document["accounts"].values():
        about["rest"]["since"] -= 3600.0
    before = {name: about["rest"]["since"] for name, about in document["accounts"].items()}
    fleet.paths.status.write_text(json.dumps(document))
    async with fleet:
        for name, state in names.items():
            await fleet.until(name, state)
        found = {name: fleet.supervisor._roster.get(name).account.since for name in names}
        # Where the clock was corrected meanwhile, so were these times.
        assert {name: abs(found[name] - at) < 5 for name, at in before.items()} == dict.fromkeys(names, True)


@contextmanager
def logged_out(cli: Cli) -> Iterator[None]:
    """Run the service with an account that its phone logs out, and that shows its only round of codes."""
    cli.configure("a: {pairing_rounds: 1}")
    cli.has_session("a")
    cli.puppets.play("a", LOGGED_OUT, EXPIRES)
    with cli.service():
        cli.until("a", "connected")
        cli.puppets.go("a", "out")
        cli.until("a", "pairing")
        yield


def test_an_operator_sees_why_and_shows_the_code_by_one_command(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with logged_out(cli):
        (row,) = [line for line in cli("list").stdout.splitlines() if line.startswith("a ")]
        assert "logged out by its phone " in row
        assert row.endswith("; waits for a code")
        cli.puppets.go("a", "end")
        cli.until("a", "failed")
        assert "; nobody used a code in 1 round;" in cli("list").stdout
        said = cli("explain", "a").stdout
        assert "logged out by its phone: " in said
        assert "qr a`" in said
        cause = cli.accounts()["a"]["cause"]
        assert cause["kind"] == "logged_out"
    said = cli("list").stdout
    assert "logged out by its phone " in said, "without a service, too"
    assert cli.accounts()["a"]["cause"] == cause
    cli.puppets.play("a", EXPIRES)
    with cli.service():
        cli.until("a", "pairing")
        assert cli.accounts()["a"]["cause"] == cause
        cli.puppets.go("a", "end")
        cli.until("a", "failed")
        cli.puppets.play(
            "a", ["connecting: unpaired", "code", "await: scanned", "paired", "connected", "idle"]
        )
        with cli.popen("qr", "a", program=COMMAND, stdout=-1) as qr:
            assert qr.stdout is not None
            assert (
                qr.stdout.readline() == "a has no session and showed no code: a new round of codes begins\n"
            )
            assert any("█" in line for line in qr.stdout)
            cli.puppets.scan("a")
            assert qr.stdout.read().splitlines()[-1] == "a is connected as +49…01"
        wait_for(lambda: cli.accounts()["a"]["cause"] is None, "the cause is over")
    assert cli.accounts()["a"]["cause"] is None


def test_a_repair_without_a_service_keeps_the_cause(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    with logged_out(cli):
        pass
    cli("repair", "a", "--no-wait")
    assert cli.accounts()["a"]["cause"]["kind"] == "logged_out"
    cli("rename", "a", "b")
    assert cli.accounts()["b"]["cause"]["kind"] == "logged_out"
