"""The reader's end of an outbox, and how rows are read at both ends."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from orchestrator.accounts.acts import BadAct
from orchestrator.messages.database import PATIENCE, Still
from orchestrator.messages.ends import ReadersEnd, open_to_read
from orchestrator.messages.entry import UnfitError
from orchestrator.messages.outbox_form import COLUMNS, MEMORY, OUTBOX_FORM, NoRow, read
from orchestrator.sending import wire
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Pace, Row, State


@dataclass(frozen=True, slots=True)
class Tally:
    """How much is in an outbox. Times are Unix seconds.

    Attributes:
        states: Rows by state.
        paces: Rows that wait, by how well their chats are known; None: nobody has looked.
        oldest: When the oldest of these was written.
        soonest: When the first of these goes whose time is known.
        memory: What `OutboxNotes.remember` wrote, None for nothing.
    """

    states: Mapping[State, int]
    paces: Mapping[Pace | None, int]
    oldest: float | None
    soonest: float | None
    memory: str | None


class OutboxReader(ReadersEnd):
    """The reader's end of an outbox, for other processes than the account's.

    Args:
        connection: The open database.
        path: The database's file.
        still: What the file has to be all the time, if it was opened as it is.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path = Path(), still: Still | None = None
    ) -> None:
        super().__init__(connection, OUTBOX_FORM, path, still)

    @classmethod
    def open(cls, folder: Path, patience: float = PATIENCE) -> Self:
        """Open the outbox of an account.

        Args:
            folder: The folder of the account's messages.
            patience: Seconds to wait for a writer that holds it.

        Raises:
            NoOutbox: There is none.
            OutboxError: It cannot be read.
        """
        return cls(*open_to_read(folder, OUTBOX_FORM, patience))

    def rows(self, after: int = 0, limit: int = 100, states: Iterable[State] | None = None) -> list[Row]:
        """Return rows with a higher number, in order. What is no row is left out.

        Args:
            after: The number.
            limit: How many at most.
            states: In which states; None: in any.

        Raises:
            OutboxError: The outbox cannot be read.
        """
        wanted = sorted(State if states is None else states)
        with self._words():
            return select(
                self._connection, f"number > ? AND state IN {marks(wanted)}", (after, *wanted), limit
            )

    def last(self, limit: int = 100, states: Iterable[State] | None = None) -> list[Row]:
        """Return the rows with the highest numbers, in order.

        Raises:
            OutboxError: The outbox cannot be read.
        """
        wanted = sorted(State if states is None else states)
        with self._words():
            where = f"state IN {marks(wanted)}"
            return select(self._connection, where, wanted, limit, order="number DESC")[::-1]

    def row(self, number: int) -> Row:
        """Return a row.

        Raises:
            NoRow: There is none.
            OutboxError: The outbox cannot be read.
        """
        with self._words():
            found = select(self._connection, "number = ?", [number], 1)
        if not found:
            raise NoRow("the outbox has no such row, or does not have it any more")
        return found[0]

    def by_message(self, message: str) -> Row | None:
        """Return the row whose message has an identifier, None if there is none.

        Raises:
            OutboxError: The outbox cannot be read.
        """
        with self._words():
            return next(iter(select(self._connection, "message = ?", [message], 1)), None)

    def outgoing(self, number: int) -> Outgoing:
        """Return the message of a row.

        Raises:
            NoRow: There is none, or its text is deleted.
            OutboxError: The outbox cannot be read.
        """
        with self._words():
            return stored_outgoing(self._connection, number)

    def count(self, states: Iterable[State]) -> int:
        """Return how many rows are in some states.

        Raises:
            OutboxError: The outbox cannot be read.
        """
        wanted = sorted(states)
        query = f"SELECT count(*) FROM rows WHERE state IN {marks(wanted)}"
        with self._words():
            return int(self._connection.execute(query, wanted).fetchone()[0])

    def tally(self) -> Tally:
        """Return how many rows are in which state, and what is known of those that wait.

        Raises:
            OutboxError: The outbox cannot be read.
        """
        with self._words():
            counts = self._connection.execute(
                "SELECT state, CASE WHEN state = ? THEN pace END, count(*) FROM rows GROUP BY 1, 2",
                (State.QUEUED,),
            ).fetchall()
            oldest, soonest = self._connection.execute(
                "SELECT min(created_at), min(queued_until) FROM rows WHERE state = ?", (State.QUEUED,)
            ).fetchone()
            memory = self._connection.execute("SELECT value FROM meta WHERE key = ?", (MEMORY,)).fetchone()
        states, paces = Counter[State](), Counter[Pace | None]()
        for state, pace, count in counts:
            if state not in set(State) or pace not in {None, *Pace}:
                continue
            states[State(state)] += count
            if state == State.QUEUED:
                paces[None if pace is None else Pace(pace)] += count
        text = memory[0] if memory is not None and isinstance(memory[0], str) else None
        return Tally(dict(states), dict(paces), _moment(oldest), _moment(soonest), text)


def _moment(value: object) -> float | None:
    """Return a time of a row as it is, None for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def marks(values: Iterable[object]) -> str:
    """Return what stands for values in a list of SQL."""
    return f"({', '.join('?' for _ in values)})"


def select(
    connection: sqlite3.Connection, where: str, values: Iterable[object], limit: int, order: str = "number"
) -> list[Row]:
    """Return rows, without what is no row.

    Raises:
        sqlite3.Error: They cannot be read.
    """
    query = f"SELECT {COLUMNS} FROM rows WHERE {where} ORDER BY {order} LIMIT ?"
    found: list[Row] = []
    for one in connection.execute(query, (*values, limit)):
        with contextlib.suppress(UnfitError):
            found.append(read(one))
    return found


def stored_outgoing(connection: sqlite3.Connection, number: int) -> Outgoing:
    """Return the message of a row.

    Raises:
        NoRow: There is none, or its text is deleted.
        sqlite3.Error: It cannot be read.
    """
    found: Any = connection.execute("SELECT body FROM rows WHERE number = ?", (number,)).fetchone()
    if found is not None and isinstance(found[0], str):
        with contextlib.suppress(BadAct):
            return wire.from_text(found[0])
    raise NoRow("the outbox does not have the text of such a row, or does not have it any more")
