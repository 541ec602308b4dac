"""Which messages of an account have left, as its session in the database tells; see `store.sent_secrets`.

The session is read by a function of an administrator (``admin.sql``), which tells no secret.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from orchestrator.messages import loss
from orchestrator.postgres.database import Connection
from orchestrator.store.sent_secrets import is_id

MOST: Final = 10_000
"""Messages that one question is about; the database's function takes no more."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a session tells.

    Attributes:
        device: Stands for the linked device, None if there is none, or if the session cannot be read.
        found: Identifiers of the messages that have left, or may have, by what stands for their secrets; None
            if nothing is certain, also of the others.
    """

    device: str | None = None
    found: Mapping[bytes, str] | None = field(default=None, repr=False)


def look(connection: Connection, account: str, wanted: Collection[bytes]) -> Left:
    """Look into a session for what stands for secrets.

    Args:
        connection: The database, as the service.
        account: The account's id.
        wanted: What stands for the secrets of messages; see `loss.digest`.
    """
    if len(wanted) > MOST:
        return Left()
    rows = connection.execute(
        "SELECT jid, digest, message_id FROM orchestrator_admin.sent(%s, %s)", [account, list(wanted)]
    ).fetchall()
    if not rows:
        return Left()
    device = loss.device_of(str(rows[0][0]))
    found = {bytes(digest): str(id_) for _, digest, id_ in rows[1:]}
    # If one is there, and nobody can say what it is called, nothing is certain.
    return Left(device, found if all(map(is_id, found.values())) else None)
