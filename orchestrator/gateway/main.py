"""The gateway's process: what it gives up, what it is made of, how it goes on, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sqlite3
import sys

from orchestrator.control.companions import VARIABLE, GatewaySpec
from orchestrator.errors import ExitCode, OrchestratorError
from orchestrator.gateway import confining
from orchestrator.gateway.reader.maker import ReaderHandle, start_reader
from orchestrator.system import confinement, logs

log = logging.getLogger(__name__)


def main() -> None:
    """Run the gateway until the service ends it, or is gone. The service starts it."""
    os.umask(0o077)
    spec = GatewaySpec.from_text(os.environ.pop(VARIABLE))
    logs.configure(spec.log_level, "journal")  # the service reads the lines, and logs them in its own form
    logs.log_uncaught()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it, too; the service ends it in its turn
    port = socket.socket(fileno=spec.port)
    try:
        # First of all: the maker of readers is a copy of this process, and is to be small.
        reader = start_reader(spec)
        lacks = confining.confine(spec)
    except (OSError, OrchestratorError) as error:
        log.error("the gateway cannot start: %s", error)
        sys.exit(ExitCode.FAILED)
    try:
        asyncio.run(_run(spec, port, reader, confinement.words(lacks)))
    except sqlite3.OperationalError as error:
        # As of a full disk, or of a folder of another user: no bug, and another process follows.
        log.error("the gateway cannot use its files in %s: %s", spec.folder, error)
        sys.exit(ExitCode.FAILED)


async def _run(spec: GatewaySpec, port: socket.socket, reader: ReaderHandle, lacks: str) -> None:
    # Most of what the gateway is made of is imported here: confined, and after the reader was made.
    from orchestrator.gateway.process import Gateway

    gateway = Gateway(spec, port, reader, lacks)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, gateway.stop)
    await gateway.run()
