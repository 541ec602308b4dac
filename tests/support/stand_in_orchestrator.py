"""The command ``orchestrator``, all of it, but with stand-in children instead of those that load neonize.

Run it as ``python stand_in_orchestrator.py run`` and so on, with the repository and its tests on PYTHONPATH.
"""

from __future__ import annotations

from unittest.mock import patch

from support.stand_in_child import run

from orchestrator import cli
from orchestrator.library import Library
from orchestrator.process import Spawner


def main() -> None:
    with patch.multiple(
        "orchestrator.service",
        make_spawner=lambda: Spawner(run, preload=()),
        check_library=lambda: Library("0.5.2", 0.0),
        SETTLE_SECONDS=0.1,
    ):
        cli.main()


if __name__ == "__main__":
    main()
