"""Lengths of time as people read them."""

from __future__ import annotations

import pytest

from orchestrator.accounts.durations import short, words


@pytest.mark.parametrize(
    ("seconds", "sentence", "table"),
    [
        (-5, "0 s", "0s"),
        (0, "0 s", "0s"),
        (0.4, "0 s", "0s"),
        (59.6, "1 min", "59s"),  # a table counts what has passed, a sentence what is meant
        (90, "1 min 30 s", "1m30s"),
        (3600, "1 h", "1h"),
        (7800, "2 h 10 min", "2h10m"),
        (86405, "1 d", "1d"),
        (90061, "1 d 1 h", "1d1h"),
    ],
)
def test_a_length_of_time_has_its_two_largest_units(seconds: float, sentence: str, table: str) -> None:
    assert words(seconds) == sentence
    assert short(seconds) == table
