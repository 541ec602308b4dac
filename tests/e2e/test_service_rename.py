"""An account that is renamed, restored or copied, with the real library: no code is ever asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.cli import bare
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.both_stores


def test_a_connected_account_gets_another_name_and_comes_back(
    sandbox: SandboxProcess, folder: Path, make_number: Callable[[], str]
) -> None:
    phone, other = make_number(), make_number()
    with Service(folder, sandbox, ["old", "other"]) as service:
        service.pair("old", phone)
        service.pair("other", other)
        device, untouched = service.kept.devices("old"), service.child("other")

        # Another name.
        assert service.command("rename", "old", "new").stdout.startswith("old is now called new")
        about = service.wait_for_state("new", "connected")
        assert service.kept.devices("new") == device
        assert not service.kept.has_session("old")
        assert "pairing" not in [entry["to"] for entry in service.timeline("new")[4:]]
        assert service.child("other") == untouched
        assert len(service.connections(phone)) == 1

        # Renamed in the file by hand: the command does the rest.
        service.config_file.write_text(service.config_file.read_text().replace("new:", "newer:"))
        assert "`orchestrator rename new newer`" in bare(service.command("reload").stdout)
        service.wait_for_code("newer")
        assert "`orchestrator rename new newer`" in bare(service.command("list").stdout)
        service.command("rename", "new", "newer")
        service.wait_for_state("newer", "connected", after=about["pid"])
        assert service.kept.devices("newer") == device
        assert not service.png("newer").exists()

        # A copy of its session does not take its connection away.
        service.command("stop", "other")
        service.wait_until_away(other)
        give_back = service.kept.exchange_session("other", "newer")
        connection = service.connection(phone)
        service.command("start", "other")
        about = service.wait_for_state("other", "failed")
        assert about["kind"] == "duplicate"
        assert "newer" in about["reason"]
        assert service.connection(phone) == connection
        assert "newer" in service.command("start", "other", check=False).stderr
        assert service.kept.devices("other") == device
        assert service.connection(phone) == connection
        give_back()
        service.command("start", "other")
        service.wait_for_state("other", "connected")
        assert service.connection(phone) == connection

        # Removed, and back from quarantine.
        service.command("remove", "newer", "--yes", "--no-unlink")
        service.wait_until_away(phone)
        assert "add newer" in service.command("restore", "newer").stdout
        service.command("add", "newer")
        service.wait_for_state("newer", "connected")
        assert service.kept.devices("newer") == device

        # Linked anew by mistake, and back as it was.
        for undo in (("stop", "restore", "start"), ("restore",)):
            pid = service.child("newer")
            refused = service.command("repair", "newer", "--no-wait", check=False)
            assert (refused.returncode, service.child("newer")) == (2, pid), "nobody said that it may"
            told = bare(service.command("repair", "newer", "--yes", "--no-wait").stdout)
            assert "orchestrator restore newer" in told
            service.wait_for_code("newer", after=pid)
            for order in undo:
                service.command(order, "newer")
            service.wait_for_state("newer", "connected")
            assert service.kept.devices("newer") == device


def test_a_rename_without_a_service(sandbox: SandboxProcess, folder: Path, number: str) -> None:
    with Service(folder, sandbox, ["old"], start=False) as service:
        service.start()
        service.pair("old", number)
        service.stop()
        service.command("rename", "old", "new")
        service.start()
        service.wait_for_state("new", "connected")
        assert "pairing" not in [entry["to"] for entry in service.timeline("new")[4:]]
