"""Orders and questions: start, stop, restart, add, remove, list, explain; with and without a service."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
from support.cli import bare
from support.linked import wait_until
from support.service import Json, Service, is_alive
from support.terminal import Terminal

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.store import realm

pytestmark = pytest.mark.both_stores

LATE = 20.0
"""Seconds by which a process's news may be late on a busy machine: WhatsApp has spoken before."""
FIELDS = {
    "name",
    "state",
    "since",
    "reason",
    "phone",
    "pid",
    "attempt",
    "next_retry_at",
    "restarts",
    "uptime_s",
    "last_seen_at",
    "phone_seen_at",
    "phone_unlinks_at",
    "qr_path",
    "qr_expires_at",
    "memory_bytes",
    "cpu_s",
    "open_files",
    "threads",
    "last_exit",
    "cause",
    "note",
    "tags",
    "same_phone",
}


@pytest.fixture(scope="module")
def numbers(make_number: Callable[[], str]) -> dict[str, str]:
    return {name: make_number() for name in ("one", "two")}


@pytest.fixture(scope="module")
def shared_service(
    shared_sandbox: SandboxProcess, numbers: dict[str, str], make_folder: Callable[[], Path]
) -> Iterator[Service]:
    accounts: dict[str, Json] = {**{name: {} for name in numbers}, "off": {"enabled": False}}
    with Service(make_folder(), shared_sandbox, accounts) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        yield service


@pytest.fixture
def service(shared_service: Service, numbers: dict[str, str]) -> Service:
    """A service whose two accounts are connected."""
    shared_service.client.call("start", all=True)
    for name in numbers:
        shared_service.wait_for_state(name, "connected")
    return shared_service


def unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def listed(service: Service, *arguments: str) -> dict[str, Json]:
    return {one["name"]: one for one in json.loads(service.command("list", "--json", *arguments).stdout)}


def test_an_account_that_was_stopped_stays_so_until_it_is_started(
    service: Service, numbers: dict[str, str]
) -> None:
    process = psutil.Process(service.child("one"))
    other = (service.child("two"), service.connection(numbers["two"]))
    done = service.command("stop", "one")
    assert done.stdout == "one: stopped\n"
    assert not is_alive(process)
    service.wait_until_away(numbers["one"])
    assert "orchestrator start one" in bare(service.command("explain", "one").stdout)
    assert service.command("stop", "one").stdout == "one: stopped\n"
    assert (service.child("two"), service.connection(numbers["two"])) == other

    since = service.sandbox.client.last_event()
    service.stop()
    assert listed(service)["one"]["state"] == "stopped"
    service.start()
    service.wait_for_state("two", "connected")
    about = service.about("one")
    assert (about["state"], about["reason"], about["pid"]) == ("stopped", "stopped by an operator", None)
    service.kill()
    service.start()
    service.wait_for_state("two", "connected")
    assert service.about("one")["state"] == "stopped"
    logins = [one for one in service.sandbox.client.events(since) if one["event"] == "login"]
    # There are other tests' bots in the sandbox.
    assert {login["phone"] for login in logins} & set(numbers.values()) == {numbers["two"]}

    service.command("start", "one")
    service.wait_for_state("one", "connected")
    pid = service.child("one")
    service.command("start", "one")  # it runs: nothing to be done
    assert service.child("one") == pid


@pytest.mark.files_only("modes of files")
def test_a_session_that_others_may_read_is_closed_to_them_at_the_start(service: Service) -> None:
    service.command("stop", "one")
    service.stop()
    service.files.session_file("one").chmod(0o644)
    service.start()
    assert service.kept.is_closed("one"), "also that of one that does not run"


def test_a_restart_is_a_new_process_with_the_same_session(service: Service, numbers: dict[str, str]) -> None:
    before = {name: service.child(name) for name in numbers}
    since = service.sandbox.client.last_event()
    service.command("restart", "one")
    service.wait_for_state("one", "connected", after=before["one"])
    assert service.child("two") == before["two"]
    service.command("restart", "--all")
    for name, pid in before.items():
        service.wait_for_state(name, "connected", after=pid)
    events = service.sandbox.client.events(since)
    assert not [event for event in events if event["event"] in ("pairing", "linked", "unlinked")]
    assert service.about("off")["state"] == "disabled"


def test_all_are_stopped_and_started(service: Service, numbers: dict[str, str]) -> None:
    done = service.command("stop", "--all")
    assert done.stdout.splitlines() == ["one: stopped", "two: stopped"]
    assert service.command("list", "--check").stdout == "", "an operator has stopped them"
    service.command("start", "--all")
    for name in numbers:
        service.wait_for_state(name, "connected")


def test_one_that_cannot_be_done_keeps_no_other_from_being_done(service: Service) -> None:
    pid = service.child("one")
    done = service.command("restart", "nobody", "one", "off", check=False)
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "off is disabled" in done.stderr
    service.wait_for_state("one", "connected", after=pid)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("start", "nobody"), 5),
        (("stop", "nobody"), 5),
        (("explain", "nobody"), 5),
        (("list", "nobody"), 5),
        (("qr", "nobody"), 5),
        (("remove", "nobody"), 5),
        (("start", "off"), 1),
        (("repair", "off"), 1),
        (("qr", "one"), 1),
        (("start",), 2),
        (("start", "one", "--all"), 2),
        (("add", "Capital"), 2),
        (("add", "one"), 1),
        (("add", "three", "--phone", "12"), 2),
        (("nonsense",), 2),
        (("list", "--check", "one"), 0),
        (("explain", "one"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_exit_codes(service: Service, command: tuple[str, ...], code: int) -> None:
    before = service.config_file.read_text()
    done = service.command(*command, check=False)
    assert done.returncode == code, done
    said = [line for line in done.stderr.splitlines() if realm.WARNING not in line]
    assert bool(said) == (code != 0)
    assert service.config_file.read_text() == before


def test_what_a_list_says(service: Service, numbers: dict[str, str]) -> None:
    # What it takes is told with a sign of life, of which the first comes before the library is loaded.
    wait_until(lambda: (service.about("one")["memory_bytes"] or 0) > 10_000_000, "it takes nothing")
    found = listed(service)
    assert list(found) == ["one", "two", "off"]
    one = found["one"]
    assert set(one) >= FIELDS
    assert (one["state"], one["reason"], one["attempt"]) == ("connected", None, 0)
    assert one["phone"] == f"+49…{numbers['one'][-2:]}"
    assert psutil.Process(one["pid"]).is_running()
    assert one["uptime_s"] >= 0
    assert unix(one["last_seen_at"]) > unix(one["since"]) - LATE
    assert listed(service, "--reveal")["one"]["phone"] == numbers["one"]
    assert found["off"]["state"] == "disabled"
    assert list(listed(service, "two")) == ["two"]
    table = service.command("list").stdout
    assert table.split()[:2] == ["NAME", "STATE"]
    assert numbers["one"][1:] not in table


def test_a_list_that_watches(service: Service) -> None:
    line = service.command_line("list", "--watch")
    with Terminal(line, service.environment, service.folder) as terminal:
        terminal.until(lambda text: text.count("connected") >= 2, "two connected accounts")
        service.client.call("stop", names=["one"])
        terminal.until(lambda text: "stopped" in text, "that one is stopped")
        terminal.interrupt()
        assert terminal.exit_code() == 130
        assert "Traceback" not in terminal.text


def test_accounts_come_and_go_while_the_service_runs(
    service: Service, numbers: dict[str, str], number: str
) -> None:
    service.config_file.write_text(f"# our own words\n{service.config_file.read_text()}")
    links = {name: (service.child(name), service.connection(numbers[name])) for name in numbers}
    done = service.command("add", "new.one", "--phone", number, "--device-name", "A new one")
    assert "orchestrator link new.one" in bare(done.stdout)
    assert "# our own words" in service.config_file.read_text()
    service.pair("new.one", number)
    (phone,) = [one for one in service.sandbox.client.phones() if one["phone"] == number]
    assert phone["devices"][0]["os"] == "A new one"
    process = psutil.Process(service.child("new.one"))

    # Out of the service, and in again without a code.
    service.command("remove", "new.one", "--keep-session")
    assert not is_alive(process)
    assert "new.one" not in listed(service)
    assert "new.one" not in service.config_file.read_text()
    assert service.kept.devices("new.one")
    assert not service.quarantined("new.one")
    service.command("add", "new.one")
    service.wait_for_state("new.one", "connected")

    # For good.
    service.command("remove", "new.one")
    assert service.command("remove", "new.one", check=False).returncode == 5
    assert service.quarantined("new.one", "logged_out"), "WhatsApp has unlinked its device"
    assert not service.kept.has_session("new.one")
    service.wait_until_away(number)
    service.command("add", "new.one", "--disabled")
    assert service.about("new.one")["state"] == "disabled"
    service.command("remove", "new.one")
    assert {name: (service.child(name), service.connection(numbers[name])) for name in numbers} == links
    assert "# our own words" in service.config_file.read_text()


def test_without_a_service(sandbox: SandboxProcess, number: str, folder: Path) -> None:
    with Service(folder, sandbox, {"linked": {"phone": number}, "off": {"enabled": False}}) as service:
        service.pair("linked", number)
        seen = service.about("linked")["last_seen_at"]
        service.stop()
        session = service.kept.session("linked")

        found = listed(service)
        assert set(found["linked"]) >= FIELDS
        linked = found["linked"]
        assert (linked["state"], linked["reason"]) == ("stopped", "the service is not running")
        assert linked["phone"] == f"+49…{number[-2:]}"
        assert linked["pid"] is None
        assert unix(linked["last_seen_at"]) > unix(seen) - LATE
        assert found["off"]["state"] == "disabled"
        assert service.command("list", "--check", check=False).returncode == 4
        assert service.command("list", "nobody", check=False).returncode == 5
        explained = service.command("explain", "linked").stdout
        assert "the service is not running" in explained
        assert "connecting → connected" in explained
        for command in ("start linked", "stop --all", "restart linked", "reload", "qr linked"):
            done = service.command(*command.split(), check=False)
            assert done.returncode == 4, command
            assert "the service is not running" in done.stderr
        assert service.kept.session("linked") == session

        service.command("remove", "linked", "--keep-session")
        assert service.kept.session("linked") == session
        done = service.command("add", "linked", "--phone", number)
        assert "not running" in done.stdout
        service.start()
        service.wait_for_state("linked", "connected")
        service.stop()
        service.command("remove", "linked")
        assert service.quarantined("linked", "removed")
        assert "linked" not in listed(service)
        assert not service.kept.has_session("linked")
