"""Reads the events of an account from its inbox, also while the inbox grows, moves, or comes anew."""

from __future__ import annotations

import contextlib
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Final, Self

from orchestrator.cli.inbox.kept import Kept
from orchestrator.errors import StateError
from orchestrator.messages.database import InboxError
from orchestrator.messages.entry import Stored
from orchestrator.messages.protocols import InboxView
from orchestrator.messages.rendering import Event
from orchestrator.worker.library import protobufs

SECONDS: Final = 0.5
"""Seconds between two looks at an inbox that is followed: one takes some hundredths of a millisecond."""
_BATCH: Final = 200


class Events:
    """The events of an account, in order.

    Args:
        kept: Where messages are kept.
        name: The account; a valid name.
        tell: Takes a sentence for people about what happens to the inbox.

    Raises:
        OrchestratorError: neonize's definitions, which events are made with, cannot be loaded.
    """

    def __init__(self, kept: Kept, name: str, tell: Callable[[str], None]) -> None:
        self.name = name
        self._kept = kept
        self._tell = tell
        self._present = kept.present(name)
        self._told = ""
        protobufs.load()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._present.close()

    def open(self) -> bool:
        """Open the inbox that is there now; tell whether there is one.

        Raises:
            StateError: It cannot be read.
        """
        return self._present.open()

    @property
    def _reader(self) -> InboxView | None:
        return self._present.reader

    def newest(self) -> int:
        """Return the highest number that an entry has had, 0 without an inbox.

        Raises:
            InboxError: The inbox cannot be read.
        """
        return 0 if self._reader is None else self._reader.newest()

    def after(self, seq: int, limit: int | None = None) -> Iterator[Event]:
        """Yield the events after a number.

        Args:
            seq: The number.
            limit: How many at most; None for all.

        Raises:
            InboxError: The inbox cannot be read.
        """
        left = limit
        while self._reader is not None and left != 0:
            batch = self._reader.after(seq, _BATCH)
            for stored in batch:
                seq = stored.seq
                event = self._render(stored)
                if event is not None:
                    yield event
                    left = None if left is None else left - 1
                    if left == 0:
                        return
            if not batch:
                return

    def last(self, count: int) -> list[Event]:
        """Return the last events.

        Raises:
            InboxError: The inbox cannot be read.
        """
        wanted = count
        while self._reader is not None and count:
            start, is_all_there = self._reader.before_last(wanted)
            events = deque(self.after(start), maxlen=count)
            if len(events) == count or not is_all_there:
                return list(events)
            wanted *= 2  # entries that are no events for anybody
        return []

    def chats_of(self, message: str) -> list[str]:
        """Return the chats that have entries with a message's identifier.

        Raises:
            InboxError: The inbox cannot be read.
        """
        return [] if self._reader is None else self._reader.chats_of(message)

    def in_chats(self, chats: list[str]) -> Iterator[Event]:
        """Yield the events of chats, in the order in which they were stored within each chat.

        Raises:
            InboxError: The inbox cannot be read.
        """
        for chat in chats:
            seq = 0
            while self._reader is not None and (batch := self._reader.after(seq, _BATCH, chat=chat)):
                seq = batch[-1].seq
                yield from (event for event in map(self._render, batch) if event is not None)

    def follow(self, seq: int, wait: Callable[[float], bool] | None = None) -> Iterator[Event]:
        """Yield the events after a number, as they are stored, for ever.

        An account that gets another name is followed. If an inbox is gone, the next one of that name is
        waited for: it counts on where the last one ended.

        Args:
            seq: The number.
            wait: Waits so many seconds, and returns False if that is of no use any more. By default, it is
                of no use once nobody reads standard output.
        """
        wait = wait or wait_for_reader
        version = None
        while True:
            try:
                if self._present.has_moved:
                    # What was stored just before the inbox moved is still to be read where it was.
                    with contextlib.suppress(InboxError):
                        for event in self.after(seq):
                            seq = event["seq"]
                            yield event
                    self._find()
                    version = None
                if self._reader is not None and (now := self._reader.changed()) != version:
                    for event in self.after(seq):
                        seq = event["seq"]
                        yield event
                    version = now
                    self._told = ""
            except StateError as error:
                self._say(str(error))
                self._present.close()
            if not wait(SECONDS):
                return

    def _find(self) -> None:
        was_open = self._reader is not None
        if self.open():
            return
        new = self._kept.renamed(self.name, self._present)
        if new is not None:
            self._say(f"{self.name} is called {new} now")
            self.name = new
            self._present = self._kept.present(new)
            self.open()
        elif was_open:
            self._say(f"the messages of {self.name} are gone; waiting for new ones")

    def _say(self, sentence: str) -> None:
        if sentence != self._told:
            self._told = sentence
            self._tell(sentence)

    def _render(self, stored: Stored) -> Event | None:
        return self._present.render(stored, self.name)


def wait_for_reader(seconds: float) -> bool:
    """Wait, and tell whether somebody may still read standard output."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):
        time.sleep(seconds)
        return True
    waiting = select.poll()
    waiting.register(output, 0)  # only that nobody is at the other end
    return not waiting.poll(seconds * 1000)
