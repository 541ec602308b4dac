"""What `list` and `explain` say without a service: with the summary that a service has left, and without."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.cli import Cli

from orchestrator.store.layout import StatePaths


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


def said(cli: Cli) -> list[str]:
    found = [cli("list").stdout, cli("list", "--json").stdout, cli("explain", "a").stdout]
    # How long ago something was; on a busy machine, that is some minutes.
    return [re.sub(r"\b(\d+m)?\d+[sm]( +|\b)", "? ", text) for text in found]


def test_a_summary_changes_nothing_but_the_time(cli: Cli) -> None:
    cli.configure("b: {enabled: false}", "a: {phone: '+4915100001'}", "c: {}")
    cli.has_session("a")
    cli.has_session("stray")
    with cli.service():
        cli.until("a", "connected")
        cli("stop", "c")
    summary = StatePaths.of(cli.state, environ={}).summary
    assert "15100001" not in summary.read_text()
    with_summary = said(cli)
    summary.unlink()
    assert said(cli) == with_summary
    assert "stray" in with_summary[0]


def test_a_changed_configuration_is_read_anew(cli: Cli) -> None:
    cli.configure("a: {}")
    with cli.service():
        cli.until("a", "pairing")
    cli.configure("a: {enabled: false}", "b: {}")
    found = json.loads(cli("list", "--json").stdout)
    assert [(one["name"], one["state"]) for one in found] == [("a", "disabled"), ("b", "stopped")]
    cli.configure("a: {enabled: perhaps}")
    assert "expected true or false" in cli("list", code=1).stderr


def test_a_reload_leaves_a_new_summary(cli: Cli) -> None:
    cli.configure("a: {}")
    with cli.service():
        cli.configure("a: {}", "b: {enabled: false}")
        cli("reload")
    summary = StatePaths.of(cli.state, environ={}).summary
    assert [row[:2] for row in json.loads(summary.read_text())["accounts"]] == [["a", True], ["b", False]]
