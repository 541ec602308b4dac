"""The real supervisor with real processes; what is in them is a stand-in for the one that loads neonize."""

import asyncio
import os
import signal
import time
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from support.fleet import PATIENCE, QUICK, Fleet, asynchronous, is_alive, open_files, until
from support.stand_in_child import NUMBER

from orchestrator.accounts import breaker, child, conduct, policy, running
from orchestrator.accounts.events import Order
from orchestrator.accounts.settings import AccountSettings, Backoff
from orchestrator.accounts.states import State
from orchestrator.control.outlook import outlook
from orchestrator.errors import ConfigError, NoSuchAccount, OrchestratorError, StateError
from orchestrator.service import recorder, supervisor, updates
from orchestrator.service.library import Installed, Library
from orchestrator.store import status, tracebacks
from orchestrator.worker.seal import Seal

ONLINE = ["connecting", "connected", "idle"]


def write_config(fleet: Fleet, *accounts: str, top: str = "") -> None:
    entries = "".join(f"  {entry}\n" for entry in accounts) or "  {}\n"
    # What the fleet was started with stays: see `Fleet`.
    fleet.config_file.write_text(f"{top}accounts:\n{entries}confine: off\n")


# Pairing


@asynchronous
async def test_an_account_without_session_shows_a_code_until_it_is_scanned(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a") as fleet:
        about = await fleet.until("a", State.PAIRING)
        png = fleet.picture("a")
        assert about["qr_path"] == str(png)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert about["qr_expires_at"] is not None
        fleet.puppets.scan("a", "4915100000099")
        about = await fleet.until("a", State.CONNECTED)
        assert not png.exists()
        assert (about["phone"], about["qr_path"], about["attempt"]) == ("+49…99", None, 0)
        assert fleet.supervisor.describe("a", reveal=True).phone == "+4915100000099"
        assert fleet.history("a") == ["starting", "pairing", "connecting", "connected"]


@asynchronous
async def test_a_code_goes_with_its_process(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.puppets.play("a", ["connecting: unpaired", "code", "await: death", "kill: 9"], ["hang"])
    async with fleet:
        await fleet.until("a", State.PAIRING)
        assert fleet.picture("a").exists()
        fleet.puppets.go("a", "death")
        await fleet.until("a", State.BACKOFF, State.STARTING)
        assert not fleet.picture("a").exists()


@asynchronous
async def test_repair_quarantines_the_session_and_pairs_again(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    session = fleet.has_session("a")
    content = session.read_bytes()
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        fleet.supervisor.order("a", Order.REPAIR)
        assert fleet.supervisor.is_stopping("a")
        await fleet.until("a", State.PAIRING)
        assert not fleet.supervisor.is_stopping("a")
        (quarantined,) = fleet.sessions("a", reason="repair")
        assert (quarantined / session.name).read_bytes() == content
        runs = len(fleet.puppets.runs("a"))
        # It is being paired already: another order changes nothing.
        fleet.supervisor.order("a", Order.REPAIR)
        assert fleet.state("a") is State.PAIRING
        fleet.puppets.scan("a")
        await fleet.until("a", State.CONNECTED)
        assert len(fleet.puppets.runs("a")) == runs
        assert len(fleet.sessions("a")) == 1


@asynchronous
async def test_pairing_by_code_needs_a_number(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", AccountSettings("b", phone=NUMBER, backoff=QUICK)) as fleet:
        with pytest.raises(OrchestratorError, match="needs `phone:`"):
            fleet.supervisor.order("a", Order.REPAIR, "code")
        fleet.supervisor.order("b", Order.REPAIR, "code")
        await fleet.until_true(lambda: fleet.supervisor.code("b"), "there is a code")
        assert [run["pairing"] for run in fleet.puppets.runs("b")][-1] == "code"
        assert not fleet.picture("b").exists()


# Orders


@asynchronous
async def test_a_stop_outlives_the_service_and_a_start_ends_it(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", "b") as fleet:
        fleet.has_session("a")
        fleet.supervisor.order("a", Order.STOP)
        about = await fleet.until("a", State.STOPPED)
        assert about["reason"] == "stopped by an operator"
    async with Fleet(tmp_path, "a", "b") as fleet:
        runs = len(fleet.puppets.runs("a"))
        await fleet.until("b", State.PAIRING)
        assert fleet.state("a") is State.STOPPED
        assert len(fleet.puppets.runs("a")) == runs
        fleet.supervisor.order("a", Order.START)
        await fleet.until("a", State.CONNECTED)


@asynchronous
async def test_a_restart_gives_a_new_process_and_keeps_the_session(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    session = fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        fleet.supervisor.order("a", Order.RESTART)
        await fleet.until("a", State.CONNECTED, after=pid)
        assert not is_alive(pid)
        assert session.exists()
        assert not fleet.sessions("a")


@asynchronous
async def test_orders_about_nobody_and_about_disabled_accounts_are_refused(tmp_path: Path) -> None:
    async with Fleet(tmp_path, AccountSettings("a", enabled=False)) as fleet:
        assert fleet.state("a") is State.DISABLED
        with pytest.raises(NoSuchAccount):
            fleet.supervisor.order("nobody", Order.START)
        with pytest.raises(OrchestratorError, match="`orchestrator enable a` first"):
            fleet.supervisor.order("a", Order.START)


@asynchronous
async def test_a_process_that_ignores_being_stopped_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "STOP_DEADLINE", 0.3)
    fleet = Fleet(tmp_path, "a")
    fleet.puppets.play("a", ["connecting", "connected", "deaf"])
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        fleet.supervisor.order("a", Order.STOP)
        about = await fleet.until("a", State.STOPPED)
        assert not is_alive(pid)
        assert about["last_exit"]["kind"] == "stopped"


# Ends that nobody asked for


@pytest.mark.parametrize(
    "end",
    ["exit: 1", "exit: 255", "kill: 9", "kill: 6", "garbage", "huge", "end: network", "end: crash"],
)
@asynchronous
async def test_a_process_that_ends_is_followed_by_another(tmp_path: Path, end: str) -> None:
    fleet = Fleet(tmp_path, "a", "b")
    session = fleet.has_session("a")
    content = session.read_bytes()
    fleet.has_session("b")
    fleet.puppets.play("a", ["connecting", "connected", end], ONLINE)
    async with fleet:
        await fleet.until_true(lambda: "backoff" in fleet.history("a"), "it has ended")
        about = await fleet.until("a", State.CONNECTED)
        assert about["last_exit"]["kind"] == ("network" if "network" in end else "crash")
        assert session.read_bytes() == content
        assert not fleet.sessions("a")
        # The other one has noticed nothing.
        await fleet.until("b", State.CONNECTED)
        assert "backoff" not in fleet.history("b")


@asynchronous
async def test_a_process_killed_from_outside_is_followed_by_another(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        os.kill(pid, signal.SIGKILL)
        about = await fleet.until("a", State.CONNECTED, after=pid)
        assert (about["last_exit"]["kind"], about["last_exit"]["code"]) == ("crash", -9)
        assert about["last_exit"]["traceback"] is None
        assert about["restarts"] >= 1


@pytest.mark.parametrize(
    ("steps", "constant"),
    [
        (["hang"], "STARTING_DEADLINE"),
        (["connecting", "hang"], "CONNECTING_DEADLINE"),
        (["connecting: unpaired", "code", "hang"], "PAIRING_DEADLINE"),
        (["connecting", "connected", "lost", "hang"], "RECONNECTING_DEADLINE"),
        (["connecting", "connected", "hang"], "HEARTBEAT_DEADLINE"),
    ],
)
@asynchronous
async def test_a_process_that_hangs_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[str], constant: str
) -> None:
    monkeypatch.setattr(child if constant == "HEARTBEAT_DEADLINE" else running, constant, 1.0)
    fleet = Fleet(tmp_path, "a")
    fleet.puppets.play("a", steps)
    async with fleet:
        await fleet.until_true(lambda: "backoff" in fleet.history("a"), "it is given up")
        # On a busy machine it may have been given up before it had read what to do, and the next need longer.
        monkeypatch.setattr(child if constant == "HEARTBEAT_DEADLINE" else running, constant, PATIENCE)
        fleet.puppets.play("a", ONLINE)
        about = await fleet.until("a", State.CONNECTED)
        assert about["last_exit"]["kind"] == "crash"
        assert about["last_exit"]["code"] in (-signal.SIGKILL, -tracebacks.SIGNAL)


@asynchronous
async def test_too_many_crashes_end_in_failed_until_somebody_starts_it(tmp_path: Path) -> None:
    settings = AccountSettings("a", backoff=QUICK, max_retries=2)
    fleet = Fleet(tmp_path, settings)
    fleet.puppets.play("a", ["exit: 3"])
    async with fleet:
        about = await fleet.until("a", State.FAILED)
        assert "exit code 3" in about["reason"]
        assert "orchestrator start a" in about["reason"]
        assert len(fleet.puppets.runs("a")) == 3
        fleet.has_session("a")
        fleet.puppets.play("a", ONLINE)
        fleet.supervisor.order("a", Order.START)
        await fleet.until("a", State.CONNECTED)


@asynchronous
async def test_a_logout_quarantines_the_session_and_pairs_again(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    session = fleet.has_session("a")
    content = session.read_bytes()
    fleet.puppets.play("a", ["connecting", "connected", "end: logged_out"], [])
    async with fleet:
        await fleet.until("a", State.PAIRING)
        (quarantined,) = fleet.sessions("a", reason="logged_out")
        assert (quarantined / session.name).read_bytes() == content
        assert not session.exists()


@asynchronous
async def test_a_ban_outlives_the_service(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "end: temporary_ban 3600"])
    async with fleet:
        about = await fleet.until("a", State.BANNED)
        assert about["next_retry_at"] is not None
    async with Fleet(tmp_path, "a", "b") as fleet:
        runs = len(fleet.puppets.runs("a"))
        await fleet.until("b", State.PAIRING)
        again = fleet.about("a")
        assert again["state"] == "banned"
        # In whole seconds, of which the next may have begun between two readings of the clocks.
        before, after = (datetime.fromisoformat(one["next_retry_at"]) for one in (about, again))
        assert abs(after - before) <= timedelta(seconds=1)
        fleet.supervisor.order("a", Order.START)
        assert fleet.state("a") is State.BANNED  # WhatsApp has named the time
        assert len(fleet.puppets.runs("a")) == runs


@pytest.mark.parametrize(
    ("end", "state"), [("temporary_ban 3600", State.BANNED), ("replaced", State.REPLACED)]
)
@asynchronous
async def test_what_parks_an_account_is_written_down_before_the_service_can_be_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, state: State
) -> None:
    monkeypatch.setattr(recorder, "SAVE_SECONDS", 3600.0)
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", f"end: {end}"])
    async with fleet:
        about = await fleet.until("a", state)
        assert about["next_retry_at"] is not None

        def is_kept() -> bool:
            kept = status.load(fleet.paths.status).get("a", status.Kept()).parked
            return kept is not None and kept.state is state and kept.until is not None

        await until(is_kept, "its being parked is on the disk")


@asynchronous
async def test_a_lock_parks_the_account_until_it_is_repaired(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "end: locked"], [])
    async with fleet:
        about = await fleet.until("a", State.BANNED)
        assert about["next_retry_at"] is None
        assert fleet.sessions("a", reason="locked")
        fleet.supervisor.order("a", Order.REPAIR)
        await fleet.until("a", State.PAIRING)


@asynchronous
async def test_a_replaced_account_tries_carefully_and_then_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "REPLACED_WAITS", (0.05, 0.05))
    fleet = Fleet(tmp_path, "a")
    session = fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", "end: replaced"])
    async with fleet:
        await fleet.until_true(
            lambda: fleet.state("a") is State.REPLACED and not fleet.about("a")["next_retry_at"],
            "it has given up",
        )
        assert "orchestrator start a" in fleet.about("a")["reason"]
        assert session.exists()
        fleet.puppets.play("a", ONLINE)
        fleet.supervisor.order("a", Order.START)
        await fleet.until("a", State.CONNECTED)


@asynchronous
async def test_an_outdated_client_holds_the_fleet_until_a_probe_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "PROBE_FIRST", 0.2)
    names = list("abcdef")
    fleet = Fleet(tmp_path, *names, start_parallel=1)
    for name in names:
        fleet.has_session(name)
        fleet.puppets.play(name, ["connecting", "end: outdated"])
    async with fleet:
        await fleet.until_true(
            lambda: all(fleet.state(name) is State.OUTDATED for name in names), "all are held"
        )
        # Two were refused, and the probes are one at a time: not everybody has dialed.
        assert sum(bool(fleet.puppets.runs(name)) for name in names) < len(names)
        for name in names:
            fleet.puppets.play(name, ONLINE)
        for name in names:
            await fleet.until(name, State.CONNECTED)


@asynchronous
async def test_a_flood_hurts_nobody_else_and_ends_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine may not be able to hear a thousand a second.
    monkeypatch.setattr(conduct, "MESSAGES_A_SECOND", 10.0)
    monkeypatch.setattr(conduct, "MESSAGES_AT_ONCE", 1000.0)
    fleet = Fleet(tmp_path, "a", "b")
    fleet.has_session("a")
    fleet.has_session("b")
    fleet.puppets.play("a", ["connecting", "connected", "await: more", "flood", "idle"], ONLINE)
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        pid, flooder = fleet.pid("b"), fleet.pid("a")
        fleet.puppets.go("a", "more")
        fleet.supervisor.order("b", Order.RESTART)
        await fleet.until("b", State.CONNECTED, after=pid)
        about = await fleet.until("a", State.CONNECTED, after=flooder)
        assert about["last_exit"]["kind"] == "crash"
        (why,) = (one["reason"] for one in fleet.timeline("a", 20) if one["to"] == "backoff")
        assert "broke the rules of its pipe (more than 10 messages a second)" in why


@asynchronous
async def test_of_a_link_that_comes_and_goes_all_the_time_the_last_word_counts(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", "flap: 500", "lost", "idle"])

    def told() -> list[str]:
        return [one["reason"] or "" for one in fleet.timeline("a", 1000)]

    async with fleet:
        await fleet.until_true(lambda: any("left out" in one for one in told()), "it was left out")
        await fleet.until("a", State.RECONNECTING)
        assert fleet.about("a")["last_exit"] is None
        # A machine that is very busy takes seconds to hear them, and each second has its changes.
        assert len(told()) < 500
        assert fleet.about("a")["reason"] == "the link was cut"


# The configuration


@asynchronous
async def test_reload_touches_only_what_has_changed(tmp_path: Path) -> None:
    names = ("a", "b", "gone")
    # As a configuration without any more words has them.
    fleet = Fleet(tmp_path, *(AccountSettings(name) for name in names))
    for name in names:
        fleet.has_session(name)
    async with fleet:
        for name in names:
            await fleet.until(name, State.CONNECTED)
        pid, other = fleet.pid("a"), fleet.pid("b")
        write_config(fleet, "a: {}", "b: {device_name: Elsewhere}", "new: {}")
        changes = await fleet.supervisor.reload()
        assert changes == {
            "added": ["new"], "changed": ["b"], "removed": ["gone"], "reconnect": ["b"], "restart": []
        }  # fmt: skip
        await fleet.until("b", State.CONNECTED, after=other)
        await fleet.until_true(lambda: "gone" not in fleet.supervisor.names(), "it is gone")
        await fleet.until("new", State.PAIRING)
        assert fleet.pid("a") == pid
        assert fleet.puppets.runs("b")[-1]["device_name"] == "Elsewhere"
        assert fleet.paths.session("gone").exists()


@asynchronous
async def test_a_configuration_that_is_wrong_changes_nothing(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        fleet.config_file.write_text("accounts: {a: {proxy: nonsense}, a: 3}\n")
        with pytest.raises(ConfigError):
            await fleet.supervisor.reload()
        assert fleet.pid("a") == pid
        assert fleet.supervisor.names() == ["a"]


@asynchronous
async def test_an_account_that_is_dropped_loses_its_session_after_its_process(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", "b")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        write_config(fleet, "b: {}")
        await fleet.supervisor.reload(drop=["a"])
        await fleet.until_true(lambda: "a" not in fleet.supervisor.names(), "it is gone")
        assert not is_alive(pid)
        assert fleet.sessions("a", reason="removed")


@asynchronous
async def test_an_account_that_comes_back_waits_until_its_old_process_has_gone(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", "b")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        os.kill(pid, signal.SIGSTOP)  # or it might be gone before the second reload
        write_config(fleet, "b: {}")
        await fleet.supervisor.reload(drop=["a"])
        write_config(fleet, "a: {}", "b: {}")
        assert (await fleet.supervisor.reload())["added"] == ["a"]
        assert fleet.pid("a") == pid
        os.kill(pid, signal.SIGCONT)
        await fleet.until("a", State.PAIRING)
        assert not is_alive(pid)
        assert fleet.sessions("a", reason="removed")


@asynchronous
async def test_one_account_alone_leaves_what_is_kept_of_the_others(tmp_path: Path) -> None:
    async with Fleet(tmp_path, "a", "b") as fleet:
        fleet.supervisor.order("b", Order.STOP)
        await fleet.until("b", State.STOPPED)
    async with Fleet(tmp_path, "a", "b", start=False) as fleet:
        fleet.supervisor.start(only="a")
        assert fleet.supervisor.names() == ["a"]
        assert fleet.state("a") is State.STOPPED
        fleet.supervisor.order("a", Order.REPAIR)
        await fleet.until("a", State.PAIRING)
    kept = status.load(fleet.paths.status)
    assert (kept["a"].stopped, kept["b"].stopped) == (False, True)


# The service's own life


@asynchronous
async def test_hundreds_may_start_at_once(tmp_path: Path) -> None:
    accounts = [AccountSettings(f"a{number}", enabled=False) for number in range(600)]
    async with Fleet(tmp_path, *accounts, start_parallel=10_000) as fleet:
        enabled = {name: replace(one, enabled=True) for name, one in fleet.settings.accounts.items()}
        started: list[str] = []

        async def spawn(name: str, *_: object) -> None:
            started.append(name)
            raise OSError("there are no processes today")

        fleet.supervisor._spawner.spawn = spawn  # type: ignore[method-assign,assignment]
        fleet.config_file.write_text(
            "start: {parallel: 10000, spread: 0s}\naccounts:\n"
            + "".join(f"  {name}: {{}}\n" for name in enabled)
        )
        await fleet.supervisor.reload()
        await fleet.until_true(lambda: len(started) == len(accounts), "all have tried")


@pytest.mark.parametrize("in_a_hurry", [False, True])
@asynchronous
async def test_stopping_takes_no_longer_than_the_deadline_and_less_in_a_hurry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_a_hurry: bool
) -> None:
    # An hour: what the account alone would get, and in a hurry without that what all together would.
    seconds = 3600.0 if in_a_hurry else 0.5
    monkeypatch.setattr(running, "STOP_DEADLINE", 3600.0)
    monkeypatch.setattr(supervisor, "SHUTDOWN_SECONDS", seconds)
    monkeypatch.setattr(supervisor, "HURRY_SECONDS", 0.5)
    fleet = Fleet(tmp_path, "a", "b")
    for name in ("a", "b"):
        fleet.puppets.play(name, ["connecting", "connected", "deaf"])
    async with fleet:
        for name in ("a", "b"):
            await fleet.until(name, State.CONNECTED)
        begun = time.monotonic()
        stopping = asyncio.ensure_future(fleet.supervisor.stop())
        await asyncio.sleep(0)
        if in_a_hurry:
            fleet.supervisor.hurry()
        await asyncio.wait_for(stopping, PATIENCE)
        assert time.monotonic() - begun >= 0.5


@asynchronous
async def test_a_start_that_fails_while_the_service_stops_does_not_hold_it_up(tmp_path: Path) -> None:
    asked, fails = asyncio.Event(), asyncio.Event()

    async def spawn(*_: object) -> None:
        asked.set()
        await fails.wait()
        raise OSError("there are no processes today")

    async with Fleet(tmp_path, "a", start=False) as fleet:
        fleet.supervisor._spawner.spawn = spawn  # type: ignore[method-assign,assignment]
        fleet.supervisor.start()
        await asyncio.wait_for(asked.wait(), PATIENCE)
        stopping = asyncio.ensure_future(fleet.supervisor.stop())
        await asyncio.sleep(0)
        fails.set()
        await asyncio.wait_for(stopping, PATIENCE)


@asynchronous
async def test_files_do_not_pile_up(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        pid = fleet.pid("a")
        before = open_files()
        for _ in range(5):
            fleet.supervisor.order("a", Order.RESTART)
            await fleet.until("a", State.CONNECTED, after=pid)
            pid = fleet.pid("a")
        assert open_files() <= before + 1


@asynchronous
async def test_what_was_kept_and_cannot_be_read_is_not_written_over(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a", start=False)
    fleet.paths.status.write_text("{nonsense")
    async with fleet:
        with pytest.raises(StateError, match="damaged"):
            fleet.supervisor.start()
    assert fleet.paths.status.read_text() == "{nonsense"


# Another version of the library


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Have another neonize installed, which is as it should be; nobody here loads it."""
    seal = Seal(version, ())

    async def check() -> Library:
        return Library(version, 0.1, seal)

    monkeypatch.setattr(updates, "installed", lambda: Installed(version, seal))
    monkeypatch.setattr(updates, "check_library_aside", check)


@asynchronous
async def test_an_updated_library_is_used_by_the_next_processes_and_frees_who_waited_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(updates, "LIBRARY_SECONDS", 0.05)
    fleet = Fleet(tmp_path, "a", "b", "c")
    for name in "abc":
        fleet.has_session(name)
    fleet.puppets.play("b", ["connecting", "await: refusal", "end: outdated"], ONLINE)
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        await fleet.until("c", State.CONNECTED)
        fleet.puppets.go("b", "refusal")
        await fleet.until("b", State.OUTDATED)
        fleet.supervisor.order("c", Order.STOP)
        await fleet.until("c", State.STOPPED)
        fleet.puppets.play("c", ["connecting", "end: outdated"], ONLINE)
        fleet.supervisor.order("c", Order.START)
        await fleet.until("c", State.OUTDATED)
        await fleet.until_true(lambda: fleet.about("b")["held"], "two were refused")
        pid = fleet.pid("a")
        old = psutil.Process(pid).ppid()
        install(monkeypatch, "0.6.0")
        await fleet.until("b", State.CONNECTED)
        await fleet.until("c", State.CONNECTED)
        assert fleet.pid("a") == pid
        new = psutil.Process(fleet.pid("b")).ppid()
        assert new != old
        assert psutil.Process(fleet.pid("c")).ppid() == new
        assert [entry["version"] for entry in fleet.timeline("b", 1)] == ["0.6.0"]
        assert "neonize 0.6.0 is installed instead of" in caplog.text
        # How it ends is still known, and then nobody needs the old one any more.
        os.kill(pid, signal.SIGKILL)
        await fleet.until("a", State.CONNECTED, after=pid)
        assert fleet.about("a")["last_exit"]["code"] == -9
        assert psutil.Process(fleet.pid("a")).ppid() == new
        await until(lambda: not psutil.pid_exists(old), "the old fork server has ended")


@asynchronous
async def test_a_process_with_the_library_before_an_update_says_nothing_of_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(updates, "LIBRARY_SECONDS", 0.05)
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    fleet.puppets.play("a", ["connecting", "connected", "await: refusal", "end: outdated"], ONLINE)
    async with fleet:
        pid = (await fleet.until("a", State.CONNECTED))["pid"]
        install(monkeypatch, "0.6.0")
        await until(lambda: fleet.supervisor.library == "0.6.0", "the update is found")
        fleet.puppets.go("a", "refusal")
        await fleet.until("a", State.CONNECTED, after=pid)
    assert "no account connects until neonize is updated" not in caplog.text


@asynchronous
async def test_a_new_version_that_does_not_work_stops_nobody_who_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(updates, "LIBRARY_SECONDS", 0.05)
    fleet = Fleet(tmp_path, "a", "b", "c", "d")
    for name in "abcd":
        fleet.has_session(name)
    fleet.puppets.play("b", ONLINE, ["end: machine"])
    fleet.puppets.play("c", ONLINE, ["await: never"])
    async with fleet:
        before = {name: (await fleet.until(name, State.CONNECTED))["pid"] for name in "abcd"}
        install(monkeypatch, "0.6.0")
        await until(lambda: fleet.supervisor.library == "0.6.0", "the update is found")
        for name in "bc":
            fleet.supervisor.order(name, Order.RESTART)
        await until(lambda: "does not work for b (machine)" in caplog.text, "it is tried and told")
        assert [fleet.pid(name) for name in "acd"] == [before[name] for name in "acd"]
        assert {fleet.state(name) for name in "acd"} == {State.CONNECTED}
        install(monkeypatch, "0.5.2")
        await until(lambda: fleet.supervisor.library == "0.5.2", "it is taken back")
        fleet.puppets.play("b", ONLINE)
        await fleet.until("b", State.CONNECTED)
        await until(lambda: "version of neonize works" in caplog.text, "it works")


@asynchronous
async def test_a_fork_server_that_is_to_be_replaced_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path, "a")
    fleet.has_session("a")
    async with fleet:
        await fleet.until("a", State.CONNECTED)
        before = open_files()
        fleet.spawner.renew()
        fleet.spawner.renew()
        assert fleet.state("a") is State.CONNECTED
        # Its process ends at the same time as the service.
        os.kill(fleet.pid("a"), signal.SIGSTOP)
        fleet.supervisor.hurry()
    assert open_files() < before


@asynchronous
async def test_an_account_over_its_limit_of_memory_gets_one_new_process_and_says_why_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # What a stand-in says of its memory is always the same, so that a new one does not help.
    quick = Backoff(base=0.05, factor=1.0, max=0.05, jitter=0.0, reset_after=0.5)
    fleet = Fleet(tmp_path, AccountSettings("a", backoff=quick, memory_limit=1_000_000), "b")
    for name in ("a", "b"):
        fleet.has_session(name)
    async with fleet:
        await fleet.until("b", State.CONNECTED)
        other = fleet.pid("b")
        await fleet.until_true(
            lambda: "raise `memory_limit`" in (fleet.about("a")["reason"] or ""), "it is said"
        )
        about = fleet.about("a")
        assert (about["state"], about["restarts"]) == ("connected", 1)
        seen = about["last_seen_at"]
        await until(lambda: fleet.about("a")["last_seen_at"] != seen, "it goes on")
        assert len(fleet.puppets.runs("a")) == 2
        assert fleet.pid("b") == other
        told = [entry for entry in fleet.timeline("a", 100) if "raise" in (entry["reason"] or "")]
        assert [(entry["from"], entry["to"]) for entry in told] == [("connected", "connected")]
        assert outlook(fleet.supervisor.describe("a")).next == (
            "the account stays connected with its present process"
        )
    assert caplog.text.count("raise `memory_limit`") == 1
