"""The benchmarks run, with numbers so small that they say nothing about speed."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0


def printed_by(name: str, *arguments: str) -> str:
    """Run a benchmark from the top folder, as its documentation says; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def cells(output: str, row: str) -> list[str]:
    """Return the cells of a table's row."""
    (line,) = re.findall(rf"^  {re.escape(row)}  +(.*)$", output, re.MULTILINE)
    return re.split(r"  +", line)


def test_pairing_compares_real_clients_with_the_sandbox() -> None:
    output = printed_by("sandbox_pairing", "--clients", "2", "--rounds", "1")

    assert "neonize itself, unmodified" in output
    assert cells(output, "neonize") == [version("neonize")]
    for row in ("wall", "CPU of the clients", "clients : sandbox", "sandbox of the CPU of all these"):
        (first, middle) = cells(output, row)
        assert first == middle  # the median of one round


def test_idle_measures_memory_and_cpu_with_stand_ins() -> None:
    output = printed_by("sandbox_idle", "--connections", "5", "--seconds", "1")

    assert "light stand-ins (benchmarks/light_client.py) in one asyncio process, not neonize" in output
    before, after = (cells(output, row) for row in ("no client yet", "5 online, idle for 1 s"))
    for small, large in zip(before, after, strict=True):
        assert 0 < float(small.removesuffix(" MB")) <= float(large.removesuffix(" MB"))
    assert len(cells(output, "per connection")) == 2


@pytest.mark.parametrize("name", ["sandbox_pairing", "sandbox_idle"])
def test_every_benchmark_tells_its_options(name: str) -> None:
    assert "(default: " in printed_by(name, "--help")
