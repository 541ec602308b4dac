"""Threads that are there from the start: later the system may have none to give."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from orchestrator.errors import StateError


def pool(size: int, name: str) -> ThreadPoolExecutor:
    """Return a pool whose threads run already.

    Args:
        size: How many there are.
        name: How their names begin.

    Raises:
        StateError: The system lets this process have no threads.
    """
    made = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)
    release = threading.Event()
    try:
        for _ in range(size):
            made.submit(release.wait)
    except RuntimeError as error:
        raise StateError(
            f"cannot start a thread ({error}): raise the process limit (`ulimit -u`, or TasksMax= of the"
            " unit)",
            key="machine_unfit",
        ) from None
    finally:
        release.set()
    return made
