"""What the command `doctor` finds: with a sandbox, with folders and a service that are not right."""

import json
import socket
import subprocess
from pathlib import Path

import pytest
from support.cli import COMMAND, Cli, wait_for
from support.ports import free_port

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.service.doctor.checks import CHECKS


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def findings(cli: Cli, *, code: int = 0) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for finding in json.loads(cli("doctor", "--json", code=code).stdout):
        found.setdefault(finding["check"], []).append(finding)
    return found


def test_a_configuration_that_the_environment_names_may_be_missing_before_the_first_account(cli: Cli) -> None:
    cli.environment |= {"ORCHESTRATOR_CONFIG": str(cli.config), "STATE_DIRECTORY": str(cli.state)}
    looks = ("doctor", "--only", "configuration", "--only", "state_folder", "--only", "qr_folder")
    said = cli.run([*COMMAND, *looks]).stdout
    assert "there is none yet" in said
    assert f"the service makes {cli.state} when it starts" in said
    # Who names a file to the command means one that is there.
    assert "there is no such file" in cli.run([*COMMAND, "--config", str(cli.config), *looks], code=1).stdout
    # With sessions, the file was there.
    cli.has_session("a")
    assert f"{cli.state / 'sessions'} has 1 session" in cli.run([*COMMAND, *looks], code=1).stdout


def test_all_is_well_with_a_sandbox(cli: Cli, sandbox: SandboxProcess) -> None:
    cli.environment = sandbox.environment(cli.environment)
    port = sandbox.port
    cli.configure(
        "a: {}",
        f"b: {{proxy: 'socks5://ada:geheim@127.0.0.1:{port}'}}",
        f"c: {{proxy: 'http://ada:geheim@127.0.0.1:{port}'}}",
    )
    cli.config.chmod(0o644)
    found = findings(cli)
    assert not [one for ones in found.values() for one in ones if one["status"] == "FAIL"]
    assert [one["status"] for one in found["WhatsApp"]] == ["WARN"] + ["OK"] * 3
    assert "this is the sandbox's environment" in found["WhatsApp"][0]["text"]
    assert f"through socks5://127.0.0.1:{port} for b" in found["WhatsApp"][2]["text"]
    assert found["neonize"][0]["text"].startswith("0.5.2 loads")
    assert (found["service"][0]["text"], found["service"][0]["advice"]) == (
        "does not run",
        "`orchestrator run` starts the service",
    )
    assert "chmod" in found["configuration"][1]["advice"]
    with cli.service() as service:
        done = cli("doctor")
        assert f"runs as process {service.pid}" in done.stdout
        assert "geheim" not in done.stdout
        assert {line.split()[0] for line in done.stdout.splitlines()} <= {"OK", "WARN", "→"}


def test_each_problem_of_a_configuration_has_a_line(cli: Cli) -> None:
    cli.configure("a: {}", top="first: 1\nsecond: 2\n")
    lines = cli("doctor", "--only", "configuration", code=1).stdout.splitlines()
    assert [line.partition(": unknown key")[0] for line in lines[:2]] == [
        f"FAIL  {'configuration':<22} {cli.config}:3: first",
        f"{'':<29}{cli.config}:4: second",
    ]
    assert lines[2].startswith(f"{'':<28} → correct the file")


def test_what_is_wrong_is_told_with_what_to_do(cli: Cli) -> None:
    port = free_port()
    cli.configure(
        f"a: {{proxy: 'http://ada:geheim@127.0.0.1:{port}'}}",
        top="qr_dir: codes\nqr_group: nobody-has-this\n",
    )
    session = cli.has_session("a")
    session.chmod(0o644)
    (cli.state / "timeline").mkdir(0o755)
    found = findings(cli, code=1)
    (finding,) = found["WhatsApp"]
    assert (finding["status"], "geheim" in finding["text"]) == ("FAIL", False)
    assert f"127.0.0.1:{port} cannot be reached" in finding["text"]
    assert [one["status"] for one in found["configuration"]] == ["OK", "WARN", "FAIL"]
    assert "nobody-has-this" in found["configuration"][2]["text"]
    assert "chmod 700" in found["state folder"][0]["advice"]
    assert "chmod -R go-rwx" in found["sessions"][0]["advice"]
    cli.config.write_text("accounts: 3\n")
    assert "accounts.yaml:1" in findings(cli, code=1)["configuration"][0]["text"]
    cli.config.unlink()
    assert findings(cli, code=1)["configuration"][0]["status"] == "FAIL"


def test_a_service_that_hangs_is_seen(cli: Cli) -> None:
    cli.configure()
    with cli.popen("run", stderr=subprocess.DEVNULL) as service:
        lock, place = cli.state / "orchestrator.lock", cli.state / "control.sock"
        wait_for(place.exists, "it listens")
        with socket.socket(socket.AF_UNIX) as dead:  # one that is only gone is made anew
            dead.bind(str(cli.state / "dead"))
        (cli.state / "dead").rename(place)
        (finding,) = findings(cli, code=1)["service"]
        assert finding["status"] == "WARN"
        assert f"process {service.pid}" in finding["text"]
        assert json.loads(lock.read_text())["pid"] == service.pid


def test_an_environment_that_names_no_usable_proxy_is_told(cli: Cli) -> None:
    cli.configure("a: {}", "b: {}")
    cli.environment = {**cli.environment, "HTTPS_PROXY": "socks5://ada:geh%zzeim@127.0.0.1:1"}
    (finding,) = findings(cli, code=1)["WhatsApp"]
    assert finding["status"] == "FAIL"
    assert "for a, b: HTTPS_PROXY in the service's environment: expected a proxy" in finding["text"]
    assert "eim" not in finding["text"]


def test_checks_are_chosen_by_their_keys(cli: Cli) -> None:
    cli.configure()
    listed = json.loads(cli("doctor", "--list", "--json").stdout)
    assert [one["key"] for one in listed] == [check.key for check in CHECKS]
    assert "disk_space     Whether the disk" in cli("doctor", "--list").stdout
    found = json.loads(cli("doctor", "--json", "--only", "versions", "--only", "disk_space").stdout)
    assert [(one["key"], one["check"]) for one in found] == [("versions",) * 2, ("disk_space", "disk space")]
    assert "there is no check disc" in cli("doctor", "--only", "disc", code=2).stderr
