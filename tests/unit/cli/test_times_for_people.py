"""Times for people carry their offset."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli import formatting


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", "2026-11-30 02:12:05 +00:00"),
        ("Europe/Berlin", "2026-11-30 03:12:05 +01:00"),
        ("Asia/Kolkata", "2026-11-30 07:42:05 +05:30"),
        ("America/St_Johns", "2026-11-29 22:42:05 -03:30"),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_a_time_in_several_places(expected: str) -> None:
    assert formatting.local("2026-11-30T02:12:05Z") == expected
    assert formatting.time_of_day("2026-11-30T02:12:05Z") == expected[11:19]


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_a_written_time_is_the_same_moment(at: datetime) -> None:
    day, clock, offset = formatting.local(at.isoformat()).split(" ")
    assert datetime.fromisoformat(f"{day}T{clock}{offset}") == at.replace(microsecond=0)


@given(st.text())
def test_what_is_no_time_is_not_shown(text: str) -> None:
    shown = formatting.local(text)
    assert shown == "-" or re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", shown)
