"""What an administrator of the server does once, and whether it was done: see ``admin.sql`` beside this."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final, LiteralString

from psycopg import sql

from orchestrator.errors import StoreUnusable
from orchestrator.postgres import rights, schema
from orchestrator.postgres.database import Connection, Database
from orchestrator.postgres.dsn import Dsn

OLDEST: Final = 14
"""The oldest version of Postgres; tests run on 15."""
FUNCTIONS: Final = 2
"""The version of the functions of an administrator, which a comment in the database names."""
LATER: Final = (
    "the functions of an administrator are of a later version of the orchestrator: install that version, and"
    " do not go back"
)


def script(dsn: Dsn) -> LiteralString:
    """Return what an administrator runs in the database, for the role and the database of a DSN."""
    text = resources.files(__package__).joinpath("admin.sql").read_text("utf-8")
    admin, accounts = f"{dsn.user}_admin", f"{dsn.user}_accounts"
    for key, name in {"control": dsn.user, "admin": admin, "accounts": accounts}.items():
        text = text.replace(f"@{key}_name@", sql.Literal(name).as_string())
        text = text.replace(f"@{key}@", sql.Identifier(name).as_string())
    return text.replace("@database@", sql.Identifier(dsn.database).as_string())


def install(administrator: Dsn, dsn: Dsn) -> None:
    """Run what an administrator has to run; all or nothing.

    Args:
        administrator: The same database as one who may do it.
        dsn: The database as the service.

    Raises:
        StateError: It cannot be done; the message says why.
    """
    if (administrator.host, administrator.port) != (dsn.host, dsn.port):
        raise StoreUnusable("the administrator's DSN is of another server than store.dsn_file: name the same")
    if administrator.user == dsn.user:
        raise StoreUnusable(f"the administrator's DSN has the service's own role: {rights.TOO_MUCH}")
    if administrator.database != dsn.database:
        raise StoreUnusable("the administrator's DSN is of another database than store.dsn_file")
    with Database(administrator, name="orchestrator cluster init") as database:
        database.run(lambda connection: _install(connection, dsn), patience=60)


def _install(connection: Connection, dsn: Dsn) -> None:
    row = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [dsn.user]).fetchone()
    if row is None:
        raise StoreUnusable(
            "there is no role of the name in store.dsn_file: CREATE ROLE ... LOGIN PASSWORD ..."
        )
    for text in rights.problems(connection, dsn.user):
        raise StoreUnusable(text)
    if (installed(connection) or 0) > FUNCTIONS:
        raise StoreUnusable(LATER)
    connection.execute(script(dsn))


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the database that has to be mended, or should be.

    Attributes:
        text: What, and what to do.
        key: A word for it.
        fatal: Whether the service does not start with it.
    """

    text: str
    key: str
    fatal: bool = True


def problems(connection: Connection) -> list[Problem]:
    """Return what is wrong with the database and with the role that we are, the worst first."""
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        return [Problem(f"the server is Postgres {version}: use {OLDEST} or newer", "version")]
    row = connection.execute("SELECT session_user, pg_is_in_recovery()").fetchone()
    assert row is not None
    if row[1]:
        return [Problem("the server is a standby, which takes no writes: name the primary", "standby")]
    found = [Problem(text, "rights") for text in rights.problems(connection, str(row[0]))]
    if found:
        return found
    if (problem := _about_functions(connection)) is not None:
        return [problem]
    try:
        schema.check(connection)
    except StoreUnusable as error:
        found.append(Problem(str(error), "tables"))
    return found + _about_others(connection)


def check(connection: Connection) -> None:
    """See that the tables are those of this version, and so are an administrator's functions.

    Raises:
        StoreUnusable: They are not there, or older, or later; the message says what to do.
    """
    schema.check(connection)
    if (problem := _about_functions(connection)) is not None:
        raise StoreUnusable(problem.text)


def _about_functions(connection: Connection) -> Problem | None:
    found = installed(connection)
    if found == FUNCTIONS:
        return None
    if found is not None and found > FUNCTIONS:
        return Problem(LATER, "admin")
    word = "are not there" if found is None else "are of an earlier version"
    return Problem(
        f"the functions of an administrator {word}: run `orchestrator cluster init --admin-dsn-file"
        " FILE`, or have `orchestrator cluster init` print what an administrator runs",
        "admin",
    )


def installed(connection: Connection) -> int | None:
    """Return the version of the functions that are there, None without any."""
    row = connection.execute(
        "SELECT substring(obj_description(to_regnamespace('orchestrator_admin'), 'pg_namespace')"
        " FROM '^orchestrator ([0-9]{1,9})$')::int"
    ).fetchone()
    return None if row is None else row[0]


def _about_others(connection: Connection) -> list[Problem]:
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_database d,"
        " aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a"
        " WHERE d.datname = current_database() AND a.grantee = 0),"
        " EXISTS (SELECT FROM pg_language l, aclexplode(coalesce(l.lanacl, acldefault('l', l.lanowner))) a"
        " WHERE l.lanname IN ('sql', 'plpgsql') AND a.grantee = 0)"
    ).fetchone()
    assert row is not None
    found = []
    if row[0]:
        found.append(
            Problem(
                "every role of the server may connect to the database: REVOKE ALL ON DATABASE ..."
                " FROM PUBLIC",
                "public",
                fatal=False,
            )
        )
    if row[1]:
        found.append(
            Problem(
                "accounts' roles may make functions: have a superuser run"
                " REVOKE USAGE ON LANGUAGE sql, plpgsql FROM PUBLIC in the database",
                "languages",
                fatal=False,
            )
        )
    return found


def make_ready(dsn: Dsn) -> list[str]:
    """Make the tables, once an administrator has done their part.

    Returns:
        What was done, a phrase each.

    Raises:
        StateError: The database is not as it has to be; the message says what to do.
    """
    with Database(dsn, name="orchestrator cluster init") as database:
        worst = database.run(problems)
        if worst and worst[0].key != "tables" and worst[0].fatal:
            raise StoreUnusable(worst[0].text)
        return database.run(schema.prepare, patience=60)
