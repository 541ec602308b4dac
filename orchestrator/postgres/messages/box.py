"""The box of an account: all that is kept of its messages, known by a number.

A box that is put away, or comes back, keeps its rows: only where it stands changes, by one write.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from orchestrator.errors import Disowned

if TYPE_CHECKING:
    from orchestrator.postgres.database import Connection

STALE: Final = "OR001"
"""The state of SQL by which a write of another service than the owner is refused; see ``messages.sql``."""


DISOWNED: Final = "another service has taken over this account's messages"


@dataclass(frozen=True, slots=True)
class Box:
    """Which box it is.

    Attributes:
        number: By which it is known.
        account: The account's id.
    """

    number: int
    account: str


def find(connection: Connection, account: str) -> Box | None:
    """Return the box of an account, None if it has none yet.

    Args:
        connection: The database.
        account: The account's id.
    """
    row = connection.execute(
        "SELECT box FROM orchestrator_messages.box WHERE account = %s", [account]
    ).fetchone()
    return None if row is None else Box(int(row[0]), account)


def own(connection: Connection, account: str, owner: UUID) -> Box:
    """Return the box of an account for the service that runs the account; make it if there is none.

    Whoever owned it before writes nothing any more: the transaction waits for what was begun.

    Args:
        connection: The database.
        account: The account's id.
        owner: The start of the service.
    """
    number = one(
        connection,
        "INSERT INTO orchestrator_messages.box AS mine"
        " (account, owner, began_seq, seq, began_number, number)"
        " SELECT %(account)s, %(owner)s, coalesce(max(seq), 0), coalesce(max(seq), 0),"
        " coalesce(max(number), 0), coalesce(max(number), 0)"
        " FROM orchestrator_messages.counted WHERE account = %(account)s"
        " ON CONFLICT (account) DO UPDATE SET owner = excluded.owner RETURNING box",
        {"account": account, "owner": owner},
    )
    return Box(int(number), account)


def become(connection: Connection, owner: UUID) -> None:
    """Have the rest of a connection's writes be of the service of this start."""
    connection.execute("SELECT set_config('orchestrator.owner', %s, false)", [str(owner)])


def begin(connection: Connection, box: Box, owner: UUID, token: bytes) -> tuple[bool, bytes]:
    """Lock a box for a write, until the end of the transaction.

    Args:
        connection: The database.
        box: The box.
        owner: The start of the service that writes.
        token: By which the write is known again.

    Returns:
        Whether the write was done already, and what was answered.

    Raises:
        Disowned: Another service owns the box.
    """
    row = connection.execute(
        "SELECT request, answer FROM orchestrator_messages.box WHERE box = %s AND owner = %s FOR UPDATE",
        [box.number, owner],
    ).fetchone()
    if row is None:
        raise Disowned(DISOWNED)
    return row[0] == token, row[1] or b""


def end(connection: Connection, box: Box, token: bytes, answer: bytes) -> None:
    """Note in the transaction of a write what is answered to it.

    Args:
        connection: The database.
        box: The box.
        token: By which the write is known again.
        answer: What is answered.
    """
    connection.execute(
        "UPDATE orchestrator_messages.box SET request = %s, answer = %s WHERE box = %s",
        [token, answer, box.number],
    )


def plain(text: str | None) -> str | None:
    """Return a text as Postgres takes it: it has no character of number 0, and no half of one."""
    if text is None:
        return None
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def one(connection: Connection, query: Any, values: Any) -> Any:  # noqa: ANN401 - a value of the database
    """Return the only value of the only row of a query."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row[0]
