"""What happened to each account, kept on disk: a line of JSON for every change of state.

Each entry has a number, `n`, by which programs know it. It rises, and is the time in Unix seconds where the
entry before is of an earlier second. So no number comes again, also if somebody has removed the files or set
the clock back, and nothing else has to be kept. Entries of earlier versions have none.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from orchestrator.accounts import characters
from orchestrator.accounts.names import is_name
from orchestrator.accounts.orderers import LONGEST
from orchestrator.store import plain
from orchestrator.system.clock import utc
from orchestrator.system.files import open_file, replacing, sync
from orchestrator.system.os_errors import trouble
from orchestrator.system.redaction import redact

MAX_BYTES: Final = 1024 * 1024
"""Size at which a file becomes an older one; some 4,000 changes, which is weeks of a bad link."""
MOST_FILES: Final = 8
"""Files of an account at the most. An account that fails and is tried again every five minutes changes some
860 times a day: eight files hold 30 days of that. Most accounts never fill one."""
KEPT_SECONDS: Final = 35 * 86400.0
"""Of the older files, all but the newest are kept only if they have an entry of this time: for reports of 30
days."""
_MAX_TEXT: Final = 500
"""Characters of a reason; longer ones come from libraries and are cut."""
_BLOCK: Final = 16 * 1024
"""Bytes read at once from the end: about 60 entries, more than anybody looks at."""
_MOST: Final = 10**15
"""More than any number of an entry."""
_NUMBERED: Final = re.compile(rb'\{"n": ([0-9]{1,15}), ')
"""How the line of an entry with a number begins."""
_UNNUMBERED: Final = 100
"""Lines without a number among the last ones that are looked at: an earlier version has written them."""
_TEXTS: Final = ("from", "kind", "reason", "version", "event", "by")
_NUMBERS: Final = ("code", "delay")
_COUNTS: Final = ("n", "attempt", "others")
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
        event: A word for what has happened besides a change of state, None if that is all.
        by: Who has caused it by a command, such as ``anna (1000)``; None if nobody has.
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
    event: str | None = None
    by: str | None = None

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
            **({} if self.event is None else {"event": self.event}),
            **({} if self.by is None else {"by": characters.one_line(redact(self.by), LONGEST)}),
        }


class Timeline:
    """The histories of all accounts: ``NAME.jsonl`` and, older, ``NAME.jsonl.1`` up to ``NAME.jsonl.7``.

    Of the older files, the newest is kept, and those that have entries of the last `KEPT_SECONDS`.

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
        text = json.dumps(entry.as_json(), ensure_ascii=False).encode(errors="backslashreplace")
        try:
            try:
                self._write(name, text, entry.at)
            except FileNotFoundError:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._write(name, text, entry.at)
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
            entry = _read(line)
            if entry is not None:
                entries.append(entry)
                if len(entries) == count:
                    break
        entries.reverse()
        return entries

    def after(self, name: str, number: int, limit: int) -> list[dict[str, Any]]:
        """Return an account's entries with a higher number, oldest first: the first ``limit`` of them.

        What `tail` leaves out is left out, and so are entries without a number.
        """
        lines: list[bytes] = []
        below = _MOST
        for line in self._lines(name):
            found = _number(line)
            if found is None or found >= below:  # a history that was put together of two
                continue
            if found <= number:
                break
            lines.append(line)
            below = found
        entries = (entry for entry in map(_read, reversed(lines)) if entry is not None)
        return list(islice(entries, max(0, limit)))

    def newest(self, name: str) -> int:
        """Return the highest number of an account's entries, 0 if none has one."""
        return _newest(self._lines(name))

    def backwards(self, name: str) -> Iterator[dict[str, Any]]:
        """Yield an account's entries from the newest to the oldest, reading no more than is asked for.

        What `tail` leaves out is left out.
        """
        return (entry for entry in map(_read, self._lines(name)) if entry is not None)

    def names(self) -> list[str]:
        """Return the names of all that have a history, in alphabetical order, also of accounts that are gone.

        Raises:
            OSError: The folder is there and cannot be read.
        """
        try:
            with os.scandir(self._folder) as entries:
                found = [
                    entry.name.removesuffix(".jsonl") for entry in entries if entry.name.endswith(".jsonl")
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(filter(is_name, found))

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
        # Lines that are in both were put there by a rename that was interrupted. What is of another account
        # that had the name before is history, and no news of this one: it loses its numbers.
        moved = dict.fromkeys(line for line in reversed([*self._lines(old)]) if line)
        before = [line for line in reversed([*self._lines(new)]) if line and line not in moved]
        lines = dict.fromkeys([*moved, *(_NUMBERED.sub(b"{", line, count=1) for line in before)])
        parts = _parts(sorted(lines, key=_time_of))[:MOST_FILES]
        for path, part in reversed([*zip(others, parts, strict=False)]):
            with replacing(path) as file:
                file.write(part)
                sync(file)
        for path in (*mine, *others[max(1, len(parts)) :]):
            path.unlink(missing_ok=True)

    def _paths(self, name: str) -> list[Path]:
        """Return where an account's files are, the newest first."""
        newest = self._folder / f"{name}.jsonl"
        return [newest, *(self._folder / f"{newest.name}.{age}" for age in range(1, MOST_FILES))]

    def _write(self, name: str, text: bytes, at: float) -> None:
        with _opened(self._folder) as folder:
            number = max(_newest(self._lines_in(folder, name)) + 1, min(max(int(at), 1), _MOST // 2))
            self._write_in(folder, name, b'{"n": %d, %s\n' % (number, text.removeprefix(b"{")), at)

    def _write_in(self, folder: int, name: str, line: bytes, at: float) -> None:
        path = self._paths(name)[0]
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        file = open_file(path.name, flags, dir_fd=folder)
        try:
            size = os.fstat(file).st_size
            if size and size + len(line) > MAX_BYTES:
                self._make_older(folder, name, at)
                fresh = open_file(path.name, flags, dir_fd=folder)
                os.close(file)
                file, size = fresh, 0
            if size and os.pread(file, 1, size - 1) != b"\n":
                line = b"\n" + line  # after a line that was cut off, which is lost; this one is not
            if os.write(file, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        finally:
            os.close(file)

    def _make_older(self, folder: int, name: str, at: float) -> None:
        """Let each file become the next older one; what is too old or too much is overwritten or removed."""
        paths = self._paths(name)
        there = next((age for age, path in enumerate(paths) if not _is_there(folder, path.name)), len(paths))
        while there > 1 and (there == len(paths) or _is_old(folder, paths[there - 1].name, at)):
            there -= 1
        for age in range(there, 0, -1):
            os.rename(paths[age - 1].name, paths[age].name, src_dir_fd=folder, dst_dir_fd=folder)
        for path in paths[there + 1 :]:
            with suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=folder)

    def _lines(self, name: str) -> Iterator[bytes]:
        """Yield lines from the last to the first, across all files."""
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


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return False
    return True


def _is_old(folder: int, name: str, at: float) -> bool:
    """Tell whether a file has got its last entry too long ago to be kept."""
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < at - KEPT_SECONDS


def _parts(lines: Sequence[bytes]) -> list[bytes]:
    """Return lines in the form of files, the newest file first, none of them larger than a file may be."""
    parts: list[list[bytes]] = [[]]
    size = 0
    for line in reversed(lines):
        size += len(line) + 1
        if size > MAX_BYTES and parts[-1]:
            parts.append([])
            size = len(line) + 1
        parts[-1].append(line)
    return [b"".join(line + b"\n" for line in reversed(part)) for part in parts]


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


def _number(line: bytes) -> int | None:
    match = _NUMBERED.match(line)
    return None if match is None else int(match[1])


def _newest(lines: Iterator[bytes]) -> int:
    """Return the highest number that lines begin with, of which the last comes first; 0 if none has one."""
    looked = 0
    for line in lines:
        if (number := _number(line)) is not None:
            return number
        looked += bool(line)
        if looked >= _UNNUMBERED:
            break
    return 0


def _read(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line, None if it is none."""
    try:
        entry = plain.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(entry, dict) and isinstance(entry.get("at"), str) and isinstance(entry.get("to"), str):
        return _sound(entry)
    return None


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
