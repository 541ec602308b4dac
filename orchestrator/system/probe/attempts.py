"""The whole probe: every door is tried, in the process that calls it."""

from __future__ import annotations

from orchestrator.system.probe import files, privileges, processes
from orchestrator.system.probe.report import Aims, Finding


def try_all(aims: Aims) -> list[Finding]:
    """Try every door in this process, and return what came of each attempt.

    Args:
        aims: What is tried to be reached.
    """
    doors = [*files.doors(aims), *processes.doors(aims), *privileges.doors(aims)]
    return [door.try_it() for door in doors]
