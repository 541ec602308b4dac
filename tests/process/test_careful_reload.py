"""A reload that gives many accounts new processes stops at the first that does not connect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.fleet import QUICK, Fleet, asynchronous

from orchestrator.accounts.settings import AccountSettings
from orchestrator.accounts.states import State
from orchestrator.errors import ConfigError, OrchestratorError

NAMES = tuple(f"shop-{number}" for number in range(8))
BACKOFF = "backoff: {base: 50ms, factor: 1, max: 50ms, jitter: 0}"


def text_of(*, device: str = "Orchestrator", more: str = "", names: tuple[str, ...] = NAMES) -> str:
    """Return a configuration whose `device_name` needs new processes when it changes."""
    accounts = "".join(f"  {name}: {{}}\n" for name in names)
    top = f"start: {{parallel: 10, spread: 0s}}\ndefaults:\n  device_name: {device}\n  {BACKOFF}\n"
    return f"{top}{more}accounts:\n{accounts}"


def fleet_of(folder: Path, *names: str) -> Fleet:
    fleet = Fleet(folder, *(AccountSettings(name, backoff=QUICK) for name in names), control=True)
    for name in names:
        fleet.has_session(name)
    fleet.config_file.write_text(text_of())
    return fleet


async def connected(fleet: Fleet) -> dict[str, int]:
    """Wait until all accounts are connected, and return their processes."""
    for name in NAMES:
        await fleet.until(name, State.CONNECTED)
    await fleet.call("reload")  # the settings of the file are those in force from now on
    for name in NAMES:
        await fleet.until_true(lambda: fleet.about(name)["reason"] is None, "it has nothing to say")  # noqa: B023
        await fleet.until(name, State.CONNECTED)
    return {name: fleet.pid(name) for name in NAMES}


async def spoil(fleet: Fleet) -> Any:  # noqa: ANN401 - what a reload answers
    """Give all accounts settings that do not work, until all but the first keep their old ones."""
    for name in NAMES:
        fleet.puppets.play(name, ["connecting", "end: network"])
    fleet.config_file.write_text(text_of(device="Wrong"))
    answer = await fleet.call("reload")
    for name in NAMES[1:]:
        await fleet.until_true(
            lambda: "keeps its old settings" in (fleet.about(name)["reason"] or ""),  # noqa: B023
            "it keeps its settings",
        )
    return answer


@asynchronous
async def test_new_settings_that_do_not_work_take_one_account_away(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, *NAMES)
    async with fleet:
        pids = await connected(fleet)
        answer = await spoil(fleet)
        assert (answer["changed"], answer["reconnect"]) == ([*NAMES], [*NAMES])
        others = NAMES[1:]
        for name in others:
            assert (fleet.state(name), fleet.pid(name)) == (State.CONNECTED, pids[name])
            assert "shop-0 does not connect with its new settings" in fleet.about(name)["reason"]
            assert len(fleet.puppets.runs(name)) == 1
        assert fleet.state(NAMES[0]) is not State.CONNECTED

        # What is mended elsewhere, such as the proxy itself: the same file is read again.
        for name in NAMES:
            fleet.puppets.play(name, ["connecting", "connected", "idle"])
        assert (await fleet.call("reload"))["reconnect"] == [*others]
        for name in others:
            await fleet.until(name, State.CONNECTED, after=pids[name])
            assert fleet.puppets.runs(name)[-1]["device_name"] == "Wrong"
            assert fleet.about(name)["reason"] is None
        await fleet.until(NAMES[0], State.CONNECTED)


@asynchronous
async def test_settings_that_are_taken_back_disturb_nobody_who_kept_the_old_ones(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, *NAMES)
    async with fleet:
        pids = await connected(fleet)
        await spoil(fleet)
        fleet.puppets.play(NAMES[0], ["connecting", "connected", "idle"])
        fleet.config_file.write_text(text_of())
        assert "reconnect" not in await fleet.call("reload")
        await fleet.until(NAMES[0], State.CONNECTED)
        for name in NAMES[1:]:
            assert (fleet.about(name)["reason"], fleet.pid(name)) == (None, pids[name])


@asynchronous
async def test_settings_that_work_reach_every_account(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, *NAMES)
    async with fleet:
        pids = await connected(fleet)
        fleet.config_file.write_text(text_of(device="Right"))
        await fleet.call("reload")
        for name in NAMES:
            await fleet.until(name, State.CONNECTED, after=pids[name])
            assert fleet.puppets.runs(name)[-1]["device_name"] == "Right"


def by_name(plan: dict[str, Any]) -> dict[str, tuple[str, list[str], str]]:
    return {one["name"]: (one["what"], one["keys"], one["effect"]) for one in plan["accounts"]}


@asynchronous
async def test_a_plan_says_what_a_reload_would_do_and_changes_nothing(tmp_path: Path) -> None:
    fleet = fleet_of(tmp_path, *NAMES)
    async with fleet:
        pids = await connected(fleet)
        assert by_name(await fleet.call("plan")) == {}
        secret = "socks5://user:hidden@127.0.0.1:1"
        fleet.config_file.write_text(
            text_of(names=NAMES[4:], more="quarantine_days: 3\n")
            + f'  shop-0: {{proxy: "{secret}", tags: [a]}}\n  shop-1: {{note: hello}}\n'
            "  shop-2: {enabled: false}\n  new: {}\n"
        )
        plan = await fleet.call("plan")
        assert "hidden" not in str(plan)
        assert by_name(plan) == {
            "shop-0": ("changed", ["proxy", "tags"], "reconnects"),
            "shop-1": ("changed", ["note"], "stays"),
            "shop-2": ("changed", ["enabled"], "stops"),
            "new": ("added", [], "starts"),
            "shop-3": ("removed", [], "stops"),
        }
        assert plan["settings"] == ["quarantine_days"]
        assert {name: fleet.pid(name) for name in NAMES} == pids
        assert list(fleet.supervisor.settings.accounts) == [*NAMES]
        fleet.config_file.write_text("accounts: {a: {proxi: 1}}\n")
        with pytest.raises(OrchestratorError, match="did you mean proxy") as caught:
            await fleet.call("plan")
        assert caught.value.key == ConfigError.key
        assert {name: fleet.pid(name) for name in NAMES} == pids
