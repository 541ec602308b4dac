"""The commands `config …`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from support.cli import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def test_a_right_file_is_counted_and_a_wrong_one_is_explained(cli: Cli) -> None:
    cli.configure("a: {}", "b: {enabled: false}")
    assert cli("config", "check").stdout.endswith(": 2 accounts, 1 of them enabled\n")
    cli.configure("a: {}")
    assert cli("config", "check").stdout.endswith(": 1 account, 1 of them enabled\n")
    cli.configure("a: {enabled: perhaps, prxy: x}")
    said = cli("config", "check", code=1).stderr.splitlines()
    assert len(said) == 2
    assert "expected true or false" in said[0]
    assert "did you mean proxy?" in said[1]


def test_what_can_stand_in_the_file_is_printed_without_one(cli: Cli) -> None:
    assert json.loads(cli("config", "schema").stdout)["title"] == "accounts.yaml"
    assert list(yaml.safe_load(cli("config", "example").stdout)["accounts"]) == ["support"]
    assert cli("config", "reference").stdout.startswith("# Configuration\n")
