"""The command ``orchestrator``, all of it, but the account ``probe`` has the probe, and others do nothing.

The service, its fork server and what a process does before it loads neonize are the real ones. The other
accounts' processes show a code and write nowhere, so that they can be made by the confined fork server.
"""

from __future__ import annotations

import os
import time
from typing import Any, NoReturn
from unittest.mock import patch

from support.pictures import PNG
from support.probed import PROBED
from support.stand_in_child import BEAT_SECONDS

from orchestrator import cli
from orchestrator.accounts import pipe
from orchestrator.accounts.failure import EXIT_CODES, Kind
from orchestrator.service import startup
from orchestrator.service.forkserver import Spawner
from orchestrator.service.library import Library
from orchestrator.worker import main as worker
from orchestrator.worker.spec import ChildSpec


def run(spec: ChildSpec, connection: Any) -> NoReturn:  # noqa: ANN401 - multiprocess has no types
    """Be an account's child."""
    if spec.name == PROBED:
        worker.run(spec, connection)
    now = time.time()
    code = pipe.Code(f"2@{spec.name}-{'A' * 200}", PNG, now, now + 3600)
    for message in (pipe.Connecting(False), code):
        connection.send_bytes(pipe.encode(message))
    stopped = False
    while not stopped:  # it is told other things as well, such as what consumers have had
        if connection.poll(BEAT_SECONDS):
            stopped = isinstance(pipe.decode(connection.recv_bytes()), pipe.Stop)
        else:
            connection.send_bytes(pipe.encode(pipe.Heartbeat(time.time(), 16_000_000)))
    connection.send_bytes(pipe.encode(pipe.Ended(Kind.STOPPED, "asked to stop")))
    os._exit(EXIT_CODES[Kind.STOPPED])


def main() -> None:
    here: dict[str, Any] = {
        "make_spawner": _make_spawner,
        "check_library": lambda: Library("0.5.2", 0.0),
    }
    with (
        patch.multiple("orchestrator.service.run", **here),
        patch.multiple("orchestrator.service.pair_once", **here),
    ):
        cli.main()


def _make_spawner(*arguments: Any, **options: Any) -> Spawner:  # noqa: ANN401 - whatever the real one takes
    spawner = startup.make_spawner(*arguments, **options)
    spawner._target = run
    return spawner


if __name__ == "__main__":
    # The fork server finds `run` by its name, which must not be that of the program.
    from support import probed_orchestrator

    probed_orchestrator.main()
