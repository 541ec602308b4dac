"""Messages in the database are put away and come back with one write, and no number comes twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.outboxes import new
from support.postgres import FreshDatabase
from support.storing import storing_in

from orchestrator.messages.entry import Entry
from orchestrator.messages.remote import Channel, RemoteInbox, RemoteInboxView, RemoteOutbox
from orchestrator.postgres import ids
from orchestrator.postgres.database import Database
from orchestrator.postgres.messages.boxes import Boxes, names

ADA = "269139479534551@lid"
AWAY = "q_0123456789abcdef"
NAME = "support"


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    return fresh.prepared()


def append(open_one: Callable[[str], Channel], number: int) -> int | None:
    return RemoteInbox(open_one(NAME)).append(Entry("message", ADA, ADA, f"3EB0{number}", 1.0, b"x"))


def add(open_one: Callable[[str], Channel], key: str) -> int:
    return RemoteOutbox(open_one(NAME)).add(new(key)).row.number


def move(database: Database, *, back: bool) -> None:
    def work(connection: object) -> None:
        account = ids.of(connection, NAME)  # type: ignore[arg-type]
        owner, other = (AWAY, account) if back else (account, AWAY)
        Boxes().give(connection, owner, other)  # type: ignore[arg-type]

    database.run(work)


def holds(database: Database) -> bool:
    return database.run(lambda connection: Boxes().holds(connection, ids.of(connection, NAME)))


def had(database: Database) -> bool:
    return database.run(lambda connection: Boxes().had(connection, ids.of(connection, NAME)))


def test_what_is_put_away_is_whole_and_numbers_go_on(database: Database) -> None:
    with storing_in(database, time.time) as open_one:
        RemoteInbox(open_one(NAME))
        assert not holds(database), "nothing was stored yet"
        assert database.run(names) == []
        assert (append(open_one, 1), append(open_one, 2), add(open_one, "a")) == (1, 2, 1)
        assert holds(database)
        assert database.run(names) == [NAME]
        move(database, back=False)
        assert not holds(database)
        assert had(database), "its numbers were given"
        assert RemoteInbox(open_one(NAME)).count == 0
        assert (append(open_one, 1), add(open_one, "a")) == (3, 2), "another box, and no number again"
        assert holds(database)


def test_what_comes_back_is_as_it_was_and_counts_on(database: Database) -> None:
    with storing_in(database, time.time) as open_one:
        for number in range(3):
            append(open_one, number)
        add(open_one, "a")
        move(database, back=False)
        RemoteInbox(open_one(NAME))  # a process has come up meanwhile, and stored nothing
        move(database, back=True)
        channel = open_one(NAME)
        assert [one.seq for one in RemoteInboxView(channel).after(0)] == [1, 2, 3]
        assert [row.number for row in RemoteOutbox(channel).waiting()] == [1]
        assert append(open_one, 2) is None, "it knows what it had"
        assert append(open_one, 9) == 4
        assert add(open_one, "b") == 2


def test_what_is_dropped_is_gone_for_good(database: Database) -> None:
    with storing_in(database, time.time) as open_one:
        append(open_one, 1)
        add(open_one, "a")
    move(database, back=False)
    database.run(lambda connection: Boxes().drop(connection, AWAY))
    for table in ("box", "entry", "seen", "meta", "sent", "outgoing", "contact", "receipt"):
        query = f"SELECT count(*) FROM orchestrator_messages.{table}"
        count = database.run(lambda connection, query=query: connection.execute(query).fetchone())  # type: ignore[misc]
        assert count == (0,), table
