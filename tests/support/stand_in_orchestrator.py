"""The command ``orchestrator``, all of it, but with stand-in children instead of those that load neonize.

Run it as ``python stand_in_orchestrator.py run`` and so on, with the repository and its tests on PYTHONPATH.
With `NO_STOP_DEADLINE` in its environment, no child is killed because it takes too long to stop.
"""

from __future__ import annotations

import os
from typing import Any
from unittest.mock import patch

from support.stand_in_child import run

from orchestrator import cli
from orchestrator.accounts import running
from orchestrator.service import supervisor
from orchestrator.service.forkserver import Spawner
from orchestrator.service.library import Library

NO_STOP_DEADLINE = "STAND_IN_NO_STOP_DEADLINE"


def main() -> None:
    if NO_STOP_DEADLINE in os.environ:
        running.STOP_DEADLINE = supervisor.SHUTDOWN_SECONDS = 3600.0
    here: dict[str, Any] = {
        "make_spawner": lambda paths: Spawner(run, paths.meeting_places, preload=()),
        "check_library": lambda: Library("0.5.2", 0.0),
    }
    with (
        patch.multiple("orchestrator.service.run", **here),
        patch.multiple("orchestrator.service.pair_once", **here, SETTLE_SECONDS=0.1),
    ):
        cli.main()


if __name__ == "__main__":
    main()
