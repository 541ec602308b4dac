"""Tells other processes that an inbox has something new, without knowing who they are.

A write to an inbox is told by the kernel too early: before SQLite lets readers see the entry. So whoever has
written an entry touches the folder of the account's messages then, by setting its mode to what it is. Who
watches the folder of all messages (inotify) hears that, with the account's name: one watch is enough for all
accounts. The call takes 1.5 µs where nobody listens. It goes by an open file, because a confined process may
change no attributes by path.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path


class Bell:
    """Tells that there is something new in a folder of an account's messages.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = -1
        with contextlib.suppress(OSError):  # then it is heard later
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def ring(self) -> None:
        """Tell it; never raises."""
        if self._folder >= 0:
            with contextlib.suppress(OSError):
                os.fchmod(self._folder, stat.S_IMODE(os.fstat(self._folder).st_mode))

    def close(self) -> None:
        """Tell nothing any more."""
        folder, self._folder = self._folder, -1
        if folder >= 0:
            os.close(folder)
