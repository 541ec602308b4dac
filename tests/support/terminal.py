"""A command on a terminal: what a person at it sees, and types."""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

CONTROLLED = (
    sys.executable,
    "-c",
    # Tests that run under nohup hand on that SIGHUP is ignored, and no shell on a terminal does.
    (
        "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    ),
)
"""In front of a command: it is in the terminal's foreground, as where a shell has started it."""

_HALVES = {("█", "█"): "█", ("█", " "): "▀", (" ", "█"): "▄", (" ", " "): " "}
_AT_ONCE = 0.01  # seconds
_MODULE = 6
"""Pixels of a module's side in `picture`."""
ESCAPE = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|.)")
"""A sequence that a terminal takes for a command."""
_ROW = re.compile(r"[ ▀▄█]{40,}|[ #]{90,}")


class Terminal:
    """Runs a command whose input and output are a terminal; as a context manager it is ended in any case.

    Args:
        command: The command.
        environment: All of its environment.
        folder: The folder it runs in.
        rows: The terminal's height.
        columns: Its width.
        encoding: What it takes the bytes for.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        *,
        rows: int = 60,
        columns: int = 120,
        encoding: str = "utf-8",
    ) -> None:
        self._command = command
        self._environment = {"TERM": "xterm-256color", **environment}
        self._folder = folder
        self._size = struct.pack("HHHH", rows, columns, 0, 0)
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self.text = ""

    def __enter__(self) -> Self:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, self._size)
        self._process = subprocess.Popen(
            self._command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=self._environment,
            cwd=self._folder,
            start_new_session=True,
        )
        os.close(slave)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        code = self._process.poll()
        self._process.kill()
        self._process.wait()
        os.close(self._master)
        if error is not None:
            ended = "was still running" if code is None else f"had ended with {code}"
            error.add_note(
                f"the command {ended}; the end of what was on the terminal:\n{self.text[-3000:]!r}"
            )

    @property
    def pid(self) -> int:
        """The command's process id."""
        return self._process.pid

    def until(self, condition: Callable[[str], object], what: str, *, timeout: float = 90.0) -> None:
        """Read until what is on the terminal meets a condition."""
        deadline = time.monotonic() + timeout
        while not condition(self.text):
            assert self._read(deadline - time.monotonic()), f"the terminal never showed {what}"

    def exit_code(self, timeout: float = 90.0) -> int:
        """Read to the end, and return the command's exit code."""
        deadline = time.monotonic() + timeout
        while self._read(deadline - time.monotonic()):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def wait(self, timeout: float = 90.0) -> int:
        """Wait for the command's end without reading; return its exit code."""
        return self._process.wait(timeout)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def resize(self, rows: int, columns: int) -> None:
        """Give the terminal another size, of which its command is told."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def vanish(self) -> None:
        """Close the terminal, as a lost connection does."""
        os.close(self._master)
        self._master = os.open(os.devnull, os.O_RDWR)

    def press(self, keys: str) -> None:
        """Press keys. Ctrl-C is ``\\x03``, and works only in a command that `CONTROLLED` runs."""
        os.write(self._master, keys.encode())

    def has_picture(self) -> bool:
        """Tell whether a QR code was drawn completely."""
        return bool(_rows(self.text))

    def picture(self) -> bytes:
        """Return the QR code that was drawn last, as a PNG, the way a camera sees it."""
        while self._read(_AT_ONCE):
            pass  # what has been drawn since it was looked at
        rows = _rows(self.text)
        if any("#" in row for row in rows):
            rows = ["".join("█" if row[x] == "#" else " " for x in range(0, len(row), 2)) for row in rows]
            rows = [
                "".join(_HALVES[pair] for pair in zip(upper, lower, strict=True))
                for upper, lower in zip(rows[::2], [*rows[1::2], " " * len(rows[0])], strict=False)
            ]
        wide, high = len(rows[0]), 2 * len(rows)
        image = Image.new("L", (wide, high), 255)
        for y, row in enumerate(rows):
            for x, block in enumerate(row):
                image.putpixel((x, 2 * y), 0 if block in "▀█" else 255)
                image.putpixel((x, 2 * y + 1), 0 if block in "▄█" else 255)
        file = io.BytesIO()
        image.resize((wide * _MODULE, high * _MODULE), Image.Resampling.NEAREST).save(file, "PNG")
        return file.getvalue()

    def _read(self, seconds: float) -> bool:
        """Read what comes next; return False at the end, or if nothing comes in time."""
        if seconds <= 0 or not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 64 * 1024)
        except OSError:  # how Linux says that nobody has the other side open
            return False
        self.text += self._decoder.decode(data)
        return bool(data)


def _rows(text: str) -> list[str]:
    """Return the rows of the last code that has a line of text below it."""
    blocks: list[list[str]] = [[]]
    for line in text.rpartition("\n")[0].splitlines():  # the last one may not be there yet
        row = ESCAPE.sub("", line)
        if _ROW.fullmatch(row):
            blocks[-1].append(row)
        elif blocks[-1]:
            blocks.append([])
    complete = [block for block in blocks[:-1] if block]
    return complete[-1] if complete else []
