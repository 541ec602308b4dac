"""Reads the files that wait to be sent: bytes, and only those whose hash the service has written down."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path

from orchestrator.sending.forms import File


class FileGone(Exception):  # noqa: N818 - what it is
    """The file is not there, or is another than the service has checked."""


def read(folder: Path, file: File) -> bytes:
    """Return a file's bytes.

    Args:
        folder: Where such files lie.
        file: What the service has checked.

    Raises:
        FileGone: The file is not there, or is another one.
        OSError: It cannot be read.
    """
    try:
        # The identifier has digits only; nothing but a plain file is opened, and nothing is waited for.
        handle = os.open(folder / file.id, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise FileGone("the file is not there any more") from None
    except OSError as error:
        raise FileGone("something else lies in the file's place") if _is_other(error) else error from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode) or about.st_size != file.size:
            raise FileGone("the file is another one than was to be sent")
        with os.fdopen(handle, "rb", closefd=False) as opened:
            data = opened.read(file.size + 1)
    finally:
        os.close(handle)
    if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
        raise FileGone("the file is another one than was to be sent")
    return data


def _is_other(error: OSError) -> bool:
    return error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO)
