"""`orchestrator cluster init`: what it prints, what it makes, and what it says where something is wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.cli import Cli
from support.postgres import FreshDatabase, PostgresServer, programs, serving

from orchestrator.errors import ExitCode


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    made = Cli(tmp_path)
    made.configure("support: {}")
    return made


def use(cli: Cli, fresh: FreshDatabase, way: str = "loopback") -> None:
    file = fresh.dsn_file(cli.folder, way)  # type: ignore[arg-type]
    cli.config.write_text(f"store: {{dsn_file: {file}}}\n{cli.config.read_text()}")


def administrator(cli: Cli, fresh: FreshDatabase) -> str:
    file = cli.folder / "admin"
    file.write_text(fresh.administrator_dsn() + "\n")
    file.chmod(0o400)
    return str(file)


def psql(fresh: FreshDatabase, script: str) -> None:
    folder = programs()
    assert folder is not None
    command: list[str | Path] = [
        folder / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", fresh.server.sockets, "-p",
        str(fresh.server.port), "-U", "postgres", fresh.name,
    ]  # fmt: skip
    subprocess.run(command, input=script, text=True, check=True, capture_output=True)


def test_prints_what_an_administrator_runs_and_then_makes_the_tables(cli: Cli, fresh: FreshDatabase) -> None:
    use(cli, fresh)
    assert "functions of an administrator" in cli("cluster", "init", "--check", code=1).stderr
    done = cli("cluster", "init", code=ExitCode.FAILED)
    assert "`orchestrator" in done.stderr
    script = done.stdout
    assert fresh.password not in script
    psql(fresh, script)
    assert "no tables" in cli("cluster", "init", "--check", code=1).stderr
    assert "tables of control" in cli("cluster", "init").stdout
    assert cli("cluster", "init").stdout.endswith(": was ready\n")
    assert cli("cluster", "init", "--check").stdout.endswith(": ready\n")


def test_does_everything_at_once_as_an_administrator(cli: Cli, fresh: FreshDatabase) -> None:
    use(cli, fresh, "socket")
    assert "tables of control" in cli("cluster", "init", "--admin-dsn-file", administrator(cli, fresh)).stdout
    assert cli("cluster", "init", "--check").stdout.endswith(": ready\n")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("postgres://t:needle7@db.example/x", "sslmode=verify-full"),
        ("postgres://t:needle7@db.example/x?sslmode=require", "sslmode=verify-full"),
        ("postgres://t:needle7@db.example/x?sslmode=verify-full", "sslrootcert has to be"),
        ("postgres://t:needle7@db.example/x?sslmode=verify-full&sslrootcert=/nowhere", "no readable file"),
        ("postgres://t:needle7@127.0.0.1/x?options=-c%20a=b", "not known"),
        ("postgres://t:needle7@127.0.0.1,127.0.0.2/x", "several hosts"),
        ("postgres://t:needle7@127.0.0.1", "no dbname"),
        ("postgres://Tea:needle7@127.0.0.1/x", "user has to be"),
        ("host=127.0.0.1 password=needle7", "no DSN"),
        ("postgres://t:needle7@%2Frun%2Fpostgresql/x", "by ?host="),
        ("", "empty"),
    ],
)
def test_a_dsn_that_cannot_be_used(cli: Cli, tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "dsn"
    file.write_text(content + "\n")
    file.chmod(0o400)
    cli.config.write_text(f"store: {{dsn_file: {file}}}\n{cli.config.read_text()}")
    done = cli("cluster", "init", code=ExitCode.FAILED)
    assert said in done.stderr
    assert "needle7" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_file_that_others_can_read_is_refused(cli: Cli, fresh: FreshDatabase) -> None:
    use(cli, fresh)
    (cli.folder / "dsn").chmod(0o644)
    assert "other users may read" in cli("cluster", "init", code=1).stderr


def test_a_dsn_in_the_configuration_is_refused_and_not_repeated(cli: Cli) -> None:
    for text in ("store: {dsn: postgres://t:needle7@h/x}", "store: {dsn_file: postgres://t:needle7@h/x}"):
        cli.config.write_text(f"{text}\naccounts: {{}}\n")
        done = cli("config", "check", code=1)
        assert "needle7" not in done.stderr + done.stdout
        assert "store" in done.stderr


def test_variables_that_lead_elsewhere_are_refused(cli: Cli, fresh: FreshDatabase) -> None:
    use(cli, fresh)
    cli.environment["PGHOSTADDR"] = "192.0.2.1"
    done = cli("cluster", "init", code=1)
    assert "PGHOSTADDR" in done.stderr


def test_without_a_store_or_a_database(cli: Cli) -> None:
    assert "no `store:`" in cli("cluster", "init", code=1).stderr
    with serving() as server:
        use(cli, server.make_database())
        server.stop()
        assert "nothing listens there" in cli("cluster", "init", code=1).stderr


def test_an_administrator_of_another_database_is_refused(
    cli: Cli, fresh: FreshDatabase, postgres: PostgresServer
) -> None:
    use(cli, fresh, "socket")
    other = postgres.make_database()
    done = cli("cluster", "init", "--admin-dsn-file", administrator(cli, other), code=1)
    assert "another database" in done.stderr
