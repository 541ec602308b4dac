"""What a service or a command that was killed has left half done in the state folder is cleared up."""

from __future__ import annotations

import time

from orchestrator.store import moving, quarantine, takeover, trial
from orchestrator.store.configured import Configured
from orchestrator.store.layout import StatePaths
from orchestrator.system.files import sweep


def clear(paths: StatePaths, settings: Configured | None = None) -> list[str]:
    """Remove temporary files, end what was begun, and take over sessions of version 0.1.

    Whoever calls this holds the folder's lock. What was begun is ended first, because version 0.1 may have
    begun it, and then the files of one session are in two places.

    Other folders see to their own: see `QrFolder.prepare` and `Tracebacks.prepare`.

    Args:
        paths: The state folder.
        settings: The configuration; without it, what was being renamed is let alone.

    Returns:
        What was done to sessions, a sentence each, for the log.

    Raises:
        StateError: What was begun cannot be brought to an end.
    """
    for folder in {paths.root, paths.control_socket.parent}:
        sweep(folder)
    done = moving.finish(paths, settings) if settings is not None else None
    if moving.pending(paths) is not None:
        return []
    said = [] if done is None else [done]
    said += quarantine.tidy_quarantine(paths.sessions, paths.quarantine)
    said += quarantine.undo(paths.sessions, paths.messages, paths.quarantine, time.time())
    said += takeover.take_over(paths)
    said += trial.tidy(paths.sessions)
    return [*said, *quarantine.tidy(paths.sessions, paths.quarantine, time.time())]
