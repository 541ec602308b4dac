"""How the isolation of processes is described to people."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.settings import Settings
from orchestrator.service import isolation
from orchestrator.service.isolation import Isolation
from orchestrator.store.layout import StatePaths


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (None, None),
        ("", "full"),
        ("off", "off"),
        ("files", "without file isolation (Landlock)"),
        ("calls signals", "without system-call filter (seccomp), isolation of signals (Landlock ABI 6)"),
        ("nonsense", "without a part that this service does not know"),
        ("fault", "without a part that could not be set up (see the log)"),
    ],
)
def test_how_a_process_is_isolated(missing: str | None, said: str | None) -> None:
    assert isolation.describe(missing) == said


def test_what_is_open_to_all_is_out_of_date_once_another_file_took_its_place(tmp_path: Path) -> None:
    paths = StatePaths.of(tmp_path / "state", environ={})
    paths.prepare()
    ours = Isolation.of(Settings(tmp_path / "accounts.yaml", paths.root, paths.qr), paths)
    text, known = ours.maker()
    assert ours.maker() == (text, known)
    (paths.sessions / "a").mkdir()
    assert ours.maker() == (text, known), "what is in a folder does not matter"
    root = tmp_path / "root.crt"
    root.write_text("old")
    with_root = Isolation.of(Settings(tmp_path / "accounts.yaml", paths.root, paths.qr), paths, (root,))
    text, known = with_root.maker()
    assert str(root) in text
    root.unlink()  # its inode is not given to the next one
    (tmp_path / "other").write_text("")
    root.write_text("new")
    assert with_root.maker()[1] != known, "Kubernetes puts another file in its place"
    text, known = ours.maker()
    paths.sessions.rename(tmp_path / "backup")
    paths.sessions.mkdir()
    assert ours.maker()[1] != known
