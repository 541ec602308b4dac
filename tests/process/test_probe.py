"""What a process of an account can reach, tried from inside of one, with stand-ins for neonize."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.linked import wait_until
from support.probed import OTHER, PROBED, PROGRAM, Probed, abstract_socket, as_nobody, not_closed
from support.service import Service

pytestmark = pytest.mark.timeout(300)


NUMBERS = "list /proc/PID/fd"
"""Root sees how many files others have open: their numbers, and nothing of what they are."""


class Nowhere:
    """In the place of a sandbox, where nobody dials."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return dict(base)


@pytest.mark.parametrize("user", ["nobody", "root"])
def test_a_process_reaches_nothing_but_its_own_folder(tmp_path: Path, user: str) -> None:
    """Root may do anything that is not given up for good, as in a container that has no other user."""
    if user == "root" and os.geteuid() != 0:
        pytest.skip("this is not root")
    folder = tmp_path / "home"
    folder.mkdir()
    program = (*(as_nobody() if user == "nobody" else [sys.executable]), PROGRAM)
    sandbox: Any = Nowhere()
    service = Service(folder, sandbox, [OTHER], program=program, start=False)
    probed = Probed(service, neonize=False)
    if user == "root":
        for path in (folder, *folder.rglob("*")):
            os.chown(path, 0, 0)
    tmp_path.chmod(0o755)
    with service, abstract_socket() as abstract:
        service.start()
        sibling = service.wait_for_state(OTHER, "pairing")["pid"]
        probed.write_aims(abstract, sibling=sibling)
        service.configure([OTHER, PROBED])
        service.client.call("reload")
        wait_until(lambda: probed.is_done("thread"), "the probe has not done")
        found = {thread: probed.findings(thread) for thread in ("main", "thread")}
        probed.sign("probe-over")
    for findings in found.values():
        left = [one for one in not_closed(findings) if user != "root" or one.what != NUMBERS]
        assert left == []
