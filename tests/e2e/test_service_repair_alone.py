"""`repair` while no service runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.service import Service
from support.terminal import Terminal

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores


def test_a_repair_without_a_service_on_a_terminal(sandbox: SandboxProcess, number: str, folder: Path) -> None:
    with Service(folder, sandbox, ["support", "other"], start=False) as service:
        since = sandbox.client.last_event()
        line = service.command_line("repair", "support")
        with Terminal(line, service.environment, folder) as terminal:
            terminal.until(lambda _: terminal.has_picture(), "a QR code")
            assert service.pngs() == ["support.png"]
            # While it goes on, the folder is its own.
            refused = service.launch()
            assert service.wait() == 1
            assert f"process {terminal.pid} (repairs support)" in "".join(service.log)
            assert refused.returncode == 1
            sandbox.client.scan(number, png=terminal.picture())
            assert terminal.exit_code() == 0
            assert "support is connected as +49…" in terminal.text
        assert service.pngs() == []
        assert not (service.state / "control.sock").exists()
        service.start()
        service.wait_for_state("support", "connected")
        events = sandbox.client.events(since)
        linked = [event for event in events if event["event"] == "linked"]
        assert [event["phone"] for event in linked] == [number]
        service.stop()

        # And again, now that there is a session.
        with Terminal(line, service.environment, folder) as terminal:
            terminal.until(lambda _: terminal.has_picture(), "a QR code")
            (place,) = service.quarantined("support", "repair")
            assert place.devices()
            terminal.interrupt()
            assert terminal.exit_code() == 130
        assert service.pngs() == []


def test_a_repair_without_a_service_that_does_not_wait(
    sandbox: SandboxProcess, number: str, folder: Path
) -> None:
    with Service(folder, sandbox, ["support"]) as service:
        service.pair("support", number)
        service.command("stop", "support")
        service.stop()
        for _ in range(2):
            done = service.command("repair", "support", "--no-wait")
            assert "shows a code when the service runs" in done.stdout
        (place,) = service.quarantined("support", "repair")
        assert place.devices()
        assert not service.kept.has_session("support")
        service.start()
        service.pair("support", number)
