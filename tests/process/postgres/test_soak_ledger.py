"""What the database writes down for a soak of a cluster, at a real server: who wrote, and who was owner."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from support.postgres import FreshDatabase

from benchmarks.cluster_soak import checks, ledger
from benchmarks.cluster_soak.observed import Write
from orchestrator.cluster.actions import Claim, Register
from orchestrator.cluster.board import Report
from orchestrator.cluster.events import Claimed, Granted
from orchestrator.postgres import ids, roles
from orchestrator.postgres.leases import Leases, Me

NAME = "anna"
TABLE = "whatsmeow_sessions"
SHARDS = {"127.0.0.1": "one"}


class World:
    """An account with a session of one table, and a shard."""

    def __init__(self, fresh: FreshDatabase) -> None:
        self.fresh = fresh
        database = fresh.ready()
        self.account = database.run(lambda connection: ids.of(connection, NAME))
        self.password = database.run(lambda connection: roles.make_account(connection, self.account))
        with self.session() as connection:
            connection.execute(f"CREATE TABLE {TABLE} (key int)")
        self.leases = Leases(database, Me("one", "host", "1.0", 10))
        self.incarnation = str(uuid.uuid4())
        assert isinstance(self.leases.ask(Register(self.incarnation, Report()), 0.0), Granted)

    def session(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection as the account's process has it."""
        return psycopg.connect(self.fresh.dsn(user=self.account, password=self.password), autocommit=True)

    def claim(self) -> None:
        assert isinstance(self.leases.ask(Claim(self.incarnation, 1), 0.0), Claimed)

    def writes(self) -> list[Write]:
        with self.fresh.superuser() as connection:
            return ledger.writes(connection, SHARDS)


@pytest.fixture
def world(fresh: FreshDatabase) -> World:
    world = World(fresh)
    with fresh.superuser() as connection:
        assert ledger.install(connection) == 1
        assert ledger.install(connection) == 0
    return world


def test_a_write_says_who_has_written_and_who_owned_the_account(world: World) -> None:
    with world.session() as connection:
        connection.execute(f"INSERT INTO {TABLE} VALUES (1)")
        world.claim()
        connection.execute(f"UPDATE {TABLE} SET key = 2")
        connection.execute(f"DELETE FROM {TABLE}")
        connection.execute(f"SELECT * FROM {TABLE}")
    first, second, third = world.writes()
    assert (first.account, first.table, first.shard) == (NAME, TABLE, "one")
    assert [one.owner for one in (first, second, third)] == [None, "one", "one"]
    assert [one.epoch for one in (first, second, third)] == [0, 1, 1]
    assert len({one.connection for one in (first, second, third)}) == 1
    assert first.at < second.at < third.at
    assert checks.late_writes([first, second, third]) == 1


def test_what_was_taken_back_is_no_write(world: World) -> None:
    with world.session() as connection, connection.transaction(force_rollback=True):
        connection.execute(f"INSERT INTO {TABLE} VALUES (1)")
    assert world.writes() == []


def test_who_writes_at_the_server_itself_is_no_shard(world: World) -> None:
    world.claim()
    with world.fresh.superuser() as connection:
        connection.execute(f"INSERT INTO {world.account}.{TABLE} VALUES (1)")
    (write,) = world.writes()
    assert write.shard is None
    assert [one.check for one in checks.foreign_writes([write])] == ["foreign write"]
