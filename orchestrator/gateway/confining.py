"""What the gateway's process gives up before it hears anybody, and its reader's process."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orchestrator.control.companions import GatewaySpec
from orchestrator.errors import OrchestratorError
from orchestrator.system import confinement, cores, open_files
from orchestrator.system.confinement import ConfinementError, Lack
from orchestrator.system.landlock import KEEP, OVERWRITE, READ, Rule

log = logging.getLogger(__name__)


def confine(spec: GatewaySpec) -> tuple[Lack, ...]:
    """Confine the gateway: it reads messages and tokens, and keeps its own folder. There must be one thread.

    Returns:
        What could not be given up.

    Raises:
        OrchestratorError: The configuration requires all parts, and one is missing.
    """
    # For temporary files of SQLite and of Python: no other folder takes any.
    os.environ["SQLITE_TMPDIR"] = tempfile.tempdir = str(spec.folder)
    rules = [Rule(spec.messages, READ), Rule(spec.tokens, READ), Rule(spec.folder, KEEP)]
    return _confine(spec, rules, makes_processes=False)


def confine_maker(spec: GatewaySpec) -> tuple[Lack, ...]:
    """Confine the process that makes readers, and with it the readers that it makes.

    Raises:
        OrchestratorError: The configuration requires all parts, and one is missing.
    """
    return _confine(spec, [Rule(spec.messages, READ)], makes_processes=True, network=False)


def confine_reader(spec: GatewaySpec) -> tuple[Lack, ...]:
    """Confine a reader further than the process that made it: it makes no processes.

    Raises:
        OrchestratorError: The configuration requires all parts, and one is missing.
    """
    return _confine(spec, [Rule(spec.messages, READ)], makes_processes=False, network=False)


def _confine(
    spec: GatewaySpec, own: Sequence[Rule], *, makes_processes: bool, network: bool = True
) -> tuple[Lack, ...]:
    cores.keep_out_of_cores()
    if spec.confine == "off":
        return (confinement.ALL,)
    try:
        rules = [*open_files.here(spec.closed), Rule(Path("/dev/null"), OVERWRITE), *own]
        lacks = confinement.confine(rules, makes_processes=makes_processes, network=network)
    except (ConfinementError, OSError) as error:
        log.error("the process could not be confined: %s", error)
        lacks = (confinement.FAULT,)
    if lacks and spec.confine == "required":
        raise OrchestratorError(confinement.refusal(lacks), key="machine_unfit")
    return lacks
