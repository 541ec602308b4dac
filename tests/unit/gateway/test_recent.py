"""The last minutes of a consumer, against a list of all deliveries."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.gateway.recent import SLOT_SECONDS, SLOTS, STEP, Recent

MINUTE = 60.0
WINDOW = SLOTS * SLOT_SECONDS


def test_nothing_is_known_at_first() -> None:
    recent = Recent()
    assert (recent.rate(100.0), recent.p95(100.0), recent.error, recent.error_at) == (0, None, None, None)


def test_the_last_failure_stays_until_the_next() -> None:
    recent = Recent()
    recent.failed("refused", 5.0)
    recent.delivered(0.1, 6.0)
    assert (recent.error, recent.error_at) == ("refused", 5.0)
    recent.failed("too slow", 7.0)
    assert (recent.error, recent.error_at) == ("too slow", 7.0)


@pytest.mark.parametrize(
    ("seconds", "least", "most"),
    [(0.0, 0.001, 0.001), (0.001, 0.001, 0.001), (0.2, 0.2, 0.24), (5.0, 5.0, 6.0), (1e9, 3600.0, 1e6)],
)
def test_a_percentile_is_never_less_than_it_was_and_off_by_one_step_at_most(
    seconds: float, least: float, most: float
) -> None:
    recent = Recent()
    recent.delivered(seconds, 100.0)
    found = recent.p95(100.0)
    assert found is not None
    assert least - 1e-9 <= found <= most * (1 + 1e-9)


def test_the_slow_ones_are_seen_from_more_than_one_in_twenty_on() -> None:
    few, many = Recent(), Recent()
    for number in range(100):
        few.delivered(10.0 if number < 5 else 0.01, 100.0)
        many.delivered(10.0 if number < 6 else 0.01, 100.0)
    assert (few.p95(100.0) or 0) < 0.02
    assert (many.p95(100.0) or 0) >= 10.0


@given(
    st.lists(st.tuples(st.floats(0, 2 * WINDOW), st.floats(0, 20_000)), min_size=1, max_size=200).map(sorted),
    st.floats(0, 2 * WINDOW),
)
def test_it_says_what_a_list_of_all_deliveries_says(
    deliveries: list[tuple[float, float]], later: float
) -> None:
    recent = Recent()
    for at, seconds in deliveries:
        recent.delivered(seconds, at)
    now = deliveries[-1][0] + later
    slot = now // SLOT_SECONDS
    within = [at for at, _ in deliveries if slot - MINUTE // SLOT_SECONDS <= at // SLOT_SECONDS < slot]
    assert recent.rate(now) == len(within)
    times = sorted(seconds for at, seconds in deliveries if at // SLOT_SECONDS >= slot - SLOTS)
    found = recent.p95(now)
    if not times:
        assert found is None
        return
    wanted = max(0.001, times[math.ceil(len(times) * 0.95) - 1])
    assert found is not None
    assert wanted / (1 + 1e-9) <= found <= wanted * STEP * (1 + 1e-9)


def test_memory_does_not_grow() -> None:
    recent = Recent()
    for number in range(100_000):
        recent.delivered(number % 977 / 10, number / 10)
    assert len(recent._slots) == SLOTS + 1
