"""Reads and shows rows of an outbox."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Any, Final

from orchestrator.cli import table
from orchestrator.cli.formatting import local, verbatim
from orchestrator.cli.inbox.kept import Kept
from orchestrator.errors import OrchestratorError
from orchestrator.messages.outbox import NoOutbox, NoRow, OutboxStirred
from orchestrator.sending import turns, wire
from orchestrator.sending.contacts import phone_of
from orchestrator.sending.restrictions import NOT_TO_STRANGERS, TOO_MANY, TOO_MANY_NEW
from orchestrator.sending.row import Row, State

_TRIES: Final = 20
"""How often an outbox is opened again that somebody begins to write to at this moment."""

_COLUMNS: Final = 100
"""Columns of a line without a terminal: one of most rows."""
_SHORT: Final = {
    turns.PACED: "takes its time",
    turns.PACED_NEW: "takes its time",
    turns.DAY_FULL: "new chats are used up",
    turns.CLOSED[NOT_TO_STRANGERS]: "no new chats for now",
    turns.CLOSED[TOO_MANY_NEW]: "no new chats for now",
    turns.CLOSED[TOO_MANY]: "too many messages",
}
"""Why most messages wait, in few words; `--row` says it in full."""
_BYTES: Final = ("thumbnail", "waveform")
"""Parts of a message with a file that only programs read."""


def rows(kept: Kept, name: str, states: frozenset[State], limit: int) -> tuple[list[Row], int]:
    """Return the last rows in some states, and how many there are.

    Raises:
        StateError: The outbox cannot be read.
    """
    for left in reversed(range(_TRIES)):
        try:
            with closing(kept.rows(name)) as reader:
                return reader.last(limit, states), reader.count(states)
        except NoOutbox:
            break
        except OutboxStirred:
            if not left:
                raise
    return [], 0


def show_one(kept: Kept, account: str, number: int, *, as_json: bool) -> None:
    """Print all that is known of one row.

    Raises:
        StateError: The outbox cannot be read.
        OrchestratorError: There is no such row.
    """
    try:
        with closing(kept.rows(account)) as reader:
            found = reader.row(number)
            try:
                message: dict[str, Any] | None = wire.as_json(reader.outgoing(number))
            except NoRow:
                message = None  # deleted
    except (NoOutbox, NoRow):
        raise OrchestratorError(
            f"{account}: the outbox has no row {number}, or does not have it any more: `orchestrator outbox"
            f" {account} --all` shows the rows",
            key="row_unknown",
        ) from None
    if as_json:
        print(json.dumps(found.as_json() | {"message": message}))
        return
    for key, value in found.as_json().items():
        if value is not None:
            shown = local(value) if key.endswith(("_at", "_until")) else str(value)
            print(f"{key.replace('_', ' ')}: {verbatim(shown)}")
    for part in (message or {}).values():
        if isinstance(part, dict):
            for name in _BYTES:
                part.pop(name, None)
    print(f"message: {verbatim(json.dumps(message, ensure_ascii=False)) if message else 'deleted'}")


def show(rows: list[Row]) -> None:
    """Print rows as a table."""
    table.show_rows(
        ("ROW", "STATE", "KIND", "TO", "WRITTEN", "ABOUT"),
        (
            (
                str(row.number),
                str(row.state).replace("_", " "),
                str(row.kind),
                _chat(row.to),
                _time(row.as_json()["created_at"]),
                verbatim(_about(row)),
            )
            for row in rows
        ),
        piped=_COLUMNS,
    )


def _chat(to: str) -> str:
    """Return a chat as people know it."""
    digits = phone_of(to)
    return to or "-" if digits is None else f"+{digits}"


def _about(row: Row) -> str:
    """Say what is to be known of a row at first sight: why it waits and until when, or what became of it."""
    times = row.as_json()
    parts = []
    if row.message is not None:
        parts.append(row.message)
    if row.why is not None:
        why = _SHORT.get(row.why, row.why)
        parts.append(why if row.code is None or str(row.code) in why else f"{why} ({row.code})")
    if row.state is State.QUEUED:
        if row.queued_until is not None:
            parts.append(f"not before {_time(times['queued_until'])}")
        else:
            parts.append(f"expires {_time(times['expires_at'])}")
    return ", ".join(parts)


def _time(at: str) -> str:
    """Return a time as short as it is clear: today's without the date, others without the seconds.

    The offset is left out: a row of a table has two times, and has to fit into one line.
    """
    day, _, clock = local(at).partition(" ")
    clock = clock.partition(" ")[0]
    return clock if day == time.strftime("%Y-%m-%d") else f"{day} {clock[:5]}".rstrip()
