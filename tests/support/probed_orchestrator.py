"""The command ``orchestrator``, all of it, but the account ``probe`` has the probe, and others are stand-ins.

The service, its fork server and what a process does before it loads neonize are the real ones.
"""

from __future__ import annotations

from typing import Any, NoReturn
from unittest.mock import patch

from support import stand_in_child
from support.probed import PROBED

from orchestrator import cli
from orchestrator.service.forkserver import Spawner
from orchestrator.service.library import Library
from orchestrator.worker import main as worker
from orchestrator.worker.spec import ChildSpec


def run(spec: ChildSpec, connection: Any) -> NoReturn:  # noqa: ANN401 - multiprocess has no types
    """Be an account's child."""
    if spec.name == PROBED:
        worker.run(spec, connection)
    stand_in_child.run(spec, connection)


def main() -> None:
    here: dict[str, Any] = {
        "make_spawner": lambda paths: Spawner(run, paths.meeting_places),
        "check_library": lambda: Library("0.5.2", 0.0),
    }
    with (
        patch.multiple("orchestrator.service.run", **here),
        patch.multiple("orchestrator.service.pair_once", **here),
    ):
        cli.main()


if __name__ == "__main__":
    # The fork server finds `run` by its name, which must not be that of the program.
    from support import probed_orchestrator

    probed_orchestrator.main()
