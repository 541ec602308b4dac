"""`orchestrator cluster drain` and `cluster move`: what they say of machines that take no accounts."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from support.cli import Cli, bare
from support.postgres import FreshDatabase

from orchestrator.cluster.actions import Register
from orchestrator.cluster.board import Report
from orchestrator.cluster.events import Granted
from orchestrator.errors import ExitCode
from orchestrator.postgres.leases import Leases, Me


@pytest.fixture
def cli(tmp_path: Path, fresh: FreshDatabase) -> Cli:
    """A cluster of one machine that knows an account; its lease outlasts a slow test."""
    leases = Leases(fresh.ready(), Me("host-a", "host-a", "1.0", 5))
    leases.configured = ("support",)
    assert isinstance(leases.ask(Register(str(uuid.uuid4()), Report()), 0.0), Granted)
    with fresh.superuser() as connection:
        connection.execute("UPDATE orchestrator.shard SET until = clock_timestamp() + interval '1 hour'")
    made = Cli(tmp_path)
    made.configure("support: {}", top=f"store: {{dsn_file: {fresh.dsn_file(tmp_path)}}}\ncluster: {{}}\n")
    return made


def test_an_account_that_is_moved_to_a_drained_machine_is_told_how_it_gets_there(cli: Cli) -> None:
    assert cli("cluster", "move", "support", "host-a").stdout.endswith("as soon as that has room\n")
    cli("cluster", "drain", "host-a")
    said = bare(cli("cluster", "move", "support", "host-a").stdout)
    assert "it is drained, and `orchestrator cluster drain host-a --undo` ends that" in said
    cli("cluster", "drain", "host-a", "--undo")
    assert "drained" not in cli("cluster", "move", "support", "host-a").stdout
    assert "there is no machine host-b" in cli("cluster", "move", "support", "host-b", code=1).stderr
    assert "there is no account" in cli("cluster", "move", "b", code=ExitCode.NO_SUCH_ACCOUNT).stderr
