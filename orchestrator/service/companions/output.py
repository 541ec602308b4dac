"""What a companion prints and logs: read from a pipe, bounded, and logged by the service under its name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable
from typing import Final

from orchestrator.accounts.flood import Meter, more

LONGEST: Final = 8 * 1024
"""Bytes of a line; what is longer is cut."""
LINES_A_SECOND: Final = 50.0
"""Lines of one companion that are logged all the time."""
LINES_AT_ONCE: Final = 500.0
"""Lines above that, after a quiet time: a traceback has some dozens."""
_READ: Final = 64 * 1024
READS_A_SECOND: Final = 16.0
"""Reads of one companion's pipe, all the time: 1 MiB a second. A companion that prints more has to wait."""
READS_AT_ONCE: Final = 64.0
_LEVELS: Final = {
    2: logging.CRITICAL, 3: logging.ERROR, 4: logging.WARNING, 5: logging.INFO, 6: logging.INFO,
    7: logging.DEBUG,
}  # fmt: skip
"""Syslog's priorities, which a line may begin with, such as ``<4>``."""


def level_of(line: str) -> tuple[int, str]:
    """Return the level of a line and the line itself; without a priority it is INFO. Pure."""
    if len(line) > 2 and line[0] == "<" and line[2] == ">" and line[1] in "234567":
        return _LEVELS[int(line[1])], line[3:]
    return logging.INFO, line


class Lines:
    """Cuts what comes in into lines, and leaves out what is too much. Pure.

    Args:
        write: Takes the level and the text of a line.
    """

    def __init__(self, write: Callable[[int, str], None]) -> None:
        self._write = write
        self._rest = b""
        self._cut = False
        self._meter = Meter(LINES_A_SECOND, LINES_AT_ONCE)

    def feed(self, data: bytes, now: float) -> None:
        """Take bytes in.

        Args:
            data: They.
            now: Monotonic seconds.
        """
        *whole, rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._line(line, now)
        if len(rest) > LONGEST:
            # The rest of such a line is left out: it could be anything, and without an end.
            self._line(rest, now)
            self._cut, rest = True, b""
        self._rest = b"" if self._cut else rest

    def end(self, now: float) -> None:
        """Write what has no end yet, and what was left out."""
        self._line(self._rest, now)
        self._rest = b""
        self._tell()

    def _line(self, line: bytes, now: float) -> None:
        if self._cut:
            self._cut = False  # this is where the long line ends
            return
        if not line.strip():
            return
        if not self._meter.admit(now):
            return
        self._tell()
        text = line[:LONGEST].decode(errors="replace") + (" …" if len(line) > LONGEST else "")
        self._write(*level_of(text.rstrip()))

    def _tell(self) -> None:
        if count := self._meter.take_count():
            self._write(logging.WARNING, more(count, "line", "lines"))


class Output:
    """Reads a companion's pipe until its end.

    Args:
        name: Under which name its lines are logged.
        pipe: The reading end; this object closes it.
    """

    def __init__(self, name: str, pipe: int) -> None:
        self._pipe = pipe
        self._loop = asyncio.get_running_loop()
        log = logging.getLogger(name)
        self._lines = Lines(lambda level, text: log.log(level, "%s", text))
        self._reads = Meter(READS_A_SECOND, READS_AT_ONCE)
        self._pause: asyncio.TimerHandle | None = None
        os.set_blocking(pipe, False)
        self._loop.add_reader(pipe, self._turn)

    def close(self) -> None:
        """Take in what is there, and read no more: other processes may have the pipe, too."""
        if self._pipe >= 0:
            for _ in range(16):
                if not self._readable():
                    break
        self._end()

    def _turn(self) -> None:
        """Read once, or not for a while: printing without end must take no time from anybody else."""
        now = self._loop.time()
        if self._reads.admit(now):
            self._readable()
        else:
            self._loop.remove_reader(self._pipe)
            self._pause = self._loop.call_at(self._reads.free_at(now), self._resume)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._pipe, self._turn)

    def _readable(self) -> bool:
        """Take in what is there; return whether there was anything."""
        data = b""
        with contextlib.suppress(OSError):
            try:
                data = os.read(self._pipe, _READ)
            except (BlockingIOError, InterruptedError):
                return False
        if data:
            self._lines.feed(data, time.monotonic())
        else:
            self._end()
        return bool(data)

    def _end(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._pipe >= 0:
            self._loop.remove_reader(self._pipe)
            os.close(self._pipe)
            self._pipe = -1
            self._lines.end(time.monotonic())
