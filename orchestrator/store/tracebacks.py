"""Where the threads of a process were when it hung or crashed: one file an account, of its last such end.

    child ── faulthandler ──► NAME.live ── parent, once the child is gone ──► NAME.txt

faulthandler writes files, lines and names of functions, never a value, so nothing in them is secret.
"""

from __future__ import annotations

import contextlib
import logging
import re
import signal
from collections.abc import Container
from pathlib import Path

from orchestrator.accounts.names import NAME_PATTERN
from orchestrator.system import hidden
from orchestrator.system.clock import utc
from orchestrator.system.files import is_temporary, read_file, replacing
from orchestrator.system.redaction import redact

SIGNAL = signal.SIGUSR1
"""Makes a child write stack traces of all its threads, and end. The default action ends the process, too."""
MAX_BYTES = 64 * 1024
"""Bytes that are kept of a traceback; that of a child with 10 threads has some 5,000."""

_FILE = re.compile(rf"({NAME_PATTERN})\.(live|txt)")

log = logging.getLogger(__name__)


class Tracebacks:
    """The parent's side. Only `rename` raises OSError: a lost traceback must not stop anything.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def live(self, name: str) -> Path:
        """Return the file that an account's process is to make and to write to."""
        return self._folder / f"{name}.live"

    def kept(self, name: str) -> Path:
        """Return the file for people."""
        return self._folder / f"{name}.txt"

    def prepare(self, names: Container[str]) -> None:
        """Remove what an earlier service has left, but for the tracebacks of these accounts."""
        try:
            found = sorted(path.name for path in self._folder.iterdir())
        except OSError:
            return
        for file in found:
            match = _FILE.fullmatch(file)
            if is_temporary(file) or (match and not (match[2] == "txt" and match[1] in names)):
                self._remove(self._folder / file)

    def keep(self, name: str, pid: int, why: str, now: float) -> Path | None:
        """Keep what an account's process has written, in place of what there was of one before.

        Args:
            name: The account.
            pid: The process, which must be gone.
            why: How it ended, for people.
            now: Unix seconds.

        Returns:
            Where it is; None if the process has written nothing, or it could not be kept, which is logged.
        """
        live, kept = self.live(name), self.kept(name)
        try:
            text = _read(live)
            self._remove(live)
            if not text:
                return None
            with replacing(kept) as file:
                head = f"{name}: process {pid} ended at {utc(now)}: {redact(why)}\n\n"
                # A process that was taken over may have written anything, and people read this on a terminal.
                body = hidden.write_out(text.decode(errors="replace"))
                file.write((head + body).encode())
        except OSError as error:
            log.error("%s: the traceback of process %d cannot be saved: %s", kept, pid, error.strerror)
            return None
        return kept

    def forget(self, name: str) -> None:
        """Remove what there is of an account."""
        for path in (self.live(name), self.kept(name)):
            self._remove(path)

    def rename(self, old: str, new: str) -> None:
        """Let an account that is called otherwise from now on have its traceback.

        Raises:
            OSError: It cannot be moved.
        """
        with contextlib.suppress(FileNotFoundError):
            self.kept(old).rename(self.kept(new))

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: cannot be removed: %s", path, error.strerror)


def _read(path: Path) -> bytes:
    """Return what is in a file, but not all of one that is too large; nothing if there is none."""
    try:
        text = read_file(path, MAX_BYTES + 1)
    except FileNotFoundError:
        return b""
    return text if len(text) <= MAX_BYTES else text[:MAX_BYTES] + b"\n(the rest is left out)\n"
