"""A program that watches the folder of codes, and opens each picture the moment it appears."""

from __future__ import annotations

import io
import os
import select
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import zxingcpp
from PIL import Image
from support.inotify import Watcher


@dataclass(frozen=True)
class Seen:
    """One thing that happened in the folder.

    Attributes:
        at: Unix time at which it was noticed.
        kind: See `support.inotify.KINDS`.
        name: Of the file.
        content: What was in the file at that moment, for a ``moved_to``; None if it was gone again.
        modified_at: Its modification time, likewise.
    """

    at: float
    kind: str
    name: str
    content: bytes | None = None
    modified_at: float | None = None


def read_code(png: bytes | None) -> str:
    """Return what the QR code in a picture says; there must be a picture, complete, with one code."""
    assert png is not None, "it was gone again"
    with Image.open(io.BytesIO(png)) as picture:
        picture.load()
        # Of every format, its noise looks like one of the simple ones now and then.
        (code,) = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormat.QRCode)
    return str(code.text)


class Onlooker:
    """Watches a folder while its context lasts.

    Args:
        folder: The folder, which must exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._changed = threading.Condition()
        self._seen: list[Seen] = []

    def __enter__(self) -> Self:
        self._watcher = Watcher(self._folder)
        self._end, self._tell_end = os.pipe()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._tell_end)
        self._thread.join()
        os.close(self._end)
        self._watcher.__exit__(kind, error, trace)

    @property
    def seen(self) -> list[Seen]:
        """All that has happened so far."""
        with self._changed:
            return list(self._seen)

    def wait_for(self, kind: str, name: str, *, after: int = 0, timeout: float = 90.0) -> Seen:
        """Return the first such thing after so many others, waiting for it if need be."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                for one in self._seen[after:]:
                    if (one.kind, one.name) == (kind, name):
                        return one
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    story = [(one.kind, one.name) for one in self._seen]
                    raise AssertionError(f"no {kind} {name} within {timeout:g} s; there was {story}")
                self._changed.wait(remaining)

    def _watch(self) -> None:
        descriptor = self._watcher._descriptor
        while self._end not in select.select([descriptor, self._end], [], [])[0]:
            for happening in self._watcher.happenings():
                self._note(time.time(), happening.kind, happening.name)

    def _note(self, at: float, kind: str, name: str) -> None:
        content = modified_at = None
        if kind == "moved_to":
            try:
                with (self._folder / name).open("rb") as file:
                    modified_at = os.fstat(file.fileno()).st_mtime
                    content = file.read()
            except FileNotFoundError:
                pass
        with self._changed:
            self._seen.append(Seen(at, kind, name, content, modified_at))
            self._changed.notify_all()
