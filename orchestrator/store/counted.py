"""How far the inboxes of an account have counted before the present one: a number in a file beside them.

The account's process and whoever moves inboxes both read and write the file. Events are known by the
account's name and their number, so a number is given once under a name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from orchestrator.store.layout import BEGIN
from orchestrator.system.files import open_folder, read_file, remove, replacing, sync, sync_folder

MOST: Final = 10**18 - 1
"""The highest number: it has 63 bits."""
_DIGITS: Final = re.compile(rb"[0-9]{1,18}\n?")
_STEP: Final = 10**9
"""More entries than an inbox ever has."""


def begin(folder: Path) -> int:
    """Return how far the inboxes of an account have counted before the present one; 0 if there were none."""
    try:
        descriptor = open_folder(folder)
    except OSError:
        return 0
    try:
        text = read_file(BEGIN, 100, dir_fd=descriptor)
    except OSError:
        return 0
    finally:
        os.close(descriptor)
    return int(text) if _DIGITS.fullmatch(text) else 0


def write(folder: Path, number: int) -> None:
    """Have a folder say how far its inboxes have counted; a smaller number than before changes nothing.

    Raises:
        OSError: It cannot be written.
    """
    if number <= begin(folder):
        return
    if (folder / BEGIN).is_dir():  # which an account's process can make of it
        remove(folder / BEGIN)
    with replacing(folder / BEGIN) as file:
        file.write(f"{number}\n".encode())
        sync(file)
    sync_folder(folder)


def beyond(folder: Path, now: float) -> int:
    """Return a number beyond all that an inbox in a folder can have given which cannot be read any more.

    The clock alone would not do: it can be set back, and a burst gives more than one number a second.

    Args:
        folder: The folder of the account's messages.
        now: Unix seconds; this counts where the folder does not say how far earlier inboxes have counted.
    """
    return min(max(begin(folder) + _STEP, int(now)), MOST)
