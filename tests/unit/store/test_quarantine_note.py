"""The quarantine says what the files in it still are, and the note is in nobody's way."""

import os
from pathlib import Path

from orchestrator.store import quarantine, quarantine_note
from orchestrator.store.files import in_files
from orchestrator.store.layout import StatePaths


def paths_with_session(folder: Path) -> StatePaths:
    paths = StatePaths.of(folder / "state", environ={})
    paths.prepare()
    paths.home("a").mkdir()
    paths.session("a").write_bytes(b"a session")
    return paths


def test_a_session_that_is_put_away_brings_the_note(tmp_path: Path) -> None:
    paths = paths_with_session(tmp_path)
    store = in_files(paths, paths.qr)
    note = paths.quarantine / quarantine_note.NAME
    store.sessions.prune(7, 0.0)
    assert not note.exists(), "there is nothing to say"
    place = store.sessions.quarantine("a", "removed", 1_000_000.0)
    assert place is not None
    assert note.stat().st_mode & 0o777 == 0o600
    for reason in ("repair", "removed", "logged_out", "wrong_phone", "damaged", "locked"):
        assert f"  {reason} " in note.read_text()
    # Whoever reads the quarantine, cleans up there or closes it sees the sessions alone.
    assert [one.path for one in quarantine.quarantined(paths.quarantine)] == [Path(place)]
    assert quarantine.tidy(paths.sessions, paths.quarantine, 1_000_001.0) == []
    assert paths.prepare() == []
    os.chmod(paths.quarantine, 0o755)  # noqa: PTH101 - as somebody might
    assert len(paths.prepare()) == 1
    assert store.sessions.prune(7, 1_000_000.0 + 8 * 86_400) == [Path(place).name]
    assert sorted(paths.quarantine.iterdir()) == [note]


def test_sessions_that_an_earlier_version_has_put_away_get_the_note(tmp_path: Path) -> None:
    paths = paths_with_session(tmp_path)
    quarantine.put(paths.home("a"), paths.quarantine, "repair", 1_000_000.0)
    in_files(paths, paths.qr).sessions.prune(7, 1_000_001.0)
    assert (paths.quarantine / quarantine_note.NAME).exists()


def test_the_note_is_no_reason_to_fail(tmp_path: Path) -> None:
    paths = paths_with_session(tmp_path)
    (paths.quarantine / quarantine_note.NAME).mkdir()
    assert in_files(paths, paths.qr).sessions.quarantine("a", "removed", 1_000_000.0) is not None
    quarantine_note.write(tmp_path / "missing")
