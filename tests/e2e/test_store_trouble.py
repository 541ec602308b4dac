"""The database's own trouble: accounts leave before a message is lost, wait, and come back by themselves."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import pytest
from psycopg import sql
from support import stores
from support.conversation import Contact
from support.full_disk import fill, small_disk
from support.linked import wait_until
from support.postgres import FreshDatabase, PostgresServer, serving, skip_without_postgres
from support.service import Json, Service

from orchestrator.sandbox.process import SandboxProcess

pytestmark = pytest.mark.timeout(600)

ACCOUNTS = {"open": {"messages": {"allow": "*"}}, "other": {"messages": {"allow": "*"}}}
DISK_KILOBYTES = 160 * 1024


@dataclass
class World:
    """A service whose accounts are in a database of its own, and somebody who writes to them."""

    service: Service
    server: PostgresServer
    database: FreshDatabase
    ada: Contact
    numbers: dict[str, str]

    def write(self, text: str) -> str:
        return self.ada.write(self.numbers["open"], text)

    def stored(self, *ids: str) -> None:
        """Wait until messages are stored; each has to be there once."""

        def look() -> list[str]:
            with self.service.kept.inbox("open") as inbox:
                return [one.id for one in inbox.after(0, 10_000) if one.id in ids]

        wait_until(lambda: set(look()) == set(ids), "a message is not stored")
        assert sorted(look()) == sorted(ids), "a message is stored twice"

    def wait_until_away(self) -> None:
        """Wait until nobody is linked, and see that everybody waits for the store."""
        for name, number in self.numbers.items():
            self.service.until(lambda all_, name=name: waits(all_[name]), f"{name} waits for the store")  # type: ignore[misc]
            self.service.wait_until_away(number)
        # A restart would help nobody.
        assert self.service.command("ping").returncode == 0

    def wait_until_back(self, attempts: int = 0) -> None:
        for name in self.numbers:
            account = self.service.wait_for_state(name, "connected")
            assert account["attempt"] == attempts
            assert not self.service.quarantined(name)
            assert "pairing" not in [entry["to"] for entry in self.service.timeline(name)[4:]]


def waits(account: Json) -> bool:
    """Tell whether an account has no process, and waits for the database alone."""
    found = (account["state"], account["kind"], account["pid"], account["attempt"], account["next_retry_at"])
    return found == ("backoff", "store", None, 0, None)


@contextmanager
def running(
    server: PostgresServer, sandbox: SandboxProcess, ada: Contact, numbers: dict[str, str], folder: Path
) -> Iterator[World]:
    store = stores.Postgres(server)
    with stores.using(store), Service(folder, sandbox, ACCOUNTS) as service:
        for name, number in numbers.items():
            service.pair(name, number)
        yield World(service, server, store.database(folder), ada, numbers)
        assert not [line for line in service.log if "Traceback" in line]


@pytest.fixture
def numbers(make_number: Callable[[], str]) -> dict[str, str]:
    return {name: make_number() for name in ACCOUNTS}


@pytest.fixture
def world(sandbox: SandboxProcess, ada: Contact, numbers: dict[str, str], folder: Path) -> Iterator[World]:
    with serving(log_statement="none") as server, running(server, sandbox, ada, numbers, folder) as world:
        yield world


@pytest.mark.parametrize("how", ["in good order", "by a crash"])
def test_the_server_of_the_database_ends_and_comes_back(world: World, how: str) -> None:
    world.stored(first := world.write("before"))
    (world.server.stop if how == "in good order" else world.server.crash)()
    world.wait_until_away()
    waiting = [world.write(f"while it is away {number}") for number in range(5)]
    world.server.start()
    world.wait_until_back()
    world.stored(first, *waiting, world.write("after"))


def test_a_service_that_starts_while_the_database_is_away_waits(world: World) -> None:
    world.service.stop()
    world.server.stop()
    world.service.launch()
    world.service.wait_for_log("the service waits for its store")
    for account in world.service.accounts():
        assert (account["state"], account["kind"], account["pid"]) == ("backoff", "store", None)
    assert world.service.command("ping").returncode == 0
    waiting, known = world.write("while it is away"), len(world.service.log)
    world.server.start()
    world.service.wait_for_log("the control socket is", after=known)
    world.wait_until_back()
    world.stored(waiting)


def test_a_database_that_takes_no_writes(world: World) -> None:
    """As after a failover to a server that only follows another one."""

    def set_read_only(word: LiteralString) -> None:
        alter = sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = " + word)
        with world.server.superuser() as connection:
            connection.execute(alter.format(sql.Identifier(world.database.name)))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [world.database.name],
            )

    set_read_only("on")
    world.wait_until_away()
    waiting = world.write("while it takes no writes")
    set_read_only("off")
    world.wait_until_back()
    world.stored(waiting, world.write("after"))


def test_the_disk_of_the_database_is_full(
    sandbox: SandboxProcess, ada: Contact, numbers: dict[str, str], folder: Path
) -> None:
    """Postgres itself may end by that; whoever runs it starts it again when there is room.

    What comes in a burst meanwhile may be lost: the library cannot decrypt what it cannot write about.
    """
    skip_without_postgres()
    with (
        tempfile.TemporaryDirectory(prefix="small-", ignore_cleanup_errors=True) as place,
        small_disk(Path(place) / "disk", DISK_KILOBYTES) as disk,
    ):
        Path(place).chmod(0o755)  # the server runs as another user
        server = PostgresServer(disk, log_statement="none", max_wal_size="32MB", min_wal_size="32MB")
        server.start()
        try:
            with running(server, sandbox, ada, numbers, folder) as world:
                world.stored(first := world.write("before"))
                filler = fill(disk)
                for _ in range(150):
                    world.write("x" * 20_000)
                world.service.wait_for_state("open", "backoff")
                filler.unlink()
                server.stop()
                server.start()
                world.wait_until_back()
                world.stored(first, world.write("after"))
        finally:
            server.close()
            server.stop(signal.SIGQUIT)
