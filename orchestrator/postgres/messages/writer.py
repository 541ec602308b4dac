"""Writes what many accounts want to be stored, in one transaction; see `messages.group_commit`."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

import psycopg

from orchestrator.errors import Disowned, StoreAway, StoreUnusable
from orchestrator.messages import storing
from orchestrator.messages.storing import Question
from orchestrator.postgres import ids
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.failing import explain
from orchestrator.postgres.messages import answering, box
from orchestrator.postgres.messages.box import Box
from orchestrator.postgres.messages.inbox import APPEND, appended, appending

log = logging.getLogger(__name__)
logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of what is raised anyway

CHANNEL: Final = "orchestrator_messages"
"""What is notified when an account has something new: a hint, with the account's id."""


class Writer:
    """Writes by a connection of its own, for one thread.

    Args:
        database: The database.
        owner: The start of this service: whoever takes the accounts over is another.
        wall: Returns Unix seconds.
        told: Called with the name of an account that has something new, after each commit.
        check: Raises, within a transaction, if the accounts belong to another service by now.
    """

    def __init__(
        self,
        database: Database,
        owner: UUID,
        wall: Callable[[], float] = time.time,
        told: Callable[[str], object] = lambda _: None,
        check: Callable[[Connection], object] = lambda _: None,
    ) -> None:
        self._told = told
        self._check = check
        self._database = database
        self._owner = owner
        self._wall = wall
        self._connection: Connection | None = None
        self._boxes: dict[str, Box] = {}
        self._is_committing = False

    def store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        """Do what a group wants, all or nothing; return the answers.

        Args:
            group: Questions, with the names of the accounts that ask; one of each account.

        Raises:
            StoreAway: The database cannot be reached. What is in doubt, it may have done: asked again, it
                does that once.
            OrchestratorError, UnfitError: One of the group is refused, and nothing was done.
        """
        try:
            return self._store(group)
        except psycopg.Error as error:
            self._roll_back()
            if error.sqlstate == box.STALE:
                raise Disowned(box.DISOWNED) from None
            ours = explain(error, self._database.dsn)
            if isinstance(ours, StoreAway):
                ours.in_doubt = self._is_committing
            if isinstance(ours, StoreUnusable):
                log.error("messages cannot be stored: %s", ours)
            raise ours from None
        except BaseException:
            self._roll_back()
            raise

    def forget(self, account: str) -> None:
        """Look for an account's box again at its next question: another may be in its place."""
        self._boxes.pop(account, None)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        self._boxes = {}
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def _store(self, group: Sequence[tuple[str, Question]]) -> list[Any]:
        self._is_committing = False
        connection = self._connected()
        now = self._wall()
        boxes = [self._box(connection, account) for account, _ in group]
        answers: list[Any] = [None] * len(group)
        places = [place for place, (_, question) in enumerate(group) if question.word == "append"]
        entries = [
            appending(boxes[place], self._owner, storing.entry_of(group[place][1].arguments), now)
            for place in places
        ]
        with connection.pipeline():  # one way to the server and back for all of them
            cursors = [connection.execute(APPEND, entry) for entry in entries]
            _notify(connection, {boxes[place].account for place in places})
        for place, cursor in zip(places, cursors, strict=True):
            row = cursor.fetchone()
            assert row is not None
            answers[place] = [appended((row[0], row[1])), now]
        for place, (_, question) in enumerate(group):
            if question.word != "append":
                answers[place] = self._other(connection, boxes[place], question, now)
        self._is_committing = True
        connection.commit()
        # Not before: a box that was not committed is not there.
        self._boxes |= {account: one for (account, _), one in zip(group, boxes, strict=True)}
        for place in places:
            self._told(group[place][0])
        return answers

    def _other(self, connection: Connection, of: Box, question: Question, now: float) -> Any:  # noqa: ANN401
        if question.word in storing.READS:
            return answering.read(connection, of, question.word, question.arguments, now)
        token, *arguments = question.arguments
        done, answer = box.begin(connection, of, self._owner, token)
        if done:
            return json.loads(answer)
        result = answering.write(connection, of, question.word, tuple(arguments), now)
        box.end(connection, of, token, json.dumps(result).encode())
        if question.word in ("add", "move", "sent"):
            _notify(connection, {of.account})
        return result

    def _box(self, connection: Connection, account: str) -> Box:
        if (found := self._boxes.get(account)) is not None:
            return found
        self._check(connection)  # or one that was replaced would take what it has lost
        return box.own(connection, ids.of(connection, account), self._owner)

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._database.connect()
            box.become(self._connection, self._owner)
        return self._connection

    def _roll_back(self) -> None:
        if self._connection is not None:
            try:
                self._connection.rollback()
                box.become(self._connection, self._owner)  # what was set was taken back, too
            except psycopg.Error:
                self.close()


def _notify(connection: Connection, accounts: set[str]) -> None:
    for account in sorted(accounts):
        connection.execute("SELECT pg_notify(%s, %s)", [CHANNEL, account])
