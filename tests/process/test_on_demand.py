"""Accounts that show codes only while somebody looks, with a real supervisor and stand-in children."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.fleet import QUICK, Fleet, asynchronous, until

from orchestrator.accounts.events import Order, Ticked
from orchestrator.accounts.looking import LOOK_SECONDS, UNSEEN, Looks
from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.errors import OrchestratorError
from orchestrator.service import looking
from orchestrator.service.companions.requests import Requests
from orchestrator.service.control.commands import Commands
from orchestrator.store.device import Device


def on_demand(name: str, **values: Any) -> AccountSettings:  # noqa: ANN401
    return AccountSettings(name, pairing="on_demand", backoff=QUICK, **values)


def waits(fleet: Fleet, name: str) -> bool:
    about = fleet.about(name)
    return (about["state"], about["reason"], about["pid"]) == ("pairing", UNSEEN, None)


def look_away(fleet: Fleet, name: str) -> None:
    """Let the time pass for which a look is good."""
    machine = fleet.supervisor.machine(name)
    assert machine is not None
    machine.looks = Looks()
    fleet.supervisor._machines.handle(name, Ticked())


@asynchronous
async def test_nobody_looks_and_there_is_no_process(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, on_demand("a"), on_demand("b"), "c", control=True)
    fleet.has_session("b")
    async with fleet:
        await fleet.until("b", State.CONNECTED)
        await fleet.until("c", State.PAIRING)
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits")
        assert fleet.puppets.runs("a") == []
        assert fleet.history("a") == ["starting", "pairing"]
        assert not fleet.picture("a").exists()
        explained = await fleet.call("explain", name="a")
        assert "as soon as somebody looks" in explained["outlook"]["next"]
        assert "`orchestrator qr a`" in explained["outlook"]["advice"][0]
        assert (await fleet.call("ping"))["unseen"] == 1
        fleet.supervisor.looking.at(["a", "nobody"])
        await fleet.until_true(fleet.picture("a").exists, "it shows its code")
        assert (await fleet.call("ping"))["unseen"] == 0


@asynchronous
async def test_qr_brings_the_code_and_takes_it_away_when_nobody_looks_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "RENEW_SECONDS", 0.05)
    async with Fleet(tmp_path, on_demand("a"), control=True) as fleet:
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits")
        codes: list[str] = []
        with fleet.client.stream("qr", name="a") as stream:
            events = iter(stream)  # which ends the connection when nobody has it any more

            def read() -> None:
                for event in events:
                    if event.get("code"):
                        codes.append(event["code"]["text"])
                        return

            await asyncio.to_thread(read)
            machine = fleet.supervisor.machine("a")
            assert machine is not None
            first = machine.looks.until
            assert first is not None
            await until(lambda: (machine.looks.until or 0) > first, "the command goes on looking")
        assert codes[0].startswith("2@a-1-")
        await until(lambda: fleet.connections == 0, "the service has noticed")
        assert fleet.state("a") is State.PAIRING, "a look is good for a while"
        pid = fleet.pid("a")
        look_away(fleet, "a")
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits again")
        assert not fleet.picture("a").exists()
        assert fleet.about("a")["attempt"] == 0
        assert fleet.about("a")["last_exit"]["kind"] == "stopped"
        fleet.supervisor.looking.at(["a"])
        await fleet.until("a", State.PAIRING, after=pid)


@asynchronous
async def test_an_account_is_linked_by_a_code_that_somebody_looked_at(tmp_path: Path) -> None:
    async with Fleet(tmp_path, on_demand("a"), control=True) as fleet:
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits")

        def pair() -> dict[str, Any]:
            with fleet.client.stream("repair", name="a", wait=True) as stream:
                for event in stream:
                    if event.get("code"):
                        fleet.puppets.scan("a")
                return stream.result

        result = await asyncio.to_thread(pair)
        assert result["account"]["state"] == "connected"
        look_away(fleet, "a")
        assert fleet.state("a") is State.CONNECTED
        await fleet.call("restart", names=["a"])
        await fleet.until("a", State.CONNECTED, after=result["account"]["pid"])


@asynchronous
async def test_a_round_that_nobody_saw_leads_to_no_failure(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, on_demand("a", pairing_rounds=1), control=True)
    fleet.puppets.play("a", ["connecting: unpaired", "code", "await: end", "end: pairing_expired"])
    async with fleet:
        for _ in range(2):
            await fleet.call("repair", name="a")
            await fleet.until_true(fleet.picture("a").exists, "it shows its code")
            fleet.puppets.go("a", "end")
            await fleet.until_true(lambda: waits(fleet, "a"), "it waits")
        fleet.supervisor.looking.at(["a"])
        await fleet.until_true(fleet.picture("a").exists, "it shows its code")
        fleet.puppets.go("a", "end")
        await fleet.until("a", State.FAILED)


@asynchronous
async def test_a_code_that_was_used_in_the_last_moment_is_found(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, on_demand("a"))
    fleet.puppets.play("a", ["connecting: unpaired", "code", "idle"], ["connecting", "connected", "idle"])
    async with fleet:
        fleet.supervisor.looking.at(["a"])
        await fleet.until_true(fleet.picture("a").exists, "it shows its code")
        fleet.has_session("a")  # and its process has not said so
        look_away(fleet, "a")
        await fleet.until("a", State.CONNECTED)


@asynchronous
async def test_a_session_that_cannot_be_looked_at_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet(tmp_path, on_demand("a"))
    async with fleet:
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits")
        sessions = fleet.supervisor._children._sessions
        look = sessions.device

        def fail_once(name: str) -> Device:  # noqa: ARG001
            monkeypatch.setattr(sessions, "device", look)
            raise OSError("an input/output error")

        monkeypatch.setattr(sessions, "device", fail_once)
        fleet.puppets.play("a", ["connecting: unpaired", "idle"])
        fleet.supervisor.order("a", Order.START, by_name=True)
        await until(lambda: fleet.puppets.runs("a"), "a process sees for itself")
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits again")
        assert not fleet.picture("a").exists()


@asynchronous
async def test_hundreds_of_looks_are_no_news_to_anybody(tmp_path: Path) -> None:
    async with Fleet(tmp_path, on_demand("a"), "b") as fleet:
        await fleet.until("b", State.PAIRING)
        fleet.supervisor.looking.at(["a"])
        await fleet.until_true(fleet.picture("a").exists, "it shows its code")
        before = fleet.supervisor._roster.accounts["a"].version
        for _ in range(300):
            fleet.supervisor.looking.at(["a", "b"])
        assert fleet.supervisor._roster.accounts["a"].version == before


# What the gateway asks for


class _NoTokens:
    def load(self) -> None:
        pass

    def principal(self, token_id: str, now: float) -> None:
        pass


def requests(fleet: Fleet) -> Requests:
    supervisor = fleet.supervisor
    return Requests(
        Commands(supervisor), supervisor, supervisor._store.record, _NoTokens(), supervisor._children.aside
    )


@asynchronous
async def test_whoever_asks_for_a_code_gets_one_in_a_moment(tmp_path: Path) -> None:
    async with Fleet(tmp_path, on_demand("a"), "b", AccountSettings("off", enabled=False)) as fleet:
        await fleet.until_true(lambda: waits(fleet, "a"), "it waits")
        asked = requests(fleet)
        with pytest.raises(OrchestratorError) as error:
            await asked._code({"name": "a"})
        assert error.value.key == "code_pending"
        await fleet.until_true(fleet.picture("a").exists, "it shows its code")
        assert (await asked._code({"name": "a"}))["text"].startswith("2@a-1-")
        with pytest.raises(OrchestratorError) as error:
            await asked._code({"name": "off"})
        assert error.value.key == "no_code"


@asynchronous
async def test_a_wall_names_those_at_whose_codes_somebody_looks(tmp_path: Path) -> None:
    async with Fleet(tmp_path, on_demand("a"), on_demand("b")) as fleet:
        await fleet.until_true(lambda: waits(fleet, "a") and waits(fleet, "b"), "they wait")
        answer = await requests(fleet)._watching({"command": "watching", "names": ["a", "gone"]})
        assert answer == {"seconds": LOOK_SECONDS}
        await fleet.until_true(fleet.picture("a").exists, "it shows its code")
        assert waits(fleet, "b")
        for wrong in ({"names": "a"}, {"names": ["../a"]}, {"names": ["a"], "for": 9}, {"names": [1]}):
            with pytest.raises(OrchestratorError) as error:
                await requests(fleet)._watching({"command": "watching", **wrong})
            assert error.value.key == "bad_request"
