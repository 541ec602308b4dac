"""What doctor says of a real server, and of servers as they should not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.doctor import context_of
from support.postgres import FreshDatabase, serving

from orchestrator.accounts.settings import AccountSettings
from orchestrator.config.settings import Settings
from orchestrator.postgres import health
from orchestrator.postgres.health import Health
from orchestrator.service.doctor.checks import database

GOOD = Health((), 15, 100, 3, True, True, True, ("postgres",), 0.01, 1.0)


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
    seen = fresh.open().run(health._examine)
    assert (seen.version > 13, seen.has_checksums, seen.is_encrypted) == (True, True, False)
    assert abs(seen.clock) < 1


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with serving() as server:
        file = server.make_database().dsn_file(tmp_path)
        server.stop()
        ((status, text),) = judged(tmp_path, file)
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
    ],
)
def test_what_follows(
    fresh: FreshDatabase, change: Callable[[Health], Health], accounts: int, status: str, said: str
) -> None:
    first = next(iter(database.judge(change(GOOD), fresh.parsed(), accounts)))
    assert first.status == status
    assert said in first.text
