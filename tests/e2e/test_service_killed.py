"""Processes that are killed: one of a child's, or the service itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support.service import ORPHAN_SECONDS, Service, end, wait_gone

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores


def test_a_child_that_is_killed_is_back_without_a_code(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in ("killed", "other")}
    with Service(folder, sandbox, list(numbers)) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        other = (service.child("other"), service.connection(numbers["other"]))
        pid, known = service.child("killed"), len(service.timeline("killed"))
        session = service.kept.identity("killed")
        since = sandbox.client.last_event()
        psutil.Process(pid).kill()
        account = service.wait_for_state("killed", "connected", after=pid)
        assert account["restarts"] == 1
        assert account["last_exit"]["kind"] == "crash"
        assert account["last_exit"]["code"] == -9
        assert [(entry["to"], entry["kind"]) for entry in service.timeline("killed")[known:]] == [
            ("backoff", "crash"), ("starting", "crash"), ("connecting", None), ("connected", None)
        ]  # fmt: skip
        assert "SIGKILL" in service.timeline("killed")[known]["reason"]
        assert service.kept.identity("killed") == session
        assert not service.quarantined("killed")
        assert not [event for event in sandbox.client.events(since) if event["event"] == "pairing"]
        assert (service.child("other"), service.connection(numbers["other"])) == other


def test_a_service_that_is_killed_leaves_nobody_behind_and_starts_again_as_if_nothing_had_happened(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    numbers = {name: make_number() for name in ("one", "two")}
    with Service(folder, sandbox, [*numbers, "unlinked"]) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        stale = service.wait_for_code("unlinked").read_bytes()
        # The service itself, the fork server, its helper and three children.
        assert len(service.processes()) >= 6
        service.kill()
        assert service.pngs() == ["unlinked.png"]
        assert (service.state / "control.sock").exists()
        assert service.command("list", check=False).returncode == 0
        checked = service.command("list", "--check", check=False)
        assert (checked.returncode, checked.stdout) == (4, ""), "nobody knows how the accounts are"
        assert service.command("reload", check=False).returncode == 4

        since = sandbox.client.last_event()
        service.start()
        for name in numbers:
            service.wait_for_state(name, "connected")
            assert not service.quarantined(name)
        assert service.wait_for_code("unlinked").read_bytes() != stale
        assert service.pngs() == ["unlinked.png"]
        pairings = [event for event in sandbox.client.events(since) if event["event"] == "pairing"]
        assert len(pairings) == 1


def test_a_process_that_was_stopped_when_its_service_was_killed_does_not_keep_its_session(
    sandbox: SandboxProcess, number: str, folder: Path
) -> None:
    with Service(folder, sandbox, ["support"]) as service:
        service.pair("support", number)
        orphan = psutil.Process(service.child("support"))
        orphan.suspend()
        # The fork server and its helper wait for it, and are no harm.
        waiting = psutil.Process(service.pid).children()
        service.kill(but=[orphan.pid, *(process.pid for process in waiting)])
        try:
            assert orphan.is_running()
            service.start()
            account = service.wait_for_state("support", "connected", after=orphan.pid)
            assert account["restarts"] == 0
            assert not wait_gone([orphan, *waiting], ORPHAN_SECONDS)
        finally:
            end([orphan])
        assert any(
            f"process {orphan.pid}, which an earlier service left running" in line for line in service.log
        )
        assert not service.quarantined("support")


def test_no_picture_is_left_by_a_service_that_was_killed_once_the_next_one_runs(
    sandbox: SandboxProcess, folder: Path
) -> None:
    with Service(folder, sandbox, ["support", "gone"]) as service:
        for name in ("support", "gone"):
            service.wait_for_code(name)
        service.kill()
        assert service.pngs() == ["gone.png", "support.png"]
        service.configure({"support": {"enabled": False}})
        service.start()
        assert service.pngs() == []
        assert service.about("support")["state"] == "disabled"
