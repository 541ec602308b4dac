"""What others read of an account's messages in Postgres; see `messages.protocols`.

Whoever only reads needs a role that may do nothing else. Each call is a transaction of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from orchestrator.accounts.acts import BadAct
from orchestrator.messages.entry import Stored, UnfitError
from orchestrator.messages.outbox_form import NoRow
from orchestrator.messages.outbox_reader import Tally
from orchestrator.postgres.messages.box import Box, one
from orchestrator.postgres.messages.inbox import COLUMNS, stored
from orchestrator.postgres.messages.outbox import OUTBOX_MEMORY, select
from orchestrator.sending import wire
from orchestrator.sending.forms import Outgoing
from orchestrator.sending.row import Pace, Row, State

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection

_MAX_READ: Final = 16 << 20  # bytes of messages that are read at once, and one more message
_PAGE: Final = 50


class InboxRows:
    """The reader's end of an inbox.

    Args:
        connection: The database.
        box: The account's box.
        skipped: Called with the number of an entry that is none, which is left out.
    """

    def __init__(
        self, connection: Connection, box: Box, skipped: Callable[[object], object] = lambda _: None
    ) -> None:
        self._connection = connection
        self._box = box
        self._skipped = skipped

    def after(
        self, seq: int, limit: int = 100, *, chat: str | None = None, size: int = _MAX_READ
    ) -> list[Stored]:
        """Return entries with a higher number, in order: one at least, fewer than there are of large ones."""
        found: list[Stored] = []
        read = 0
        while len(found) < limit and read <= size:
            where, values = ("seq > %s", [seq]) if chat is None else ("chat = %s AND seq > %s", [chat, seq])
            rows = self._rows(where, values, min(_PAGE, limit - len(found)))
            for row in rows:
                seq = row[8]
                for entry in self._entries([row]):
                    found.append(entry)
                    read += len(entry.raw)
                if read > size:
                    return found
            if not rows:
                break
        return found

    def before_last(self, count: int) -> tuple[int, bool]:
        """Return the number after which the last entries come, and whether there are so many."""
        row = self._connection.execute(
            "SELECT min(seq), count(*) FROM (SELECT seq FROM orchestrator_messages.entry WHERE box = %s"
            " ORDER BY seq DESC LIMIT %s) AS last",
            [self._box.number, count],
        ).fetchone()
        assert row is not None
        return (0 if row[0] is None else int(row[0]) - 1), row[1] == count

    def chats_of(self, message_id: str, limit: int = 1000) -> list[str]:
        """Return the chats of the entries with an identifier."""
        rows = self._connection.execute(
            "SELECT chat FROM orchestrator_messages.entry WHERE box = %s AND id = %s"
            " GROUP BY chat ORDER BY min(seq) LIMIT %s",
            [self._box.number, message_id, limit],
        )
        return [str(chat) for (chat,) in rows]

    def message(self, chat: str, message_id: str) -> Stored | None:
        """Return the first message of a chat with an identifier, None without one."""
        return self._first("id = %s AND chat = %s AND source = 'message'", [message_id, chat])

    def latest(self, chat: str) -> Stored | None:
        """Return the last message of a chat, None without one."""
        rows = self._rows("chat = %s AND source = 'message'", [chat], 1, order="seq DESC")
        return next(self._entries(rows), None)

    def find(self, message_id: str, limit: int = 1000) -> list[Stored]:
        """Return the entries with an identifier, in order."""
        return list(self._entries(self._rows("id = %s", [message_id], limit)))

    def find_media(self, media: str) -> Stored | None:
        """Return the entry that has an attachment of this identifier, None if there is none."""
        return self._first("media = %s", [media])

    def with_media(self, seq: int, since: float = 0.0, limit: int = 100) -> list[tuple[int, str]]:
        """Return the numbers of later entries with attachments, and the attachments' identifiers."""
        rows = self._connection.execute(
            "SELECT seq, media FROM orchestrator_messages.entry WHERE box = %s AND seq > %s"
            " AND media IS NOT NULL AND stored_at >= %s ORDER BY seq LIMIT %s",
            [self._box.number, seq, since, limit],
        )
        return [(int(number), str(media)) for number, media in rows]

    def newest(self) -> int:
        """Return the highest number that was given, 0 if none was."""
        return int(
            one(
                self._connection,
                "SELECT coalesce((SELECT seq FROM orchestrator_messages.box WHERE box = %s), 0)",
                [self._box.number],
            )
        )

    def _first(self, where: str, values: list[Any]) -> Stored | None:
        return next(self._entries(self._rows(where, values, 1)), None)

    def _rows(self, where: str, values: list[Any], limit: int, order: str = "seq") -> list[Any]:
        query = (
            f"SELECT {COLUMNS} FROM orchestrator_messages.entry WHERE box = %s AND {where}"
            f" ORDER BY {order} LIMIT %s"
        )
        return self._connection.execute(query, [self._box.number, *values, limit]).fetchall()

    def _entries(self, rows: Iterable[Any]) -> Iterator[Stored]:
        for row in rows:
            try:
                yield stored(row)
            except (UnfitError, TypeError):
                self._skipped(row[8])


class OutboxRows:
    """The reader's end of an outbox.

    Args:
        connection: The database.
        box: The account's box.
    """

    def __init__(self, connection: Connection, box: Box) -> None:
        self._connection = connection
        self._box = box

    def rows(self, after: int = 0, limit: int = 100, states: Iterable[State] | None = None) -> list[Row]:
        """Return rows with a higher number, in order. What is no row is left out."""
        return select(
            self._connection, self._box, "number > %s AND state = ANY(%s)", [after, _words(states)], limit
        )

    def last(self, limit: int = 100, states: Iterable[State] | None = None) -> list[Row]:
        """Return the rows with the highest numbers, in order."""
        found = select(
            self._connection, self._box, "state = ANY(%s)", [_words(states)], limit, order="number DESC"
        )
        return found[::-1]

    def row(self, number: int) -> Row:
        """Return a row.

        Raises:
            NoRow: There is none.
        """
        found = select(self._connection, self._box, "number = %s", [number], 1)
        if not found:
            raise NoRow("the outbox has no such row, or does not have it any more")
        return found[0]

    def by_message(self, message: str) -> Row | None:
        """Return the row whose message has an identifier, None if there is none."""
        return next(iter(select(self._connection, self._box, "message = %s", [message], 1)), None)

    def outgoing(self, number: int) -> Outgoing:
        """Return the message of a row.

        Raises:
            NoRow: There is none, or its text is deleted.
        """
        row = self._connection.execute(
            "SELECT body FROM orchestrator_messages.outgoing WHERE box = %s AND number = %s",
            [self._box.number, number],
        ).fetchone()
        if row is not None and row[0] is not None:
            try:
                return wire.from_text(row[0])
            except BadAct:
                pass
        raise NoRow("the outbox does not have the text of such a row, or does not have it any more")

    def count(self, states: Iterable[State]) -> int:
        """Return how many rows are in some states."""
        return int(
            one(
                self._connection,
                "SELECT count(*) FROM orchestrator_messages.outgoing WHERE box = %s AND state = ANY(%s)",
                [self._box.number, _words(states)],
            )
        )

    def tally(self) -> Tally:
        """Return how many rows are in which state, and what is known of those that wait."""
        queued = str(State.QUEUED)
        counts = self._connection.execute(
            "SELECT state, CASE WHEN state = %s THEN pace END, count(*) FROM orchestrator_messages.outgoing"
            " WHERE box = %s GROUP BY 1, 2",
            [queued, self._box.number],
        ).fetchall()
        times = self._connection.execute(
            "SELECT min(created_at), min(queued_until) FROM orchestrator_messages.outgoing"
            " WHERE box = %s AND state = %s",
            [self._box.number, queued],
        ).fetchone()
        memory = self._connection.execute(
            "SELECT value FROM orchestrator_messages.meta WHERE box = %s AND key = %s",
            [self._box.number, OUTBOX_MEMORY],
        ).fetchone()
        states, paces = Counter[State](), Counter[Pace | None]()
        for state, pace, count in counts:
            if state not in set(State) or pace not in {None, *Pace}:
                continue
            states[State(state)] += count
            if state == State.QUEUED:
                paces[None if pace is None else Pace(pace)] += count
        oldest, soonest = times or (None, None)
        return Tally(dict(states), dict(paces), oldest, soonest, None if memory is None else str(memory[0]))


def _words(states: Iterable[State] | None) -> list[str]:
    return sorted(map(str, State if states is None else states))
