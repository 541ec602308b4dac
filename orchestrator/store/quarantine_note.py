"""A note in the quarantine that says what the files there still are."""

from __future__ import annotations

import contextlib
from pathlib import Path

from orchestrator.store import quarantine
from orchestrator.system.files import replacing

NAME = "README.txt"
TEXT = """\
Sessions of WhatsApp accounts that are not used any more.

A session is the key to its account: whoever has its files reads and writes
messages as the account, as long as the phone shows the device under Linked
devices. To take that away, remove the device there. Deleting the files does
not unlink a device.

The end of a folder's name says why the session is here:

  repair        An operator paired the account anew. The device is still linked.
  removed       An operator removed the account. A linked device still is linked.
  logged_out    WhatsApp has unlinked the device: the session is of no use.
  locked        WhatsApp locked the account, or its phone was logged out.
  wrong_phone   Another phone had scanned the code; the device was unlinked, or
                the timeline of the account says that it was not.
  damaged       The database was damaged. The device may still be linked.
  unlinked, leftover
                No device was linked, or files that were left over.

Messages that an account has kept go along when the account is removed: the
folder `messages` has their texts and attachments, readable for everybody who
may read the files.

`orchestrator restore NAME` puts a session and its messages back. The service
deletes both after the `quarantine_days` of the configuration.
"""


def write(folder: Path) -> None:
    """Write the note if there are sessions in the quarantine and it is not there. A failure does not matter.

    Args:
        folder: The quarantine; it may be missing.
    """
    place = folder / NAME
    with contextlib.suppress(OSError):
        if not place.exists() and not folder.is_symlink() and quarantine.quarantined(folder):
            with replacing(place) as file:
                file.write(TEXT.encode())
