"""What a session in the database tells of the messages that were decrypted, at a real server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
import pytest
from support.postgres import FreshDatabase

from orchestrator.errors import StateError
from orchestrator.messages import loss
from orchestrator.messages.loss import Session
from orchestrator.postgres import heard, roles
from orchestrator.postgres.database import Database

A = "a_7d00000000000001"
OWN, HIDDEN = "49151:7@s.whatsapp.net", "269139479534551:7@lid"
ADA, BOB = "1:3@lid", "49152@s.whatsapp.net"
SECRET = b"secret" * 5 + b"!!"


class World:
    """An account with a session as the library makes it."""

    def __init__(self, fresh: FreshDatabase) -> None:
        self.fresh = fresh
        self.control = fresh.ready()
        self.password = self.control.run(lambda connection: roles.make_account(connection, A))

    def session(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a connection as the account's process has it."""
        return psycopg.connect(self.fresh.dsn(user=A, password=self.password), autocommit=True)

    def link(self) -> None:
        with self.session() as connection:
            connection.execute(
                "CREATE TABLE whatsmeow_device (jid text, lid text, noise_key bytea, identity_key bytea);"
                "CREATE TABLE whatsmeow_lid_map (lid text, pn text);"
                "CREATE TABLE whatsmeow_message_secrets"
                " (our_jid text, chat_jid text, sender_jid text, message_id text, key bytea)"
            )
            connection.execute("INSERT INTO whatsmeow_device VALUES (%s, %s, 'n', 'i')", [OWN, HIDDEN])
            connection.execute(
                "INSERT INTO whatsmeow_lid_map VALUES ('1', '49150'), ('2', '49152'), ('3', '4')"
            )

    def decrypt(self, *ids: str, sender: str = ADA, own: str = OWN) -> None:
        """Have the library write secrets down, each in a transaction of its own."""
        with self.session() as connection:
            for id_ in ids:
                connection.execute(
                    "INSERT INTO whatsmeow_message_secrets VALUES (%s, %s, %s, %s, %s)",
                    [own, sender, sender, id_, SECRET],
                )

    def look(self, since: Session | None = None) -> Session | None:
        """Look since what an earlier look has shown."""
        device, row, print_ = (None, 0, "") if since is None else (since.device, since.row, since.print)
        return of(self.control, device, row, print_)

    def seen(self, since: Session | None = None) -> Session:
        found = self.look(since)
        assert found is not None
        return found


def of(control: Database, device: str | None, row: int, print_: str) -> Session | None:
    found = control.run(lambda connection: heard.look(connection, A, device, row, print_))
    return None if found is None else Session.of(*found)


def ids(session: Session) -> Sequence[str]:
    return [one.suspect.id for one in session.secrets]


@pytest.fixture
def world(fresh: FreshDatabase) -> Iterator[World]:
    yield World(fresh)
    with fresh.superuser() as connection:
        connection.execute(f"DROP OWNED BY {A} CASCADE; DROP SCHEMA {A} CASCADE; DROP ROLE {A}")


def test_what_came_since_is_told_in_its_order(world: World) -> None:
    assert world.look() is None, "nothing is certain without a session"
    world.link()
    empty = world.seen()
    assert (empty.device, empty.row, ids(empty)) == (loss.device_of(OWN), 0, [])
    assert empty.own == {loss.bare(OWN), loss.bare(HIDDEN)}
    world.decrypt("A", "B")
    first = world.seen(empty)
    assert ids(first) == ["A", "B"]
    world.decrypt("C", sender=BOB)
    world.decrypt("OTHER", own="49159:1@s.whatsapp.net")
    second = world.seen(first)
    assert ids(second) == ["C"]
    assert second.row > first.row > 0
    assert ids(world.seen(second)) == []
    (secret,) = second.secrets
    assert (secret.suspect.chat, secret.digest) == (BOB, loss.digest(SECRET))
    assert second.people == loss.other_address("2", "49152")
    assert first.people == loss.other_address("1", "49150")


def test_a_mark_of_something_else_begins_anew(world: World) -> None:
    world.link()
    world.decrypt("A", "B")
    first = world.seen()
    assert ids(first) == [], "without a mark only the last place is told"
    world.decrypt("C")
    for device, row, print_ in (
        ("other", first.row, first.print),
        (first.device, first.row, "other"),
        (first.device, first.row - 1, first.print),
        (first.device, first.row + 10**6, first.print),
    ):
        found = of(world.control, device, row, print_)
        assert found is not None
        assert (ids(found), found.row > first.row) == ([], True)
    assert ids(world.seen(first)) == ["C"]


def test_places_stay_while_the_server_cleans_up_and_others_write(world: World) -> None:
    world.link()
    world.decrypt("A")
    first = world.seen()
    with world.fresh.superuser() as connection:
        connection.execute("CREATE TABLE busy (n int)")
        for _ in range(20):
            connection.execute("INSERT INTO busy VALUES (1)")
        connection.execute(f"VACUUM FREEZE {A}.whatsmeow_message_secrets")
    again = world.seen(first)
    assert (again.row, again.print, ids(again)) == (first.row, first.print, [])
    world.decrypt("B")
    assert ids(world.seen(first)) == ["B"]


def test_no_secret_is_told_and_no_more_than_is_asked_for(world: World) -> None:
    world.link()
    world.decrypt("A", "B", "C")
    rows = world.control.run(
        lambda connection: connection.execute(
            "SELECT * FROM orchestrator_admin.heard(%s, 0, 2)", [A]
        ).fetchall()
    )
    assert SECRET not in str(rows).encode()
    assert sorted(row[4] for row in rows if row[0] == "message") == ["B", "C"]
    with pytest.raises(StateError, match="too many"):
        world.control.run(
            lambda connection: connection.execute("SELECT orchestrator_admin.heard(%s, 0, 10001)", [A])
        )


@pytest.mark.parametrize("table", ["whatsmeow_device", "whatsmeow_message_secrets", "whatsmeow_lid_map"])
def test_what_an_account_puts_in_place_of_a_table_is_not_run(world: World, table: str) -> None:
    world.link()
    world.decrypt("A")
    first = world.seen()
    with world.session() as connection:
        connection.execute(
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;"
            f" CREATE POLICY p ON {table}"
            " USING (query_to_xml('CREATE ROLE taken', true, true, '') IS NOT NULL)"
        )
    assert world.look(first) is None
    with world.fresh.superuser() as connection:
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'taken'").fetchone() is None
