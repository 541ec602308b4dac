"""The file of ``run --log-file``: opened with care, opened anew for log rotation, and never waited for.

The service writes its own records straight into the file. What its children write goes through a pipe, which
a thread empties into the file: a child's descriptor would still lead to the old file after a rotation.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import Final

from orchestrator.errors import StateError
from orchestrator.system import hidden, trust
from orchestrator.system.files import open_file
from orchestrator.system.os_errors import trouble

_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT
_READ: Final = 64 * 1024
LONGEST: Final = 64 * 1024
"""Bytes of a child's line that are kept until its end comes."""
END_SECONDS: Final = 2.0
"""How long the end of the service waits for what its children wrote last."""


class LogFile:
    """The file. All methods may be called from any thread.

    Args:
        path: Where it is, absolute.

    Attributes:
        path: The same.
        trouble: Why the last line that was not written was not, for people.

    Raises:
        StateError: The file cannot be opened, or others may change it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trouble = ""
        self._lock = threading.Lock()
        self._descriptor = _open(path)
        self._from_children: _Children | None = None

    def write(self, data: bytes) -> int:
        """Write some lines as a whole, or nothing, as on a full disk; return how many bytes that was."""
        with self._lock:
            if self._descriptor < 0:
                return 0
            try:
                before = os.fstat(self._descriptor).st_size
                written = os.write(self._descriptor, data)
            except OSError as error:
                self.trouble = error.strerror or str(error)
                return 0
            if written < len(data):
                self.trouble = os.strerror(28)  # ENOSPC: the next write would say so
                with contextlib.suppress(OSError):  # half a line would be taken for a whole one
                    os.ftruncate(self._descriptor, before)
                return 0
            return written

    def reopen(self) -> None:
        """Open what is at the path now, which is a new file if the old one was moved away.

        Raises:
            StateError: It cannot be opened; the old file stays in use.
        """
        descriptor = _open(self.path)
        try:
            with self._lock:
                if self._descriptor >= 0:
                    # The number stays: faulthandler knows it.
                    os.dup2(descriptor, self._descriptor, inheritable=False)
        finally:
            os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor of the file, which stays the same when the file is opened anew."""
        return self._descriptor

    def take_children(self) -> None:
        """Give standard error, which children inherit, to a pipe whose lines are written into this file."""
        self._from_children = _Children(self)

    def close(self) -> None:
        """Write what children wrote last, and close the file."""
        if self._from_children is not None:
            self._from_children.close()
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


class _Children:
    def __init__(self, file: LogFile) -> None:
        self._file = file
        self._lost = 0
        self._read, write = os.pipe2(os.O_CLOEXEC)
        self._before = os.dup(2)
        os.dup2(write, 2)
        os.close(write)
        self._thread = threading.Thread(target=self._empty, name="log file", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of the pipe, and wait a moment for its end: all who wrote into it are gone by then."""
        os.dup2(self._before, 2)
        os.close(self._before)
        self._thread.join(END_SECONDS)

    def _empty(self) -> None:
        rest = b""
        while data := os.read(self._read, _READ):
            lines, end, rest = (rest + data).rpartition(b"\n")
            if not end and len(rest) > LONGEST:
                lines, end, rest = rest, b"\n", b""
            if end:
                self._write(lines + end)
        if rest:
            self._write(rest + b"\n")
        os.close(self._read)

    def _write(self, lines: bytes) -> None:
        # The process of an account can write here whatever it likes, and people read the file on a terminal.
        text = lines.decode(errors="backslashreplace")
        if not text.isascii() or not text.isprintable():
            lines = hidden.write_out(text).encode()
        if self._lost:
            # The service's own record tells of the full disk; this one tells what else is missing.
            lines = f"{self._lost} bytes of accounts' log lines were not written\n".encode() + lines
        if self._file.write(lines):
            self._lost = 0
        else:
            self._lost += len(lines)


def _open(path: Path) -> int:
    """Open the file, which is made for this user alone if it is not there.

    Raises:
        StateError: It cannot be opened, or others may change it or what is above it.
    """
    if (weak := trust.weak_for_us(trust.read_way(path))) is not None:
        raise StateError(
            f"{path}: others could put another file there: {weak.text}; choose another file for --log-file,"
            f" or {weak.advice(os.geteuid())}",
            key="folder_untrusted",
        )
    try:
        descriptor = open_file(path, _FLAGS)
    except OSError as error:
        raise StateError(f"{path}: the log cannot be written there: {trouble(error)}") from None
    about = os.fstat(descriptor)
    if about.st_uid in (0, os.geteuid()) and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return descriptor
    os.close(descriptor)
    raise StateError(
        f"{path}: others may write to this file, so it is not used as the log: remove it, or `chown` and"
        " `chmod 600` it"
    )
