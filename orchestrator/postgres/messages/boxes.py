"""Moves messages of accounts, as `postgres.sessions` has it done when an account is removed or restored."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection


class Boxes:
    """The messages in the database, by the id of an account or of what was put away."""

    def holds(self, connection: Connection, owner: str) -> bool:
        """Tell whether there are messages, or were before they were kept long enough."""
        row = connection.execute(
            "SELECT FROM orchestrator_messages.box"
            " WHERE account = %s AND (seq > began_seq OR number > began_number)",
            [owner],
        ).fetchone()
        return row is not None

    def had(self, connection: Connection, owner: str) -> bool:
        """Tell whether messages of an account were ever numbered."""
        row = connection.execute(
            "SELECT FROM orchestrator_messages.counted WHERE account = %s", [owner]
        ).fetchone()
        return row is not None or self.holds(connection, owner)

    def give(self, connection: Connection, owner: str, other: str) -> None:
        """Let messages belong to another id, which has none. Nobody writes there until somebody owns them.

        A later box of the first id goes on counting after this one, and this one after earlier ones of the
        other.
        """
        self._count(connection, owner)
        self._count(connection, other)
        connection.execute("DELETE FROM orchestrator_messages.box WHERE account = %s", [other])
        connection.execute(
            "UPDATE orchestrator_messages.box AS moved SET account = %(other)s, owner = NULL,"
            " seq = greatest(moved.seq, counted.seq), number = greatest(moved.number, counted.number)"
            " FROM (SELECT coalesce(max(seq), 0) AS seq, coalesce(max(number), 0) AS number"
            " FROM orchestrator_messages.counted WHERE account = %(other)s) AS counted"
            " WHERE moved.account = %(owner)s",
            {"owner": owner, "other": other},
        )

    def drop(self, connection: Connection, owner: str) -> None:
        """Delete messages for good."""
        self._count(connection, owner)
        connection.execute("DELETE FROM orchestrator_messages.box WHERE account = %s", [owner])

    def _count(self, connection: Connection, owner: str) -> None:
        """Note the highest numbers that the box of an account has given."""
        connection.execute(
            "INSERT INTO orchestrator_messages.counted AS known (account, seq, number)"
            " SELECT account, seq, number FROM orchestrator_messages.box WHERE account = %s"
            " AND account LIKE 'a\\_%%' AND (seq > 0 OR number > 0)"
            " ON CONFLICT (account) DO UPDATE SET seq = greatest(known.seq, excluded.seq),"
            " number = greatest(known.number, excluded.number)",
            [owner],
        )


def names(connection: Connection) -> list[str]:
    """Return the names of the accounts that have messages."""
    rows = connection.execute(
        "SELECT known.name FROM orchestrator.account AS known JOIN orchestrator_messages.box"
        " ON box.account = known.id WHERE box.seq > began_seq OR box.number > began_number"
    )
    return [str(name) for (name,) in rows]
