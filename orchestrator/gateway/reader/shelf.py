"""What a reader reads: outboxes, and inboxes, of which the last ones stay open for a moment."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator.accounts.names import check_name
from orchestrator.gateway.reader import rows
from orchestrator.gateway.reader.wire import MAX_BATCH, Answer, Ask, Item
from orchestrator.messages.database import InboxError, InboxStirred
from orchestrator.messages.entry import Stored
from orchestrator.messages.files import FileMessages
from orchestrator.messages.present import AnyPresent, Present, RemotePresent
from orchestrator.messages.protocols import AccountMessages, InboxView
from orchestrator.messages.remote import Channel, RemoteMessages
from orchestrator.store import counted

OPEN: Final = 64
"""Inboxes that stay open. Each takes three descriptors and 130 kB."""
IDLE_SECONDS: Final = 5.0
"""Seconds for which an inbox stays open that nobody asks for: what moves or ends an account need not wait."""
PAGE: Final = 50
"""Entries that are read at once."""
MOST_ENTRIES: Final = 2000
"""Entries that are looked at for one answer, of which most may be no events."""
MOST_ALIKE: Final = 100
"""Entries with one identifier that are looked at."""
PATIENCE: Final = 1.0
"""Seconds to wait for an account's process that holds its inbox, which it needs for milliseconds."""
SECONDS: Final = 3.0
"""Seconds that an answer may take: then SQLite stops by itself."""
ENOUGH_SECONDS: Final = 0.5
"""Seconds after which an answer has what has been found so far."""


@dataclass(slots=True)
class _Open:
    """An inbox that is open, or whose place is known."""

    present: AnyPresent
    skipped: list[int] = field(default_factory=list)
    used_at: float = 0.0


class Shelf:
    """The inboxes.

    Args:
        messages: The folder of all messages.
        clock: Returns monotonic seconds.
        channel: Where messages are kept; None: in the folder.
    """

    def __init__(
        self,
        messages: Path,
        clock: Callable[[], float] = time.monotonic,
        channel: Channel | None = None,
    ) -> None:
        self._messages = messages
        self._clock = clock
        self._channel = channel
        self._open: OrderedDict[str, _Open] = OrderedDict()

    def answer(self, ask: Ask) -> Answer:
        """Answer a request.

        Raises:
            StateError: The inbox cannot be read.
        """
        if ask.task in ("rows", "row", "tally"):
            return rows.answer(self._of(check_name(ask.account)), ask, PATIENCE, SECONDS)
        inbox = self._inbox(ask.account)
        was_open = inbox.present.reader is not None
        try:
            return self._answer(inbox, ask)
        except InboxError as error:
            inbox.present.close()
            if not was_open and not isinstance(error, InboxStirred):
                raise
        # It may have begun anew since it was opened, or somebody writes to it for the first time.
        return self._answer(inbox, ask)

    def close_idle(self) -> float | None:
        """Close what nobody has asked for lately; return the seconds until there is more, if so."""
        now = self._clock()
        while self._open:
            inbox = next(iter(self._open.values()))
            if (left := inbox.used_at + IDLE_SECONDS - now) > 0:
                return left
            self._drop_oldest()
        return None

    def close(self) -> None:
        """Close everything."""
        while self._open:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, inbox = self._open.popitem(last=False)
        inbox.present.close()

    def _inbox(self, account: str) -> _Open:
        inbox = self._open.get(account)
        if inbox is None:
            skipped: list[int] = []
            folder = self._messages / check_name(account)
            inbox = self._open[account] = _Open(self._present(account, folder, _collector(skipped)), skipped)
            while len(self._open) > OPEN:
                self._drop_oldest()
        self._open.move_to_end(account)
        inbox.used_at = self._clock()
        return inbox

    def _of(self, account: str) -> AccountMessages:
        if self._channel is not None:
            return RemoteMessages(self._channel.of(account))
        return FileMessages(self._messages / account)

    def _present(self, account: str, folder: Path, skipped: Callable[[object], object]) -> AnyPresent:
        if self._channel is not None:
            return RemotePresent(folder, self._of(account), skipped)
        return Present(folder, skipped, PATIENCE)

    def _answer(self, inbox: _Open, ask: Ask) -> Answer:
        present = inbox.present
        if not present.open() or (reader := present.reader) is None:
            return _without_inbox(present, ask)
        began = self._clock()
        reader.stop_at(time.monotonic() + SECONDS)
        match ask.task:
            case "newest":
                return Answer(last=max(reader.newest(), counted.begin(present.folder)))
            case "media":
                return Answer(about=self._about(present, reader, ask))
            case "chat":
                return Answer(about=_chat(reader, ask))
            case _:
                return self._after(inbox, reader, ask, began)

    def _about(self, present: AnyPresent, reader: InboxView, ask: Ask) -> dict[str, object] | None:
        stored = reader.find_media(ask.media)
        event = None if stored is None else present.render(stored, ask.account)
        media = None if event is None else event["data"].get("media")
        return media if isinstance(media, dict) and media.get("id") == ask.media else None

    def _after(self, inbox: _Open, reader: InboxView, ask: Ask, began: float) -> Answer:
        items: list[Item] = []
        last, size, looked = ask.seq, 0, 0
        while True:
            wanted = min(PAGE, ask.limit - len(items))
            inbox.skipped.clear()
            page = reader.after(last, wanted, chat=ask.chat, size=MAX_BATCH)
            for stored in page:
                item = _item(inbox.present, stored, ask.account)
                if item is not None:
                    size += len(item.data)
                    if items and size > MAX_BATCH:
                        return Answer(tuple(items), last, more=True)
                    items.append(item)
                last = stored.seq
            last = max([last, *inbox.skipped])
            looked += len(page) + len(inbox.skipped)
            if not page and not inbox.skipped:
                return Answer(tuple(items), last)
            if (
                len(items) >= ask.limit
                or size >= MAX_BATCH
                or looked >= MOST_ENTRIES
                or self._clock() - began >= ENOUGH_SECONDS
            ):
                return Answer(tuple(items), last, more=True)


def _chat(reader: InboxView, ask: Ask) -> dict[str, object] | None:
    """Return the chat of the first message with an identifier: later ones may only pretend to be it."""
    found = [one.chat for one in reader.find(ask.message, MOST_ALIKE) if one.source == "message"]
    return {"chat": found[0]} if found else None


def _item(present: AnyPresent, stored: Stored, account: str) -> Item | None:
    event = present.render(stored, account)
    if event is None:
        return None
    data = json.dumps(event["data"], separators=(",", ":")).encode("ascii")
    return Item(stored.seq, event["type"], stored.chat, stored.stored_at, data)


def _without_inbox(present: AnyPresent, ask: Ask) -> Answer:
    """Return the answer where nothing is kept: an earlier inbox may have been there."""
    return Answer(last=counted.begin(present.folder) if ask.task == "newest" else ask.seq)


def _collector(numbers: list[int]) -> Callable[[object], object]:
    return lambda seq: numbers.append(seq) if isinstance(seq, int) else None
