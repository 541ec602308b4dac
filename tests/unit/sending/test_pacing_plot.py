"""The plot in the documentation is what the code does."""

from __future__ import annotations

from pathlib import Path

from benchmarks import pacing

ROOT = Path(__file__).resolve().parents[3]


def test_the_plot_is_in_step_with_the_code() -> None:
    drawn = pacing.picture(pacing.minutes(), pacing.days())
    remedy = "made anew by `python -m benchmarks.pacing --plot docs/pacing.svg`"
    assert (ROOT / "docs/pacing.svg").read_text() == drawn, f"docs/pacing.svg is {remedy}"
