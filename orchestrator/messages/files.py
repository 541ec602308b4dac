"""The messages of one account in files: what `protocols.AccountMessages` asks for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from orchestrator.messages.database import DATABASE, PATIENCE
from orchestrator.messages.inbox import Inbox, Reader
from orchestrator.messages.outbox import Outbox, OutboxReader


class FileMessages:
    """The messages in a folder.

    Args:
        folder: The folder of the account's messages.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def is_local(self) -> bool:
        """Whether they are on a disk of this machine, which can be full, and answers in a moment."""
        return True

    def has_inbox(self) -> bool:
        """Tell whether there is an inbox already."""
        return (self._folder / DATABASE).exists()

    def inbox(self, wall: Callable[[], float] = time.time) -> Inbox:
        """See `Inbox.open`."""
        return Inbox.open(self._folder, wall)

    def outbox(self, wall: Callable[[], float] = time.time) -> Outbox:
        """See `Outbox.open`."""
        return Outbox.open(self._folder, wall)

    def view(
        self, skipped: Callable[[object], object] = lambda _: None, patience: float = PATIENCE
    ) -> Reader:
        """See `Reader.open`."""
        return Reader.open(self._folder, skipped, patience)

    def rows(self, patience: float = PATIENCE) -> OutboxReader:
        """See `OutboxReader.open`."""
        return OutboxReader.open(self._folder, patience)
