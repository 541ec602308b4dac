"""Fetches one attachment: from WhatsApp's host to a checked file."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import IO, Final

from orchestrator.accounts.attachments import Fault, MissingError
from orchestrator.messages import media
from orchestrator.messages.media import Reference
from orchestrator.messages.media_files import MediaFiles
from orchestrator.system.dialing import Proxy
from orchestrator.worker.library.package import connections_of_ours
from orchestrator.worker.media import sealed, transfer
from orchestrator.worker.media.transfer import Clock, PassingError

TRIES: Final = 3
PAUSES: Final = (1.0, 4.0)
"""Seconds before the second try, and before the third."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def fetch(
    files: MediaFiles,
    name: str,
    reference: Reference,
    *,
    limit: int,
    proxy: Proxy | None,
    wait: Callable[[float], None],
) -> None:
    """Fetch an attachment.

    Args:
        files: The attachments of the account.
        name: The attachment's identifier.
        reference: Where it lies, and what it must be.
        limit: Bytes that it may have.
        proxy: The proxy to go through.
        wait: Waits so many seconds.

    Raises:
        MissingError: It cannot be had.
    """
    media.check(reference, limit)
    clock = Clock(media.patience(reference.size, limit))
    try:
        files.make_folder()
        if files.free() < media.room_needed(reference.size, limit):
            raise MissingError(Fault.NO_ROOM, "the disk is nearly full")
        for number in range(TRIES):
            try:
                with files.unfinished(name) as (came, plain):
                    _get(came, reference, limit, proxy, clock)
                    keys = sealed.derive(reference.key, reference.kind)
                    sealed.decrypt(came, plain, keys, reference.sha256, limit)
                    files.finish(name, plain)
                    return
            except PassingError as error:
                if number + 1 == TRIES:
                    raise MissingError(Fault.UNREACHABLE, str(error)) from None
                wait(PAUSES[number])
    except OSError as error:
        about = "the disk is full" if error.errno in _FULL else error.strerror or type(error).__name__
        raise MissingError(Fault.NO_ROOM, about) from None


def _get(came: IO[bytes], reference: Reference, limit: int, proxy: Proxy | None, clock: Clock) -> None:
    check = sealed.Check(reference)

    def take(data: bytes) -> None:
        check.add(data)
        came.write(data)

    with connections_of_ours():
        transfer.get(media.target(reference), proxy, media.sealed_size(limit), clock, take)
    check.finish()
    came.flush()
