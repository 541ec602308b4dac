"""What a service or a command that was killed has left half done in the state folder is cleared up."""

from __future__ import annotations

import time

from orchestrator import session
from orchestrator.files import sweep
from orchestrator.paths import StatePaths


def clear(paths: StatePaths) -> list[str]:
    """Remove temporary files, and bring to an end what was begun; whoever calls this holds the folder's lock.

    Other folders see to their own: see `QrFolder.prepare` and `Tracebacks.prepare`.

    Returns:
        What was done to sessions, a sentence each, for the log.
    """
    for folder in {paths.root, paths.control_socket.parent}:
        sweep(folder)
    return session.tidy(paths.sessions, paths.quarantine, time.time())
