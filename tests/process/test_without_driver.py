"""Commands where the configuration names a database, and the driver is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.cli import Cli

PLAIN = (
    sys.executable,
    "-c",
    "import runpy, sys; sys.modules['psycopg'] = None; runpy.run_module('orchestrator', run_name='__main__')",
)
"""The command in an installation without the driver."""


@pytest.mark.parametrize(
    "arguments",
    [
        ("run",), ("list",), ("history",), ("report",), ("messages", "a"), ("outbox", "a"), ("trace", "3EB0"),
        ("quarantine", "list"), ("rename", "a", "b"), ("restore", "a"), ("cluster", "init"),
        ("cluster", "status"), ("cluster", "drain", "x"), ("cluster", "move", "a"),
        ("cluster", "import", "."),
        ("cluster", "export", "x"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_each_command_says_what_to_install(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    cli = Cli(tmp_path)
    cli.configure("a: {}")
    secret = tmp_path / "postgres.secret"
    secret.write_text("postgres://orchestrator:hunter2@127.0.0.1:1/orchestrator\n")
    secret.chmod(0o400)
    cli.config.write_text(f"store: {{dsn_file: {secret}}}\n{cli.config.read_text()}")
    said = cli(*arguments, code=1, program=PLAIN).stderr
    assert "install -r requirements/cluster.txt" in said
    assert "hunter2" not in said
