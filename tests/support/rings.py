"""How many tests each ring has and how long they take: said when tests begin, and in CONTRIBUTING.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Ring:
    """A ring of tests.

    Attributes:
        folder: Where the tests are.
        tests: About how many there are.
        minutes: About how long they take on two cores.
    """

    folder: str
    tests: int
    minutes: int

    @property
    def text(self) -> str:
        return f"{self.tests:,} tests, about {self.minutes} minutes"


RINGS = (
    Ring("tests/unit", 12_900, 9),
    Ring("tests/process", 3_100, 20),
    Ring("tests/e2e", 1_240, 36),
)
QUICK = "tests/quick.txt"
"""The quick selection: an argument a line, as ``pytest @tests/quick.txt`` takes them."""


def lines(arguments: Sequence[str], folder: Path) -> list[str]:
    """Say what is about to run, if that is whole rings, and what takes so long before the first test.

    Args:
        arguments: What pytest was asked for: folders, files, tests.
        folder: The folder from which it was asked.
    """
    asked = {(folder / one).resolve() for one in arguments}
    rings = [ring for ring in RINGS if not asked.isdisjoint({ROOT / ring.folder, ROOT / "tests", ROOT})]
    if not rings:
        return []
    tests, minutes = sum(ring.tests for ring in rings), sum(ring.minutes for ring in rings)
    return [
        f"whatsapp-orchestrator: about {tests:,} tests, which take about {minutes} minutes on two cores",
        *(f"    {ring.folder}: {ring.text}" for ring in rings if len(rings) > 1),
        (
            "a minute passes before the first test, in which each worker collects them; a quick selection:"
            f" python -m pytest @{QUICK}"
        ),
    ]
