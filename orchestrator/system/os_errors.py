"""What a machine lacks, by its errors: for people who can give it more."""

from __future__ import annotations

import errno
import os
from typing import Final

_LACKS: Final = {
    errno.ENOSPC: "the disk is full: make room",
    errno.EDQUOT: "the user's share of the disk is full: make room",
    errno.EROFS: "the disk is read-only: see the system's log, it may be broken",
    errno.EIO: "the disk does not work: see the system's log",
    errno.EMFILE: "too many open files, no descriptors are left: allow more (`ulimit -n`, or LimitNOFILE=)",
    errno.ENFILE: "too many open files on this machine, no descriptors are left: end other programs",
    errno.EAGAIN: "no further process is allowed: allow more (`ulimit -u`, or TasksMax=)",
    errno.ENOMEM: "no memory is left: end other programs",
    errno.ENOBUFS: "no memory is left: end other programs",
}
_WORDS: Final = {
    "cannot allocate memory": errno.ENOMEM,
    "failed to map segment": errno.ENOMEM,
    "can't start new thread": errno.EAGAIN,
}
"""How the loader of libraries and Python say it, where there is no number."""


def shortage(error: BaseException) -> str | None:
    """Say what the machine lacks, and what to do; None if an error is about something else."""
    if isinstance(error, MemoryError):
        return _LACKS[errno.ENOMEM]
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        text = str(error).lower()
        number = next((number for words, number in _WORDS.items() if words in text), None)
    return None if number is None else _LACKS.get(number)


def trouble(error: OSError) -> str:
    """Say what is wrong with a file, with what to do where that is known."""
    if error.errno == errno.ELOOP and error.strerror == os.strerror(errno.ELOOP):
        return "is a symbolic link: remove it"  # which is never followed here
    return shortage(error) or error.strerror or str(error) or os.strerror(error.errno or 0)
