"""The child's end of the tracebacks: a file that is open before anything can hang, and what writes to it.

faulthandler's handlers are C, need no lock of Python's, and run on a stack of their own, so they work in a
thread of Go's, and while somebody keeps the GIL for good. They have to be there before Go's library: it takes
SIGSEGV, SIGBUS and SIGFPE over, needs them for its own panics, and passes on those that are not Go's doing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
from pathlib import Path
from typing import Self

from orchestrator.store.tracebacks import SIGNAL
from orchestrator.system.files import open_file


class Trace:
    """A file for tracebacks, open until the process ends.

    Attributes:
        error: Why there is none, None if there is one.
    """

    def __init__(self, descriptor: int | None, error: str | None = None) -> None:
        self._descriptor = descriptor
        self.error = error

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """Make the file, and have all that ends this process for a reason write to it first.

        Those are `SIGNAL`, which the parent sends to a process that hangs, and the signals of a crash. A
        process that cannot have the file runs all the same, and ends by those signals without a word.

        Args:
            path: The file, absolute; one that is there is of an earlier process. None for none.
        """
        if path is None:
            return cls(None)
        try:
            # Whatever is there, a link or a pipe, is not opened; an orphan that has it writes to nobody.
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            descriptor = open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND)
        except OSError as error:
            return cls(None, f"{path}: {error.strerror}")
        faulthandler.enable(descriptor)
        # What the handler passes the signal on to is the default: the process ends with the traceback's end.
        signal.signal(SIGNAL, signal.SIG_DFL)
        faulthandler.register(SIGNAL, descriptor, chain=True)
        return cls(descriptor)

    def save(self) -> None:
        """Write down where all threads are."""
        if self._descriptor is not None:
            faulthandler.dump_traceback(self._descriptor)
