"""What could not be written into an outbox, and is done again until it can."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeAlias

from orchestrator.messages.outbox_form import OutboxError
from orchestrator.messages.protocols import UNUSABLE

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
"""Seconds until something is tried again that could not be written."""

Task: TypeAlias = Callable[[], object]
"""What can be done twice: it may have been done in part."""


class Later:
    """What is still to be done, in order. Used by one thread."""

    def __init__(self) -> None:
        self._tasks: list[Task] = []

    def __bool__(self) -> bool:
        """Tell whether something is to be done."""
        return bool(self._tasks)

    def do(self, task: Task) -> None:
        """Do something now, or later, if the outbox cannot be used now; never raises."""
        try:
            task()
        except UNUSABLE as error:
            log.warning("the outbox cannot be written: %s", error)
            self._tasks.append(task)
        except OutboxError as error:  # it is over meanwhile, and its key, too
            log.warning("a row is not as it should be: %s", type(error).__name__)
        except Exception as error:  # noqa: BLE001 - the other rows go on; what it quotes may be a message
            log.error("an error while sending: %s", type(error).__name__)

    def again(self) -> None:
        """Do once more what could not be done."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            self.do(task)
