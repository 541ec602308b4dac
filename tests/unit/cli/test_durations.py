"""Moments and lengths of time as people give them in options: one grammar for all commands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.durations import DAY, future, past, seconds
from orchestrator.cli.formatting import local
from orchestrator.errors import OrchestratorError
from orchestrator.system.clock import utc

NOW = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC).timestamp()
FIRST, LAST = datetime(2017, 1, 2), datetime(2036, 1, 1)  # noqa: DTZ001 - as hypothesis wants them
LENGTHS = {"5m": 300.0, "12h": 12 * 3600.0, "30d": 30 * DAY, "1d12h": 1.5 * DAY, "90s": 90.0}


@pytest.mark.parametrize(("text", "length"), LENGTHS.items())
def test_a_length_of_time_counts_from_the_present(text: str, length: float) -> None:
    assert seconds("--for", text, 1, 365 * DAY) == length
    assert past("--since", text, NOW) == NOW - length
    assert future("--until", text, NOW) == NOW + length


@given(st.datetimes(FIRST, LAST), st.integers(-12 * 60, 14 * 60))
def test_a_date_is_read_with_its_offset(moment: datetime, minutes: int) -> None:
    offset = timedelta(minutes=minutes)
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    at = (moment.replace(microsecond=0, tzinfo=UTC) - offset).timestamp()
    read: Callable[[str, str, float], float] = past if at <= NOW else future
    for form in ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S "):
        assert read("--x", f"{moment.strftime(form)}{sign}{hours:02}:{rest:02}", NOW) == at
    assert read("--x", utc(at), NOW) == at


@given(st.datetimes(FIRST, FIRST + timedelta(days=3000)))
def test_a_date_without_an_offset_is_local(moment: datetime) -> None:
    at = moment.replace(second=0, microsecond=0)
    assert past("--since", at.strftime("%Y-%m-%dT%H:%M"), NOW) == at.timestamp()
    midnight = at.replace(hour=0, minute=0)
    assert past("--since", at.strftime("%Y-%m-%d"), NOW) == midnight.timestamp()


@given(st.integers(int(NOW - 3000 * DAY), int(NOW - 1)))
def test_a_time_as_it_is_shown_can_be_given_again(at: int) -> None:
    shown = local(utc(at))
    read = past("--since", shown, NOW)
    # An hour that the clocks go back to is shown twice a year.
    assert local(utc(read)) == shown


BAD = {
    "yesterday": "expected a duration.*or expected a date",
    "5": "without a unit",
    "-5m": "expected a duration",
    "0s": "expected a duration",
    "": "expected a duration",
    "2026-13-01": '"2026-13-01" is no date',
    "2026-02-30": "is no date",
    "2026-11-3": "is no date",
    "2026-11-30T25:00": "is no date",
    "2026-11-30T08": "is no date",
    "2026-1\u0661-30": "is no date",
    "9999-12-31T23:59-14:00": "is no date|still to come",
    "0001-01-01": "too long ago|is no date",
    "2026-11-30T12:00:31Z": "still to come",
    "2016-11-01": "too long ago",
    "3651d": "expected a duration",
    "2026-\x1b[31m": r"\\x1b",
}


@pytest.mark.parametrize(("text", "said"), BAD.items())
def test_what_is_no_moment_of_the_past_is_refused_with_an_example(text: str, said: str) -> None:
    with pytest.raises(OrchestratorError, match=said) as caught:
        past("--since", text, NOW)
    assert str(caught.value).startswith("--since: ")
    assert "2026-12-24T08:00" in str(caught.value)
    assert caught.value.key == "bad_duration"


def test_what_has_passed_is_no_moment_to_come() -> None:
    with pytest.raises(OrchestratorError, match="2026-11-30T12:00Z has passed"):
        future("--until", "2026-11-30T12:00Z", NOW)
    with pytest.raises(OrchestratorError, match="too far ahead"):
        future("--until", "2026-12-24", NOW, most=DAY)


@given(st.text(max_size=30))
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    for read in (past, future):
        found = tried(read, text)
        if isinstance(found, OrchestratorError):
            assert found.key == "bad_duration"
            assert "\x1b" not in str(found)
        else:
            assert (found <= NOW) is (read is past)


def tried(read: Callable[[str, str, float], float], text: str) -> float | OrchestratorError:
    try:
        return read("--x", text, NOW)
    except OrchestratorError as error:
        return error
