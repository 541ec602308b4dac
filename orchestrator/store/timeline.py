"""What happened to each account, kept on disk: a line of JSON for every change of state."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from orchestrator.accounts import characters
from orchestrator.store import plain
from orchestrator.system.clock import utc
from orchestrator.system.files import open_file, replacing, sync
from orchestrator.system.os_errors import trouble
from orchestrator.system.redaction import redact

MAX_BYTES: Final = 1024 * 1024
"""Size at which a file becomes the older one of two; some 4,000 changes, which is weeks of a bad link."""
_MAX_TEXT: Final = 500
"""Characters of a reason; longer ones come from libraries and are cut."""
_BLOCK: Final = 16 * 1024
"""Bytes read at once from the end: about 60 entries, more than anybody looks at."""
_TEXTS: Final = ("from", "kind", "reason", "version")
_NUMBERS: Final = ("code", "delay")
_COUNTS: Final = ("attempt", "others")
"""The fields of an entry beside its time and its state, by their types."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """A change of state.

    Attributes:
        at: When, in Unix seconds.
        before: The state until then.
        after: The state since.
        kind: The kind of end that led to it, if one did.
        reason: Why, for people.
        code: WhatsApp's reason code, if it gave one.
        attempt: How many tries in a row have failed.
        delay: Seconds until the next try, if there is to be one.
        version: The library's version.
        others: How many other accounts changed within the minute before: a common cause is likely.
    """

    at: float
    before: str
    after: str
    kind: str | None = None
    reason: str | None = None
    code: int | None = None
    attempt: int = 0
    delay: float | None = None
    version: str = ""
    others: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return what is written, redacted; the time as UTC with milliseconds."""
        return {
            "at": utc(self.at, "milliseconds"),
            "from": str(self.before),
            "to": str(self.after),
            "kind": None if self.kind is None else str(self.kind),
            "reason": None if self.reason is None else characters.one_line(redact(self.reason), _MAX_TEXT),
            "code": self.code,
            "attempt": self.attempt,
            "delay": None if self.delay is None else round(self.delay, 3),
            "version": redact(self.version),
            "others": self.others,
        }


class Timeline:
    """The histories of all accounts, two files at most for each: ``NAME.jsonl`` and, older, ``NAME.jsonl.1``.

    A history that cannot be written must not stop anything. `append` says so in the log, once, when it begins
    to fail and once when it works again, however many accounts are concerned.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._failing: dict[str, int] = {}
        self._lost = 0

    def append(self, name: str, entry: TimelineEntry) -> bool:
        """Write an entry to the end of an account's history; never raises OSError.

        Returns:
            Whether the entry is there.
        """
        line = json.dumps(entry.as_json(), ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        try:
            try:
                self._write(name, line)
            except FileNotFoundError:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(name, line)
        except OSError as error:
            self._failed(name, error)
            return False
        if name in self._failing:
            self._works_again(name)
        return True

    def tail(self, name: str, count: int) -> list[dict[str, Any]]:
        """Return an account's last entries, oldest first, as they were written; at most ``count`` of them.

        Lines that are no entries, such as one that was cut off by a full disk, are left out, and so is a
        file that cannot be read.
        """
        entries: list[dict[str, Any]] = []
        if count <= 0:
            return entries
        for line in self._lines(name):
            try:
                entry = plain.loads(line)
            except (ValueError, RecursionError):
                continue
            if (
                isinstance(entry, dict)
                and isinstance(entry.get("at"), str)
                and isinstance(entry.get("to"), str)
            ):
                entries.append(_sound(entry))
                if len(entries) == count:
                    break
        entries.reverse()
        return entries

    def rename(self, old: str, new: str) -> None:
        """Let an account have its history under another name, together with what there is of that name.

        Raises:
            OSError: It cannot be moved; called again, this goes on.
        """
        mine, others = self._paths(old), self._paths(new)
        if not any(os.path.lexists(path) for path in others):
            for source, target in zip(reversed(mine), reversed(others), strict=True):
                with suppress(FileNotFoundError):
                    source.rename(target)
            return
        if not any(os.path.lexists(path) for path in mine):
            return
        # Lines that are in both were put there by a rename that was interrupted.
        lines = dict.fromkeys(line for name in (old, new) for line in reversed([*self._lines(name)]) if line)
        text = b"".join(line + b"\n" for line in sorted(lines, key=_time_of))
        cut = text.find(b"\n", len(text) - MAX_BYTES) + 1 if len(text) > MAX_BYTES else 0
        for path, part in ((others[1], text[:cut][-MAX_BYTES:]), (others[0], text[cut:])):
            if part:
                with replacing(path) as file:
                    file.write(part)
                    sync(file)
        for path in (*mine, *(others[1:] if not cut else ())):
            path.unlink(missing_ok=True)

    def _paths(self, name: str) -> tuple[Path, Path]:
        return self._folder / f"{name}.jsonl", self._folder / f"{name}.jsonl.1"

    def _write(self, name: str, line: bytes) -> None:
        with _opened(self._folder) as folder:
            self._write_in(folder, name, line)

    def _write_in(self, folder: int, name: str, line: bytes) -> None:
        path, older = self._paths(name)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        file = open_file(path.name, flags, dir_fd=folder)
        try:
            size = os.fstat(file).st_size
            if size and size + len(line) > MAX_BYTES:
                os.rename(path.name, older.name, src_dir_fd=folder, dst_dir_fd=folder)
                fresh = open_file(path.name, flags, dir_fd=folder)
                os.close(file)
                file, size = fresh, 0
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # after a line that was cut off, which is lost; this one is not
            if os.write(file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(file)

    def _lines(self, name: str) -> Iterator[bytes]:
        """Yield lines from the last to the first, across both files."""
        try:
            with _opened(self._folder) as folder:
                yield from self._lines_in(folder, name)
        except OSError:
            return

    def _lines_in(self, folder: int, name: str) -> Iterator[bytes]:
        seen = set()
        for path in self._paths(name):
            try:
                file = open_file(path.name, dir_fd=folder)
            except OSError:
                continue
            try:
                about = os.fstat(file)
                # The service may have renamed the file between the two.
                if about.st_ino not in seen:
                    seen.add(about.st_ino)
                    yield from _backwards(file, about.st_size)
            finally:
                os.close(file)

    def _failed(self, name: str, error: OSError) -> None:
        number = error.errno or 0
        is_new = number not in self._failing.values()
        self._failing[name] = number
        self._lost += 1
        if is_new:
            log.error("%s: the timeline cannot be written: %s", self._paths(name)[0], trouble(error))

    def _works_again(self, name: str) -> None:
        del self._failing[name]
        if not self._failing:
            log.warning("the timelines can be written again; %d entries were lost", self._lost)
            self._lost = 0


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Open the folder, newly each time: it may have been removed and made again. It is no symbolic link."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _backwards(file: int, size: int) -> Iterator[bytes]:
    """Yield the lines of a file from the last to the first, reading no more of it than is asked for."""
    later: list[bytes] = []  # pieces of the line that begins further in front, last first
    at = size
    while at > 0:
        start = max(0, at - _BLOCK)
        try:
            block = os.pread(file, at - start, start)
        except OSError:
            return
        first, *whole = block.split(b"\n")
        if whole:
            yield b"".join([whole.pop(), *reversed(later)])
            yield from reversed(whole)
            later = []
        later.append(first)
        at = start
    yield b"".join(reversed(later))


def _time_of(line: bytes) -> str:
    """Return what lines of a history are ordered by."""
    try:
        return str(json.loads(line)["at"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""


def _sound(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an entry as whoever shows it may take it: what has another type than it should is null or 0."""
    texts = {key: entry[key] for key in _TEXTS if not isinstance(entry.get(key, ""), str)}
    numbers = {key: entry[key] for key in _NUMBERS if type(entry.get(key, 0)) not in (int, float)}
    counts = {key: plain.count(entry[key]) for key in _COUNTS if key in entry}
    return entry | dict.fromkeys(texts) | dict.fromkeys(numbers) | counts
