"""All accounts of a cluster, as the database tells of them."""

from __future__ import annotations

import json

import pytest
from support.cluster_rows import own
from support.postgres import FreshDatabase

from orchestrator.postgres import ids, rows
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.fleet import LONGEST, Looks
from orchestrator.postgres.pending import Batch
from orchestrator.store import status
from orchestrator.store.status import Kept


@pytest.fixture
def database(fresh: FreshDatabase) -> Database:
    database = fresh.prepared()
    database.run(lambda connection: [ids.of(connection, name) for name in ("anna", "bert", "cora")])
    return database


def keep(connection: Connection, name: str, state: str) -> None:
    text = status.as_text(name, Kept(shown={"state": state}))
    rows.write(connection, Batch({name: text}, {}, {}, ()))


def test_owner_lease_and_what_was_written_down(database: Database) -> None:
    def prepare(connection: Connection) -> None:
        own(connection, "anna", "one", ends_in=9.0)
        own(connection, "bert", "two", ends_in=-1.0)
        keep(connection, "anna", "connected")

    database.run(prepare)
    found = database.run(Looks().look)
    assert set(found) == {"anna", "bert", "cora"}
    anna = found["anna"]
    assert (anna.shard, anna.is_new, anna.kept.shown) == ("one", False, {"state": "connected"})
    assert anna.lease_age is not None
    assert 3.0 <= anna.lease_age < 60
    assert found["bert"].shard is None, "its lease has ended, whether or not anybody has noticed"
    assert (found["cora"].shard, found["cora"].is_new, found["cora"].kept) == (None, True, Kept())


def test_the_next_look_has_what_has_changed_and_all_that_has_not(database: Database) -> None:
    looks = Looks()
    database.run(lambda connection: keep(connection, "anna", "connected"))
    database.run(lambda connection: keep(connection, "bert", "connected"))
    first = database.run(looks.look)
    database.run(
        lambda connection: connection.execute(
            "UPDATE orchestrator.status SET written_at = written_at - interval '1 hour'"
            " WHERE account = (SELECT id FROM orchestrator.account WHERE name = 'bert')"
        )
    )
    database.run(lambda connection: keep(connection, "anna", "stopped"))
    second = database.run(looks.look)
    assert second["anna"].kept.shown == {"state": "stopped"}
    assert second["bert"].kept is first["bert"].kept, "what is old is not read again"


def test_an_account_that_has_changed_its_owner_since_is_new_to_it(database: Database) -> None:
    def prepare(connection: Connection) -> None:
        keep(connection, "anna", "connected")
        own(connection, "anna", "two")
        connection.execute("UPDATE orchestrator.lease SET since = clock_timestamp()")

    database.run(prepare)
    looks = Looks()
    assert database.run(looks.look)["anna"].is_new
    database.run(lambda connection: keep(connection, "anna", "connecting"))
    assert not database.run(looks.look)["anna"].is_new


@pytest.mark.parametrize("kept", ["[]", '"text"', json.dumps({"stopped": "x" * LONGEST})])
def test_what_is_damaged_or_too_long_counts_for_nothing(database: Database, kept: str) -> None:
    def prepare(connection: Connection) -> None:
        keep(connection, "anna", "connected")
        connection.execute("UPDATE orchestrator.status SET kept = %s::json", [kept])

    database.run(prepare)
    assert database.run(Looks().look)["anna"].kept == Kept()
