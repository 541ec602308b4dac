"""The service's log: written to stderr, redacted, as text, for the systemd journal, or as JSON.

The service must not block if nobody reads its log. So a line that cannot be written at once is dropped and
counted. The next line that can be written says how many were dropped.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Literal, Protocol, TypeAlias

from orchestrator.system import hidden
from orchestrator.system.clock import utc
from orchestrator.system.redaction import RedactingFilter

Format: TypeAlias = Literal["text", "json", "journal"]

MAX_TEXT: Final = 16 * 1024
"""Characters of a record; what is longer is cut, so that one record cannot flood a log."""
_PRIORITIES: Final = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}
"""Syslog's numbers, as sd-daemon(3) has them; what is above ERROR is 2, critical."""


def configure(
    level: int | str,
    format: Format = "text",  # noqa: A002 - as the option is called
    *,
    account: str | None = None,
    file: Outlet | None = None,
) -> StderrHandler:
    """Send everything that this process logs to stderr or a file, redacted, and nowhere else.

    A second call replaces the first. The handler has its own descriptor, so the log stays where it is if
    stderr is redirected afterwards.

    Args:
        level: From which level on; a number or a name of `logging`.
        format: How. "text" is a line with the time, or, if stderr is connected to the journal, which adds
            times itself, the same as "journal": a line with a priority. "json" is an object a line, which
            has a priority before it if stderr is connected to the journal, which takes that away.
        account: The account this process is for, named in every record.
        file: Where records go instead of stderr.

    Raises:
        ValueError: There is no such level.
    """
    root = logging.getLogger()
    root.setLevel(level.upper() if isinstance(level, str) else level)
    handler = StderrHandler(formatter(format, account), outlet=file)
    for old in root.handlers[:]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    logging.captureWarnings(capture=True)
    return handler


def formatter(format: Format, account: str | None = None) -> logging.Formatter:  # noqa: A002
    """Return what writes records in a form, which depends on what stderr is, as in `configure`."""
    if format == "json":
        return JsonFormatter(account, with_priority=is_journal())
    if format == "journal" or is_journal():
        return JournalFormatter(account)
    return TextFormatter(account)


def log_uncaught() -> None:
    """Log unhandled exceptions of all threads, because printed ones would escape the redaction."""
    log = logging.getLogger("orchestrator")

    def uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("unhandled exception", exc_info=(kind, error, trace))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            uncaught(args.exc_type, args.exc_value, args.exc_traceback)

    sys.excepthook = uncaught
    threading.excepthook = in_thread


def is_journal(environ: Mapping[str, str] = os.environ, descriptor: int = 2) -> bool:
    """Tell whether a descriptor is the journal's stream, by ``$JOURNAL_STREAM``, which systemd sets.

    The variable is inherited by processes whose output goes elsewhere: device and inode must be the same.
    """
    device, _, inode = environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        about = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(about.st_dev), str(about.st_ino))


# Forms


class _Formatter(logging.Formatter):
    def __init__(self, account: str | None) -> None:
        super().__init__()
        self._account = account

    def origin(self, record: logging.LogRecord) -> str:
        """Return where a record is from: account and logger."""
        return f"[{self._account}] {record.name}" if self._account else record.name

    def lines(self, record: logging.LogRecord) -> list[str]:
        """Return what a record says, with control characters written out."""
        parts = [record.getMessage()]
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        parts += [part for part in (record.exc_text, record.stack_info) if part]
        text = hidden.write_out(_shorten("\n".join(parts)))
        return text.rstrip("\n").split("\n")


class TextFormatter(_Formatter):
    """A line with the time in UTC; further lines are indented, so none can be taken for a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        text = "\n    ".join(self.lines(record))
        return f"{utc(record.created, 'milliseconds')} {record.levelname:<7} {self.origin(record)}: {text}"


class JournalFormatter(_Formatter):
    """Lines that begin with their priority, as the journal takes every line for a record of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        first, *more = self.lines(record)
        lines = [f"{self.origin(record)}: {first}", *(f"    {line}" for line in more)]
        return "\n".join(f"{_priority(record)}{line}" for line in lines)


class JsonFormatter(_Formatter):
    """An object on a line: time, level, logger, account, message, and if there are any, exception and stack.

    A record may name its account itself, by ``extra={"account": NAME}``.

    Args:
        account: The account this process is for.
        with_priority: Write the priority before the object, for the journal, which takes it from there.
    """

    def __init__(self, account: str | None, *, with_priority: bool = False) -> None:
        super().__init__(account)
        self._with_priority = with_priority

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        values: dict[str, Any] = {
            "time": utc(record.created, "milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "account": getattr(record, "account", self._account),
            "message": _shorten(record.getMessage()),
            "exception": record.exc_text and _shorten(record.exc_text),
            "stack": record.stack_info and _shorten(record.stack_info),
        }
        present = {key: value for key, value in values.items() if value is not None}
        text = hidden.write_out(json.dumps(present, ensure_ascii=False, default=str))
        return f"{_priority(record)}{text}" if self._with_priority else text


def _priority(record: logging.LogRecord) -> str:
    """Return a record's priority as sd-daemon(3) has it before a line."""
    return f"<{_PRIORITIES.get(record.levelno, 2 if record.levelno > logging.ERROR else 6)}>"


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more characters)"


# Writing


class Outlet(Protocol):
    """Where records go: writing never waits and never raises.

    Attributes:
        trouble: Why the last line that was not written was not; empty if nobody read it.
    """

    trouble: str

    def write(self, data: bytes) -> int:
        """Write what can be written at once; return how many bytes that was."""

    def close(self) -> None:
        """Write nothing any more."""


class StderrHandler(logging.Handler):
    """Writes records to stderr, and never waits or raises.

    Args:
        form: Writes a record as text.
        descriptor: Where to.
        outlet: Where to instead.

    Attributes:
        dropped: How many records were not written, in all.
    """

    def __init__(self, form: logging.Formatter, descriptor: int = 2, *, outlet: Outlet | None = None) -> None:
        self._outlet: Outlet = _Descriptor(descriptor) if outlet is None else outlet
        super().__init__()
        self.setFormatter(form)
        self.addFilter(RedactingFilter())
        self.dropped = 0
        self._told = 0
        self._rest = b""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it."""
        try:
            line = self._encode(record)
        except Exception:  # noqa: BLE001 - a record must never harm those who log
            self.dropped += 1
            return
        if self._rest:  # of a line that got through in part
            self._rest = self._rest[self._outlet.write(self._rest) :]
        if self._rest:
            self.dropped += 1
            return
        if self.dropped > self._told:
            line = self._lost() + line
        written = self._outlet.write(line)
        if written == 0:
            self.dropped += 1
            return
        self._told = self.dropped
        self._rest = line[written:]

    def close(self) -> None:
        """Close the handler; records that are logged afterwards are dropped."""
        self._outlet.close()
        super().close()

    def _encode(self, record: logging.LogRecord) -> bytes:
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def _lost(self) -> bytes:
        trouble = self._outlet.trouble
        why = f"the log could not be written ({trouble})" if trouble else "nobody read the log"
        lost = f"{self.dropped - self._told} log records were dropped, because {why}"
        return self._encode(logging.LogRecord(__name__, logging.WARNING, "", 0, lost, (), None))


class _Descriptor:
    """A way to a descriptor on which writing never waits.

    Others share the descriptor: the shell its terminal, the children their parent's stderr. O_NONBLOCK on it
    would surprise them, so a pipe or a terminal is opened anew, and a socket is told with every write.
    """

    trouble = ""

    def __init__(self, descriptor: int) -> None:
        self._own = -1
        self._socket: socket.socket | None = None
        self._must_ask = False
        # Closed when Python started, number 2 may be anything by now, even a database.
        if descriptor == 2 and sys.__stderr__ is None:
            return
        with contextlib.suppress(OSError):
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISSOCK(mode):
                self._socket = socket.socket(fileno=os.dup(descriptor))
            elif stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
                try:
                    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                    self._own = os.open(f"/proc/self/fd/{descriptor}", flags)
                except OSError:  # it is another user's, or its reader is gone
                    self._own = os.dup(descriptor)
                    self._must_ask = True
            else:
                self._own = os.dup(descriptor)  # a file, on which one cannot wait for a reader

    def write(self, data: bytes) -> int:
        """Write what can be written at once; return how many bytes that was."""
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return self._write_asking(data) if self._must_ask else os.write(self._own, data)
        except OSError:  # full, or closed, or no space left
            return 0

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._own >= 0:
            os.close(self._own)
            self._own = -1

    def _write_asking(self, data: bytes) -> int:
        """Write in pieces, each of which fits into a pipe that poll() calls writable."""
        poll = select.poll()
        poll.register(self._own, select.POLLOUT)
        written = 0
        while written < len(data) and any(event & select.POLLOUT for _, event in poll.poll(0)):
            written += os.write(self._own, data[written : written + select.PIPE_BUF])
        return written
