"""Which code of a round links, and when."""

from __future__ import annotations

import pytest

from orchestrator.sandbox.server.pairing import CODES_A_ROUND, ROUND_SECONDS, code_shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, 0),
        (59.9, 0),
        (60.0, 1),
        (79.9, 1),
        (80.0, 2),
        (100.0, 3),
        (120.0, 4),
        (140.0, 5),
        (159.9, 5),
        (160.0, None),
        (1000.0, None),
    ],
)
def test_each_of_six_codes_is_good_for_its_own_time(seconds: float, shown: int | None) -> None:
    assert code_shown(seconds, CODES_A_ROUND) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, 0), (19.9, 0), (20.0, 1), (59.9, 2), (60.0, None), (ROUND_SECONDS, None)]
)
def test_a_client_shows_the_first_of_fewer_codes_for_20_seconds(seconds: float, shown: int | None) -> None:
    assert code_shown(seconds, 3) == shown
