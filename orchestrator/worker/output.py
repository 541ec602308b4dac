"""All that a child prints and logs: caught, searched for what it tells, cleaned, and logged under its name.

    fd 1, fd 2 ──► pipes ──► reader ──► logging ──► the service's own stderr

The library must never stand still because nobody reads the service's log: the reader does not wait for
anybody, and neither does the log.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

from orchestrator.accounts.flood import Meter, more
from orchestrator.system import logs
from orchestrator.worker.last_call import LastCall
from orchestrator.worker.library.lines import HIDDEN, Scrubber, is_noise

log = logging.getLogger("neonize")

_LONGEST = 64 * 1024  # bytes of a line that are kept until its end comes
_DRAIN_POLL = 0.005
LINES_A_SECOND = 50.0
"""Records of this process's log that are written all the time."""
LINES_AT_ONCE = 200.0
ERRORS_AT_ONCE = 1000.0
"""Records above that, after a quiet time: all others, and errors."""


class Output:
    """Catches the output of this process and logs it.

    Standard output is logged as INFO, for neonize only prints there what it raises as well, or reports by
    events; standard error as ERROR, for Go's last words are there.

    Args:
        heard: Is told every line of the standard output, as it is.
        last_call: Is heard by the thread that reads: the one that does nothing which could hang.
    """

    def __init__(self, heard: Callable[[str], None], last_call: LastCall | None = None) -> None:
        self._heard = heard
        self._last_call = last_call
        self._pipes: dict[int, int] = {}
        self._idle = threading.Event()

    def catch(self) -> None:
        """Put pipes in the place of standard output and error, for all of this process."""
        for descriptor in (1, 2):
            read, write = _narrow_pipe()
            os.dup2(write, descriptor)
            os.close(write)
            self._pipes[read] = descriptor
        # The objects before may have been made for a file, which can do more than a pipe.
        sys.stdout = _stream(1)
        sys.stderr = _stream(2)
        threading.Thread(target=self._read, name="output", daemon=True).start()

    def flush(self, seconds: float) -> None:
        """Wait until what was printed is logged, but no longer than that."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not select.select(list(self._pipes), [], [], 0)[0] and self._idle.is_set():
                return
            time.sleep(_DRAIN_POLL)

    def _read(self) -> None:
        waiting = dict.fromkeys(self._pipes, b"")
        calls = {} if self._last_call is None else {self._last_call.fileno(): self._last_call}
        while waiting:
            self._idle.set()
            for pipe in select.select([*waiting, *calls], [], [])[0]:
                if pipe in calls:
                    calls[pipe].hear()
                    continue
                self._idle.clear()
                data = os.read(pipe, _LONGEST)
                if not data:
                    del waiting[pipe]
                    continue
                *lines, rest = (waiting[pipe] + data).split(b"\n")
                for line in lines:
                    self._take(self._pipes[pipe], line.decode(errors="replace"))
                # Of what is that long, a part could not be told for what it is.
                waiting[pipe] = rest if len(rest) <= _LONGEST else HIDDEN.encode()

    def _take(self, descriptor: int, line: str) -> None:
        if descriptor == 1:
            self._heard(line)
        if not is_noise(line):
            log.log(logging.INFO if descriptor == 1 else logging.ERROR, "%s", line)


class LineLimit(logging.Filter):
    """Lets so many records a second through, and says how many were left out.

    A library that logs without pause fills a disk, and the log of all other accounts with it. Errors have an
    allowance of their own, which holds the last words of Go with all its threads.

    Args:
        handler: Writes the records. This filter is its first, so what is left out costs nothing.
        level: From which level on records are wanted; for DEBUG there is ten times as much room.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self, handler: logging.Handler, level: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        room = 10 if level <= logging.DEBUG else 1
        self._usual = Meter(LINES_A_SECOND * room, LINES_AT_ONCE * room)
        self._errors = Meter(LINES_A_SECOND, ERRORS_AT_ONCE)
        self._handler = handler
        self._clock = clock
        self._lock = threading.Lock()
        self._waits = False
        handler.filters.insert(0, self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record may be written."""
        if getattr(record, "always", False):
            return True
        meter = self._errors if record.levelno >= logging.ERROR else self._usual
        with self._lock:
            passes = meter.admit(self._clock())
            begins = not passes and not self._waits
            self._waits = self._waits or begins
        if begins:
            teller = threading.Timer(1.0, self.tell)
            teller.daemon = True
            try:
                teller.start()
            except RuntimeError:  # there is no thread to be had
                self.tell()
        return passes

    def tell(self) -> None:
        """Write how many records were left out since this was told last, if any were."""
        with self._lock:
            count = self._usual.take_count() + self._errors.take_count()
            self._waits = False
        if count:
            text = more(count, "line", "lines")
            note = logging.LogRecord(log.name, logging.WARNING, "", 0, text, (), None)
            note.always = True
            self._handler.handle(note)


class _Hiding(logging.Filter):
    """Takes known secrets out of a record."""

    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__()
        self._scrubber = scrubber

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record; return True, always."""
        record.msg, record.args = self._scrubber.clean(str(record.msg)), ()
        if record.exc_text:
            record.exc_text = self._scrubber.clean(record.exc_text)
        return True


def open_log(account: str, level: int, form: str, scrubber: Scrubber) -> None:
    """Have everything that is logged in this process go to stderr as it is now, and nowhere else.

    Args:
        account: The account's name, which every record bears.
        level: From which level on.
        form: "json", or "text" for what fits where stderr goes.
        scrubber: Knows the secrets.
    """
    handler = logs.configure(level, "json" if form == "json" else "text", account=account)
    # Some loggers make records below the level, for others to hear.
    handler.setLevel(level)
    # Behind the one that redacts: by then the arguments are in the text.
    handler.addFilter(_Hiding(scrubber))
    LineLimit(handler, level)
    logs.log_uncaught()


def _narrow_pipe() -> tuple[int, int]:
    """Return a pipe that holds what was written last and no more.

    When Go panics it writes its last words, piece by piece, and kills the process. What is in a pipe by then
    is lost; in this one that is a single piece, as each has to wait for the one before to be read.
    """
    read, write = os.pipe2(os.O_CLOEXEC | os.O_DIRECT)
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    return read, write


def _stream(descriptor: int) -> TextIO:
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
