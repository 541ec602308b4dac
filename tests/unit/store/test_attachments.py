"""Files of messages follow their messages, which are in a database, and never lead anywhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.store import inboxes
from orchestrator.store.attachments import Attachments
from orchestrator.store.layout import StatePaths

AWAY = "support-20261130T100000Z-removed"


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    paths = StatePaths.of(tmp_path / "state", environ={})
    paths.prepare()
    return paths


def put(paths: StatePaths, name: str, text: str) -> Path:
    file = paths.message_folder(name) / "media" / "17"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return file


def test_files_go_away_and_come_back(paths: StatePaths) -> None:
    attachments = Attachments(paths)
    file = put(paths, "support", "before")
    attachments.put_away("support", AWAY)
    assert not file.exists()
    put(paths, "support", "since then")
    attachments.bring_back(AWAY, "support")
    assert file.read_text() == "before"
    assert list(paths.quarantine.iterdir()) == []


def test_files_are_deleted_with_what_they_belong_to(paths: StatePaths) -> None:
    attachments = Attachments(paths)
    put(paths, "support", "before")
    attachments.put_away("support", AWAY)
    attachments.drop(AWAY)
    attachments.drop(AWAY)
    assert list(paths.quarantine.iterdir()) == []


def test_files_get_another_name_and_who_reads_is_told(paths: StatePaths) -> None:
    attachments = Attachments(paths)
    put(paths, "support", "before")
    attachments.rename("support", "help")
    assert (paths.message_folder("help") / "media" / "17").read_text() == "before"
    assert inboxes.renamed(paths.message_folder("support")) == "help"
    attachments.rename("help", "support")
    assert inboxes.renamed(paths.message_folder("support")) is None
    assert inboxes.renamed(paths.message_folder("help")) == "support"


def test_an_account_without_files_and_a_link_move_nothing(
    paths: StatePaths, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    attachments = Attachments(paths)
    attachments.put_away("nobody", AWAY)
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").touch()
    paths.message_folder("support").symlink_to(other)
    attachments.put_away("support", AWAY)
    assert (other / "file").exists()
    assert not (paths.quarantine / AWAY).exists()
    assert caplog.text == ""


def test_what_cannot_be_moved_is_logged_and_nothing_fails(
    paths: StatePaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = put(paths, "support", "before")

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", fail)
    Attachments(paths).put_away("support", AWAY)
    assert file.exists()
    assert "Input/output error" in caplog.text
