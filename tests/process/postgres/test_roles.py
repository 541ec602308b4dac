"""Who may do what in the database: tried as each role, at a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from support.postgres import FreshDatabase

from orchestrator.errors import StateError, StoreUnusable
from orchestrator.messages import loss
from orchestrator.postgres import ids, roles, schema, sent, setup
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.dsn import parse
from orchestrator.postgres.leases import Leases, Me
from orchestrator.postgres.membership import Membership
from orchestrator.postgres.ownership import OwnerRow
from orchestrator.store.layout import StatePaths
from orchestrator.store.protocols import Ownership

A, B, Q = ids.make(), ids.make(), f"q{ids.make()[1:]}"
"""Roles are the whole server's, so that no other module may use these."""
OWN, HIDDEN = "49151:7@s.whatsapp.net", "269139479534551:7@lid"
SECRETS = [bytes((number,)) * 32 for number in range(1, 7)]


def as_role(fresh: FreshDatabase, role: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    dsn = replace(parse(fresh.dsn()), user=role, password=password)
    return psycopg.connect(**dsn.keywords(), autocommit=True)  # type: ignore[arg-type]


def link(fresh: FreshDatabase, role: str, password: str, device: str = "49151@s.whatsapp.net") -> None:
    with as_role(fresh, role, password) as connection:
        connection.execute("CREATE TABLE whatsmeow_device (jid text, noise_key bytea, identity_key bytea)")
        connection.execute("INSERT INTO whatsmeow_device VALUES (%s, 'n', 'i')", [device])


def link_to_send(fresh: FreshDatabase, role: str, password: str) -> None:
    """Give an account a session as the library makes it, with the secrets of messages."""
    with as_role(fresh, role, password) as connection:
        connection.execute(
            "CREATE TABLE whatsmeow_device (jid text, lid text, noise_key bytea, identity_key bytea)"
        )
        connection.execute("INSERT INTO whatsmeow_device VALUES (%s, %s, 'n', 'i')", [OWN, HIDDEN])
        connection.execute(
            "CREATE TABLE whatsmeow_message_secrets"
            " (our_jid text, chat_jid text, sender_jid text, message_id text, key bytea)"
        )
        rows = [
            (OWN, "1@lid", OWN, "3EB0OWN", SECRETS[0]),
            (OWN, "1@lid", HIDDEN.replace(":7", ""), "3EB0HIDDEN", SECRETS[1]),
            (OWN, "1@lid", "1@lid", "3EB0THEIRS", SECRETS[2]),
            ("49152:1@s.whatsapp.net", "1@lid", OWN, "3EB0OTHER", SECRETS[3]),
            (OWN, "1@lid", OWN, "3EB0SHORT", SECRETS[4][:31]),
        ]
        with connection.cursor() as cursor:
            cursor.executemany("INSERT INTO whatsmeow_message_secrets VALUES (%s, %s, %s, %s, %s)", rows)


def left(database: Database, *secrets: bytes) -> sent.Left:
    wanted = [loss.digest(one) for one in secrets]
    return database.run(lambda connection: sent.look(connection, A, wanted))


def look(database: Database, place: str) -> tuple[object, ...] | None:
    return database.run(
        lambda connection: connection.execute(
            "SELECT is_there, is_readable, jid FROM orchestrator_admin.look(%s)", [place]
        ).fetchone()
    )


@pytest.fixture
def control(fresh: FreshDatabase) -> Iterator[Database]:
    yield fresh.ready()
    with fresh.superuser() as connection:
        for role in (A, B):
            if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
                connection.execute(f"DROP OWNED BY {role} CASCADE")
                connection.execute(f"DROP ROLE {role}")


def test_init_makes_everything_and_can_be_repeated(fresh: FreshDatabase) -> None:
    with pytest.raises(StoreUnusable, match="functions of an administrator are not there"):
        setup.make_ready(fresh.parsed())
    for _ in range(2):
        setup.install(parse(fresh.administrator_dsn()), fresh.parsed("socket"))
    assert setup.make_ready(fresh.parsed())
    assert setup.make_ready(fresh.parsed()) == []
    assert fresh.open().run(setup.problems) == []


def test_who_makes_the_roles_may_put_them_into_their_group(fresh: FreshDatabase) -> None:
    # Postgres 15 lets CREATEROLE do so, and later ones do not.
    fresh.ready()
    with fresh.superuser() as connection:
        rows = connection.execute(
            "SELECT roleid::regrole::text, admin_option FROM pg_auth_members WHERE member = %s::regrole",
            [f"{fresh.role}_admin"],
        ).fetchall()
    assert dict(rows) == {f"{fresh.role}_accounts": True, "pg_signal_backend": False}


def test_an_account_does_as_it_likes_in_its_schema_and_is_locked_out_of_all_else(
    fresh: FreshDatabase, control: Database
) -> None:
    password, other = (control.run(lambda c, a=a: roles.make_account(c, a)) for a in (A, B))  # type: ignore[misc]
    link(fresh, A, password)
    link(fresh, B, other)
    control.run(lambda connection: ids.of(connection, "somebody"))
    everything = control.run(
        lambda connection: connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables WHERE schemaname LIKE 'orchestrator%'"
        ).fetchall()
    )
    assert len(everything) >= 2
    tables = [str(name) for (name,) in everything] + [f"{B}.whatsmeow_device"]
    verbs = (
        "SELECT * FROM {}", "INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}",
        "DROP TABLE {}", "BEGIN; LOCK TABLE {}", "COPY {} TO STDOUT",
    )  # fmt: skip
    with as_role(fresh, A, password) as connection:
        for table in tables:
            for verb in verbs:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(verb.format(table))
                connection.rollback()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.t (id int)",
        "CREATE TEMP TABLE t (id int)",
        "CREATE SCHEMA another",
        "CREATE ROLE another",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END'",
        "DO $$ BEGIN NULL; END $$",
        "COPY (SELECT 1) TO PROGRAM 'id'",
        "SELECT pg_read_file('PG_VERSION')",
        "SELECT orchestrator_admin.make_account('{B}', 'x')",
        "SELECT orchestrator_admin.drop_session('{B}')",
        "SELECT * FROM orchestrator_admin.look('{B}')",
        "SELECT * FROM orchestrator_admin.sent('{B}', '{{}}')",
        "SELECT * FROM orchestrator_admin.heard('{B}', 0, 1)",
        "SET ROLE {B}",
        "ALTER ROLE {B} NOLOGIN",
        "ALTER SCHEMA {A} RENAME TO x",
        "DROP SCHEMA {A} CASCADE",
        "GRANT ALL ON SCHEMA {A} TO {B}",
        "ALTER SYSTEM SET fsync = off",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> session_user",
    ],
)
def test_what_no_account_may(fresh: FreshDatabase, control: Database, statement: str) -> None:
    password, _ = (control.run(lambda c, a=a: roles.make_account(c, a)) for a in (A, B))  # type: ignore[misc]
    link(fresh, A, password)
    with as_role(fresh, A, password) as connection:
        before = connection.execute("SELECT count(*) FROM pg_namespace").fetchone()
        try:
            connection.execute(statement.format(A=A, B=B))
        except (psycopg.errors.InsufficientPrivilege, psycopg.errors.UndefinedFunction):
            return
        # Postgres only warns where nothing is granted.
        assert statement.startswith("GRANT")
        assert connection.execute("SELECT count(*) FROM pg_namespace").fetchone() == before
        row = connection.execute("SELECT has_schema_privilege(%s, %s, 'USAGE')", [B, A]).fetchone()
        assert row == (False,)


@pytest.mark.parametrize(
    "trap",
    [
        "DROP TABLE whatsmeow_device; CREATE VIEW whatsmeow_device AS SELECT {xml}::text AS jid,"  # noqa: ISC004
        " ''::bytea AS noise_key, ''::bytea AS identity_key",
        "ALTER TABLE whatsmeow_device ENABLE ROW LEVEL SECURITY;"  # noqa: ISC004
        " CREATE POLICY p ON whatsmeow_device USING ({xml} IS NOT NULL)",
        "DROP TABLE whatsmeow_device; CREATE TYPE word AS ENUM ('x');"  # noqa: ISC004
        " CREATE TABLE whatsmeow_device (jid word, noise_key bytea, identity_key bytea)",
        "ALTER TABLE whatsmeow_device DROP COLUMN jid",
        "DROP TABLE whatsmeow_device; CREATE TABLE whatsmeow_device"  # noqa: ISC004
        " (jid text, noise_key bytea, identity_key bytea) PARTITION BY LIST (jid)",
    ],
    ids=["view", "policy", "type", "column", "partitions"],
)
def test_what_an_account_puts_in_place_of_its_table_is_not_run(
    fresh: FreshDatabase, control: Database, trap: str
) -> None:
    password = control.run(lambda connection: roles.make_account(connection, A))
    link(fresh, A, password)
    assert look(control, A) == (True, True, "49151@s.whatsapp.net")
    with as_role(fresh, A, password) as connection:
        runs = "query_to_xml('CREATE ROLE taken', true, true, '')"  # as whoever reads
        connection.execute(trap.replace("{xml}", runs))
    assert look(control, A) == (True, False, None)
    with fresh.superuser() as connection:
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'taken'").fetchone() is None


def test_which_messages_have_left_is_told_without_a_secret(fresh: FreshDatabase, control: Database) -> None:
    password = control.run(lambda connection: roles.make_account(connection, A))
    assert left(control, *SECRETS) == sent.Left(), "nothing is certain without a session"
    link_to_send(fresh, A, password)
    found = left(control, *SECRETS)
    assert found.device == loss.device_of(OWN)
    assert found.found == {loss.digest(SECRETS[0]): "3EB0OWN", loss.digest(SECRETS[1]): "3EB0HIDDEN"}
    assert left(control, SECRETS[5]).found == {}
    told = control.run(
        lambda connection: connection.execute(
            "SELECT * FROM orchestrator_admin.sent(%s, %s)", [A, [loss.digest(one) for one in SECRETS]]
        ).fetchall()
    )
    assert not any(one in str(told).encode() for one in SECRETS)
    assert left(control, *[b"0" * 32] * (sent.MOST + 1)) == sent.Left(), "too many at once"
    with pytest.raises(StateError, match="too many"):
        control.run(
            lambda connection: connection.execute(
                "SELECT orchestrator_admin.sent(%s, array_fill('x'::bytea, ARRAY[10001]))", [A]
            )
        )


@pytest.mark.parametrize("id_", ["3EB0 A", "3EB0\n", "", "x" * 129, "x" * 5000, "3EB0\u202e"])
def test_a_message_of_which_nobody_can_say_how_it_is_called_makes_nothing_certain(
    fresh: FreshDatabase, control: Database, id_: str
) -> None:
    password = control.run(lambda connection: roles.make_account(connection, A))
    link_to_send(fresh, A, password)
    with as_role(fresh, A, password) as connection:
        connection.execute(
            "UPDATE whatsmeow_message_secrets SET message_id = %s WHERE message_id = '3EB0OWN'", [id_]
        )
    assert left(control, *SECRETS) == sent.Left(loss.device_of(OWN), None)
    assert left(control, SECRETS[1]).found == {loss.digest(SECRETS[1]): "3EB0HIDDEN"}


@pytest.mark.parametrize(
    "trap",
    [
        "DROP TABLE whatsmeow_message_secrets; CREATE VIEW whatsmeow_message_secrets AS SELECT"  # noqa: ISC004
        " {xml}::text AS our_jid, '' AS sender_jid, '' AS message_id, ''::bytea AS key",
        "ALTER TABLE whatsmeow_message_secrets ENABLE ROW LEVEL SECURITY;"  # noqa: ISC004
        " CREATE POLICY p ON whatsmeow_message_secrets USING ({xml} IS NOT NULL)",
        "ALTER TABLE whatsmeow_message_secrets DROP COLUMN key",
        "ALTER TABLE whatsmeow_device DROP COLUMN lid; ALTER TABLE whatsmeow_device ADD COLUMN lid xml",
        "DELETE FROM whatsmeow_device",
        "UPDATE whatsmeow_device SET jid = ''",
        "DROP TABLE whatsmeow_message_secrets",
    ],
    ids=["view", "policy", "column", "type", "unlinked", "nobody", "none"],
)
def test_a_session_that_is_none_says_nothing_of_messages_and_nothing_in_it_is_run(
    fresh: FreshDatabase, control: Database, trap: str
) -> None:
    password = control.run(lambda connection: roles.make_account(connection, A))
    link_to_send(fresh, A, password)
    with as_role(fresh, A, password) as connection:
        connection.execute(trap.replace("{xml}", "query_to_xml('CREATE ROLE taken', true, true, '')"))
    assert left(control, *SECRETS) == sent.Left()
    with fresh.superuser() as connection:
        assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'taken'").fetchone() is None


def test_functions_of_an_earlier_version_are_renewed_and_those_of_a_later_one_stay(
    fresh: FreshDatabase, control: Database
) -> None:
    def say(version: int) -> None:
        with fresh.superuser() as connection:
            connection.execute("DROP FUNCTION IF EXISTS orchestrator_admin.sent(text, bytea[])")
            connection.execute(f"COMMENT ON SCHEMA orchestrator_admin IS 'orchestrator {version}'")

    say(setup.FUNCTIONS - 1)
    with pytest.raises(StoreUnusable, match=r"earlier version: run `orchestrator cluster init --admin-dsn"):
        control.run(setup.check)
    setup.install(parse(fresh.administrator_dsn()), fresh.parsed("socket"))
    control.run(setup.check)
    assert left(control) == sent.Left()
    say(setup.FUNCTIONS + 1)
    with pytest.raises(StoreUnusable, match="later version of the orchestrator: install that"):
        control.run(setup.check)
    with pytest.raises(StoreUnusable, match="later version of the orchestrator: install that"):
        setup.install(parse(fresh.administrator_dsn()), fresh.parsed("socket"))


def test_a_forged_notification_is_only_a_hint(fresh: FreshDatabase, control: Database) -> None:
    password = control.run(lambda connection: roles.make_account(connection, A))
    with as_role(fresh, A, password) as connection:
        connection.execute("NOTIFY orders, 'forged'")
    assert control.run(ids.all_of) == {}


def test_a_password_is_in_no_log_and_the_one_before_is_of_no_use(
    fresh: FreshDatabase, control: Database
) -> None:
    first = control.run(lambda connection: roles.make_account(connection, A))
    second = control.run(lambda connection: roles.make_account(connection, A))
    as_role(fresh, A, second).close()
    with pytest.raises(psycopg.OperationalError, match="password"):
        as_role(fresh, A, first)
    log = fresh.server.log
    assert "make_account" in log  # every statement is logged
    assert first not in log
    assert second not in log
    with pytest.raises(StateError, match="never as it is"):
        control.run(
            lambda connection: connection.execute("SELECT orchestrator_admin.make_account(%s, 'plain')", [A])
        )


def test_an_account_that_is_shut_out_has_no_connection_left(fresh: FreshDatabase, control: Database) -> None:
    password = control.run(lambda connection: roles.make_account(connection, A))
    with as_role(fresh, A, password) as connection:
        assert control.run(lambda c: roles.is_in_use(c, A, patience=0))
        assert control.run(lambda c: roles.shut_out(c, A)) == 1
        assert not control.run(lambda c: roles.is_in_use(c, A, patience=0))
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        as_role(fresh, A, password)


def test_a_session_goes_away_whole_and_comes_back_to_whoever_gets_it(
    fresh: FreshDatabase, control: Database
) -> None:
    password, other = (control.run(lambda c, a=a: roles.make_account(c, a)) for a in (A, B))  # type: ignore[misc]
    link(fresh, A, password)

    def call(statement: str, *values: str) -> None:
        control.run(lambda connection: connection.execute(statement, values))

    call("SELECT orchestrator_admin.put_away(%s, %s)", A, Q)
    assert look(control, A) == (False, True, None)
    assert look(control, Q) == (True, True, "49151@s.whatsapp.net")
    with pytest.raises(psycopg.OperationalError):
        as_role(fresh, A, password)
    with as_role(fresh, B, other) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(f"SELECT * FROM {Q}.whatsmeow_device")
    call("SELECT orchestrator_admin.drop_session(%s)", B)
    call("SELECT orchestrator_admin.put_back(%s, %s)", Q, B)
    with as_role(fresh, B, other) as connection:
        connection.execute("ALTER TABLE whatsmeow_device ADD COLUMN more int")
        assert connection.execute("SELECT jid FROM whatsmeow_device").fetchone() == ("49151@s.whatsapp.net",)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ("SUPERUSER", "SUPERUSER"),
        ("CREATEROLE", "take over the whole server"),
        ("REPLICATION", "REPLICATION"),
    ],
)
def test_a_service_with_too_many_rights_is_refused(fresh: FreshDatabase, right: str, said: str) -> None:
    with fresh.server.superuser() as connection:
        connection.execute(f"ALTER ROLE {fresh.role} {right}")
    with pytest.raises(StoreUnusable, match=said):
        setup.make_ready(fresh.parsed())
    with pytest.raises(StoreUnusable, match=said):
        setup.install(parse(fresh.administrator_dsn()), fresh.parsed("socket"))


def test_a_service_that_got_too_many_rights_later_starts_no_more(
    tmp_path: Path, fresh: FreshDatabase, control: Database
) -> None:
    paths = StatePaths.of(tmp_path, environ={})
    paths.prepare()
    with fresh.server.superuser() as connection:
        connection.execute(f"ALTER ROLE {fresh.role} CREATEROLE")
    leases = Leases(control, Me("one", "host", "1", 10))
    members = [Membership(control, paths, leases, alone=it) for it in (True, False)]
    ways: list[Ownership] = [OwnerRow(control, paths), *members]
    for ownership in ways:
        with pytest.raises(StoreUnusable, match="take over the whole server"), ownership.take("the service"):
            pass


def test_only_the_service_calls_the_functions_even_of_those_who_may_act_as_it(
    fresh: FreshDatabase, control: Database
) -> None:
    def forged(connection: Connection) -> None:
        connection.execute("SELECT orchestrator_admin.drop_session(%s)", [A])

    control.run(forged)
    with fresh.superuser() as connection:
        connection.execute(f"SET ROLE {fresh.role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="only the service"):
            connection.execute("SELECT orchestrator_admin.drop_session(%s)", [A])


def test_names_that_postgres_would_cut_are_never_given_to_it(control: Database) -> None:
    text = setup.script(control.dsn)
    assert not re.search(r"@\w+@", text)
    assert control.run(schema.versions)
