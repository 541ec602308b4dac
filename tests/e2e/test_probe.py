"""What the process of a connected account can reach, tried from inside of it by the probe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.linked import wait_until
from support.probed import OTHER, PROBED, Probed, abstract_socket, as_nobody, not_closed, pipes
from support.service import Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(600)


def test_a_connected_account_reaches_nothing_but_its_own_folder(
    sandbox: SandboxProcess, make_number: Callable[[], str], folder: Path
) -> None:
    program = (*as_nobody(), "-m", "orchestrator")
    folder.parent.chmod(0o755)
    service = Service(folder, sandbox, [OTHER], program=program, start=False)
    probed = Probed(service, neonize=True)
    with service, abstract_socket() as abstract:
        service.start()
        number = make_number()
        service.pair(OTHER, number)
        probed.write_aims(abstract, sibling=service.child(OTHER))
        service.configure([OTHER, PROBED])
        service.client.call("reload")
        service.pair(PROBED, make_number())
        assert probed.is_done("main")
        probed.sign("probe-now")
        wait_until(lambda: probed.is_done("thread"), "the probe has not done")
        found = {thread: probed.findings(thread) for thread in ("main", "thread")}
        if os.geteuid() == 0:  # nobody else sees what is open in them
            shared = pipes(found["thread"]) & pipes_of(service.child(OTHER))
            assert shared <= pipes_of(service.pid), "accounts share a pipe that is none of the service's"
        # It is none the worse for it: it still does its work.
        service.command("send", PROBED, "--to", number, "after the probe")
        assert service.about(OTHER)["state"] == service.about(PROBED)["state"] == "connected"
    for findings in found.values():
        assert not_closed(findings) == []


def pipes_of(pid: int) -> set[str]:
    targets = {os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()}  # noqa: PTH115
    return {target for target in targets if target.startswith("pipe:")}
