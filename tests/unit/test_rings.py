"""What is said when tests begin, and that CONTRIBUTING.md says the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import rings

TABLE = re.compile(r"^\| `(tests/\w+)` \|.*\| ([^|]+) \|$", re.MULTILINE)


def test_contributing_has_the_same_numbers() -> None:
    text = (rings.ROOT / "CONTRIBUTING.md").read_text()
    assert dict(TABLE.findall(text)) == {ring.folder: ring.text for ring in rings.RINGS}
    assert f"@{rings.QUICK}" in text


@pytest.mark.parametrize(
    "arguments", [["tests"], ["."], [str(rings.ROOT)], [ring.folder for ring in rings.RINGS]]
)
def test_all_rings_are_announced(arguments: list[str]) -> None:
    first, *more = rings.lines(arguments, rings.ROOT)
    tests, minutes = sum(ring.tests for ring in rings.RINGS), sum(ring.minutes for ring in rings.RINGS)
    assert f"about {tests:,} tests, which take about {minutes} minutes" in first
    assert all(any(ring.folder in line for line in more) for ring in rings.RINGS)


def test_one_ring_is_announced_from_its_folder() -> None:
    first, *_ = rings.lines(["unit"], rings.ROOT / "tests")
    assert rings.RINGS[0].folder == "tests/unit"
    assert rings.RINGS[0].text.replace(", about", ", which take about") in first


@pytest.mark.parametrize("argument", ["tests/unit/test_rings.py", "tests/unit/cli", "elsewhere"])
def test_of_a_selection_nothing_is_known_before(argument: str) -> None:
    assert rings.lines([argument], rings.ROOT) == []


def test_the_quick_selection_touches_each_ring() -> None:
    chosen = (rings.ROOT / rings.QUICK).read_text().splitlines()
    assert all((rings.ROOT / one).exists() for one in chosen)
    assert {str(Path(*Path(one).parts[:2])) for one in chosen} == {ring.folder for ring in rings.RINGS}
