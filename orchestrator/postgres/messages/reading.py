"""Answers the questions of those who only read, by a connection on which nothing can be written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Any, Final

import psycopg

from orchestrator.errors import StoreUnusable
from orchestrator.messages import storing
from orchestrator.messages.storing import Question
from orchestrator.postgres import ids
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.failing import explain
from orchestrator.postgres.messages import answering, box

_NOTHING: Final = box.Box(0, "")
"""The box of an account that has none yet: nothing is in it."""


class ReadOnly:
    """Reads by a connection of its own, for one thread.

    Args:
        database: The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    def store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        """Answer a group of questions.

        Raises:
            StoreAway: The database cannot be reached.
            StoreUnusable: One of the group would write, or is about a session.
            OutboxError: What one of the group asks for is not there.
        """
        may = storing.READS - storing.OF_SESSIONS
        if any(question.word not in may for _, question in group):
            raise StoreUnusable("who reads messages writes none")
        try:
            connection = self._connected()
            with connection.transaction():  # all of it is of one moment
                return [self._answer(connection, account, question) for account, question in group]
        except psycopg.Error as error:
            self.close()
            raise explain(error, self._database.dsn) from None

    def forget(self, account: str) -> None:
        """Do nothing: nothing is remembered of an account."""

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _answer(self, connection: Connection, account: str, question: Question) -> Any:  # noqa: ANN401
        found = ids.find(connection, account)
        of = None if found is None else box.find(connection, found)
        return answering.read(connection, of or _NOTHING, question.word, question.arguments, time.time())

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = self._database.connect(autocommit=True)
            connection.execute("SET default_transaction_read_only = on")
            self._connection = connection
        return self._connection
