"""What doctor says of a real server, and of servers as they should not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.doctor import context_of
from support.postgres import FreshDatabase, serving

from orchestrator.accounts.settings import AccountSettings
from orchestrator.cluster.settings import Cluster
from orchestrator.config.settings import Settings
from orchestrator.postgres import health
from orchestrator.postgres.health import Health
from orchestrator.service.doctor.checks import database
from orchestrator.service.doctor.examine import examine

GOOD = Health("the database x at db:5432", (), 15, 100, 3, True, True, True, ("postgres",), 0.01, 1.0)


def settings_of(folder: Path, dsn: Path | None, accounts: int = 1) -> Settings:
    named = {f"a{number}": AccountSettings(f"a{number}") for number in range(accounts)}
    return Settings(folder / "accounts.yaml", folder / "state", folder / "codes", accounts=named, store=dsn)


def judged(folder: Path, dsn: Path | None, accounts: int = 1) -> list[tuple[str, str]]:
    found = database.find(context_of(folder, settings_of(folder, dsn, accounts)))
    return [(one.status, one.text) for one in found]


def test_without_a_database_nothing_is_said(tmp_path: Path) -> None:
    assert judged(tmp_path, None) == []


def test_a_real_server(tmp_path: Path, fresh: FreshDatabase) -> None:
    file = fresh.dsn_file(tmp_path)
    assert judged(tmp_path, file)[0][0] == "FAIL", "nobody has made it ready"
    fresh.ready()
    found = judged(tmp_path, file)
    # Tests do without fsync.
    assert [text for status, text in found if status == "FAIL"] == [
        "the database server may lose what it has committed, and WhatsApp does not send it again"
    ]
    assert found[-1][0] == "OK"
    assert any("connections" in text for status, text in judged(tmp_path, file, 500) if status == "FAIL")
    seen = health.examine(fresh.open())
    assert (seen.version > 13, seen.has_checksums, seen.is_encrypted) == (True, True, False)
    assert abs(seen.clock) < 1


def test_who_may_act_as_the_service_or_read_its_tables_is_told(fresh: FreshDatabase) -> None:
    fresh.ready()
    with fresh.superuser() as connection:
        connection.execute(f"CREATE ROLE {fresh.role}_ops".encode())
        connection.execute(f"GRANT {fresh.role} TO {fresh.role}_ops".encode())
        connection.execute("GRANT SELECT ON orchestrator.code TO PUBLIC")
        connection.execute(f"ALTER ROLE {fresh.role} CONNECTION LIMIT 7".encode())
        connection.execute(f"ALTER DATABASE {fresh.name} CONNECTION LIMIT 8".encode())
    seen = health.examine(fresh.open())
    assert seen.actors == (f"{fresh.role}_ops",)
    assert seen.readers == ("orchestrator.code",)
    assert (seen.limited, seen.own_limit, seen.standbys) == (8, 7, 0)


def test_an_unfit_database_is_told_once(tmp_path: Path, fresh: FreshDatabase) -> None:
    settings = replace(settings_of(tmp_path, fresh.dsn_file(tmp_path)), cluster=Cluster())
    (tmp_path / "state" / "sessions").mkdir(parents=True)
    context = context_of(tmp_path, settings)
    found = list(examine(context, only=("database", "cluster", "sessions", "quarantine")))
    assert {one.key for one in found} == {"database"}
    assert "functions of an administrator are not there" in found[0].text


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with serving() as server:
        file = server.make_database().dsn_file(tmp_path)
        server.stop()
        context = context_of(tmp_path, settings_of(tmp_path, file))
        (tmp_path / "state" / "sessions").mkdir(parents=True)
        found = list(examine(context, only=("database", "sessions", "quarantine", "on_change")))
    assert [one.key for one in found] == ["database"], "an error that several checks meet is told once"
    ((status, text),) = [(one.status, one.text) for one in found]
    assert status == "FAIL"
    assert "nothing listens there" in text


@pytest.mark.parametrize(
    ("change", "accounts", "status", "said"),
    [
        (lambda found: found, 45, "OK", "Postgres 15"),
        (lambda found: found, 46, "FAIL", "need 102 connections"),
        (lambda found: replace(found, is_synchronous=False), 1, "FAIL", "may lose"),
        (lambda found: replace(found, has_checksums=False), 1, "WARN", "disk has changed"),
        (lambda found: replace(found, superusers=("postgres", "ops")), 1, "WARN", "postgres, ops"),
        (lambda found: replace(found, clock=-9.0), 1, "WARN", "9 s behind"),
        (lambda found: replace(found, milliseconds=30.0), 1, "WARN", "30 ms"),
        (lambda found: replace(found, shards=3), 36, "FAIL", "accounts on 3 machines need 102 connections"),
        (lambda found: replace(found, shards=3), 35, "OK", "the database x at db:5432"),
        (lambda found: replace(found, limited=11), 1, "FAIL", "the database allows 11"),
        (lambda found: replace(found, limited=12), 1, "OK", "Postgres 15"),
        (lambda found: replace(found, own_limit=9), 1, "FAIL", "may have 9 connections, and needs 10"),
        (lambda found: replace(found, standbys=1), 1, "WARN", "standby of the database server may lag"),
        (lambda found: replace(found, standbys=1, waits_for_standby=True), 1, "OK", "Postgres 15"),
        (lambda found: replace(found, actors=("ops",)), 1, "WARN", "may act as the service"),
        (lambda found: replace(found, readers=("orchestrator.code",)), 1, "WARN", "orchestrator.code"),
    ],
)
def test_what_follows(change: Callable[[Health], Health], accounts: int, status: str, said: str) -> None:
    first = next(iter(database.judge(change(GOOD), accounts)))
    assert first.status == status
    assert said in first.text
