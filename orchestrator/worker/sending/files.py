"""The files that wait to be sent, in a folder beside the outbox: they go once nobody needs them."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from orchestrator.store.layout import OUTGOING
from orchestrator.system.files import open_folder

log = logging.getLogger(__name__)

YOUNG_SECONDS: Final = 3600.0
"""Seconds for which a file may be there before its row: the service writes the file first."""
_NAME: Final = re.compile(r"[0-9]{1,19}")


class OutgoingFiles:
    """The files of one account.

    Args:
        folder: The folder of the account's messages.
        wall: Returns Unix seconds.
    """

    def __init__(self, folder: Path, wall: Callable[[], float]) -> None:
        self._folder = folder / OUTGOING
        self._wall = wall

    def delete(self, names: Iterable[str]) -> None:
        """Delete files; no link is followed. One that cannot be deleted is left to `sweep`."""
        with contextlib.suppress(OSError):
            folder = open_folder(self._folder)
            try:
                for name in filter(_NAME.fullmatch, names):
                    with contextlib.suppress(OSError):
                        os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)

    def sweep(self, needed: Collection[str]) -> None:
        """Delete what no row needs: a service or a process that was killed may have left it.

        Args:
            needed: The names of files that rows need.
        """
        try:
            folder = open_folder(self._folder)
        except OSError:
            return
        try:
            old = []
            with os.scandir(folder) as found:
                for one in found:
                    with contextlib.suppress(OSError):
                        about = one.stat(follow_symlinks=False)
                        if one.name not in needed and abs(self._wall() - about.st_mtime) > YOUNG_SECONDS:
                            old.append(one.name)
            for name in old:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
            if old:
                log.info("%d files that nobody needs any more were deleted", len(old))
        except OSError as error:
            log.warning("the folder of files to be sent cannot be read: %s", error.strerror)
        finally:
            os.close(folder)
