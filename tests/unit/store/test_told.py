"""What was told outlives the service, and a damaged file is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import StateError
from orchestrator.store import told
from orchestrator.store.told import Kept, Last

NAMES = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
WORDS = st.dictionaries(
    st.sampled_from(["needs_person", "down", "state", "resolved"]), st.sampled_from(["code"])
)
KEPT = st.builds(
    Kept,
    st.dictionaries(NAMES, WORDS, max_size=5),
    st.integers(0, 1000),
    st.none()
    | st.builds(
        Last, st.floats(0, 2**32), st.just("/bin/tell"), st.none() | st.just("why"), st.integers(0, 9)
    ),
)


@given(KEPT)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, kept: Kept) -> None:
    path = tmp_path_factory.mktemp("told") / "on_change.json"
    told.save(path, kept)
    assert told.load(path) == kept
    assert path.stat().st_mode & 0o077 == 0


def test_there_is_nothing_at_first(tmp_path: Path) -> None:
    assert told.load(tmp_path / "on_change.json") == Kept()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=60), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries({}, optional={"told": JSON, "left_out": JSON, "last": JSON}).map(json.dumps)
    | st.text(max_size=50)
)
def test_whatever_is_there_is_no_trouble(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("told") / "on_change.json"
    path.write_text(text)
    kept = told.load(path)
    assert kept.left_out >= 0
    told.save(path, kept)
    assert told.load(path) == kept


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "on_change.json").mkdir()
    with pytest.raises(StateError, match=r"on_change\.json: cannot be read"):
        told.load(tmp_path / "on_change.json")
