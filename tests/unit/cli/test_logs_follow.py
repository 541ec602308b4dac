"""`logs --follow` shows a file as it is, so nobody else may write there, or put another file in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.cli import process
from orchestrator.errors import OrchestratorError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir(0o700)
    file = folder / "own.log"
    file.touch(0o600)
    return file


def test_a_file_of_this_user_is_shown(path: Path) -> None:
    process._check_file(path, ["tail", "-F", str(path)])


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_file_is_not_shown_where_others_may_put_another_one(path: Path, where: str) -> None:
    (path if where == "file" else path.parent).chmod(0o777)
    with pytest.raises(OrchestratorError, match=r"cat -v") as refused:
        process._check_file(path, ["tail", "-F", str(path)])
    assert refused.value.key == "no_log"


def test_a_link_is_not_followed(path: Path) -> None:
    link = path.with_name("link.log")
    link.symlink_to(path)
    with pytest.raises(OrchestratorError, match=r"cat -v"):
        process._check_file(link, ["tail", "-F", str(link)])
