"""Which messages an account has decrypted, as its session in the database tells; see `messages.loss`.

The session is read by a function of an administrator (``admin.sql``), which tells no secret.
"""

from __future__ import annotations

from typing import Any, Final

from orchestrator.messages import loss
from orchestrator.postgres.database import Connection

MOST: Final = 10_000
"""Messages that are looked at: of a kill, only the last hundred or so matter."""


def look(connection: Connection, account: str, device: str | None, row: int, print_: str) -> list[Any] | None:
    """Look into a session for what came since a mark.

    Args:
        connection: The database, as the service.
        account: The account's id.
        device: The mark's device, None without a mark: then the last place is all that is told.
        row: The mark's place.
        print_: What stands for what is there.

    Returns:
        What `loss.Session.of` takes. None if nothing is certain.
    """
    rows = connection.execute(
        "SELECT what, place, chat, sender, message_id, digest FROM orchestrator_admin.heard(%s, %s, %s)",
        [account, row, MOST],
    ).fetchall()
    if not rows:
        return None
    _, _, jid, lid, *_ = rows[0]
    there = loss.device_of(jid)
    marks = {what: _mark(jid, *about) for what, *about in rows if what in ("last", "mark")}
    last = marks.get("last", (0, ""))
    own = [loss.bare(one) for one in (jid, lid) if one]
    if device != there or (row and marks.get("mark") != (row, print_)):
        return [there, own, *last, [], []]
    # The newest comes first, and is told last.
    messages = [about for what, *about in reversed(rows) if what == "message"]
    people = [[hidden, number] for what, _, hidden, number, *_ in rows if what == "person"]
    return [there, own, *last, messages, people]


def _mark(jid: str, place: int, chat: str, sender: str, id_: str, *_: object) -> tuple[int, str]:
    return place, loss.stands_for(str(place), jid, chat, sender, id_)
