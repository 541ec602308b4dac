"""What stays on this machine of an account whose messages are in a database: files of messages, in a folder.

They follow the messages: into quarantine, back, and to another name. None of it decides anything. What cannot
be moved is logged, and fetched from WhatsApp again when somebody asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from orchestrator.store import inboxes
from orchestrator.store.layout import MESSAGES, StatePaths
from orchestrator.system.files import remove

log = logging.getLogger(__name__)


class Attachments:
    """The folders of accounts' messages; no method raises, and no process may use the folders.

    Args:
        paths: The state folder.
    """

    def __init__(self, paths: StatePaths) -> None:
        self._paths = paths

    def put_away(self, name: str, folder: str) -> None:
        """Move the files of an account to what was put away under a name."""
        self._move(self._paths.message_folder(name), self._away(folder))

    def bring_back(self, folder: str, name: str) -> None:
        """Move files back to an account, in the place of those that it has by then: nothing names these."""
        self._move(self._away(folder), self._paths.message_folder(name))
        self.drop(folder)

    def drop(self, folder: str) -> None:
        """Delete what was put away under a name."""
        self._do(folder, lambda: remove(self._paths.quarantine / folder))

    def rename(self, old: str, new: str) -> None:
        """Move the files of an account to its new name, and leave a note where they were."""
        before, after = self._paths.message_folder(old), self._paths.message_folder(new)
        self._move(before, after)
        self._do(old, lambda: inboxes.leave(before, 1, new))
        self._do(new, lambda: remove(after / inboxes.RENAMED))

    def _away(self, folder: str) -> Path:
        return self._paths.quarantine / folder / MESSAGES

    def _move(self, source: Path, target: Path) -> None:
        def move() -> None:
            if not source.is_dir() or source.is_symlink():
                return
            remove(target)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            source.rename(target)

        self._do(source.name, move)

    def _do(self, what: str, call: Callable[[], object]) -> None:
        try:
            call()
        except OSError as error:
            log.warning("files of messages could not be moved or deleted (%s): %s", what, error.strerror)
