"""Real accounts are isolated, and do all they did before; where a kernel lacks a part, everybody is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from support.service import PROGRAM, Service
from support.trouble import fork_server, resource_tracker

from orchestrator.sandbox.process import SandboxProcess
from orchestrator.system import confinement

WITHOUT = Path(__file__).parents[1] / "support" / "without_isolation.py"

needs_all = pytest.mark.skipif(bool(confinement.missing()), reason="this kernel cannot do all of it")


def facts(process: psutil.Process) -> set[tuple[str, ...]]:
    """Return what the kernel says of each thread: privileges, filter."""
    found = set()
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        status = (task / "status").read_text()
        found.add(tuple(re.findall(r"^(?:NoNewPrivs|Seccomp):\t(\d)", status, re.MULTILINE)))
    return found


@needs_all
def test_all_threads_of_accounts_are_confined_and_so_is_what_makes_them(
    sandbox: SandboxProcess, tmp_path: Path, number: str
) -> None:
    with Service(tmp_path, sandbox, ["support"]) as service:
        service.pair("support", number)
        child = psutil.Process(service.child("support"))
        maker = child.parent()
        assert maker is not None
        assert len(list(Path(f"/proc/{child.pid}/task").iterdir())) > 5, "Go's threads are there"
        assert facts(child) == {("1", "2")}
        assert facts(maker) == {("1", "2")}
        assert service.about("support")["isolation"] == "full"
        assert int(service.about("support")["open_files"]) > 5
        assert re.search(r"isolation\s+full", service.command("explain", "support").stdout)
        header, row, *_ = service.command("list", "--wide").stdout.splitlines()
        assert row[header.index("ISOLATED") :].startswith("yes")
        # Another account begins with a code, in a process of the same maker.
        service.command("stop", "support")
        service.command("start", "support")
        service.wait_for_state("support", "connected")
        assert not any("without" in line or "confined" in line for line in service.log)


def pipes(pid: int) -> set[str]:
    """Return the pipes that a process has open."""
    links = map(os.readlink, Path(f"/proc/{pid}/fd").iterdir())
    return {link for link in links if link.startswith("pipe:")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root sees what a closed process has open")
def test_no_account_can_speak_to_what_serves_all_accounts(sandbox: SandboxProcess, tmp_path: Path) -> None:
    """A byte in the pipe by which the fork server learns its end would end it for everybody."""
    with Service(tmp_path, sandbox, ["one", "two"]) as service:
        for name in ("one", "two"):
            service.wait_for_state(name, "pairing")
        maker, tracker = (helper(service.pid).pid for helper in (fork_server, resource_tracker))
        log = {str(Path(f"/proc/{service.pid}/fd/{number}").readlink()) for number in (1, 2)}
        helpers = (pipes(maker) | pipes(tracker)) - log
        assert len(helpers) > 2, "there are pipes to look for"
        one, two = (pipes(service.child(name)) - log for name in ("one", "two"))
        assert not one & two
        assert not (one | two) & helpers


@pytest.mark.parametrize(
    ("parts", "lacks"),
    [
        ("landlock", ["file isolation (Landlock)"]),
        ("seccomp", ["system-call filter (seccomp)"]),
        ("landlock,seccomp", ["file isolation (Landlock)", "system-call filter (seccomp)"]),
    ],
)
def test_a_kernel_that_lacks_a_part_is_named_and_the_accounts_run(
    sandbox: SandboxProcess, tmp_path: Path, number: str, parts: str, lacks: list[str]
) -> None:
    program = (sys.executable, str(WITHOUT), parts, *PROGRAM)
    with Service(tmp_path, sandbox, ["support"], program=program, environment=with_sources()) as service:
        service.pair("support", number)
        account = service.about("support")
        assert account["isolation"].startswith("without ")
        assert all(lack in account["isolation"] for lack in lacks)
        for lack in lacks:
            said = [line for line in service.log if f"run without {lack}" in line]
            assert len(said) == 1, service.log
        explained = service.command("explain", "support").stdout
        assert all(lack in explained for lack in lacks)
        header, row, *_ = service.command("list", "--wide").stdout.splitlines()
        assert row[header.index("ISOLATED") :].startswith("partly")
        found = json.loads(service.command("doctor", "--json", check=False).stdout)
        warned = [one for one in found if one["key"] == "isolation" and one["status"] == "WARN"]
        assert all(any(lack in one["text"] for one in warned) for lack in lacks), warned


def with_sources() -> dict[str, str]:
    """Return this process's environment, with these sources on the path."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.mark.parametrize("parts", ["landlock", "seccomp"])
def test_where_it_is_required_nothing_starts_without_it(
    sandbox: SandboxProcess, tmp_path: Path, parts: str
) -> None:
    program = (sys.executable, str(WITHOUT), parts, *PROGRAM)
    service = Service(
        tmp_path, sandbox, ["support"], program=program, environment=with_sources(), start=False,
        confine="required",
    )  # fmt: skip
    done = subprocess.run(
        service.command_line("run"), env=service.environment, cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=180,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    lack = {"landlock": "file isolation (Landlock)", "seccomp": "system-call filter (seccomp)"}[parts]
    assert "`confine: required` is set, and this machine lacks" in done.stderr
    assert lack in done.stderr
    assert "the control socket is" not in done.stderr


def test_it_can_be_switched_off_and_that_is_said(sandbox: SandboxProcess, tmp_path: Path) -> None:
    with Service(tmp_path, sandbox, ["support"], confine="off") as service:
        service.wait_for_code("support")
        assert service.about("support")["isolation"] == "off"
        child = psutil.Process(service.child("support"))
        assert {filtered for _, filtered in facts(child)} == {"0"}
        assert len([line for line in service.log if "`confine: off` is set" in line]) == 1
        found = json.loads(service.command("doctor", "--json", check=False).stdout)
        (warned,) = [one for one in found if one["key"] == "isolation"]
        assert warned["status"] == "WARN"
