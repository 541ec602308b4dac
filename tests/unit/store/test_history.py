import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.accounts.states import State
from orchestrator.errors import StateError
from orchestrator.store import history
from orchestrator.store.layout import StatePaths
from orchestrator.store.record_files import RecordFiles
from orchestrator.store.timeline import Timeline, TimelineEntry

BASE = 1_800_000_000.0


def entry(at: float, number: int = 0) -> TimelineEntry:
    return TimelineEntry(BASE + at, State.CONNECTED, State.BACKOFF, attempt=number)


def whole(name: str, found: Mapping[str, Any], at: float) -> tuple[float, str, int]:
    return round(at - BASE, 3), name, found["attempt"]


def read(
    folder: Path, since: float, limit: int = 1000, names: tuple[str, ...] = ("a", "b")
) -> history.Read[Any]:
    return history.read(Timeline(folder), names, BASE + since, limit, whole)


def test_entries_of_all_accounts_are_in_one_order(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path)
    for at, name in ((1, "a"), (2, "b"), (3, "a"), (4, "c"), (5, "b")):
        timeline.append(name, entry(at, at))
    assert read(tmp_path, 2) == ([(2, "b", 2), (3, "a", 3), (5, "b", 5)], True)
    assert read(tmp_path, 2, 2) == ([(3, "a", 3), (5, "b", 5)], False)
    assert read(tmp_path, 6) == ([], True)
    assert timeline.names() == ["a", "b", "c"]


def test_what_is_not_wanted_does_not_count(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path)
    for at in range(10):
        timeline.append("a", entry(at, at))
    found = history.read(
        timeline, ["a"], BASE, 3, lambda *given: one if (one := whole(*given))[2] % 4 == 0 else None
    )
    assert found == ([(0, "a", 0), (4, "a", 4), (8, "a", 8)], True)


def test_no_more_is_read_than_can_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night of 20 accounts, each with a long history: a few blocks of each are read."""
    for number in range(20):
        lines = [
            json.dumps({"n": int(BASE) + at, **entry(at, at).as_json()}) for at in range(0, 300_000, 100)
        ]
        (tmp_path / f"shop-{number}.jsonl").write_text("\n".join(lines) + "\n")
    sizes = []
    real = os.pread

    def counted(file: int, size: int, start: int) -> bytes:
        sizes.append(size)
        return real(file, size, start)

    monkeypatch.setattr(os, "pread", counted)
    names = tuple(Timeline(tmp_path).names())
    assert len(read(tmp_path, 299_000, names=names).entries) == 200
    assert sum(sizes) <= 20 * 2 * 16 * 1024
    sizes.clear()
    assert len(read(tmp_path, 0, 50, names=names).entries) == 50
    assert sum(sizes) <= 20 * 2 * 16 * 1024


def test_a_clock_that_was_set_back_hides_nothing(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path)
    for number, at in enumerate((100, 9000, 200, 300)):
        timeline.append("a", entry(at, number))
    assert read(tmp_path, 250).entries == [(300, "a", 3), (9000, "a", 1)]


def test_changes_begin_with_the_last_one_before(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path)
    for at in (10, 20, 30, 40):
        timeline.append("a", entry(at))
    assert [one.at - BASE for one in history.changes(timeline, "a", BASE + 25)] == [20, 30, 40]
    assert [one.at - BASE for one in history.changes(timeline, "a", BASE + 5)] == [10, 20, 30, 40]
    assert history.changes(timeline, "nobody", BASE) == []


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert Timeline(tmp_path / "missing").names() == []
    assert read(tmp_path / "missing", 0) == ([], True)


def test_who_may_not_look_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StateError, match="run this command as the service's user") as caught:
        RecordFiles(StatePaths.of(tmp_path, environ={})).histories()
    assert caught.value.key == "permission_denied"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 100)), max_size=30),
    st.integers(0, 100),
    st.integers(1, 12),
)
def test_the_newest_entries_since_a_time_are_found(
    tmp_path: Path, steps: list[tuple[str, int]], since: int, limit: int
) -> None:
    for path in tmp_path.iterdir():
        path.unlink()
    timeline = Timeline(tmp_path)
    for number, (name, at) in enumerate(sorted(steps, key=lambda step: step[1])):
        timeline.append(name, entry(at, number))
    every = [
        (float(at), name, number)
        for number, (name, at) in enumerate(sorted(steps, key=lambda step: step[1]))
        if at >= since
    ]
    found = read(tmp_path, since, limit)
    assert [one[0] for one in found.entries] == [one[0] for one in every[-limit:]]
    assert set(found.entries) <= set(every)
    assert len(set(found.entries)) == len(found.entries)
    assert found.is_all == (len(every) <= limit)
