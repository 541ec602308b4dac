"""What happens in a folder, told by the kernel: nothing is missed, and nothing is polled.

Only of events that follow each other and are the same, the kernel may tell one.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_libc = ctypes.CDLL(None, use_errno=True)
_HEAD = struct.Struct("iIII")  # struct inotify_event: watch, mask, cookie, length of the name

KINDS = {
    0x002: "modified",
    0x004: "attributes",
    0x008: "closed",
    0x040: "moved_from",
    0x080: "moved_to",
    0x100: "created",
    0x200: "deleted",
    0x400: "deleted_self",
}
_OVERFLOW = 0x4000


@dataclass(frozen=True, slots=True)
class Happening:
    """One event: its kind, one of `KINDS`, and the file's name in the folder."""

    kind: str
    name: str


class Watcher:
    """Watches a folder from its making until its end as a context manager.

    Args:
        folder: What to watch; events of the folder itself have an empty name.
        kinds: Which kinds of events to ask for; all by default.
    """

    def __init__(self, folder: Path, *kinds: str) -> None:
        self.folder = folder
        self._descriptor = _check(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        mask = sum(number for number, kind in KINDS.items() if not kinds or kind in kinds)
        try:
            _check(_libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask))
        except OSError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def happenings(self) -> list[Happening]:
        """Return what has happened since the last time, without waiting."""
        found: list[Happening] = []
        while True:
            try:
                data = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return found
            while data:
                _, mask, _, length = _HEAD.unpack_from(data)
                name = data[_HEAD.size : _HEAD.size + length].rstrip(b"\0")
                data = data[_HEAD.size + length :]
                assert not mask & _OVERFLOW, "events were lost: they came faster than they were read"
                found += [Happening(kind, os.fsdecode(name)) for bit, kind in KINDS.items() if mask & bit]

    def wait_for(self, predicate: Callable[[Happening], bool], timeout: float = 90.0) -> list[Happening]:
        """Return what has happened up to the first event that fits, waiting for it if need be.

        Events that come with it, after it, are returned, too.

        Args:
            predicate: Which event to wait for.
            timeout: Seconds to wait at most.
        """
        deadline = time.monotonic() + timeout
        found = self.happenings()
        while not any(map(predicate, found)):
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([self._descriptor], [], [], remaining)[0]:
                raise AssertionError(f"not within {timeout:g} s; seen in {self.folder}: {found}")
            found += self.happenings()
        return found


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
