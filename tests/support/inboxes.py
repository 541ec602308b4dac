"""Inboxes as accounts' processes write them, with entries of every kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from support.entries import ENTRIES

from orchestrator.messages.database import DATABASE
from orchestrator.messages.entry import Entry, Stored
from orchestrator.messages.inbox import Inbox

LOCK_SECONDS = 90.0
"""How long to wait for an inbox that its process writes to."""


@contextmanager
def writing(state: Path, name: str) -> Iterator[Inbox]:
    """Write to the inbox of an account, as its process does; it is made if there is none."""
    folder = state / "messages" / name
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    inbox = Inbox.open(folder)
    try:
        yield inbox
    finally:
        inbox.close()


@contextmanager
def nothing_is_stored(state: Path, name: str) -> Iterator[None]:
    """Have the inbox of an account locked, as by a backup: its process waits with what comes in."""
    path = state / "messages" / name / DATABASE
    with closing(sqlite3.connect(path, isolation_level=None, timeout=LOCK_SECONDS)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


def append(inbox: Inbox, *kinds: str, **other: Any) -> list[int]:  # noqa: ANN401 - fields of an entry
    """Store entries of `ENTRIES`, each under an identifier of its own; return their numbers."""
    found = []
    for kind in kinds:
        number = inbox.append(entry(ENTRIES[kind], **{"id": f"{ENTRIES[kind].id}{inbox.count}", **other}))
        assert number is not None
        found.append(number)
    return found


def entry(of: Stored, **other: Any) -> Entry:  # noqa: ANN401 - fields of an entry
    """Return what is to be stored."""
    values: Mapping[str, Any] = {
        "source": of.source, "chat": of.chat, "sender": of.sender, "id": of.id, "at": of.at, "raw": of.raw,
        "notes": of.notes, **other,
    }  # fmt: skip
    return Entry(**values)
