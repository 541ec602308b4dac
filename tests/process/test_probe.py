"""What a process of an account can reach, tried from inside of one, with stand-ins for neonize."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.linked import wait_until
from support.probed import OTHER, PROBED, PROGRAM, Probed, abstract_socket, as_nobody, not_closed
from support.service import Service

pytestmark = pytest.mark.timeout(300)


class Nowhere:
    """In the place of a sandbox, where nobody dials."""

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        return dict(base)


def test_a_process_reaches_nothing_but_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    program = (*as_nobody(), PROGRAM)
    sandbox: Any = Nowhere()
    service = Service(folder, sandbox, [OTHER], program=program, start=False)
    probed = Probed(service, neonize=False)
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
        assert not_closed(findings) == []
