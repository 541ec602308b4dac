"""What was put away is listed, brought back and deleted; who is connected is asked before a repair."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.cli import Cli
from support.devices import write_device
from support.terminal import Terminal

from orchestrator.store import moving
from orchestrator.store.layout import StatePaths

DAY = 86_400.0
BEGUN = time.time()
LONG_AGO = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(BEGUN - 3 * DAY))
KEPT_UNTIL = time.strftime("%Y-%m-%d", time.gmtime(BEGUN + 7 * DAY))
"""Until when it is kept, if that is ten days."""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def linked(cli: Cli, name: str) -> Path:
    cli.has_session(name).unlink()
    return write_device(cli.state / "sessions" / name / "session.sqlite3")


def put(cli: Cli, name: str, reason: str = "repair", at: str = LONG_AGO) -> Path:
    place = cli.state / "quarantine" / f"{name}-{at}-{reason}"
    place.mkdir(mode=0o700, parents=True)
    for folder in (cli.state, cli.state / "quarantine"):
        folder.chmod(0o700)
    write_device(place / "session.sqlite3")
    return place


def listed(cli: Cli, *command: str) -> list[dict[str, Any]]:
    return list(json.loads(cli(*command, "--json").stdout))


def test_what_can_be_brought_back_is_listed(cli: Cli) -> None:
    cli.configure("a: {}", top="quarantine_days: 10\n")
    assert "nothing in quarantine" in cli("restore").stdout
    assert listed(cli, "restore") == []
    put(cli, "a")
    put(cli, "gone", "removed")
    put(cli, "a", "leftover")
    found = {one["name"]: one for one in listed(cli, "restore")}
    assert set(found) == {"a", "gone"}
    about = found["a"]
    assert about["quarantine"] == f"a-{LONG_AGO}-repair"
    assert (about["reason"], about["session"], about["messages"]) == ("repair", True, False)
    assert (about["account"], found["gone"]["account"]) == (True, False)
    assert (
        about["bytes"] == (cli.state / "quarantine" / about["quarantine"] / "session.sqlite3").stat().st_size
    )
    assert about["at"].replace("-", "").replace(":", "") == LONG_AGO
    assert about["until"][:10] == KEPT_UNTIL
    said = cli("restore").stdout
    assert "paired anew" in said
    assert "account removed" in said
    assert "leftover" not in said
    assert " restore NAME`" in said
    assert "cannot log in again" not in said
    assert "leftover" in cli("quarantine", "list").stdout
    assert len(listed(cli, "quarantine", "list")) == 3
    cli("restore", "a", "--json", code=2)
    cli("restore", "a")
    assert [one["name"] for one in listed(cli, "restore")] == ["gone"]
    put(cli, "a", "logged_out")
    unlinked = "1 of these sessions cannot log in again, because WhatsApp has unlinked it: a"
    assert unlinked in cli("restore").stdout.splitlines()


def test_a_repair_of_a_connected_account_asks_and_can_be_undone(cli: Cli) -> None:
    cli.configure("a: {device_name: Front desk}")
    before = linked(cli, "a").read_bytes()
    with cli.service():
        pid = cli.until("a", "connected")["pid"]
        done = cli("repair", "a", code=2)
        assert "a is connected. Pair it anew?" in done.stderr
        assert "--yes" in done.stderr
        assert cli("repair", "a", "--no-wait", code=2).stdout == ""
        with Terminal(cli.line("repair", "a"), cli.environment, cli.folder) as terminal:
            terminal.until(lambda text: "[y/N]" in text, "the question")
            terminal.press("n\r")
            assert terminal.exit_code() == 1
        assert cli.until("a", "connected")["pid"] == pid
        with Terminal(cli.line("repair", "a"), cli.environment, cli.folder) as terminal:
            terminal.until(lambda text: "[y/N]" in text, "the question")
            terminal.press("y\r")
            terminal.until(lambda text: " restore a`" in text, "how to undo it")
            terminal.until(lambda _: terminal.has_picture(), "a code")
            terminal.interrupt()
            assert terminal.exit_code() == 130
            assert "Front desk" in terminal.text
            assert re.search(r"kept until \d{4}-\d\d-\d\d", terminal.text)
        cli.until("a", "pairing")
        assert listed(cli, "restore")[0]["reason"] == "repair"
        # Nobody has to stop the account before its slip is undone.
        assert "restored" in cli("restore", "a").stdout
        cli.until("a", "connected")
        assert (cli.state / "sessions" / "a" / "session.sqlite3").read_bytes() == before
        said = cli("repair", "a", "--yes").stdout
        assert " restore a`" in said
        # One that is not connected is repaired without a question.
        cli.until("a", "pairing")
        cli("repair", "a", "--no-wait")


def test_a_slip_is_undone_while_the_repair_has_not_ended_the_former_process(cli: Cli) -> None:
    cli.configure("a: {}")
    before = linked(cli, "a").read_bytes()
    cli.puppets.play("a", ["connecting", "connected", "deaf"], ["connecting: unpaired", "code", "idle"], [])
    with cli.service():
        pid = cli.until("a", "connected")["pid"]
        cli("repair", "a", "--yes")
        assert "restored" in cli("restore", "a").stdout
        assert cli.until("a", "connected")["pid"] != pid
        assert (cli.state / "sessions" / "a" / "session.sqlite3").read_bytes() == before
        told = cli("history", "a").stdout
        assert "to be paired anew" in told
        assert "a: stopped so that its session can be put back, by " in told
        assert "stopped by" not in told, "an operator wanted no stop"


def test_a_repair_without_a_service_says_how_it_is_undone(cli: Cli) -> None:
    cli.configure("a: {}", "new: {}")
    linked(cli, "a")
    assert " restore a`" in cli("repair", "a", "--no-wait").stdout
    assert " restore new`" not in cli("repair", "new", "--no-wait").stdout


def test_a_restore_that_is_refused_leaves_a_pairing_account_as_it_is(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    linked(cli, "b")
    with cli.service():
        pid = cli.until("a", "pairing")["pid"]
        cli("restore", "a", code=1)
        assert cli.until("a", "pairing")["pid"] == pid
        cli("restore", "b", code=1)
        cli.until("b", "connected")


@pytest.mark.parametrize("running", [False, True])
def test_what_was_put_away_is_deleted_for_good(cli: Cli, running: bool) -> None:
    cli.configure("a: {}", "b: {enabled: false}")
    linked(cli, "a")
    kept = put(cli, "b")
    young = put(cli, "b", at=time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()))

    def purge() -> None:
        size = (kept / "session.sqlite3").stat().st_size
        done = cli("quarantine", "purge", "b", "--older-than", "2d", code=2)
        assert "--yes" in done.stderr
        assert kept.name in done.stdout
        assert young.name not in done.stdout
        assert kept.exists()
        done = cli("quarantine", "purge", "b", "--older-than", "2d", "--yes")
        assert f"deleted 1 folder, {size / 1e3:.1f} kB" in done.stdout
        assert not kept.exists()
        assert young.exists()
        with Terminal(cli.line("quarantine", "purge", "--all"), cli.environment, cli.folder) as terminal:
            terminal.until(lambda text: "[y/N]" in text, "the question")
            assert "Delete 1 folder" in terminal.text
            terminal.press("y\r")
            assert terminal.exit_code() == 0
        assert not young.exists()
        assert "empty" in cli("quarantine", "list").stdout
        assert "empty" in cli("quarantine", "purge", "--all", "--yes").stdout

    if running:
        with cli.service():
            cli.until("a", "connected")
            purge()
            assert cli.until("a", "connected")["restarts"] == 0
            assert "deleted from the quarantine" in cli.log.read_text()
    else:
        purge()


@pytest.mark.parametrize("running", [False, True])
def test_what_is_not_meant_stays(cli: Cli, running: bool) -> None:
    cli.configure("a: {}", "b: {}")
    place = put(cli, "a")
    (place / "holiday.jpg").write_bytes(b"a beach")
    outside = cli.folder / "outside"
    outside.mkdir()
    (cli.state / "quarantine" / f"a-{LONG_AGO}-locked").symlink_to(outside)

    def purge() -> None:
        done = cli("quarantine", "purge", "--all", "--yes", code=1)
        assert "holiday.jpg" in done.stderr
        assert (place / "session.sqlite3").exists()
        for arguments, code in (
            ([], 2),
            (["a", "--all"], 2),
            (["--older-than", "soon"], 2),
            (["nobody", "--yes"], 5),
            (["../sessions", "--yes"], 5),
            (["b", "--yes"], 1),
        ):
            cli("quarantine", "purge", *arguments, code=code)
        assert outside.exists()

    if running:
        with cli.service():
            purge()
    else:
        purge()


def test_a_restore_that_was_killed_is_ended_and_not_deleted(cli: Cli) -> None:
    cli.configure("a: {enabled: false}")
    place = put(cli, "a")
    moving.begin(StatePaths.of(cli.state, environ={}), moving.Restore("a", place.name, "session.sqlite3"))
    cli("quarantine", "purge", "a", "--yes", code=1)
    assert place.exists()


def test_the_doctor_says_how_much_lies_there(cli: Cli) -> None:
    cli.configure("a: {}")

    def about() -> list[dict[str, Any]]:
        found = json.loads(cli.run_any(cli.line("doctor", "--json")).stdout)
        return [one for one in found if one["key"] == "quarantine"]

    assert about() == []
    put(cli, "a")
    (finding,) = about()
    assert finding["status"] == "OK"
    assert "1 folder" in finding["text"]
    assert "the oldest for 3 d" in finding["text"]
    assert " quarantine purge`" in finding["advice"]


def test_who_is_removed_is_told_what_stays(cli: Cli) -> None:
    cli.configure("a: {device_name: Front desk}", "b: {}", "c: {}", "d: {}")
    for name in "abd":
        linked(cli, name)
    done = cli("remove", "d", "--yes", "--no-unlink")
    assert done.stderr == "", "what somebody has asked for is no warning"
    assert "the phone still shows its device" in done.stdout
    assert " restore d`" in done.stdout
    done = cli("remove", "a", "--yes")
    assert '("Front desk") is still linked' in done.stderr
    assert re.search(r"in quarantine until \d{4}-\d\d-\d\d", done.stdout)
    assert " restore a`" in done.stdout
    done = cli("remove", "b", "--yes", "--keep-session")
    assert "Linked devices" in done.stdout
    done = cli("remove", "c", "--yes")
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_to_leave_for_good_needs_a_service_that_can_ask(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    linked(cli, "a")
    before = cli.config.read_text()
    cli("remove", "a", "--unlink", "--keep-session", code=2)
    cli("remove", "a", "--unlink", "--no-unlink", code=2)
    assert "nothing was changed" in cli("remove", "a", "--unlink", "--yes", code=4).stderr
    cli("remove", "nobody", "--unlink", "--yes", code=5)
    with cli.service():
        cli.until("a", "connected")
        cli("stop", "a")
        assert "not connected" in cli("remove", "a", "--unlink", "--yes", code=1).stderr
        cli("remove", "nobody", "--unlink", "--yes", code=5)
        assert cli.accounts()["a"]["state"] == "stopped"
        # Nothing is linked, so there is nobody to ask.
        cli.until("b", "pairing")
        assert cli.config.read_text() == before
        cli("remove", "b", "--unlink", "--yes")
        assert list(cli.accounts()) == ["a"]
    assert (cli.state / "sessions" / "a" / "session.sqlite3").exists()
    assert not [one for one in (cli.state / "quarantine").iterdir() if one.is_dir()]
