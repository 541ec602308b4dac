"""A phone unlinks, its codes pass unused, the service restarts: one command shows the code again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
from support.service import PATIENCE, Service

from orchestrator.sandbox.process import SandboxProcess


def test_the_cause_stays_until_the_account_is_linked_again_by_the_code_that_qr_brings(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    number = make_number()
    with Service(folder, sandbox, {"support": {"pairing_rounds": 1}}) as service:
        service.pair("support", number)
        child = psutil.Process(service.child("support"))
        assert [part for part in child.cmdline() if part] == ["orchestrator: support"]
        assert (Path("/proc") / str(child.pid) / "comm").read_text() == "wa:support\n"

        # Its phone unlinks the device, and nobody uses a code: no round takes the 160 seconds of WhatsApp's.
        sandbox.client.fault("short-qr", "pairing", times=2, after=2)
        sandbox.client.unlink(number)
        about = service.wait_for_state("support", "failed")
        assert about["kind"] == "pairing_expired"
        cause = about["cause"]
        assert cause["kind"] == "logged_out"
        assert "(401)" in cause["reason"]
        assert "logged out by its phone " in service.command("list").stdout

        service.stop()
        assert service.command("list", "--json").stdout.count('"logged_out"') > 0
        service.start()
        service.wait_for_state("support", "pairing")
        assert service.about("support")["cause"] == cause
        assert service.wait_for_state("support", "failed")["cause"] == cause
        since = service.about("support")["since"]
        assert "qr support`" in service.command("explain", "support").stdout

        put_away = service.quarantined("support")
        line = service.command_line("qr", "support")
        with subprocess.Popen(
            line, stdout=subprocess.PIPE, env=service.environment, cwd=service.folder, text=True
        ) as qr:
            assert qr.stdout is not None
            assert "a new round of codes begins" in qr.stdout.readline()
            assert service.wait_for_state("support", "pairing")["since"] >= since
            service.scan("support", number)
            said, _ = qr.communicate(timeout=PATIENCE)
            assert qr.returncode == 0, said
        assert "support is connected" in said
        assert service.wait_for_state("support", "connected")["cause"] is None
        assert service.quarantined("support") == put_away, "asking for a code touches no session"
