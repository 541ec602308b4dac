"""A machine is lost with its state folder: another one goes on with the accounts of the database."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from support.postgres import serving
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess


def test_another_machine_goes_on_with_sessions_wishes_and_histories(
    sandbox: SandboxProcess, make_number: Callable[[], str], make_folder: Callable[[], Path]
) -> None:
    with serving() as server:
        fresh = server.make_database()
        fresh.ready()
        one, two = make_folder(), make_folder()
        first, second = (Service(folder, sandbox, start=False) for folder in (one, two))
        number, other = make_number(), make_number()
        for service in (first, second):
            file = fresh.dsn_file(service.folder)
            service.configure(["runs", "stopped", "waits"], store={"dsn_file": str(file)})
        with first:
            first.start()
            first.pair("runs", number)
            first.pair("stopped", other)
            first.command("stop", "stopped")
            first.wait_for_state("stopped", "stopped")
            first.wait_for_code("waits")
            # Another service of the same database is refused, and is told where this one is.
            refused = second.command("run", check=False)
            assert refused.returncode == 1
            assert "one service may run them at a time" in refused.stderr
            known = [entry["at"] for entry in first.timeline("runs")]
            first.kill()
        since = sandbox.client.last_event()
        with second:
            second.start()
            second.wait_for_state("runs", "connected")
            assert second.about("stopped")["reason"] == "stopped by an operator"
            second.wait_for_code("waits")
            found = json.loads(second.command("history", "--since", "1d", "--json").stdout)
            assert [entry["at"] for entry in found if entry["name"] == "runs"][: len(known)] == known
            assert any("without a word" in line for line in second.log)
            assert len(second.connections(number)) == 1
            assert second.connections(other) == []
        paired = [event for event in sandbox.client.events(since) if event["event"] == "pairing"]
        assert len({event["connection"] for event in paired}) == 1, "only `waits` asks for a code"
