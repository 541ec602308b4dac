"""Keeps the texts of exceptions out of a bot's log: they often quote what people wrote.

Wherever an exception is logged, by a bot's own code, by a library or by Python itself, the log gets its class
and the places in the code.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any

from orchestrator.bots import runner

log = logging.getLogger("orchestrator.bots")


class PlacesOnly(logging.Filter):
    """Replaces the exceptions of records.

    Args:
        folder: The folder with the bot's code: places in it are logged without it.
    """

    def __init__(self, folder: Path | None) -> None:
        super().__init__()
        self._folder = folder

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record; return True, always."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if error is not None:
            record.exc_text = "\n".join(runner.describe(error, self._folder))
        record.exc_info = None
        return True


def keep_out(handler: logging.Handler, folder: Path | None) -> None:
    """Keep the texts of exceptions out of a log.

    Args:
        handler: Writes the log.
        folder: The folder with the bot's code.
    """
    # Whatever else looks at records, such as the redaction, comes after it.
    handler.filters.insert(0, PlacesOnly(folder))
    sys.unraisablehook = _unraisable


def in_loop(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the texts of exceptions out of what an event loop logs."""
    loop.set_exception_handler(_uncaught)


def _uncaught(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # What asyncio says of it has the exception in it, and arguments of functions.
    error = context.get("exception")
    log.error(
        "an exception in the event loop that nobody awaits",
        exc_info=error if isinstance(error, BaseException) else None,
    )


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    error = unraisable.exc_value
    log.error("an exception where none can be raised", exc_info=error)
