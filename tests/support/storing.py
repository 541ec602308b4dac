"""Messages in Postgres, as an account's process has them: over a socket to who commits for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from orchestrator.messages.remote import Channel
from orchestrator.messages.serving import Serving

if TYPE_CHECKING:
    from orchestrator.postgres.database import Database


@contextmanager
def storing_in(
    database: Database,
    wall: Callable[[], float],
    *,
    owner: UUID | None = None,
    lost: Callable[[], object] = lambda: None,
) -> Iterator[Callable[[str], Channel]]:
    """Store messages in a database, as a service does; yield what opens a channel of an account.

    Args:
        database: The database, with its tables.
        wall: Returns Unix seconds.
        owner: The start of the service; None: a new one.
        lost: Told that the database cannot be reached.
    """
    from orchestrator.postgres.messages.writer import Writer

    storing = Serving(Writer(database, owner or uuid4(), wall), lost)
    storing.start()
    channels: list[Channel] = []

    def open_one(account: str) -> Channel:
        channels.append(Channel(storing.open(account)))
        return channels[-1]

    try:
        yield open_one
    finally:
        for channel in channels:
            channel.close()
        storing.close()
