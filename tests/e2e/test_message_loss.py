"""A short run of the benchmark that ends processes in the middle of a burst: nothing is lost."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.message_loss import PLANNED, Round, plan
from orchestrator.messages.entry import Stored

ROOT = Path(__file__).resolve().parents[2]


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.message_loss", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=840,
        check=False,
    )


@pytest.mark.timeout(900)
def test_no_planned_end_loses_a_message(folder: Path) -> None:
    done = run(folder, "--rounds", "4", "--accounts", "1", "--only", "planned")
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in PLANNED:
        row = rf"^  {kind} +1 +\d+ +\d+ +0 +0 +0 +0 "
        assert re.search(row, done.stdout, re.MULTILINE), done.stdout


@pytest.mark.timeout(900)
def test_what_a_kill_costs_is_reported(folder: Path) -> None:
    """How much that is depends on the machine: a benchmark shows it."""
    done = run(folder, "--rounds", "4", "--accounts", "2", "--only", "kill")
    found = re.search(r"^  kill +4 +\d+ +\d+ +(\d+) +0 +0 +\d+ +(-|\d+ of \d+)  ", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    lost = found[1]
    assert found[2] == ("-" if lost == "0" else f"{lost} of {lost}"), done.stdout


def test_every_kind_of_end_has_its_turn() -> None:
    assert plan(100, 2, None).count("kill") == 25
    assert [plan(100, 2, None).count(kind) for kind in PLANNED] == [13, 13, 12, 12]
    assert plan(4, 2, "planned") == list(PLANNED)
    assert plan(4, 2, "kill") == ["kill", "kill"]


def stored(*ids: str) -> list[Stored]:
    return [
        Stored("message", "1@lid", "1@lid", one, 0.0, seq=number, stored_at=0.0)
        for number, one in enumerate(ids)
    ]


def test_what_is_missing_doubled_or_out_of_order_is_seen() -> None:
    one = Round("kill", {"ada": ["a", "b", "c"], "bob": ["d"]})
    one.compare(stored("a", "d", "b", "c"))
    assert (one.lost, one.doubled, one.mixed) == ([], 0, 0)
    one.compare(stored("b", "a", "a"))
    assert (one.lost, one.doubled, one.mixed) == (["c", "d"], 1, 1)
