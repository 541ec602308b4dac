"""The configuration while the service runs, and the beginning and end of the service itself."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.cli import bare
from support.onlooker import Onlooker
from support.service import PATIENCE, Json, Service, is_alive

from orchestrator.sandbox.process import SandboxProcess

BAD = """\
state_dir: {state}
start: {{parallel: many}}
accounts:
  one: {{proxy: nonsense}}
  Two: {{}}
  three: {{colour: red, phone: "12345"}}
"""
ERRORS = ("parallel", "proxy", "Two", "colour", "phone")


@dataclass(frozen=True)
class Running:
    service: Service
    numbers: dict[str, str]
    sandbox: SandboxProcess

    def links(self, *names: str) -> dict[str, tuple[int, list[int]]]:
        pids = {account["name"]: account["pid"] for account in self.service.accounts()}
        return {name: (pids[name], self.service.connections(self.numbers[name])) for name in names}

    def device(self, name: str) -> Json:
        """Return an account's newest device as its phone shows it."""
        (phone,) = [one for one in self.sandbox.client.phones() if one["phone"] == self.numbers[name]]
        return dict(max(phone["devices"], key=lambda device: device["linked_at"]))


PLAIN: dict[str, Json] = {"kept": {}, "changed": {}, "moved": {}, "removed": {}}


@pytest.fixture(scope="module")
def running(
    shared_sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> Iterator[Running]:
    numbers = {name: make_number() for name in PLAIN}
    with Service(make_folder(), shared_sandbox, PLAIN) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        yield Running(service, numbers, shared_sandbox)


@pytest.mark.parametrize("by", ["command", "signal"])
def test_a_reload_touches_only_what_has_changed(running: Running, by: str) -> None:
    service, sandbox = running.service, running.sandbox
    service.configure(PLAIN)
    service.command("reload")
    for name in PLAIN:
        service.wait_for_state(name, "connected")
    before = running.links(*PLAIN)
    known, logged = len(service.timeline("kept")), len(service.log)
    proxy = f"http://own-{by}:secret-word@127.0.0.1:{sandbox.port}"
    service.configure(
        {
            # Neither is a reason to disturb anybody: the order, and what only the service has to know.
            "added": {},
            "kept": {"max_retries": 7},
            "moved": {"proxy": proxy},
            "changed": {"device_name": "Elsewhere"},
        }
    )
    if by == "command":
        said = service.command("reload").stdout
        assert "added: added" in said
        assert "removed: removed" in said
        assert "changed: " in said
    else:
        service.signal(signal.SIGHUP)
        service.wait_for_log("reload by the signal SIGHUP", after=logged)
    for name in ("changed", "moved"):
        service.wait_for_state(name, "connected", after=before[name][0])
    service.wait_for_code("added")
    service.until(lambda accounts: "removed" not in accounts, "it is gone")
    assert [one["name"] for one in service.accounts()] == ["kept", "changed", "moved", "added"]
    assert running.links("kept")["kept"] == before["kept"]
    assert len(service.timeline("kept")) == known
    sandbox.client.wait_for("closed", PATIENCE, connection=before["moved"][1][0])
    (moved,) = [one for one in sandbox.client.connections() if one["phone"] == running.numbers["moved"]]
    assert moved["proxy_user"] == f"own-{by}"
    assert "secret-word" not in "".join(service.log)
    service.wait_until_away(running.numbers["removed"])
    assert service.kept.has_session("removed")
    assert not service.quarantined("removed")

    # The same once more changes nothing; and back to where it was, the session is taken up again.
    first, stray = service.command("reload").stdout.splitlines()
    assert first == "nothing has changed"
    assert stray.startswith(f"{service.files.session_file('removed')} belongs to no account")
    since = sandbox.client.last_event()
    between = running.links("changed", "moved")
    service.configure(PLAIN)
    service.command("reload")
    service.wait_for_state("removed", "connected")
    for name, (pid, _) in between.items():
        service.wait_for_state(name, "connected", after=pid)
    service.until(lambda accounts: "added" not in accounts, "it is gone")
    assert service.pngs() == []
    assert not [event for event in sandbox.client.events(since) if event["event"] == "pairing"]
    assert running.links("kept")["kept"] == before["kept"]


def test_a_configuration_that_is_wrong_is_not_taken_over(running: Running) -> None:
    service = running.service
    service.configure(PLAIN)
    service.command("reload")
    for name in PLAIN:
        service.wait_for_state(name, "connected")
    before, logged = running.links(*PLAIN), len(service.log)
    service.config_file.write_text(BAD.format(state=service.state))
    done = service.command("reload", check=False)
    assert (done.returncode, done.stdout) == (1, "")
    for error in ERRORS:
        assert error in done.stderr
        assert f"{service.config_file}:" in done.stderr
    service.signal(signal.SIGHUP)
    service.wait_for_log("the new configuration is not used", after=logged)
    place = ("--state-dir", str(service.state))  # what the file said of it is gone
    service.config_file.write_text("accounts: [")
    assert service.command(*place, "reload", check=False).returncode == 1
    service.config_file.unlink()
    assert service.command(*place, "reload", check=False).returncode == 1
    assert running.links(*PLAIN) == before
    # Commands about the running service need no configuration that is valid.
    service.config_file.write_text(f"state_dir: {service.state}\nnonsense: 1\n")
    assert "kept" in service.command("list").stdout


def test_a_second_service_on_the_same_folder_says_who_was_first(running: Running) -> None:
    service = running.service
    service.configure(PLAIN)
    service.command("reload")
    before = running.links(*PLAIN)
    done = service.command("run", check=False)
    assert done.returncode == 1
    assert f"process {service.pid} (the service)" in done.stderr
    assert running.links(*PLAIN) == before
    assert service.command("list").returncode == 0


def test_an_account_that_is_disabled_and_enabled_again(running: Running) -> None:
    service = running.service
    service.configure(PLAIN)
    service.command("reload")
    service.wait_for_state("moved", "connected")
    before = running.links("kept")
    service.configure({**PLAIN, "moved": {"enabled": False}})
    assert service.command("reload").stdout == "changed: moved\n"
    service.wait_for_state("moved", "disabled")
    assert service.about("moved")["pid"] is None
    service.wait_until_away(running.numbers["moved"])
    done = service.command("start", "moved", check=False)
    assert done.returncode == 1
    assert "orchestrator enable moved" in bare(done.stderr)
    assert service.command("list", "--check").returncode == 0
    service.configure(PLAIN)
    service.command("reload")
    service.wait_for_state("moved", "connected")
    assert running.links("kept") == before


# The beginning


def test_a_service_with_a_wrong_configuration_does_not_start(
    fresh_sandbox: SandboxProcess, folder: Path
) -> None:
    with Service(folder, fresh_sandbox, start=False) as service:
        service.config_file.write_text(BAD.format(state=service.state))
        since = fresh_sandbox.client.last_event()
        done = service.command("run", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert len([line for line in done.stderr.splitlines() if f"{service.config_file}:" in line]) == 5
        for error in ERRORS:
            assert error in done.stderr
        assert "12345" not in done.stderr
        assert not service.state.exists()
        assert fresh_sandbox.client.events(since) == []


# The end


def test_a_stopped_service_leaves_nothing_running_and_nothing_to_scan(
    sandbox: SandboxProcess, number: str, folder: Path
) -> None:
    with Service(folder, sandbox, ["linked", "unlinked"]) as service:
        service.pair("linked", number)
        service.wait_for_code("unlinked")
        since = sandbox.client.last_event()
        everything = service.processes()
        assert len(everything) >= 5
        assert service.stop() == 0
        assert not [process for process in everything if is_alive(process)]
        assert service.pngs() == []
        assert not (service.state / "control.sock").exists()
        assert service.log[-1].endswith("the service has stopped")
        # The link was closed in good order, so nobody waits for an account that is gone.
        sandbox.client.wait_for("closed", PATIENCE, since, phone=number)
        assert not [line for line in service.log if " ERROR " in line or " CRITICAL" in line]
        service.start()
        service.wait_for_state("linked", "connected")
        assert service.stop(signal.SIGINT) == 0


def test_a_second_signal_cuts_it_short(sandbox: SandboxProcess, number: str, folder: Path) -> None:
    with Service(folder, sandbox, ["support", "stuck"]) as service:
        service.pair("support", number)
        stuck = service.wait_for_state("stuck", "pairing")["pid"]
        (process,) = [one for one in service.processes() if one.pid == stuck]
        process.suspend()  # it cannot stop, and has 10 s to
        service.signal(signal.SIGTERM)
        service.wait_for_log("the service is stopping")
        service.wait_for_log("support: connected → stopped")
        assert is_alive(process)
        service.signal(signal.SIGTERM)
        service.wait_for_log("accounts that have not stopped yet are killed")
        service.wait_for_log("stuck: process killed")
        assert service.wait() == 0
        assert not is_alive(process)
        assert service.pngs() == []


def test_a_signal_that_comes_before_it_runs_ends_it_all_the_same(
    sandbox: SandboxProcess, folder: Path
) -> None:
    with Service(folder, sandbox, ["support"], start=False) as service:
        process: subprocess.Popen[str] = service.launch()
        with Onlooker(folder) as onlooker:
            if not (service.state).exists():
                onlooker.wait_for("created", "state")
        process.terminate()
        assert service.wait() in (0, -signal.SIGTERM)
        assert not (service.state / "control.sock").exists()
        service.start()
        service.wait_for_code("support")
