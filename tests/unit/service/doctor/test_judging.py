"""What is judged by numbers: the room on a disk, the time on a clock."""

from datetime import UTC, datetime

import pytest

from orchestrator.service.doctor.checks import clock, disk_space


@pytest.mark.parametrize(
    ("free", "files", "status"),
    [
        (49_000_000, 10**6, "FAIL"),
        (51_000_000, 10**6, "WARN"),
        (10**9, 999, "WARN"),
        (10**9, 1000, "OK"),
        (10**9, None, "OK"),
        (49_000_000, None, "FAIL"),
    ],
)
def test_a_disk_that_gets_full_is_told(free: int, files: int | None, status: str) -> None:
    found = disk_space.judge(free, files, "/state")
    assert found.status == status
    assert f"{free / 1e9:.1f} GB free for /state" in found.text
    assert bool(found.advice) == (status != "OK")


@pytest.mark.parametrize(
    ("year", "kept", "status"),
    [
        (1970, True, "FAIL"),
        (2025, False, "FAIL"),
        (2026, False, "WARN"),
        (2026, True, "OK"),
        (2100, True, "OK"),
    ],
)
def test_a_clock_that_is_wrong_or_may_get_wrong_is_told(year: int, kept: bool, status: str) -> None:
    found = clock.judge(datetime(year, 1, 1, tzinfo=UTC).timestamp(), is_kept=kept)
    assert (found.status, bool(found.advice)) == (status, status != "OK")
    assert f"{year}-01-01 00:00:00 UTC" in found.text
