"""`add` says where it makes a configuration that nobody has named, above all that of the whole machine."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.config import locate


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a configuration; return what is its own."""
    system = tmp_path / "etc" / "orchestrator" / "accounts.yaml"
    monkeypatch.setattr(locate, "SYSTEM_CONFIG", system)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("ORCHESTRATOR_CONFIG", "STATE_DIRECTORY", "RUNTIME_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return system


def add(*arguments: str) -> str:
    done = CliRunner().invoke(app, [*arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_root_is_told_that_the_file_is_the_machines(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    first, second = add("add", "a"), add("add", "b")
    assert f"a is in the new file {machine}, which is the configuration of this machine" in first
    assert "--config FILE" in first
    assert second.startswith(f"b is in {machine}\n")


def test_a_user_has_a_file_below_the_home(
    machine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    file = tmp_path / "home" / ".config" / "orchestrator" / "accounts.yaml"
    assert add("add", "a").startswith(f"a is in the new file {file}\n")
    assert not machine.exists()


def test_whoever_names_the_file_knows_it(machine: Path, tmp_path: Path) -> None:
    said = add("--config", "mine.yaml", "add", "a")
    assert said.startswith(f"a is in the new file {tmp_path}/here/mine.yaml\n")
    assert not machine.exists()
