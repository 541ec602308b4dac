"""The file that is there while maintenance is on."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import StateError
from orchestrator.store.layout import StatePaths
from orchestrator.store.maintenance import load, save


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b'{"since": "x"}', b'{"since": -1}',
        b'{"since": 1e999}', b'{"since": true}', b'{"since": ' + b"9" * 5000 + b"}",
    ],
)  # fmt: skip
def test_a_file_that_says_nothing_keeps_everything_from_starting(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "maintenance.json"
    path.write_bytes(content)
    assert load(path) == path.stat().st_mtime


def test_a_file_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path) -> None:
    path = tmp_path / "maintenance.json"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError, match="cannot be read"):
        load(path)


def test_what_cannot_be_written_stays_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="cannot be written"):
        save(tmp_path / "missing" / "maintenance.json", 1.0)
    path = tmp_path / "maintenance.json"
    (path / "in it").mkdir(parents=True)
    with pytest.raises(StateError, match="cannot be written"):
        save(path, None)
    assert path.exists()


def test_the_file_belongs_to_the_state_folder_and_is_private(tmp_path: Path) -> None:
    paths = StatePaths.of(tmp_path / "state", environ={})
    paths.prepare()
    save(paths.maintenance, 1_795_000_000.5)
    assert paths.maintenance.stat().st_mode & 0o777 == 0o600
    assert load(paths.maintenance) == 1_795_000_000.5
    assert paths.prepare() == [], "nothing about the file is repaired or refused"
